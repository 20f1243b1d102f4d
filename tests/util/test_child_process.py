"""A child Python imports what its parent can, and how a process ended is said in words."""

import subprocess
import sys

import pytest

from hybrid_search._util.child_process import exit_reason, python_command


@pytest.mark.parametrize(
    ("code", "reason"),
    [(0, "exit code 0"), (3, "exit code 3"), (-11, "signal SIGSEGV"), (-9, "signal SIGKILL"), (-4000, "signal 4000")],
)
def test_how_a_process_ended_is_said(code, reason):
    assert exit_reason(code) == reason


@pytest.mark.parametrize("folder", ["plain", 'it\'s "odd"', "sign\\n", "漢字"])
def test_a_child_imports_what_this_process_can_and_not_what_lies_around(tmp_path, monkeypatch, folder):
    modules, around = tmp_path / folder, tmp_path / "around"
    for place, name in ((modules, "of_the_parent"), (around, "lies_around")):
        place.mkdir()
        (place / f"{name}.py").write_text("")
    monkeypatch.syspath_prepend(modules)
    monkeypatch.setenv("PYTHONPATH", str(around))
    given = ["a b", "", "ü", 7]
    for code, found in (("import of_the_parent; print(ascii(sys.argv[1:]))", True), ("import lies_around", False)):
        command = python_command(code, *given)
        done = subprocess.run(command, cwd=around, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) == found, done.stderr
        assert done.stdout.strip() == (ascii([str(each) for each in given]) if found else "")
    assert [str(modules), *sys.path[1:]] == sys.path
