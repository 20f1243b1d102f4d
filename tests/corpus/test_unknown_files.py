"""Files of a folder that no reader knows by their suffix: text is read, and all else is counted by kind."""

from __future__ import annotations

import os
import sys

import pytest

from hybrid_search.corpus import readers, unknown_files
from hybrid_search.corpus.readers import count_documents, read, read_all
from hybrid_search.types import Document, Failure, Guessed, PassedOver
from tests.odd_reading import InThisProcess

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    return tmp_path / "docs"


TEXTS = ["notes.org", "guide.adoc", "pyproject.toml", "ci.yaml", "paper.tex", "my.ini", "app.cfg", "x.conf", "feed.xml"]
TEXTS += [
    "README",
    "Makefile",
    "LICENSE",
    "Dockerfile",
    "a.",
    "a.b.org",
    "movie.srt",
    "style.css",
    "po.pot",
    "x.bat",
    "x.vue",
]


@pytest.mark.parametrize("name", [*TEXTS, "a.odd-suffix"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_text_of_any_name_is_read(here, name, encoding):
    text = "Plant the quinces in März, und gieße sie täglich.\n"
    (here / name).write_bytes(text.encode(encoding))
    document, *more = read_all(["docs"])
    assert (document.doc_id, document.text, document.markup) == (name, text, "plain")
    assert more == ([Guessed(os.path.join("docs", name), "cp1252")] if encoding == "cp1252" else [])  # noqa: PTH118
    assert count_documents(["docs"]) == 1


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.png", PNG, "files .png"),
        ("A.PNG", b"text that says it is a picture", "files .png"),
        ("a.svg", b"<svg><path d='M0 0'/></svg>", "files .svg"),
        ("a.rtf", b"{\\rtf1 text}", "files .rtf"),
        ("a.dat", PNG, "files .dat"),
        ("a.dat", b"words\0words", "files .dat"),
        ("a", PNG, "files without a suffix"),
        ("a", b"", "empty files"),
        ("py.typed", b"", "empty files"),
        ("a.doc2", b"{\\rtf1 text}", "files .doc2"),
        ("id_rsa", b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA", "keys and certificates"),
        ("ca.pem", b"-----BEGIN CERTIFICATE-----\nAAAA", "keys and certificates"),
        ("a.[red]x", PNG, "other files"),
        ("a." + "x" * 99, PNG, "other files"),
        ("a.zip", b"PK\x03\x04", "files .zip"),
        ("a.pdfx", b"%PDF-1.4\n" + PNG, "files .pdfx"),
    ],
)
def test_what_is_no_text_is_passed_over_and_counted(here, name, content, kind):
    (here / name).write_bytes(content)
    (here / "z.txt").write_text("words")
    passed, document = read_all(["docs"])
    assert passed == PassedOver(os.path.join("docs", name), kind)  # noqa: PTH118
    assert document.doc_id == "z.txt"
    assert count_documents(["docs"]) == 1
    assert [item.doc_id for item in read(["docs"])] == ["z.txt"]


def test_what_is_asked_for_by_name_or_glob_is_a_failure_instead(here):
    (here / "a.png").write_bytes(PNG)
    for items in (read_all(["docs/a.png"]), read_all(["docs"], globs=["*.png"])):
        [found] = items
        assert isinstance(found, Failure)
        assert found.reason == "looks binary (PNG), not like text"


def test_hidden_and_ignored_files_are_not_counted(here):
    (here / ".gitignore").write_text("*.png\nbuild/\n")
    for name in ("a.png", ".b.jpg", "build/c.zip", ".git/d.zip"):
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_bytes(PNG)
    (here / "z.txt").write_text("words")
    assert [type(item) for item in read_all(["docs"])] == [Document]


def test_a_very_long_text_of_unknown_kind_is_counted(here, monkeypatch):
    monkeypatch.setattr(readers, "BoundedProcess", InThisProcess)
    monkeypatch.setattr(unknown_files, "MAX_BYTES", 1 << 20)
    (here / "a.dump").write_bytes(b"words " * (1 << 18))
    (here / "b.txt").write_bytes(b"words " * (1 << 18))
    passed, document = read_all(["docs"])
    assert (passed.kind, document.doc_id) == ("files .dump over 1 MB", "b.txt")


def test_a_folder_without_any_text_says_so(here):
    (here / "a.dat").write_bytes(PNG)
    assert [item.kind for item in read_all(["docs"])] == ["files .dat"]
    (here / "a.dat").rename(here / "a.png")
    passed, failure = read_all(["docs"])
    assert (passed.kind, failure.origin) == ("files .png", "docs")


@pytest.mark.skipif(sys.platform == "win32", reason="links need POSIX")
def test_links_that_lead_nowhere_are_counted(here):
    (here / "a").symlink_to(here / "nowhere")
    (here / "b").symlink_to(here / "b")
    assert [item.kind for item in list(read_all(["docs"]))[:2]] == ["links that lead nowhere"] * 2


@pytest.mark.skipif(sys.platform == "win32", reason="permissions work otherwise on Windows")
def test_what_may_not_be_read_is_a_failure(here):
    (here / "README").write_text("words")
    (here / "README").chmod(0)
    if os.access(here / "README", os.R_OK):
        pytest.skip("this user may read everything")
    [found] = read_all(["docs"])
    assert found == Failure("docs/README", "cannot be read: Permission denied")


# ---- mail

PLAIN = """From: =?utf-8?q?J=C3=B6rg?= <j@example.org>
To: ann@example.org, bob@example.org
Subject: =?iso-8859-1?Q?Quinces_f=FCr?=
 =?utf-8?q?_M=C3=A4rz?=
Date: Fri, 5 Jan 2024 10:00:00 -0500
MIME-Version: 1.0
"""
BODY = 'Content-Type: text/plain; charset="iso-8859-1"\nContent-Transfer-Encoding: quoted-printable\n\n'
BODY += "Plant them in M=E4rz.\n"


def mail(here, content):
    (here / "a.eml").write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_all(["docs"]))


def test_a_message_is_a_document_with_its_headers_as_metadata(here):
    [found] = mail(here, PLAIN + BODY)
    assert (found.doc_id, found.title, found.text) == ("a.eml", "Quinces für März", "Plant them in März.\n")
    assert found.metadata == {
        "from": "Jörg <j@example.org>",
        "to": "ann@example.org, bob@example.org",
        "date": "2024-01-05T10:00:00-05:00",
        "path": "a.eml",
        "suffix": ".eml",
    }


FRENCH = "Où est passée la clé de la bibliothèque ?"
PARTS = """Content-Type: multipart/mixed; boundary=x

--x
Content-Type: multipart/alternative; boundary=y

--y
Content-Type: text/html

<p>Plant <b>them</b></p><script>no</script>
--y
{plain}
--y--
--x
Content-Type: image/png
Content-Disposition: attachment; filename=a.png

xx
--x--
"""


def test_the_plain_text_of_several_parts_is_read_and_attachments_are_counted(here):
    document, attachments = mail(here, PLAIN + PARTS.format(plain=BODY))
    assert document.text.strip() == "Plant them in März."
    assert attachments == PassedOver(os.path.join("docs", "a.eml"), "attachments", 1)  # noqa: PTH118


def test_html_is_read_where_there_is_no_plain_text(here):
    pytest.importorskip("markdownify", reason="the extra `documents` is not installed")
    document, attachments = mail(here, PLAIN + PARTS.format(plain="Content-Type: text/calendar\n\nBEGIN:VCALENDAR"))
    assert (document.text, document.title) == ("Plant **them**", "Quinces für März")
    assert attachments.kind == "attachments"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Only a text, no message.\n", "Only a text, no message.\n"),
        ("Subject: alone\n\n", "alone"),
        ("From: a@b.c\nContent-Type: text/plain; charset=nonsense\n\nfür\n", "für\n"),
        (f"From: a@b.c\n\n{FRENCH}\n".encode("cp1252"), FRENCH + "\n"),
        ("From: a@b.c\nDate: yesterday\n\nx", "x"),
        ("From: a@b.c\nContent-Type: multipart/mixed; boundary=x\n\nno parts\n", None),
        (b"From: \xff\xfe\nTo: <<<>>>;;\nSubject: =?x?b?!!!?=\n\nx", "x"),
    ],
)
def test_odd_messages(here, content, text):
    found = mail(here, content)[0]
    if text is None:
        assert isinstance(found, Failure)
    else:
        assert found.text == text


def test_messages_within_messages_without_end(here):
    nested = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(2_000))
    assert len(mail(here, "From: a@b.c\n" + nested + "\nx")) == 1
