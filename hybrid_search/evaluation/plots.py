"""Draws the pictures of an evaluation into one file: a page, or an image without a browser."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hybrid_search._util import atomic_write
from hybrid_search._util.extras import importing_extra
from hybrid_search._util.printable import one_line
from hybrid_search.errors import InvalidArgument
from hybrid_search.evaluation.latency import sample
from hybrid_search.evaluation.plot_data import MOST_BARS, MOST_POINTS, PlotData
from hybrid_search.evaluation.plot_ranks import DEPTH

ENDINGS = (".html", ".svg", ".png")
WIDTH, HEIGHT = 420, 260
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
"""Told apart by people who see colours differently: Okabe & Ito, Color Universal Design, 2008."""

BLUE, RED = COLOURS[0], COLOURS[1]
OUTSIDE = 2 * DEPTH
"""Where a document that a leg does not have among its first is drawn."""


def check_plot(file: Path) -> Path:
    """Return the file, if a picture can be written there: refused before any work is done.

    Raises:
        InvalidArgument: another ending, a folder that does not exist, or a folder instead of a file.
        MissingExtra: what draws is not installed.
    """
    if file.suffix.lower() not in ENDINGS:
        raise InvalidArgument(f"A picture is written as {', '.join(ENDINGS)}, and {str(file)!r} ends in none of them.")
    if file.is_dir() or not file.absolute().parent.is_dir():
        raise InvalidArgument(f"There is no folder {str(file.absolute().parent)!r} for the picture {file.name!r}.")
    _library()
    return file


def write_plot(data: PlotData, file: Path) -> None:
    """Draw a page with all pictures for which there is data, and write it whole or not at all.

    The same data give the same bytes. A page has all that it needs inside and fetches nothing.

    Raises:
        InvalidArgument: as `check_plot`.
    """
    check_plot(file)
    import vl_convert

    spec = page(data)
    kind = file.suffix.lower()
    if kind == ".svg":
        content = vl_convert.vegalite_to_svg(spec).encode()
    elif kind == ".png":
        content = vl_convert.vegalite_to_png(spec, scale=2)
    else:
        content = vl_convert.vegalite_to_html(_inside_a_page(spec), bundle=True).encode()
    atomic_write(file, content)


def page(data: PlotData) -> dict[str, Any]:
    """Return the Vega-Lite specification of the whole page."""
    alt = _library()
    charts = [draw(alt, data) for draw in (_gains, _recall, _speed, _ranks) if _has(draw, data)]
    halves = (charts[start : start + 2] for start in range(0, len(charts), 2))
    rows = [alt.hconcat(*half, spacing=40).resolve_scale(color="independent") for half in halves]
    title = alt.TitleParams(one_line(data.title), anchor="start", fontSize=15, subtitle=_missing(data))
    whole = alt.vconcat(*rows, spacing=35, title=title).resolve_scale(color="independent").configure_view(stroke=None)
    whole = whole.configure_axis(grid=True, gridColor="#eeeeee", labelFontSize=11, titleFontSize=12)
    whole = whole.configure(background="white", padding=15, font="sans-serif", aria=False)
    spec: dict[str, Any] = whole.to_dict()
    return spec


def _inside_a_page(value: Any) -> Any:
    """Return a specification whose texts end no element of the page that it stands in: an id may be any text.

    An invisible sign behind each `<` keeps it what is seen.
    """
    if isinstance(value, dict):
        return {name: _inside_a_page(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_inside_a_page(part) for part in value]
    return value.replace("<", "<\u200b") if isinstance(value, str) else value


def _has(draw: Any, data: PlotData) -> bool:
    return bool({_gains: data.gains, _recall: data.recall, _speed: data.speed, _ranks: data.ranks}[draw])


def _missing(data: PlotData) -> str:
    lacking = {
        "gains and losses (a fused mode and a leg alone are needed)": data.gains,
        "measure against latency": data.speed,
        "ranks of two legs (two modes of one leg each are needed)": data.ranks,
    }
    absent = [name for name, have in lacking.items() if not have]
    return f"Left out for want of data: {'; '.join(absent)}." if absent else ""


def _gains(alt: Any, data: PlotData) -> Any:
    assert data.gains is not None
    gains = data.gains
    shown = [gains.differences[place] for place in sample(len(gains.differences), MOST_BARS)]
    rows = [
        {"place": place, "query": one_line(query_id), "gain": value} for place, (query_id, value) in enumerate(shown, 1)
    ]
    won, lost = (sum(sign * value > 1e-9 for _, value in gains.differences) for sign in (1, -1))
    some = "" if len(shown) == len(gains.differences) else f", {len(shown):,} of them drawn"
    title = _title(
        alt,
        f"{gains.better} against {gains.base}, query by query",
        f"better for {won:,} of {len(gains.differences):,} queries, worse for {lost:,}{some}",
    )
    return (
        alt.Chart(alt.Data(values=rows), width=WIDTH, height=HEIGHT, title=title)
        .mark_bar()
        .encode(
            x=alt.X(
                "place:Q",
                title="queries, by gain",
                axis=alt.Axis(grid=False, format="d"),
                scale=alt.Scale(domain=[0, len(rows) + 1], nice=False),
            ),
            y=alt.Y("gain:Q", title=f"difference of {gains.measure}"),
            color=alt.condition("datum.gain < 0", alt.value(RED), alt.value(BLUE)),
            tooltip=["query:N", alt.Tooltip("gain:Q", format="+.4f")],
        )
    )


def _recall(alt: Any, data: PlotData) -> Any:
    rows = [
        {"mode": one_line(mode), "depth": depth, "recall": values[depth - 1]}
        for mode, values in data.recall.items()
        for depth in _depths()
    ]
    title = _title(alt, "Recall by depth", "share of all relevant documents that are among so many first")
    return (
        alt.Chart(alt.Data(values=rows), width=WIDTH, height=HEIGHT, title=title)
        .mark_line(point=alt.OverlayMarkDef(size=18), strokeWidth=1.8)
        .encode(
            x=alt.X("depth:Q", scale=alt.Scale(type="log", domain=[1, DEPTH]), title="depth (documents, logarithmic)"),
            y=alt.Y("recall:Q", title="recall", scale=alt.Scale(zero=True)),
            color=_coloured(alt, list(data.recall)),
            tooltip=["mode:N", "depth:Q", alt.Tooltip("recall:Q", format=".3f")],
        )
    )


def _speed(alt: Any, data: PlotData) -> Any:
    rows = [{**one._asdict(), "mode": one_line(one.mode)} for one in data.speed]
    title = _title(alt, f"{data.measure} against latency", "mean with its 95 % interval, median of searches one by one")
    base = alt.Chart(alt.Data(values=rows), width=WIDTH, height=HEIGHT, title=title)
    slowest = max(one.ms for one in data.speed)
    x = alt.X("ms:Q", title="p50 of a search (ms)", scale=alt.Scale(domain=[0, slowest * 1.25], nice=False))
    y = alt.Y("low:Q", title=data.measure, scale=alt.Scale(zero=False))
    colour = alt.Color("mode:N", scale=_scale(alt, [one.mode for one in data.speed]), legend=None)
    bars = base.mark_rule(strokeWidth=1.5).encode(x=x, y=y, y2="high:Q", color=colour)
    points = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=x, y=alt.Y("mean:Q"), color=colour, tooltip=["mode:N", "ms:Q", "mean:Q", "low:Q", "high:Q"]
    )
    label = base.mark_text(align="left", dx=7, dy=-6, fontSize=11)
    names = label.encode(x=x, y=alt.Y("mean:Q"), text="mode:N", color=colour)
    return bars + points + names


def _ranks(alt: Any, data: PlotData) -> Any:
    one, other = data.legs
    counted = Counter((first or OUTSIDE, second or OUTSIDE) for first, second in data.ranks)
    places = sorted(counted)
    rows = [
        {"x": x, "y": y, "documents": counted[x, y]}
        for x, y in (places[place] for place in sample(len(places), MOST_POINTS))
    ]
    both = sum(all(pair) for pair in data.ranks)
    title = _title(
        alt,
        f"Ranks of relevant documents in {one} and {other}",
        f"{both:,} found by both, {len(data.ranks) - both:,} by one alone, drawn at the edge",
    )
    axis = {"scale": alt.Scale(type="log", domain=[0.9, OUTSIDE * 1.1], nice=False)}
    written = f"datum.value == {OUTSIDE} ? 'none' : datum.label"
    marks = alt.Axis(values=[1, 2, 5, 10, 20, 50, DEPTH, OUTSIDE], labelExpr=written)
    return (
        alt.Chart(alt.Data(values=rows), width=WIDTH, height=HEIGHT, title=title)
        .mark_circle(color=BLUE, opacity=0.5)
        .encode(
            x=alt.X("x:Q", title=f"rank in {one}", axis=marks, **axis),
            y=alt.Y("y:Q", title=f"rank in {other}", axis=marks, **axis),
            size=alt.Size("documents:Q", scale=alt.Scale(range=[14, 260]), legend=None),
            tooltip=["x:Q", "y:Q", "documents:Q"],
        )
    )


def _depths() -> list[int]:
    return [depth for depth in range(1, DEPTH + 1) if depth <= 10 or depth % 10 == 0 or depth in (12, 15, 25)]


def _title(alt: Any, text: str, below: str) -> Any:
    under = {"subtitle": one_line(below), "subtitleColor": "#555555"}
    return alt.TitleParams(one_line(text), anchor="start", fontSize=13, **under)


def _coloured(alt: Any, modes: Sequence[str]) -> Any:
    legend = alt.Legend(orient="top-left", title=None, fillColor="white", padding=5, labelLimit=220)
    return alt.Color("mode:N", scale=_scale(alt, modes), legend=legend)


def _scale(alt: Any, modes: Sequence[str]) -> Any:
    names = list(map(one_line, modes))
    return alt.Scale(domain=names, range=[COLOURS[place % len(COLOURS)] for place in range(len(names))])


def _library() -> Any:
    with importing_extra("plot", "--plot"):
        import altair
        import vl_convert  # noqa: F401
    return altair
