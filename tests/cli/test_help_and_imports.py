"""What loads, and what is said in help. What the guide says of the verbs: tests/cli/test_guide.py."""

import json
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import hybrid_search
from hybrid_search.cli.app import app
from tests.pages import commands_by_words

HEAVY = (
    "torch transformers sentence_transformers onnxruntime onnx fastembed qdrant_client qdrant_edge pandas "
    "pydantic_settings tokenizers huggingface_hub pyarrow ir_measures semantic_text_splitter filelock textual"
)


def loaded_by(code):
    """Which heavy modules a fresh process has after this code."""
    code += f"\nimport sys, json; print(json.dumps([m for m in {HEAVY.split()} if m in sys.modules]), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stderr.splitlines()[-1])


def test_import_loads_nothing_heavy():
    assert loaded_by("import hybrid_search") == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["search", "--help"],
        ["tui", "--help"],
        ["models", "list", "-h"],
        ["guide"],
        ["guide", "filters"],
    ],
)
def test_help_loads_nothing_heavy(arguments):
    code = f"""
import sys
sys.argv = ["hybrid-search", *{arguments}]
from hybrid_search.cli.app import main
try:
    main()
except SystemExit as stop:
    assert stop.code == 0, stop.code
"""
    assert loaded_by(code) == []


def test_the_public_names_are_there_and_nothing_else():
    assert {"Document", "Indexer", "Searcher", "Results", "HybridSearchError"} <= set(hybrid_search.__all__)
    for name in hybrid_search.__all__:
        assert getattr(hybrid_search, name).__name__ == name
    assert dir(hybrid_search) == sorted(hybrid_search.__all__)
    with pytest.raises(AttributeError, match="'Serarcher'"):
        hybrid_search.Serarcher  # noqa: B018


MODULES_OF_HELP = 650
"""What `--help` may load, the standard library, rich and typer included: 596 where this was written."""


@pytest.mark.parametrize("arguments", [["--help"], ["search", "--help"], ["train", "--help"], ["import", "--help"]])
def test_help_is_quick(arguments):
    """Measured by the modules that are loaded, which no busy machine makes more."""
    code = f"""
import sys
sys.argv = ["hybrid-search", *{arguments}]
from hybrid_search.cli.app import main
try:
    main()
finally:
    print(len(sys.modules), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Usage: hybrid-search" in done.stdout
    assert int(done.stderr) <= MODULES_OF_HELP


def test_version(start):
    out, err = start("--version").communicate(timeout=30)
    assert (out, err) == (f"hybrid-search {hybrid_search.__version__}\n", "")


INTERFACE = """
    demo
    guide
    index
    status
    doctor
    search
    explain
    evaluate
    evaluate init
    compare
    tune
    train
    tui
    mcp
    serve
    export parquet
    export anserini
    export ciff
    export elasticsearch
    export opensearch
    export seismic
    export vespa
    import parquet
    import anserini
    import ciff
    import elasticsearch
    import opensearch
    collections list
    collections show
    collections verify
    collections adopt
    collections push
    collections pull
    collections copy
    collections snapshot
    collections restore
    collections delete
    collections add-leg
    collections swap-leg
    collections join-leg
    collections drop-leg
    models list
    models show
    models download
    models verify
"""
"""Every command there is, as help lists them: one that is added, renamed or gone is a change of the interface."""


def test_the_commands_are_those_of_the_interface():
    assert list(commands_by_words()) == [line.strip() for line in INTERFACE.strip().splitlines()]


@pytest.mark.parametrize("words", commands_by_words())
def test_the_help_of_a_command_begins_with_what_it_does(words):
    """It begins with a verb in the imperative, and is whole sentences."""
    first = commands_by_words()[words].help.split("\n\n")[0]
    assert first[0].isupper()
    assert first.endswith(".")
    verb = first.split()[0]
    assert verb.lower() not in {"the", "a", "an", "what", "whether", "where", "how", "of", "all"}
    assert not verb.endswith(("s", "ing", "ed"))


@pytest.mark.parametrize("words", commands_by_words())
def test_every_command_has_help_an_example_and_the_global_options(words):
    result = CliRunner().invoke(app, [*words.split(), "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exit_code == 0
    for option in ("--store", "--config", "--debug", "-h"):
        assert option in result.output
    example = re.search(r"Example: hybrid-search (.*)", result.output)
    assert example, result.output
    assert example[1].startswith(words)
    assert CliRunner().invoke(app, [*words.split(), "-h"]).exit_code == 0


@pytest.mark.parametrize("words", commands_by_words())
def test_every_argument_and_option_is_named_in_help(words):
    command = commands_by_words()[words]
    output = CliRunner().invoke(app, [*words.split(), "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    for name in [name for parameter in shown for name in parameter.opts if name.startswith("-")]:
        assert re.search(rf"(?<![\w-]){name}(?![\w-])", output), name


@pytest.mark.parametrize("arguments", [[], ["collections"], ["models"], ["export"], ["import"]])
def test_nothing_asked_shows_help(arguments):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "Usage" in result.output
