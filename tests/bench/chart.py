"""The picture of growth: seconds by the number of documents, readable on a light and on a dark page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: Grey that has contrast on white and on black.
GREY = "#808080"


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
        font_family="sans-serif",
    )
    chart = pygal.XY(
        style=style, js=[], logarithmic=True, x_title="documents", y_title="seconds", legend_at_bottom=True
    )
    for way, points in lines.items():
        chart.add(way, points)
    drawn: bytes = chart.render()
    return drawn
