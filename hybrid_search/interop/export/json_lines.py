"""Lines of JSON, out and in again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hybrid_search.interop.export.verify import Weighted

ID, VECTOR = "id", "vector"


def json_line(value: Any) -> str:
    """Return a value as JSON on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def read_lines(files: Iterable[Path]) -> Iterator[Any]:
    """Yield the values of the lines of files that this package wrote."""
    for file in files:
        with file.open(encoding="utf-8", newline="\n") as lines:
            yield from map(json.loads, lines)


def read_vectors(files: Iterable[Path]) -> Iterator[Weighted]:
    """Yield id and weights of lines that have them as `id` and `vector`."""
    return ((line[ID], line[VECTOR]) for line in read_lines(files))


def read_query_vectors(file: Path) -> Mapping[str, Mapping[str, float]]:
    """Return the weights by id, of a file of the same lines."""
    return dict(read_vectors([file]))
