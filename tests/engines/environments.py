"""Where the real engines are: each is installed, when it is first needed, into a folder of its own.

    ENGINES_HOME    the folder; ~/.cache/hybrid-search-engines where it is not set
    ANSERINI_JAR    a jar that is there already
    JAVA_HOME       looked at first for a Java that is new enough

None of these packages belongs to the environment of the tests: they ask for other versions of the same libraries, or
for another Python.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

JAVA = 21
"""The oldest Java that runs this Anserini."""

ANSERINI = "anserini-1.7.1-fatjar.jar"
PYSERINI = "pyserini==1.6.0"
"""Its source distribution, 165 MB, holds that jar."""

INSTALL_S = 1200


class Environment(NamedTuple):
    """What is installed together, and the Python that it is for: `3.10`, or any."""

    requirements: tuple[str, ...]
    python: str = ""


ENVIRONMENTS = {
    # pyciff, which reads CIFF for PISA, has no wheel for a newer Python.
    "pisa": Environment(("pyterrier_pisa==0.4.9", "pyciff==0.1.1"), "3.10"),
    "bmp": Environment(("bmp==0.2.8",)),
    "seismic": Environment(("pyseismic-lsr==0.5.4",)),
    "ciff-toolkit": Environment(("ciff-toolkit==0.2.2", "protobuf<5")),
}


class Unavailable(Exception):
    """An engine cannot be had on this machine; says why."""


def home() -> Path:
    """Return the folder of the engines."""
    found = Path(os.environ.get("ENGINES_HOME") or Path.home() / ".cache" / "hybrid-search-engines").expanduser()
    found.mkdir(parents=True, exist_ok=True)
    return found


def python_of(name: str) -> Path:
    """Return the Python of an environment, which is made where it is not there.

    Raises:
        Unavailable: there is no Python for it, or its packages cannot be installed.
    """
    wanted = ENVIRONMENTS[name]
    folder = home() / name
    ready, python = folder / "ready", folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    content = "\n".join(wanted.requirements)
    with FileLock(f"{folder}.lock"):
        if not ready.is_file() or ready.read_text(encoding="utf-8") != content:
            shutil.rmtree(folder, ignore_errors=True)
            _checked([str(interpreter(wanted.python)), "-m", "venv", str(folder)], f"an environment for {name}")
            install = [str(python), "-m", "pip", "install", "--quiet", "--retries", "1", "--only-binary", ":all:"]
            _checked([*install, *wanted.requirements], f"{', '.join(wanted.requirements)}")
            ready.write_text(content, encoding="utf-8")
    return python


def interpreter(version: str = "") -> Path:
    """Return a Python of this version, `3.10`; the running one for any.

    Raises:
        Unavailable: there is none.
    """
    for candidate in [sys.executable, *_pythons(version)]:
        asked = [str(candidate), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        found = _output(asked).strip()
        if found and version in ("", found):
            return Path(candidate)
    raise Unavailable(f"needs Python {version}, and there is none on this machine")


def java() -> Path:
    """Return a Java that runs Anserini.

    Raises:
        Unavailable: there is none.
    """
    found = {candidate: java_version(_output([str(candidate), "-version"])) for candidate in _javas()}
    fitting = [candidate for candidate, version in found.items() if version >= JAVA]
    if not fitting:
        there = ", ".join(f"{candidate} ({version})" for candidate, version in found.items()) or "none"
        raise Unavailable(f"needs Java {JAVA} or newer; set JAVA_HOME. There is {there}")
    return fitting[0]


def java_version(told: str) -> int:
    """Return the major version that `java -version` tells; 0 where it tells none.

    >>> java_version('openjdk version "25.0.1" 2025-10-21'), java_version('java version "1.8.0_202"'), java_version("")
    (25, 8, 0)
    """
    found = re.search(r'version "(?:1\.)?(\d+)', told)
    return int(found[1]) if found else 0


def anserini() -> Path:
    """Return the jar of Anserini, which is downloaded where it is not there.

    Raises:
        Unavailable: `ANSERINI_JAR` names no file, or it cannot be downloaded.
    """
    if given := os.environ.get("ANSERINI_JAR"):
        if not Path(given).is_file():
            raise Unavailable(f"ANSERINI_JAR is {given}, and there is no such file")
        return Path(given)
    jar = home() / ANSERINI
    with FileLock(f"{jar}.lock"):
        if not jar.is_file():
            with tempfile.TemporaryDirectory(dir=home(), ignore_cleanup_errors=True) as place:
                download = [sys.executable, "-m", "pip", "download", "--quiet", "--retries", "1", "--no-deps"]
                _checked([*download, "--no-binary", ":all:", "--dest", place, PYSERINI], f"{PYSERINI}'s sources")
                _unpack(Path(place), jar)
    return jar


def _unpack(place: Path, jar: Path) -> None:
    """Take the jar out of the archive that lies in a folder."""
    [archive] = place.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        for member in packed:
            if Path(member.name).name == jar.name and (content := packed.extractfile(member)):
                with (place / jar.name).open("wb") as file:
                    shutil.copyfileobj(content, file)
                (place / jar.name).replace(jar)
                return
    raise Unavailable(f"{archive.name} holds no {jar.name}")


def _javas() -> Iterator[Path]:
    name = "java.exe" if os.name == "nt" else "java"
    homes = [os.environ[each] for each in ("JAVA_HOME", "JDK_HOME") if os.environ.get(each)]
    places = [Path(each) for each in homes]
    for around in ("/usr/lib/jvm", "/opt", "/Library/Java/JavaVirtualMachines"):
        places += sorted(Path(around).glob("*"), reverse=True)
    for place in places:
        yield from (java for java in (place / "bin" / name, place / "Contents/Home/bin" / name) if java.is_file())
    if on_path := shutil.which("java"):
        yield Path(on_path)


def _pythons(version: str) -> Iterator[str]:
    if on_path := shutil.which(f"python{version}"):
        yield on_path
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, sorted(root.glob(f"versions/{version}.*/bin/python")))


def _output(command: list[str]) -> str:
    """Return what a command says of itself; nothing where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if done.returncode else done.stdout + done.stderr


def _checked(command: list[str], what: str) -> None:
    """Run a command that installs something.

    Raises:
        Unavailable: it failed; says the end of what it said.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"needs {what}, which cannot be installed: {error}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise Unavailable(f"needs {what}, which cannot be installed: {''.join(said)}")
