"""The page: its tables are generated between markers, the text around them is written by hand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.kept import Result, Row
from bench.parts import END_TO_END, PARTS, Part

#: Columns of the table of ``end_to_end``: the name of the figure, and the heading.
COLUMNS: Mapping[str, str] = {
    "documents": "documents",
    "way": "way",
    "seconds": "seconds",
    "times": "× the HTTP DAG",
    "extend_requests": "requests at Extend",
    "s3_requests": "requests at S3",
    "rows": "documents landed",
    "paid_again": "paid more than once",
    "cpu_seconds": "CPU seconds",
    "peak_mb": "peak MB",
    "extend_cpu": "Extend's CPU",
    "s3_cpu": "S3's CPU",
    "runs": "runs",
}
NOT_MEASURED = "Not measured yet."


def filled(page: str, results: Mapping[str, Result], picture: str | None = None) -> str:
    """Return the page with the results between its markers.

    :param picture: address of the picture of growth; None if there is none.
    :raises ValueError: the page has no such markers.
    """
    page = _put(page, "machine", _machine(results.values()))
    page = _put(page, "end_to_end", _end_to_end(results, picture))
    return _put(page, "parts", "\n\n".join(_sections(results)))


def rows_end_to_end(results: Mapping[str, Result]) -> list[Row]:
    """Return the rows of all parts of ``end_to_end`` in the order of the page; a way is there once."""
    found: dict[tuple[int, str], Row] = {}
    for part in _parts_of(END_TO_END):
        for row in results[part.name].rows if part.name in results else ():
            found.setdefault((row["documents"], row["way"]), row)
    return [found[key] for key in sorted(found, key=lambda key: key[0])]


def table(rows: Iterable[Row], columns: Mapping[str, str] | None = None) -> str:
    """Return rows as a table in Markdown.

    :param columns: names and headings; a column for each key if left out, in the order in which keys appear.
    """
    found = [*rows]
    chosen = columns or {name: name for row in found for name in row}
    lines = [
        [*chosen.values()],
        ["---"] * len(chosen),
        *([shown(row.get(name)) for name in chosen] for row in found),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shown(value: Any) -> str:
    """Return a figure as people read it."""
    if isinstance(value, float) and value:
        value = round(value, 2) if abs(value) >= 0.1 else float(f"{value:.2g}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if value is None else str(value).replace("|", "\\|").replace("\n", " ")


def _machine(results: Iterable[Result]) -> str:
    return (
        "\n\n".join(dict.fromkeys(f"{result.when}, {result.machine}." for result in results)) or NOT_MEASURED
    )


def _end_to_end(results: Mapping[str, Result], picture: str | None) -> str:
    rows = rows_end_to_end(results)
    kept = [results[part.name] for part in _parts_of(END_TO_END) if part.name in results]
    if not rows:
        return _note(kept) or NOT_MEASURED
    drawn = [] if picture is None else [f"![Seconds by the number of documents]({picture})"]
    return "\n\n".join([table(rows, COLUMNS), *drawn, _note(kept)])


def _sections(results: Mapping[str, Result]) -> Iterable[str]:
    for part in PARTS:
        if part.module != END_TO_END and part.name in results:
            result = results[part.name]
            shown_rows = [table(result.rows)] if result.rows else []
            yield "\n\n".join([f"## {part.heading}", part.text, *shown_rows, _note([result])])


def _note(results: Sequence[Result]) -> str:
    lines = [f"`{result.command}`, {result.seconds:,} s" for result in results]
    failed = [f"**`{result.part}` {result.error}.**" for result in results if result.error]
    return "  \n".join([*lines, *failed])


def _parts_of(module: str) -> list[Part]:
    return [part for part in PARTS if part.module == module]


def _put(page: str, name: str, text: str) -> str:
    begin, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if len(found.findall(page)) != 1:
        raise ValueError(f"the page must have {begin} … {end} once")
    return found.sub(lambda _: f"{begin}\n\n{text}\n\n{end}", page)
