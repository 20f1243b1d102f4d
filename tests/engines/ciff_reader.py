"""Reads CIFF by its published definition, with Google's own protobuf: nothing of the writer's is used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

DEFINITION = Path(__file__).with_name("CommonIndexFileFormat.proto")
_MESSAGE = re.compile(r"^message (\w+) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^\s*(repeated )?(\w+) (\w+) = (\d+);", re.MULTILINE)


class Ciff(NamedTuple):
    """What a file holds: its header, of each term the documents' numbers with their counts, and the documents."""

    header: Any
    lists: dict[str, dict[int, int]]
    totals: dict[str, tuple[int, int]]
    """Of each term the document and the collection frequency that its list tells."""
    documents: list[tuple[int, str, int]]
    """Number, id and length of each."""


def compiled(definition: str) -> dict[str, type[Any]]:
    """Compile the messages of a definition in proto3; gives their classes by name."""
    [package] = re.findall(r"^package ([\w.]+);", definition, re.MULTILINE)
    file = descriptor_pb2.FileDescriptorProto(name="ciff.proto", package=package, syntax="proto3")
    for name, body in _MESSAGE.findall(definition):
        message = file.message_type.add(name=name)
        for repeated, kind, field_name, number in _FIELD.findall(body):
            field = message.field.add(name=field_name, number=int(number))
            field.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            if hasattr(field, f"TYPE_{kind.upper()}"):
                field.type = getattr(field, f"TYPE_{kind.upper()}")
            else:
                field.type, field.type_name = field.TYPE_MESSAGE, f".{package}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = [message.name for message in file.message_type]
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in names}


def read_ciff(path: Path) -> Ciff:
    """Read a whole file; a byte that is left over is an error."""
    kinds, messages = compiled(DEFINITION.read_text(encoding="utf-8")), _messages(path.read_bytes())
    header = kinds["Header"].FromString(next(messages))
    lists, totals = {}, {}
    for _ in range(header.num_postings_lists):
        one = kinds["PostingsList"].FromString(next(messages))
        assert one.term not in lists, one.term
        lists[one.term] = undone((posting.docid, posting.tf) for posting in one.postings)
        totals[one.term] = (one.df, one.cf)
    records = [kinds["DocRecord"].FromString(next(messages)) for _ in range(header.num_docs)]
    assert next(messages, None) is None
    return Ciff(header, lists, totals, [(one.docid, one.collection_docid, one.doclength) for one in records])


def undone(postings: Any) -> dict[int, int]:
    """Return the documents' numbers with their counts: the gaps between numbers are added up.

    >>> undone([(3, 1), (2, 5)])
    {3: 1, 5: 5}
    """
    gaps, counts = zip(*postings, strict=True)
    return dict(zip(accumulate(gaps), counts, strict=True))


def _messages(data: bytes) -> Iterator[bytes]:
    """Yield the messages of a file, each of which stands behind its length, seven bits a byte, the lowest first."""
    stream = BytesIO(data)
    while first := stream.read(1):
        length, shift, byte = first[0] & 127, 7, first[0]
        while byte & 128:
            [byte] = stream.read(1)
            length, shift = length | (byte & 127) << shift, shift + 7
        message = stream.read(length)
        assert len(message) == length
        yield message
