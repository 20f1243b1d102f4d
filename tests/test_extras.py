"""Without an extra, whatever needs it says which one and how it is installed; everything else goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hybrid_search import errors
from hybrid_search._util import extras
from tests import without_extras
from tests.without_extras import CASES, Answer

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


PROJECT = tomllib.loads((without_extras.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OPTIONAL = PROJECT["optional-dependencies"]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What a process in which no extra is found answers to every case."""
    path = without_extras.installed_without_extras(tmp_path_factory.mktemp("installed"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    command = [sys.executable, "-S", without_extras.__file__, str(tmp_path_factory.mktemp("without"))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.stdout, done.stderr
    return {name: Answer(*found) for name, found in json.loads(done.stdout.splitlines()[-1]).items()}


@pytest.mark.parametrize("name", CASES)
def test_what_needs_a_missing_extra_names_it_and_its_install_line(answers, name):
    assert not [line for line in without_extras.faults(answers) if line.startswith(f"{name} (")]


def test_a_wrong_answer_is_a_fault(answers):
    for wrong in (
        Answer(0, "done"),
        Answer(3, "ModuleNotFoundError: No module named 'uvicorn'. This is a fault of ours"),
    ):
        assert len(without_extras.faults({**answers, "serve": wrong})) == 1


def test_every_extra_is_asked_for_somewhere_or_can_be_done_without():
    # Code is cut like any text; bf16 is refused by most processors before anything else is looked at.
    assert {case.extra for case in CASES.values()} - {""} == set(extras.PACKAGES) - {"code", "openvino"}


def test_the_extras_are_those_of_the_distribution():
    assert PROJECT["name"] == errors.DISTRIBUTION
    assert set(extras.PACKAGES) == set(OPTIONAL) - {"all"}
    (everything,) = OPTIONAL["all"]
    name, _, names = everything.rstrip("]").partition("[")
    assert name == errors.DISTRIBUTION
    assert set(names.split(",")) < set(extras.PACKAGES)


@pytest.mark.parametrize("extra", ["code", "datasets", "eval", "openvino", "parquet", "ray", "serve", "tui", "watch"])
def test_an_extra_installs_the_packages_that_are_looked_for(extra):
    asked_for = {requirement.split(">")[0].split("[")[0].replace("-", "_") for requirement in OPTIONAL[extra]}
    assert set(extras.PACKAGES[extra]) == asked_for


def test_a_message_names_what_needs_the_extra(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "uvicorn" else object())
    extras.check_extra("serve", "The HTTP server", "starlette")
    with pytest.raises(
        errors.MissingExtra, match=r"^The HTTP server needs the 'serve' extra\. Install it: pip install"
    ):
        extras.check_extra("serve", "The HTTP server")


@pytest.mark.parametrize("name", ["no_such_package", "no_such_package.inside", "json.no_such_module"])
def test_a_package_that_is_not_there_is_not_installed(name):
    assert not extras.are_installed("json", name)


def test_a_package_without_a_specification_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "odd_package", type(sys)("odd_package"))
    assert not extras.are_installed("odd_package")
    monkeypatch.setitem(sys.modules, "odd_package", None)
    assert not extras.are_installed("odd_package")


def test_an_import_that_fails_inside_is_a_missing_extra_and_anything_else_goes_through():
    with (
        pytest.raises(errors.MissingExtra, match=r"Drawing needs the 'tui' extra") as raised,
        extras.importing_extra("tui", "Drawing"),
    ):
        import no_such_package  # type: ignore[import-not-found]  # noqa: F401
    assert isinstance(raised.value.__cause__, ModuleNotFoundError)
    with pytest.raises(ZeroDivisionError), extras.importing_extra("tui", "Drawing"):
        1 / 0  # noqa: B018


def test_every_install_line_names_the_distribution():
    files = [file for file in Path(extras.__file__).parents[1].rglob("*") if file.suffix in (".py", ".md", ".html")]
    wrong = [file for file in files if "hybrid-search[" in file.read_text(encoding="utf-8")]
    assert len(files) > 100
    assert not wrong
