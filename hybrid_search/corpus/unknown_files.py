"""Decides which files of an unknown suffix in a folder are plain text.

The name is judged first, so that no picture is opened. Then the content decides: text has no NUL, few control
characters, and a known encoding.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from hybrid_search.corpus.decoding import SAMPLE_BYTES, Undecodable, bom_encoding, sniff

MAX_BYTES = 16 << 20
"""A longer text of an unknown kind is taken for a dump. If the user names the file itself, it is read all the same."""

EMPTY, KEYS = "empty files", "keys and certificates"

_NO_TEXT = frozenset(
    f".{suffix}"
    for kinds in (
        "ai avif bmp eps gif heic heif icns ico jpeg jpg pbm pcx pgm png pnm ppm ps psd raw svg svgz tif tiff webp xcf",
        "aac aif aiff au flac m4a mid midi mp2 mp3 ogg oga opus wav wma",
        "3gp avi flv m4v mkv mov mp4 mpeg mpg ogv webm wmv",
        "eot otf ttc ttf woff woff2",
        "7z br bz2 cab deb dmg gz iso jar lz4 lzma rar rpm tar tbz2 tgz txz war whl xz z zip zst",
        "a bin class dll dylib elf exe lib msi o obj pyc pyd pyo so wasm",
        "doc dot odp ods odt pages potx ppt pptx rtf xls xlsb xlsm xlsx epub mobi",
        "db dbf h5 hdf5 mdb npy npz onnx pickle pkl pt pth safetensors sqlite sqlite3",
    )
    for suffix in kinds.split()
)
"""Pictures, sound, films, fonts, archives, programs, office files and data that no reader takes."""

_BEGINNINGS = ((b"{\\rtf", ""), (b"%!PS", ""), (b"-----BEGIN ", KEYS), (b"ssh-rsa ", KEYS), (b"ssh-ed25519 ", KEYS))
_SUFFIX = re.compile(r"\.[\w+-]{1,12}")


def left_out_by_name(name: str) -> str:
    """Return the kind of a file that is not text by its name; empty if it may be text.

    >>> left_out_by_name("a/photo.PNG"), left_out_by_name("Makefile")
    ('files .png', '')
    """
    suffix = PurePosixPath(name).suffix.lower()
    return f"files {suffix}" if suffix in _NO_TEXT else ""


def left_out_by_content(path: Path) -> str:
    """Return the kind of a file that is not text to read; empty for text.

    Raises:
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    suffix = path.suffix.lower()
    kind = f"files {suffix}" if _SUFFIX.fullmatch(suffix) else "files without a suffix" if not suffix else "other files"
    if not size:
        return EMPTY
    if size > MAX_BYTES:
        return f"{kind} over {MAX_BYTES >> 20} MB"
    with path.open("rb") as stream:
        sample = stream.read(SAMPLE_BYTES)
    begins = next((known or kind for mark, known in _BEGINNINGS if sample.startswith(mark)), "")
    if begins:
        return begins
    return "" if _is_text(sample) else kind


def _is_text(sample: bytes) -> bool:
    if b"\0" in sample and not bom_encoding(sample):
        return False
    try:
        sniff(sample)
    except Undecodable:
        return False
    return True
