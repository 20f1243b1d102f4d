"""`hybrid-search guide`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from hybrid_search import guide as handbook
from hybrid_search.cli import completion
from hybrid_search.cli.console import note, out, paging
from hybrid_search.cli.values import typed
from hybrid_search.errors import InvalidArgument, near


def guide(
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="TOPIC",
            help="The page to show; all topics where none is named.",
            autocompletion=completion.topics,
        ),
    ] = None,
) -> None:
    """Read the handbook: list its topics, or show the page of one.

    On a terminal the page is laid out; elsewhere its Markdown is printed, to be saved or piped.

    Example: `hybrid-search guide filters`
    """
    if topic is None:
        out.print(_topics_table())
        note("Show one: hybrid-search guide TOPIC")
        return
    _show(_page(typed(topic)))


def _page(topic: str) -> str:
    """Return the Markdown of a topic.

    Raises:
        InvalidArgument: there is none of this name; it names the nearest, and all.
    """
    try:
        return handbook.page(topic.strip().lower().removesuffix(".md"))
    except KeyError:
        known = handbook.topics()
        nearest = near(topic.lower(), known)
        did_you_mean = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise InvalidArgument(
            f"The guide has no topic {topic!r}.{did_you_mean} The topics are: {', '.join(known)}."
        ) from None


def _show(text: str) -> None:
    """Print a page, laid out on a terminal and as it is elsewhere."""
    if not out.is_terminal:
        typer.echo(text, nl=False)
        return
    from rich.markdown import Markdown  # its parser and highlighter are needed here alone

    shown = handbook.with_commands_for_links(handbook.without_front_matter(text))
    with paging():
        out.print(Markdown(shown, code_theme="ansi_dark"))


def _topics_table() -> Table:
    """Return the topics, each with the first sentence of its page."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for topic in handbook.topics():
        table.add_row(Text(topic), Text(handbook.first_sentence(handbook.page(topic)).replace("`", "")))
    return table
