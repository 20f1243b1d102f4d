"""Between LangChain's documents and ours, and from its keywords to the options of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from pydantic import Field

from hybrid_search import types
from hybrid_search.errors import InvalidArgument
from hybrid_search.integrations.dict_filters import condition_of, either_way
from hybrid_search.integrations.hit_documents import OWN, found_one
from hybrid_search.results import DocumentHit
from hybrid_search.search.options import Option
from hybrid_search.search.request import SearchRequest, search_options

OPTIONS = tuple(option.name for option in search_options())
"""The options of a search, by name."""

QUIET = {"highlight": False}
"""Where nothing is shown, highlights are made only if they are asked for."""


def option_fields(options: Sequence[Option]) -> dict[str, Any]:
    """Return options as fields of a pydantic model, by name.

    Their values are judged by `SearchRequest` alone, so that a retriever refuses what a search refuses, by the same
    error; the fields say what a schema can say: type, default and help.
    """
    return {
        option.name: (
            Any if option.scalar is None else option.scalar | None if option.optional else option.scalar,
            Field(QUIET.get(option.name, option.default), description=option.help),
        )
        for option in options
    }


def request_of(given: Mapping[str, Any]) -> SearchRequest:
    """Return what keywords ask of a search, checked.

    `where` may be a dict (see `dict_filters.condition_of`), and may be called `filter`, as in other vector stores.

    Raises:
        InvalidArgument: a keyword that is no option, or both `where` and `filter`.
        HybridSearchError: whatever `request.SearchRequest` raises.
    """
    options: dict[str, Any] = {**QUIET, **given}
    narrowed = options.pop("filter", None)
    if narrowed is not None:
        if options.get("where") is not None:
            raise InvalidArgument("Both where and filter are given, and mean the same; give one of them.")
        options["where"] = narrowed
    unknown = sorted(options.keys() - set(OPTIONS))
    if unknown:
        raise InvalidArgument(f"{', '.join(unknown)}: no option of a search. They are: {', '.join(OPTIONS)}, filter.")
    if isinstance(options.get("where"), Mapping):
        condition = condition_of(options["where"])
        options["where"] = None if condition is None else either_way(condition)
    return SearchRequest(**options)


def passage_document(hit: DocumentHit) -> Document:
    """Return a hit as the document that a prompt has room for: its best passage, with the evidence in the metadata.

    The keys are those of `hit_documents.found`; where they were asked for also `matched_terms`, and `window` and
    `highlights` of the text, as in the JSON of a search.
    """
    found = found_one(hit)
    metadata = dict(found.metadata)
    # The title is the document's own and ours at once.
    hidden = {name: value for name, value in metadata.pop(OWN, {}).items() if (name, value) != ("title", hit.title)}
    if hidden:
        metadata[OWN] = hidden
    if hit.matched_terms is not None:
        metadata["matched_terms"] = [term.to_dict() for term in hit.matched_terms]
    shown = hit.passages[0].to_dict()
    metadata.update({name: shown[name] for name in ("window", "highlights") if name in shown})
    return Document(id=found.id, page_content=found.content, metadata=metadata)


def written_document(document: types.Document) -> Document:
    """Return a document as it was put in. One that was indexed with a title has that in its metadata too."""
    title = {"title": document.title} if document.title and "title" not in document.metadata else {}
    return Document(id=document.doc_id, page_content=document.text, metadata={**title, **document.metadata})


def taken_document(document: Document, doc_id: str) -> types.Document:
    """Return what is indexed of a document: `title` is read with every chunk, `source` shown as where it is from."""
    metadata = dict(document.metadata)
    title, source = (value if isinstance(value := metadata.get(key), str) else "" for key in ("title", "source"))
    return types.Document(doc_id, document.page_content, title, metadata, source)
