"""Checks of what is installed and of the machine: Python, packages, extras, folders, free disk and memory."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from hybrid_search._util.config_file import default_config_file
from hybrid_search.diagnostics.diagnosis import Diagnosis, about, guarded
from hybrid_search.errors import DISTRIBUTION, install_line

INSTALL = "install"
LOW_DISK, LOW_MEMORY = 1 << 30, 1 << 30
"""Free bytes below which an index job may fail; models and the engine take some hundred MB."""

_REINSTALL = f"pip install --upgrade {DISTRIBUTION}"


def check_install(cache_dir: Path, store: str | None) -> list[Diagnosis]:
    """Return every finding on the install and the machine.

    Args:
        cache_dir: of the model files.
        store: the folder of the collections; None for a server.
    """
    folders = {"model cache": cache_dir, "config folder": default_config_file().parent}
    places = {"model cache": cache_dir, **({"store": Path(store)} if store else {})}
    return [
        *_check_distribution(),
        *(one for what, folder in folders.items() for one in guarded(what, INSTALL, check_folder, what, folder)),
        *(one for what, folder in places.items() for one in guarded("free disk", INSTALL, check_disk, what, folder)),
        *guarded("free memory", INSTALL, check_memory),
    ]


def _check_distribution() -> list[Diagnosis]:
    """Return the findings on what the package asks for, where it is installed as one."""
    if _version_of(DISTRIBUTION) is None:
        text = f"{DISTRIBUTION} runs without being installed as a package, so which versions it needs is unknown"
        return [Diagnosis("packages", INSTALL, "unchecked", text, _REINSTALL)]
    return [
        *guarded("python", INSTALL, check_python),
        *guarded("packages", INSTALL, check_packages),
        *guarded("extras", INSTALL, check_extras),
    ]


def check_python() -> Iterator[Diagnosis]:
    """Compare the version of Python with what the package asks for."""
    here = platform.python_version()
    asked = importlib.metadata.metadata(DISTRIBUTION)["Requires-Python"] or ""
    if here in SpecifierSet(asked, prereleases=True):
        yield Diagnosis("python", INSTALL, "ok", f"Python {here}")
    else:
        text = f"Python {here} runs, and {DISTRIBUTION} needs {asked}"
        yield Diagnosis("python", INSTALL, "problem", text, f"{_REINSTALL}  # in an environment with another Python")


def check_packages() -> Iterator[Diagnosis]:
    """Compare the versions of the packages that every install needs with what is asked for."""
    needed = [one for one, extra in requirements() if not extra]
    wrong = [text for one in needed if (text := _problem_with(one))]
    for text in wrong:
        yield Diagnosis("packages", INSTALL, "problem", text, _REINSTALL)
    if not wrong:
        yield Diagnosis("packages", INSTALL, "ok", f"{about(len(needed), 'package')} in versions that fit")


def check_extras() -> Iterator[Diagnosis]:
    """Look for extras of which only a part is installed, or in versions that do not fit.

    A package that several extras bring, or another program, says nothing about one of them. So an extra counts as
    wanted where at least half of what only it brings is there.
    """
    extras: dict[str, dict[str, Requirement]] = {}
    for one, extra in requirements():
        if extra:
            extras.setdefault(extra, {})[one.name] = one
    whole = []
    for extra, needed in sorted(extras.items()):
        problems = [text for one in needed.values() if (text := _problem_with(one))]
        if not problems:
            whole.append(extra)
        elif _is_wanted(extra, extras):
            text = f"the extra {extra!r} is there in part: {'; '.join(problems)}"
            yield Diagnosis("extras", INSTALL, "warning", text, install_line(extra))
    yield Diagnosis("extras", INSTALL, "ok", f"installed: {', '.join(whole) or 'none'}")


def _is_wanted(extra: str, extras: Mapping[str, Mapping[str, Requirement]]) -> bool:
    others = {name for other, needed in extras.items() if other != extra for name in needed}
    only = [name for name in extras[extra] if name not in others]
    here = sum(_version_of(name) is not None for name in only)
    return bool(here) and here * 2 >= len(only)


def requirements() -> Iterator[tuple[Requirement, str]]:
    """Yield the requirements that hold on this machine, each with the extra it belongs to; empty for every install."""
    for line in importlib.metadata.requires(DISTRIBUTION) or []:
        one = Requirement(line)
        extras = [""] if one.marker is None or one.marker.evaluate({"extra": ""}) else _extras()
        for extra in extras:
            if one.marker is None or one.marker.evaluate({"extra": extra}):
                yield one, extra


def _extras() -> list[str]:
    return importlib.metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []


def _problem_with(one: Requirement) -> str:
    """Return what is wrong with an installed package; empty for nothing."""
    here = _version_of(one.name)
    if here is None:
        return f"{one.name} is missing"
    return "" if one.specifier.contains(here, prereleases=True) else f"{one.name} is {here}, needed is {one.specifier}"


def _version_of(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_folder(what: str, folder: Path) -> Iterator[Diagnosis]:
    """Check that a folder can be written, or made."""
    there = _existing(folder)
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        yield Diagnosis(what, INSTALL, "ok", f"{folder} can be written")
    else:
        text = f"{there} is {'not writable' if there.is_dir() else 'no folder'}, so {folder} cannot be written"
        yield Diagnosis(what, INSTALL, "problem", text, f"chmod u+rwx {there}" if there.is_dir() else f"rm {there}")


def check_disk(what: str, folder: Path) -> Iterator[Diagnosis]:
    """Report the free space of the disk that a folder lies on."""
    free = shutil.disk_usage(_existing(folder)).free
    text = f"{free / 1e9:,.1f} GB free for the {what} ({folder})"
    if free < LOW_DISK:
        yield Diagnosis("free disk", INSTALL, "warning", text, f"du -sh {folder}")
    else:
        yield Diagnosis("free disk", INSTALL, "ok", text)


def check_memory() -> Iterator[Diagnosis]:
    """Report how much memory programs can still get."""
    import psutil

    available = psutil.virtual_memory().available
    text = f"{available / 1e9:,.1f} GB of memory available"
    state, command = ("warning", "hybrid-search status") if available < LOW_MEMORY else ("ok", "")
    yield Diagnosis("free memory", INSTALL, state, text, command)  # type: ignore[arg-type]


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return next((one for one in (folder, *folder.absolute().parents) if one.exists()), folder)
