"""Files that mean harm: every reader gives documents or failures, in a time that grows with the file alone."""

from __future__ import annotations

import json
import os
import random
import sys
import time

import pytest

from hybrid_search.corpus.chunking import chunk
from hybrid_search.corpus.code import CODE_MARKUP
from hybrid_search.corpus.readers import count_documents, read_all
from hybrid_search.types import Document, Failure, Guessed, PassedOver
from tests.corpus import hostile

pytest.importorskip("markdownify", reason="the extra `documents` is not installed")
pytest.importorskip("mammoth", reason="the extra `documents` is not installed")
pytest.importorskip("pypdfium2", reason="the extra `documents` is not installed")

TEXT_SUFFIXES = sorted({case.suffix for case in hostile.everything(1_000, mixed=0)} - CODE_MARKUP.keys())


def checked(folder) -> list[Document]:
    """What is read of a folder, every item of it as it must be, and its documents cut."""
    documents = []
    for item in read_all([folder]):
        assert isinstance(item, (Document, Failure, PassedOver, Guessed))
        assert item.origin
        if isinstance(item, Document):
            documents.append(item)
            json.dumps([item.text, item.title, dict(item.metadata), item.doc_id], allow_nan=False).encode()
            for each in chunk(item, size_tokens=256, overlap_tokens=0, count_tokens=hostile.tokens):
                assert item.text[each.start : each.end] == each.text
                assert each.text.strip()
    return documents


@pytest.mark.parametrize("seed", [1, 2])
def test_a_sample_of_everything_is_read(tmp_path, seed):
    cases = [case for case in hostile.everything(1_000, seed=seed) if case.suffix not in CODE_MARKUP]
    some = random.Random(seed).sample(cases, 250)
    for number, case in enumerate(some):
        (tmp_path / f"{number:04}{case.suffix}").write_bytes(case.data)
    began = time.perf_counter()
    assert checked(tmp_path)
    assert time.perf_counter() - began < 120
    assert count_documents([tmp_path]) is not None


def test_a_sample_of_code_is_read(tmp_path):
    """Of 300 characters only: what is nested deeper takes the splitter long, and is cut in a process under a bound."""
    cases = [case for case in hostile.everything(300, seed=3, mixed=1) if case.suffix in CODE_MARKUP]
    for number, case in enumerate(random.Random(3).sample(cases, 200)):
        (tmp_path / f"{number:04}{case.suffix}").write_bytes(case.data)
    began = time.perf_counter()
    assert checked(tmp_path)
    assert time.perf_counter() - began < 120


@pytest.mark.skipif(sys.platform == "win32", reason="Windows refuses such names")
def test_names_of_any_kind(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    names = [*hostile.NAMES, *(map(os.fsdecode, hostile.UNDECODABLE) if sys.platform == "linux" else ())]
    for name in names:
        (folder / name).write_text("Some words.\n", encoding="utf-8")
    documents = checked(folder)
    assert len({document.doc_id for document in documents}) == len(documents) == len(names) - 1  # one is hidden
    assert all(document.doc_id.encode() for document in documents)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", TEXT_SUFFIXES)
def test_a_megabyte_of_anything_takes_seconds(tmp_path, suffix):
    found = [f"{case.name}: {took}" for case, took in hostile.slow_ones(tmp_path, 1_000_000, 20, suffix)]
    assert not found
