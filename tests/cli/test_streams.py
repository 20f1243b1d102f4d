"""Streams as they are found: in any encoding, closed, full, or left by their reader; and any bytes as arguments."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

BM25 = ("--sparse", "qdrant/bm25-engine", "--dense", "none")
TITLE = "Crème brûlée — “猫” 🍮 é…"
ROWS = [
    {"_id": "é1", "title": TITLE, "text": "Café crème — 猫 yaks “quoted” … end", "ort": "Zürich"},
    {"_id": "b", "title": "Plain", "text": "yaks in ASCII"},
]
DRIVER = """
    import json, os, sys
    from hybrid_search.cli.command import global_options
    from hybrid_search.cli.app import app, streams
    streams.prepare()
    for arguments in json.loads(sys.argv[1]):
        global_options.reset()
        try:
            given = [os.fsdecode(argument.encode("utf-8", "surrogateescape")) for argument in arguments]
            app(given, prog_name="hybrid-search")
        except SystemExit as ended:
            code = ended.code or 0
        for stream in (sys.stdout, sys.stderr):
            stream.write(f"\\n=== {code}\\n")
            stream.flush()
"""
LOCALES = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "utf-16": {"PYTHONIOENCODING": "utf-16-le"},
    "ascii:replace": {"PYTHONIOENCODING": "ascii:replace"},
    "the C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "Python's C locale": {"LC_ALL": "C"},
}
USUAL = ("ascii", "cp1252", "the C locale")
"""Those that are tried each time; the others take as long."""


@pytest.fixture
def yaks(run, jsonl):
    """The collection `yaks`; gives its source, in a folder with letters beyond ASCII."""
    file = jsonl(ROWS, "Grüße/yäks.jsonl")
    assert run("index", file, "-c", "yaks", *BM25).code == 0
    return file


def started(asked, environment, **pipes):
    """Commands one after the other in a process of their own: the exit code, stdout and stderr of each, as bytes."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(DRIVER), json.dumps([list(map(str, one)) for one in asked])],
        capture_output=True,
        env={**{k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))}, **environment},
        timeout=120,
        check=False,
        **pipes,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    encoding = environment.get("PYTHONIOENCODING", "utf-8").partition(":")[0]
    parts = [stream.decode(encoding, "replace").split("\n=== ") for stream in (done.stdout, done.stderr)]
    assert all(len(part) == len(asked) + 1 for part in parts)
    codes = [int(part.split("\n")[0]) for part in parts[0][1:]]
    texts = [[part.partition("\n")[2] if place else part for place, part in enumerate(some)] for some in parts]
    return list(zip(codes, texts[0], texts[1], strict=False))


@pytest.mark.parametrize(
    "name", [name if name in USUAL else pytest.param(name, marks=pytest.mark.slow) for name in LOCALES]
)
def test_every_surface_works_in_every_encoding(yaks, name, tmp_path):
    bad = tmp_path / "Grüße" / "schlecht-é猫.jsonl"
    bad.write_text('{"_id": \n', encoding="utf-8")
    search = ("search", "yaks", "café", "-c", "yaks")
    asked = [
        (0, search),
        (0, (*search, "--explain")),
        (0, (*search, "--full")),
        (0, (*search, "--format", "json")),
        (0, (*search, "--format", "jsonl")),
        (0, (*search, "--format", "trec")),
        (0, ("explain", "café", "-c", "yaks", "--doc", "é1")),
        (0, ("explain", "café", "-c", "yaks", "--doc", "é1", "--format", "json")),
        (2, (*search, "--where", "ört = 'é'")),
        (2, ("search", "x", "-c", "é")),
        (4, ("index", bad.parent, "-c", "more", *BM25)),
        (4, ("index", bad.parent, "-c", "more", "--progress", "json")),
        (4, ("index", bad.parent, "-c", "more", "--dry-run")),
        (0, ("status",)),
        (0, ("status", "--format", "json")),
        (0, ("collections", "list")),
        (0, ("collections", "show", "yaks")),
        (0, ("models", "list")),
        (2, ("search", "x", "-c", "yaks", "-k", "é")),
        (0, ("--help",)),
        (0, ("search", "--help")),
    ]
    done = started([arguments for _, arguments in asked], LOCALES[name])
    for (code, arguments), (ended, out, err) in zip(asked, done, strict=True):
        assert ended == code, (arguments, out, err)
        assert "fault of ours" not in err
        assert "Traceback" not in err
        if "json" in arguments and "index" not in arguments:
            json.loads(out)
    found = json.loads(done[3][1])
    assert found["query"] == "yaks café" or name == "the C locale"
    assert {hit["title"] for hit in found["hits"]} == {TITLE, "Plain"}
    assert json.loads(done[4][1].splitlines()[0])["hits" if "hits" in done[4][1] else "title"]
    events = [json.loads(line) for line in done[11][2].splitlines() if line.startswith("{")]
    assert "schlecht-é猫.jsonl" in next(event["path"] for event in events if event["event"] == "failure")
    table = done[0][1]
    assert "Plain" in table
    if name == "ascii":
        assert 'Cr\\xe8me br\\xfbl\\xe9e - "\\u732b" \\U0001f36e \\xe9...' in table
        assert "####" in done[1][1]
        assert "+-- Options" in done[20][1] or "+- Options" in done[20][1]
    if name == "latin-1":
        assert 'Crème brûlée - "\\u732b"' in table
    if name == "cp1252":
        assert "Crème brûlée — “\\u732b” \\U0001f36e é…" in table
    if name == "ascii:replace":
        assert "Cr?me br?l?e" in table


def test_a_query_is_utf_8_whatever_the_locale_says(yaks):
    """Where Python takes arguments and stdin for ASCII, their bytes are still what was typed."""
    environment = {**os.environ, **LOCALES["the C locale"]}
    command = [sys.executable, "-m", "hybrid_search", "search", "-c", "yaks", "--format", "json"]
    for arguments, stdin in ((["café"], None), (["-"], "café\n".encode())):
        done = subprocess.run([*command, *arguments], input=stdin, env=environment, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["query"] == "café"
    done = subprocess.run(
        [*command, "-"],
        input=b"yaks \xff\n",
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, json.loads(done.stdout)["query"]) == (0, "yaks \ufffd")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes any bytes as an argument")
@pytest.mark.parametrize("locale", [{}, LOCALES["the C locale"]])
def test_bytes_that_are_no_text_on_the_command_line(yaks, tmp_path, locale):
    odd = os.fsdecode(b"caf\xe9")
    folder = tmp_path / odd
    folder.mkdir()
    (folder / f"{odd}.txt").write_text("yaks and yetis")
    asked = [
        (0, ("search", f"yaks {odd}", "-c", "yaks")),
        (0, ("explain", f"yaks {odd}", "-c", "yaks", "--doc", "b")),
        (0, ("explain", "yaks", "-c", "yaks", "--doc", odd)),
        (2, ("search", "yaks", "-c", "yaks", "--where", f"{odd} = 1")),
        (1, ("search", "yaks", "-c", "yaks", "--where", f"ort = '{odd}'")),
        (2, ("search", "yaks", "-c", odd)),
        (2, ("search", "yaks", "-c", "yaks", "--mode", odd)),
        (2, ("search", "yaks", "-c", "yaks", "--fusion", odd)),
        (2, ("search", "yaks", "-c", "yaks", f"--{odd}", "1")),
        (3, ("search", "yaks", "-c", "yaks", "--sparse", odd)),
        (2, ("index", folder, "-c", odd, *BM25)),
        (0, ("index", folder, "-c", "odd", *BM25)),
        (3, ("index", f"{folder}/{odd}", "-c", "odd", *BM25)),
        (0, ("index", folder / f"{odd}.txt", "-c", "odd")),
        (0, ("search", "yetis", "-c", "odd")),
        (0, ("--store", folder, "index", folder, "-c", "odd", *BM25)),
        (0, ("--store", folder, "search", "yetis", "-c", "odd")),
        (0, ("--store", folder, "status")),
        (0, ("--store", folder, "collections", "list")),
        (3, ("--config", folder / odd, "collections", "list")),
        (3, ("models", "show", odd)),
        (3, ("evaluate", folder, *BM25)),
    ]
    for (code, arguments), (ended, out, err) in zip(
        asked, started([arguments for _, arguments in asked], locale), strict=True
    ):
        assert "fault of ours" not in err, (arguments, err)
        assert ended == code, (arguments, out, err)


def shell(line, **options):
    command = line.replace("hybrid-search", f"{sys.executable} -m hybrid_search")
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, check=False, **options)


slow = pytest.mark.slow
ASKED = [
    "search yaks -c yaks",
    "--help",
    pytest.param("search yaks -c yaks --format json", marks=slow),
    pytest.param("collections list", marks=slow),
    pytest.param("search -h", marks=slow),
    pytest.param("--version", marks=slow),
]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell and /dev/full")
@pytest.mark.parametrize("asked", ASKED)
def test_an_output_that_takes_nothing_is_an_error(yaks, asked):
    for target, why in ((">&-", "it is closed"), (">/dev/full", "No space left on device")):
        done = shell(f"hybrid-search {asked} {target}")
        assert (done.returncode, done.stdout) == (3, ""), done.stderr
        assert done.stderr.startswith("error: The output cannot be written: ")
        assert why in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
@pytest.mark.parametrize("asked", ASKED)
def test_a_reader_that_goes_away_is_none(yaks, asked):
    done = shell(f"hybrid-search {asked} | true; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell and /dev/full")
@pytest.mark.parametrize(
    "target", ["2>/dev/full", pytest.param("2>&-", marks=slow), pytest.param("2> >(true)", marks=slow)]
)
def test_messages_that_nobody_takes_change_nothing(yaks, target):
    assert shell(f"hybrid-search search yaks -c yaks {target}").returncode == 0
    assert shell(f"hybrid-search search yaks -c nope {target}").returncode == 3
    done = shell(f"hybrid-search index {yaks} -c new {' '.join(BM25)} --progress json {target}")
    assert done.returncode == 0
    assert "documents indexed" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell and /dev/full")
def test_without_a_stdin_and_with_nothing_open_at_all(yaks):
    assert shell("hybrid-search search yaks -c yaks <&-").returncode == 0
    assert shell("hybrid-search search - -c yaks <&-").returncode == 2
    assert shell("hybrid-search search yaks -c yaks <&- >&- 2>&-").returncode == 3
    assert shell(f"hybrid-search index {yaks} -c new {' '.join(BM25)} <&- >&- 2>&-").returncode == 3
    assert "yaks" in shell("hybrid-search search yaks -c new").stdout  # what was done is kept
