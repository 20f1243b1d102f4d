"""`hybrid-search collections adopt`."""

from __future__ import annotations

from typing import Annotated

import typer

from hybrid_search.cli.command import global_options
from hybrid_search.cli.console import note

Vector = Annotated[
    str | None, typer.Option(metavar="NAME", help="Which of several such vectors to search; '' for the unnamed one.")
]


def adopt(
    name: Annotated[str, typer.Argument(help="The collection, or an alias of it.")],
    dense: Annotated[str | None, typer.Option(metavar="MODEL", help="The model of its dense vectors.")] = None,
    sparse: Annotated[str | None, typer.Option(metavar="MODEL", help="The model of its sparse vectors.")] = None,
    layout: Annotated[
        str | None,
        typer.Option(metavar="langchain|llamaindex|haystack|mcp", help="The framework that wrote it.  [detected]"),
    ] = None,
    text_field: Annotated[
        str | None, typer.Option(metavar="NAME", help="The field that holds the texts.  [detected]")
    ] = None,
    metadata_field: Annotated[
        str | None, typer.Option(metavar="NAME", help="The field that holds the metadata; '' for the payload itself.")
    ] = None,
    doc_id_field: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The field that names a chunk's document, such as metadata.source.  [each point is one]",
        ),
    ] = None,
    title_field: Annotated[
        str | None, typer.Option(metavar="NAME", help="The field that holds the document's title.")
    ] = None,
    origin_field: Annotated[
        str | None, typer.Option(metavar="NAME", help="The field that says where the document was read.")
    ] = None,
    start_field: Annotated[
        str | None, typer.Option(metavar="NAME", help="The field that says where in its document a chunk begins.")
    ] = None,
    dense_vector: Vector = None,
    sparse_vector: Vector = None,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Encode stored texts again, and refuse models that disagree.")
    ] = True,
) -> None:
    """Adopt a collection that another program wrote on a Qdrant server, to search it as it is.

    That may be LangChain, LlamaIndex, Haystack, an MCP server or a script.

    Example: `hybrid-search collections adopt notes --dense BAAI/bge-small-en-v1.5`
    """
    from hybrid_search.collection.adopt import adopt

    parts = {"text": text_field, "metadata": metadata_field, "doc_id": doc_id_field}
    parts |= {"title": title_field, "origin": origin_field, "start": start_field}
    adopted = adopt(
        name,
        dense=dense,
        sparse=sparse,
        layout=layout,
        fields={part: field for part, field in parts.items() if field is not None},
        dense_vector=dense_vector,
        sparse_vector=sparse_vector,
        check=check,
        settings=global_options.settings(),
    )
    agreed = ", ".join(f"{leg} {cosine:.4f}" for leg, cosine in adopted.agreement.items())
    note(
        f"Adopted {name!r}: {adopted.points:,} points, layout {adopted.layout.name}, texts in {adopted.layout.text!r}."
    )
    note(f"Lowest cosine of stored vectors and texts encoded again: {agreed or 'nothing could be compared'}.")
    for line in adopted.notes:
        note(line)
    note(f'Search it: hybrid-search search "your question" -c {name}')
