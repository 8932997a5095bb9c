"""What a run has brought, printed: documents, credits, tables, an example to read on from, requests."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sandbox.stack.landed import DATASET, KEY, ExtractedTable, LandedWarehouse
from sandbox.stack.verify import Difference

EXAMPLE_ROWS = 3

#: Differences that are printed one by one.
SHOWN_DIFFERENCES = 20

BY_STATUS = f"""
    SELECT status, coalesce(reason, '') AS reason, count(*) AS documents, sum(credits) AS credits
    FROM {DATASET}.documents GROUP BY ALL ORDER BY ALL
"""


def print_warehouse(console: Console, warehouse: LandedWarehouse) -> None:
    """Print documents by status with their credits, the tables' row counts, and a joined example."""
    statuses = warehouse.rows(BY_STATUS)
    console.print(_table("Documents", ("status", "reason", "documents", "credits"), statuses, total=(2, 3)))
    counts = warehouse.table_counts()
    console.print(_table(f"Tables of the schema {DATASET}", ("table", "rows"), list(counts.items())))
    if (query := example_query(warehouse.extracted_tables(), counts)) is not None:
        columns, sql = query
        console.print(_table("For example", columns, warehouse.rows(sql)))
        console.print(f"[dim]{escape(sql)}[/]\n")


def example_query(
    tables: Sequence[ExtractedTable], counts: Mapping[str, int]
) -> tuple[tuple[str, ...], str] | None:
    """Return a query, and its columns, that joins documents with the extractor of most of them and its list.

    Of the extractor's columns it takes the first two and the last: a name, a date and a total, mostly.

    :param counts: rows by table.
    :return: None when nothing has been extracted.
    """
    roots = [table for table in tables if not table.path and counts.get(table.name)]
    if not roots:
        return None
    root = max(roots, key=lambda table: counts[table.name])
    lists = [table for table in tables if table.extractor == root.extractor and len(table.positions) == 1]
    keys = ", ".join(KEY)
    picked = list(dict.fromkeys([*list(root.columns)[:2], *list(root.columns)[-1:]]))
    shown = ["d.name", "d.credits", *(f'e."{column}"' for column in picked)]
    columns = ["name", "credits", *picked]
    joined = f'FROM {DATASET}.documents AS d\nJOIN {DATASET}."{root.name}" AS e USING ({keys})'
    if lists:
        shown.append(f'count(items."{lists[0].positions[0]}") AS "{lists[0].name}"')
        columns.append(lists[0].name)
        joined += f'\nLEFT JOIN {DATASET}."{lists[0].name}" AS items USING ({keys})'
    sql = f"SELECT {', '.join(shown)}\n{joined}\nGROUP BY ALL ORDER BY d.name LIMIT {EXAMPLE_ROWS}"
    return tuple(columns), sql


def print_requests(console: Console, stats: Mapping[str, Any]) -> None:
    """Print how often each endpoint of the emulator was asked, and whether a document was sent twice."""
    requests = sorted(stats["requests"].items())
    console.print(_table("Requests to Extend", ("endpoint", "requests"), requests, total=(1,)))
    created: Mapping[str, int] = stats["runs_created"]
    twice = sum(count > 1 for count in created.values())
    console.print(
        f"{sum(created.values()):,} runs for {len(created):,} documents; {twice:,} sent more than once\n"
    )


def print_verdict(console: Console, documents: int, found: Sequence[Difference]) -> None:
    """Print whether what landed equals the truth, and in what it differs."""
    if not found:
        console.print(f"[bold green]All {documents:,} documents landed as they are in the files.[/]")
        return
    console.print(f"[bold red]{len(found):,} differences from the {documents:,} documents' truth:[/]")
    for difference in found[:SHOWN_DIFFERENCES]:
        console.print(f"  {escape(str(difference))}")
    if len(found) > SHOWN_DIFFERENCES:
        console.print(f"  … and {len(found) - SHOWN_DIFFERENCES:,} more")


def print_way_in(console: Console, path: Path) -> None:
    """Print where the warehouse is and one command that looks into it."""
    connect = f"import duckdb; duckdb.connect('{shown(path)}', read_only=True)"
    look = f"{connect}.sql('FROM {DATASET}.documents').show()"
    console.print(f"The warehouse is {escape(shown(path))}, a DuckDB file. To look at it:")
    console.print(f'  {escape(shown(Path(sys.executable)))} -c "{escape(look)}"')


def shown(path: Path) -> str:
    """Return the path as a person in the current folder would write it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], total: Sequence[int] = ()
) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", show_footer=bool(total))
    for index, column in enumerate(columns):
        numeric = any(not isinstance(row[index], str | None) for row in rows)
        footer = _cell(sum(row[index] or 0 for row in rows)) if index in total else ""
        table.add_column(column, justify="right" if numeric else "left", footer=footer, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value.normalize():,f}" if hasattr(value, "normalize") else escape(str(value))
