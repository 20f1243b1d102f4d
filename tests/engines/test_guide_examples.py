"""What the guide's page on other engines shows is run as it stands there, by the engine that it is for."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.engines.environments import Unavailable, anserini, java, python_of
from tests.pages import block, shell_lines

pytestmark = [pytest.mark.engines, pytest.mark.shared, pytest.mark.slow, pytest.mark.timeout(2400)]


@pytest.fixture
def here(cranfield, tmp_path):
    """A folder with the exports, called as on the page."""
    for name in ("anserini", "ciff", "seismic"):
        (tmp_path / name).symlink_to(cranfield.export(name), target_is_directory=True)
    return tmp_path


def needed(find, *arguments):
    """What an example needs; skips where it cannot be had."""
    try:
        return str(find(*arguments))
    except Unavailable as error:
        pytest.skip(str(error))


def ran(command, here, **more):
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, env={**os.environ, **more}, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.java
def test_the_commands_of_anserini_index_and_search(here):
    places = {"JAR": needed(anserini), "PATH": f"{Path(needed(java)).parent}{os.pathsep}{os.environ['PATH']}"}
    first, second = shell_lines(block("engines", "sh", "anserini"))
    assert "indexed:            1,398" in ran(["sh", "-c", first], here, **places)
    ran(["sh", "-c", second], here, **places)
    assert (here / "run.trec").read_text(encoding="utf-8").startswith("1 Q0 ")


@pytest.mark.parametrize("name", ["pisa", "bmp", "seismic"])
def test_the_examples_in_python_search(name, here, cranfield):
    printed = ran([needed(python_of, name), "-c", block("engines", "python", name).code], here)
    first, last = cranfield.exact["1"], cranfield.exact["225"]
    expected = {"pisa": f"1398 {first[0]}", "bmp": f"['{first[0]}'", "seismic": "1398 ("}[name]
    assert any(line.startswith(expected) for line in printed.splitlines()), printed
    assert name != "seismic" or f"'{last[0]}')" in printed.splitlines()[-1]
