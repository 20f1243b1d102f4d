"""What the guide's page on other engines and the README of an export show is run as it stands there, by the engine."""

import os
import re
import shutil
import subprocess

import pytest

from hybrid_search.corpus.trec import read_run
from tests.engines.environments import anserini, java, python_of
from tests.engines.exact import overlap
from tests.pages import block, shell_lines

pytestmark = [pytest.mark.engines, pytest.mark.shared, pytest.mark.slow, pytest.mark.timeout(2400)]


@pytest.fixture
def here(cranfield, tmp_path):
    """A folder with the exports, called as on the page."""
    for name in ("anserini", "ciff", "seismic"):
        (tmp_path / name).symlink_to(cranfield.export(name), target_is_directory=True)
    return tmp_path


def java_path():
    """The path on which commands are looked for, with a Java that is new enough first."""
    return f"{java().parent}{os.pathsep}{os.environ['PATH']}"


def ran(command, here, **more):
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, env={**os.environ, **more}, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.java
def test_the_commands_of_anserini_index_and_search(here):
    places = {"JAR": str(anserini()), "PATH": java_path()}
    first, second = shell_lines(block("engines", "sh", "anserini"))
    assert "indexed:            1,398" in ran(["sh", "-c", first], here, **places)
    ran(["sh", "-c", second], here, **places)
    assert (here / "run.trec").read_text(encoding="utf-8").startswith("1 Q0 ")


@pytest.mark.parametrize("name", ["pisa", "bmp", "seismic"])
def test_the_examples_in_python_search(name, here, cranfield):
    printed = ran([python_of(name), "-c", block("engines", "python", name).code], here)
    first, last = cranfield.exact["1"], cranfield.exact["225"]
    expected = {"pisa": f"1398 {first[0]}", "bmp": f"['{first[0]}'", "seismic": "1398 ("}[name]
    assert any(line.startswith(expected) for line in printed.splitlines()), printed
    assert name != "seismic" or f"'{last[0]}')" in printed.splitlines()[-1]


# ---------------------------------------------------------------- the README of an export


@pytest.mark.java
def test_the_commands_in_the_readme_of_anserini_index_and_search(cranfield, tmp_path):
    """Run in the export itself, with the jar beside it."""
    place = shutil.copytree(cranfield.export("anserini"), tmp_path / "export")
    (place / "anserini-fatjar.jar").symlink_to(anserini())
    section = (place / "README.md").read_text(encoding="utf-8").partition("## Anserini\n")[2].partition("\n## ")[0]
    commands = "\n".join(line[4:] for line in section.splitlines() if line.startswith(("    java ", "      -")))
    told = ran(["sh", "-ec", commands], place, PATH=java_path())
    assert "indexed:            1,398" in told
    assert_alike(place, cranfield, 0.99)


@pytest.mark.parametrize("options", [(), ("--idf", "documents")])
def test_the_program_in_the_readme_of_seismic_finds_the_exact_ranking(options, cranfield, tmp_path):
    place = shutil.copytree(cranfield.export("seismic", *options), tmp_path / "export")
    [program] = re.findall(r"```python\n(.*?)```", (place / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    ran([python_of("seismic"), "-c", program], place)
    assert_alike(place, cranfield, 0.999)


def assert_alike(place, cranfield, least):
    """Whether the run that was written there has as much of the exact top 10."""
    run = {}
    for row in read_run(place / "run.trec"):
        run.setdefault(row.query_id, []).append(row.doc_id)
    assert overlap(run, cranfield.exact) >= least
