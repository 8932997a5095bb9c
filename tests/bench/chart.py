"""The picture of growth: seconds by the number of documents, readable on a light and on a dark page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: Grey and colours that have contrast on white and on black, at least 3 : 1 on each.
GREY = "#808080"
COLOURS = ("#1a85ff", "#d55e00", "#0f9d70", "#c2459c", "#8a7a00", "#7b6fd0")


def growth(rows: Iterable[Mapping[str, Any]]) -> bytes | None:
    """Return an SVG with a line for each way; None if no way has been measured with two numbers."""
    import pygal
    from pygal.style import Style

    lines: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        lines.setdefault(row["way"], []).append((row["documents"], row["seconds"]))
    lines = {way: sorted(points) for way, points in lines.items() if len(points) > 1}
    if not lines:
        return None
    style = Style(
        background="transparent",
        plot_background="transparent",
        foreground=GREY,
        foreground_strong=GREY,
        foreground_subtle=GREY,
        guide_stroke_color=f"{GREY}40",
        major_guide_stroke_color=f"{GREY}80",
        colors=COLOURS,
        font_family="sans-serif",
    )
    counts = sorted({count for points in lines.values() for count, _ in points})
    slowest = max(seconds for points in lines.values() for _, seconds in points)
    chart = pygal.XY(
        style=style,
        js=[],
        logarithmic=True,
        xrange=(counts[0] / 1.5, counts[-1] * 1.5),
        x_labels=counts,
        x_value_formatter=lambda count: f"{count:,.0f}",
        y_labels=[value for value in (5, 10, 20, 50, 100, 200, 500, 1000, 2000) if value <= 2 * slowest],
        x_title="documents",
        y_title="seconds",
        legend_at_bottom=True,
        width=720,
        height=440,
    )
    for way, points in lines.items():
        chart.add(way, points)
    drawn: bytes = chart.render()
    return drawn
