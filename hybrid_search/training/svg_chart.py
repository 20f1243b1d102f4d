"""Draws line charts as SVG, so that a report needs no plotting library, no script and no network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 560, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 34, 30
_COLOURS = ("#0b6e99", "#c2410c", "#4d7c0f", "#7e22ce")
_TICKS = 4

Point = tuple[float, float]


def line_chart(title: str, lines: Mapping[str, Sequence[Point]], *, across: str = "step") -> str:
    """Return an SVG of a few lines over one axis; points that are not finite are left out.

    Args:
        title: the title above the chart.
        lines: name -> points (x, y), in the order of x.
        across: what x counts.

    Returns:
        An `<svg>` element; empty if no line has a point.
    """
    finite = {
        name: [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)] for name, points in lines.items()
    }
    finite = {name: points for name, points in finite.items() if points}
    if not finite:
        return ""
    xs = [x for points in finite.values() for x, _ in points]
    ys = [y for points in finite.values() for _, y in points]
    ticks_x, ticks_y = _ticks(min(xs), max(xs)), _ticks(min(ys), max(ys))

    def place(x: float, y: float) -> Point:
        inner_x, inner_y = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
        part_x = (x - ticks_x[0]) / (ticks_x[-1] - ticks_x[0])
        part_y = (y - ticks_y[0]) / (ticks_y[-1] - ticks_y[0])
        return round(_LEFT + part_x * inner_x, 1), round(HEIGHT - _BOTTOM - part_y * inner_y, 1)

    shapes = [f'<text x="{_LEFT}" y="14" class="title">{escape(title)}</text>']
    for value in ticks_y:
        y = place(ticks_x[0], value)[1]
        shapes.append(f'<line x1="{_LEFT}" y1="{y}" x2="{WIDTH - _RIGHT}" y2="{y}" class="grid"/>')
        shapes.append(f'<text x="{_LEFT - 6}" y="{y + 4}" class="tick end">{_number(value)}</text>')
    for value in ticks_x:
        x = place(value, ticks_y[0])[0]
        shapes.append(f'<text x="{x}" y="{HEIGHT - 12}" class="tick middle">{_number(value)}</text>')
    shapes.append(f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 1}" class="tick end">{escape(across)}</text>')
    for number, (name, points) in enumerate(finite.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        placed = [place(x, y) for x, y in points]
        joined = " ".join(f"{x},{y}" for x, y in placed)
        shapes.append(f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        if len(placed) <= 30:
            shapes += [f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>' for x, y in placed]
        at = _LEFT + 130 * number
        shapes.append(f'<rect x="{at}" y="21" width="9" height="3" fill="{colour}"/>')
        shapes.append(f'<text x="{at + 13}" y="26" class="tick">{escape(name)}</text>')
    inner = "".join(shapes)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg">{inner}</svg>'
    )


def _ticks(low: float, high: float) -> list[float]:
    """Return two or more round numbers around a range.

    >>> _ticks(0.31, 0.47)
    [0.3, 0.35, 0.4, 0.45, 0.5]
    >>> _ticks(5, 5)
    [5.0, 6.0]
    """
    if high <= low:
        return [float(low), low + 1.0]
    raw = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _number(value: float) -> str:
    if value and abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:,.3f}".rstrip("0").rstrip(".")
