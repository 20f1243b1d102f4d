"""What would be uploaded, looked at as whoever installs it gets it: `make release-check`.

Builds the sdist, and the wheel out of it. Checks their metadata and what they hold. Installs each into an environment
of its own, and runs the command there: the version, the demo, and every verb that needs an extra without one.
With names of extras (or `all`) each of them is installed from the wheel into a new environment and imported.

    python .ci/release_check.py [EXTRA ...]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TORCH = "torch==2.13.0"
"""Before an extra that wants any torch: a build for processors where the index has one, and no newer one."""

CHECKOUT_ONLY = (
    "hybrid_search/training/bundled/",
    "hybrid_search/cli/tui/screenshot.",
    "hybrid_search/guide/screenshot.",
)
IN_BOTH = ("hybrid_search/py.typed", "hybrid_search/encoders/bundled/model/model.onnx", "LICENSE")
IN_WHEEL = ("hybrid_search/data/movies/corpus.jsonl",)
IN_SDIST = (
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
    "Makefile",
    "tests/conftest.py",
    "datasets/movies/corpus.jsonl",
)

ADAPTERS = {"serve": "http", "haystack": "haystack", "langchain": "langchain", "llamaindex": "llamaindex", "mcp": "mcp"}
"""The extras that an adapter stands behind, and its name in `hybrid_search.integrations`."""

IMPORTS = """
import importlib, sys
from hybrid_search._util import extras
extra, adapter = sys.argv[1:]
extras.check_extra(extra, "The release")
modules = [*extras.PACKAGES[extra], *([f"hybrid_search.integrations.{adapter}"] if adapter else [])]
for name in modules:
    importlib.import_module(name)
print(extra + ":", *modules)
"""


def main(wanted: list[str]) -> None:
    """Check everything, in a folder that is removed afterwards."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hybrid-search-release-") as place:
        sdist, wheel = build(Path(place) / "dist")
        check_contents(sdist, wheel)
        check_command(Path(place), wheel, sdist)
        for extra in extras_of(wanted):
            check_extra(Path(place), wheel, extra)
    print(f"release check passed in {time.monotonic() - began:.0f} s")


def build(dist: Path) -> tuple[Path, Path]:
    """Return the sdist and the wheel that was built out of it, both with sound metadata."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, ROOT)
    (sdist,), (wheel,) = dist.glob("*.tar.gz"), dist.glob("*.whl")
    run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel)
    return sdist, wheel


def check_contents(sdist: Path, wheel: Path) -> None:
    """Refuse where a file is missing, or is where it does not belong."""
    with tarfile.open(sdist) as archive:
        in_sdist = [name.partition("/")[2] for name in archive.getnames()]
    with zipfile.ZipFile(wheel) as packed:
        in_wheel = packed.namelist()
    lacking = [f"{name} in the sdist" for name in (*IN_BOTH, *IN_SDIST) if name not in in_sdist]
    lacking += [f"{place} in the sdist" for place in CHECKOUT_ONLY if not starting(in_sdist, place)]
    lacking += [f"{name} in the wheel" for name in (*IN_BOTH, *IN_WHEEL) if not any(f.endswith(name) for f in in_wheel)]
    surplus = [name for place in (*CHECKOUT_ONLY, "tests/", ".") for name in starting(in_wheel, place)]
    surplus += [name for name in in_sdist if "__pycache__" in name or name.startswith((".venv", ".git/"))]
    if lacking or surplus:
        sys.exit(f"missing: {', '.join(lacking) or 'nothing'}; not to be there: {', '.join(surplus) or 'nothing'}")
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, {sdist.name}: {sdist.stat().st_size / 1e6:.1f} MB")


def starting(names: list[str], beginning: str) -> list[str]:
    """Return the names that start so."""
    return [name for name in names if name.startswith(beginning)]


def check_command(place: Path, wheel: Path, sdist: Path) -> None:
    """Install the wheel into a new environment, then the sdist in its place, and use each."""
    python = environment(place / "plain")
    command = python.parent / "hybrid-search"
    for packed, alone in ((wheel, ()), (sdist, ("--no-deps", "--force-reinstall"))):
        run(python, "-m", "pip", "install", "--quiet", *alone, packed)
        run(command, "--version", at=place)
        run(command, "--store", place / f"store of {packed.suffix}", "demo", at=place)
    run(python, "-m", "pip", "check")
    (place / "without").mkdir()
    run(python, ROOT / "tests" / "without_extras.py", place / "without", quiet=True, at=place)
    print("every verb that needs an extra says so")


def check_extra(place: Path, wheel: Path, extra: str) -> None:
    """Install one extra of the wheel into a new environment and import what it promises."""
    python = environment(place / extra)
    if extra in ("minilm", "torch", "train", "all"):
        run(python, "-m", "pip", "install", "--quiet", TORCH)
    run(python, "-m", "pip", "install", "--quiet", f"{wheel}[{extra}]")
    run(python, "-m", "pip", "check")
    if extra != "all":
        run(python, "-c", IMPORTS, extra, ADAPTERS.get(extra, ""), at=place)
    shutil.rmtree(place / extra)


def extras_of(wanted: list[str]) -> list[str]:
    """Return the extras to install. `all` and `1` stand for every one."""
    sys.path.insert(0, str(ROOT))
    from hybrid_search._util.extras import PACKAGES

    if {"all", "1"} & set(wanted):
        return [*PACKAGES, "all"]
    unknown = sorted(set(wanted) - set(PACKAGES) - {"0"})
    if unknown:
        sys.exit(f"there is no extra {', '.join(unknown)}; there are {', '.join(PACKAGES)}")
    return [extra for extra in PACKAGES if extra in wanted]


def environment(folder: Path) -> Path:
    """Make a new virtual environment; return its interpreter."""
    venv.create(folder, with_pip=True)
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def run(*command: str | Path, at: Path = ROOT, quiet: bool = False) -> None:
    """Run a command, and end with its output where it fails. Nothing of this environment reaches it."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    print("+", *(str(part) if "\n" not in str(part) else "..." for part in command), flush=True)
    done = subprocess.run(command, cwd=at, env=kept, stdout=subprocess.PIPE if quiet else None)
    if done.returncode:
        sys.exit(f"failed with exit code {done.returncode}: {' '.join(map(str, command[:4]))}")


if __name__ == "__main__":
    main(sys.argv[1:])
