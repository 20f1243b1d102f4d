"""A collection whose every text is full of control signs is shown on every surface, and none of them gets through."""

import io
import itertools
import json
import os
import re
import subprocess
import sys
import textwrap

import pytest
from rich.console import Console

from hybrid_search._util.printable import UNSEEN
from hybrid_search.cli import console, result_view
from hybrid_search.cli.progress_bar import JobBar
from hybrid_search.corpus.trec import read_run
from hybrid_search.encoders import catalog
from hybrid_search.indexing.progress import Progress
from hybrid_search.searcher import Searcher
from hybrid_search.settings import load_settings
from tests.fake_models import fake_card

OSC = "\x1b]0;PWNED\x07\x1b[2J\x1b]52;c;aGk=\x07"
LINK = "\x1b]8;id=1;http://evil.example\x1b\\link\x1b]8;;\x1b\\"
C1 = "\x9b2J\x9d0;x\x9c\x85\x90q\x9c"
STYLE = "\x1b[38;5;199m"
BIDI = "\u202eevil\u202c\u2066\u2069\u2028\u200b\ufeff\U000e0041"
WILD = f"{OSC}{LINK}{C1}{STYLE}{BIDI}\x00\x08\x0b\x0c\x7f\r[bold red][/]"
"""Every kind at once: each field of every document has it."""

STORED = WILD.replace("\0", "\ufffd")

FILE = f"w{STYLE}\x07\x9b2J\u202e\r\n[bold]".replace("/", "")
"""What a file's name can hold."""

OURS = re.compile(r"\x1b\[[\d;]*m|\x1b\]8;[^;\x07\x1b]*;[!-~]*\x1b\\")
"""How rich writes styles and links."""

CURSOR = re.compile(r"\x1b\[(?:\?25[lh]|\d*[ABCDGK]|[12]?K)|\r")
"""How its bars move."""

BM25 = ("--sparse", "qdrant/bm25-engine", "--dense", "none")


def harmless(shown, what):
    """Nothing is left of the documents' signs once our own styles are taken away, nor any style or link of theirs."""
    for style in OURS.findall(shown):
        assert style.startswith("\x1b]8") or "199" not in style, what
        assert "evil.example" not in style, what
    rest = OURS.sub("", shown)
    left = [sign for sign in UNSEEN.findall(rest) if sign != "\n"]
    assert not left, (what, left, rest[:2000])


@pytest.fixture
def wild(run, tmp_path):
    """The folder with the files, and the collection `wild` of them."""
    folder = tmp_path / "sources"
    folder.mkdir()
    rows = [
        {
            "_id": f"d{number} {WILD}",
            "title": f"T{WILD}",
            "text": f"yaks {WILD} and wombats number {['one', 'two', 'three', 'four'][number]} \ud800",
            f"key {WILD}": f"v{WILD}",
            "list": [WILD, 1],
            "nested": {WILD: WILD},
        }
        for number in range(4)
    ]
    (folder / f"{FILE}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / f"{FILE}.md").write_text(f"# yaks{WILD}\n\nmore yaks {WILD}\n", encoding="utf-8")
    (folder / f"{FILE}.py").write_text(f"def yaks():\n    return '{WILD}'\n".replace("\r", ""), encoding="utf-8")
    (folder / f"bad {FILE}.jsonl").write_text(f'{{"_id": "{WILD}", \n', encoding="utf-8")
    (folder / f"empty {FILE}.txt").write_bytes(b"")
    (folder / f"bytes {FILE}.txt").write_bytes(b"\x00\x1b[2J")
    assert run("index", folder, "-c", "wild", *BM25, "--progress", "none").code == 4
    return folder


def surfaces(folder):
    """What is run, by the name of the surface."""
    search = ("search", "yaks", "-c", "wild")
    doc = f"d1 {STORED}"
    return {
        "table": search,
        "explained": (*search, "--explain"),
        "full": (*search, "--full", "--no-fold"),
        "re-ranked": (*search, "--rerank", "nowhere" + STYLE),
        "json": (*search, "--format", "json", "--explain"),
        "jsonl": (*search, "--format", "jsonl"),
        "trec": (*search, "--format", "trec", "--no-fold"),
        "a hostile query": ("search", f"yaks {WILD}", "-c", "wild", "--explain"),
        "nothing found": ("search", f"zzz{STYLE}\x9b", "-c", "wild"),
        "past the end": ("search", f"yaks {STYLE}\x9b", "-c", "wild", "--offset", "99"),
        "why": ("explain", f"yaks {STYLE}", "-c", "wild", "--doc", doc),
        "why not": ("explain", f"yaks {STYLE}", "-c", "wild", "--doc", doc, "--where", f"list = '{STYLE}'"),
        "why as json": ("explain", "yaks", "-c", "wild", "--doc", doc, "--format", "json"),
        "no such document": ("explain", "yaks", "-c", "wild", "--doc", f"{STYLE}\x9b\u202e"),
        "a filter that cannot be read": (*search, "--where", f"year {STYLE}\x9b > 3"),
        "a filter of an unknown field": (*search, "--where", "nothing > 3"),
        "a filter with a wild value": (*search, "--where", f"list = 'x{STYLE}\x9b\u202e"),
        "a wild collection": ("search", "yaks", "-c", f"no{STYLE}\x9b\n"),
        "a wild number": (*search, "-k", STYLE + "\x9b"),
        "a wild option": (*search, f"--no{STYLE}\x9b"),
        "twice": (*search, "-c", STYLE + "\x9b"),
        "a wild mode": (*search, "--mode", STYLE + "\x9b"),
        "a wild model": (*search, "--sparse", STYLE + "\x9b"),
        "index": ("index", folder, "-c", "again", *BM25),
        "index by events": ("index", folder, "-c", "events", *BM25, "--progress", "json"),
        "dry run": ("index", folder, "-c", "wild", "--dry-run"),
        "a wild source": ("index", f"no{STYLE}\x9b", "-c", "wild"),
        "debug": ("index", f"no{STYLE}\x9b", "-c", "wild", "--debug"),
        "status": ("status",),
        "status as json": ("status", "--format", "json"),
        "collections": ("collections", "list"),
        "a collection": ("collections", "show", "wild"),
        "no such collection": ("collections", "delete", f"x{STYLE}\x9b", "--yes"),
        "a wild store": ("--store", f"{folder}/no{STYLE}\x9b\u202e", "collections", "list"),
        "a wild config": ("--config", f"{folder}/no{STYLE}\x9b\u202e", "collections", "list"),
        "models": ("models", "list"),
        "a wild model folder": ("models", "show", str(folder)),
        "an unknown model": ("models", "verify", f"x{STYLE}\x9b"),
    }


def test_no_surface_lets_a_control_sign_through(run, wild, tmp_path):
    for name, arguments in surfaces(wild).items():
        done = run(*arguments)
        harmless(done.out, name)
        harmless(done.err, name)
        assert done.out or done.err, name
        assert "This is a fault of ours" not in done.err, (name, done.err)
        if "json" in name or "events" in name:
            for line in (done.out if "json" in name else done.err).splitlines():
                json.loads(line)
    found = json.loads(run("search", "yaks", "-c", "wild", "--format", "json", "--no-fold").out)
    texts = [hit["title"] for hit in found["hits"]]
    assert f"T{STORED}" in texts  # what machines read is the text itself
    (tmp_path / "run").write_text(run("search", "yaks", "-c", "wild", "--format", "trec").out, encoding="utf-8")
    assert {row.doc_id for row in read_run(tmp_path / "run")} <= {hit["doc_id"] for hit in found["hits"]}


def test_evaluation_and_models_with_wild_names(run, wild, tmp_path, fakes, monkeypatch):
    wild_card = fake_card(f"sparse{STYLE}\x9b\u202e[bold]", "sparse")
    monkeypatch.setattr(catalog, "CARDS", (*catalog.CARDS, wild_card))
    dataset = tmp_path / f"set{STYLE}\x9b\u202e[bold]"
    (dataset / "qrels").mkdir(parents=True)
    rows = [{"_id": f"d{WILD}", "text": f"yaks {WILD}"}, {"_id": "e", "text": ""}]
    (dataset / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (dataset / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": f"yaks {STYLE}"}) + "\n")
    (dataset / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\te\t1\n")
    for name, arguments in {
        "evaluate": ("evaluate", dataset, "--sparse", wild_card.name, "--dense", "none"),
        "evaluate as json": ("evaluate", dataset, "--sparse", wild_card.name, "--dense", "none", "--format", "json"),
        "an unknown measure": ("evaluate", dataset, *BM25, "--measures", f"x{STYLE}\x9b"),
        "an unknown mode": ("evaluate", dataset, *BM25, "--modes", f"x{STYLE}\x9b"),
        "no dataset": ("evaluate", f"{dataset}{STYLE}\x9b"),
        "index": ("index", dataset, "-c", "wild2", "--sparse", wild_card.name, "--dense", "none"),
        "collections": ("collections", "list"),
        "explain": ("explain", "yaks", "-c", "wild2"),
        "mismatch": ("search", "yaks", "-c", "wild2", "--sparse", "fake/sparse"),
        "models": ("models", "list"),
        "a model": ("models", "show", wild_card.name),
    }.items():
        done = run(*arguments)
        harmless(done.out, name)
        harmless(done.err, name)
        assert done.out or done.err, name
        assert "This is a fault of ours" not in done.err, (name, done.err)
    assert "[bold]" in run("collections", "list").out


TERMINAL = """
    import json, sys
    from hybrid_search.cli import verb
    from hybrid_search.cli.app import app, streams
    streams.prepare()
    for arguments in json.loads(sys.argv[1]):
        verb.given.__init__()
        try:
            app(arguments, prog_name="hybrid-search")
        except SystemExit as ended:
            assert ended.code in (0, 1, 2, 3, 4), ended.code
        sys.stderr.write(f"=== {json.dumps(arguments)}\\n")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_nor_on_a_terminal_with_colours_bars_and_a_pager(wild, environment, tmp_path):
    import pty

    (tmp_path / "pager").write_text("#!/bin/sh\nexec cat\n")
    (tmp_path / "pager").chmod(0o755)
    asked = [list(map(str, arguments)) for arguments in surfaces(wild).values()]
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(TERMINAL), json.dumps(asked)],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm-256color", "FORCE_COLOR": "1", "PAGER": str(tmp_path / "pager")},
    )
    os.close(terminal)
    shown = b""
    try:
        while block := os.read(controller, 1 << 16):
            shown += block
    except OSError:  # Linux: the other end has been closed
        pass
    os.close(controller)
    assert process.wait(60) == 0, shown[-2000:]
    parts = shown.decode("utf-8").replace("\r\n", "\n").split("=== ")
    assert len(parts) == len(asked) + 1
    for before, part in itertools.pairwise(parts):
        harmless(CURSOR.sub("", before), part[:200])
    assert re.search(r"\x1b\[1m", shown.decode())  # styles were on
    targets = set(re.findall(r"\x1b\]8;[^;]*;([!-~]+)\x1b", shown.decode()))
    assert targets
    assert all(target.startswith((wild.as_uri(), tmp_path.as_uri())) for target in targets)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_bar_shows_the_name_of_a_file_and_no_more(width):
    bar = JobBar()
    bar.tell(Progress(1, 1, 0, 0, 10, 1.0, current=f"docs/{FILE}"))
    drawn = console._Console(width=width, file=io.StringIO(), force_terminal=True, color_system="standard")
    drawn.print(bar)
    harmless(drawn.file.getvalue(), "bar")


def test_an_origin_forges_no_link(wild, tmp_path):
    """An origin may be whatever another program wrote."""
    real = tmp_path / "real.txt"
    real.write_text("x")
    for origin in (f"{real}{LINK}", LINK, f"https://evil.example/{real}", "\0", "x" * 5000, f"file://{real}"):
        shown = Console(file=io.StringIO(), force_terminal=True, width=80)
        shown.print(result_view._origin(origin))
        harmless(shown.file.getvalue(), origin)
        assert "\x1b]8" not in shown.file.getvalue()
    with_link = Console(file=io.StringIO(), force_terminal=True, width=80)
    with_link.print(result_view._origin(f"{real}:7"))
    assert real.as_uri() in with_link.file.getvalue()


def test_log_lines_and_warnings_are_made_fit(run, wild, monkeypatch):
    import logging
    import warnings

    def noisy(*_, **__):
        logging.getLogger("hybrid_search.store").warning("%s lies there", WILD)
        warnings.warn(f"odd {WILD}", UserWarning, stacklevel=1)
        raise ValueError(WILD)

    monkeypatch.setattr("hybrid_search.collection.models.open_store_for", noisy)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    for options in ((), ("--debug",)):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            root.handlers.clear()
            done = run("collections", "list", *options)
        harmless(done.err, options)
        assert "lies there" in done.err
        assert ("UserWarning" in done.err) == ("Traceback" in done.err) == bool(options)


def test_encodings_with_wild_texts(run, wild, tmp_path):
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    file = tmp_path / f"{FILE}.parquet"
    for arguments in (
        ("index", "-c", "wild", "--save-encodings", file),
        ("index", "--from-encodings", file, "-c", "loaded"),
        ("index", "--from-encodings", f"{file}x", "-c", "loaded"),
        ("search", "yaks", "-c", "loaded"),
    ):
        done = run(*arguments)
        harmless(done.out + done.err, arguments)
        assert "This is a fault of ours" not in done.err, done.err


def test_the_full_screen(wild, environment):
    pytest.importorskip("textual", reason="needs the extra tui")
    import asyncio

    from hybrid_search.cli.tui import format
    from hybrid_search.cli.tui.app import SearchApp
    from hybrid_search.cli.tui.dialogs import Choose

    settings = load_settings()
    app = SearchApp(["wild"], lambda name: Searcher.open(name, settings=settings))

    def drawn():
        strips = app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)

    async def play():
        async with app.run_test(size=(140, 50)) as pilot:
            await pilot.press(*"yaks")
            while app.shown is None or app.shown.asked != app.asked or not app.search_modes:
                await pilot.pause(0.05)
            for _ in range(len(app.shown.results)):
                await pilot.pause(0.05)
                harmless(drawn(), "screen")
                harmless(format.citation(app.selected), "citation")
                await pilot.press("down")
            await pilot.press("ctrl+y")
            assert UNSEEN.sub("", app.clipboard.replace("\n", "")) == app.clipboard.replace("\n", "")
            await pilot.press("ctrl+f", *"nothing")
            await pilot.pause(0.3)
            harmless(drawn(), "filter")
            app.status.say(WILD, bad=True)
            app.push_screen(Choose([f"a{STYLE}\x9b[bold]", "b"]))
            await pilot.pause(0.2)
            harmless(drawn(), "dialog")

    asyncio.run(play())


def test_a_line_break_forges_no_message(capsys):
    """Of a message the first line alone begins at the margin."""
    console.complain("a.txt\nerror: all is lost\n  as it is")
    console.note("\nfirst\nerror: second")
    assert capsys.readouterr().err.split("\n") == [
        "error: a.txt",
        "  error: all is lost",
        "  as it is",
        "",
        "first",
        "  error: second",
        "",
    ]
