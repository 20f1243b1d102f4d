"""The formats that a collection can leave in."""

from __future__ import annotations

from collections.abc import Mapping

from hybrid_search.errors import InvalidArgument
from hybrid_search.interop.export import anserini, ciff, elasticsearch, opensearch, seismic, vespa
from hybrid_search.interop.export.job import Format

_ALL = (anserini.FORMAT, ciff.FORMAT, elasticsearch.FORMAT, opensearch.FORMAT, seismic.FORMAT, vespa.FORMAT)

FORMATS: Mapping[str, Format] = {format.name: format for format in _ALL}


def format_of(name: str) -> Format:
    """Return a format by its name.

    Raises:
        InvalidArgument: there is none of this name.
    """
    if name not in FORMATS:
        raise InvalidArgument(f"There is no export format {name!r}; there are {', '.join(FORMATS)}.")
    return FORMATS[name]
