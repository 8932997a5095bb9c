"""Prints the results of a run: documents, credits, tables, an example query, and requests."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sandbox.stack.nightly.landed import DATASET, KEY, ExtractedTable, LandedWarehouse
from sandbox.stack.nightly.verify import Difference

EXAMPLE_ROWS = 3

#: Maximum number of printed differences.
SHOWN_DIFFERENCES = 20

#: Meaning of a row of the views and of the tables that do not depend on an extractor.
ALWAYS_THERE = {
    "fields": "extracted field: value, confidence, page, quoted text",
    "runs": "attempt at Extend: outcome, times, credits",
    "steps": "step of the workflow in a run",
    "checks": "rule of a validation",
    "files": "file of a run, and what it was split into",
    "problems": "value that did not fit, name that had to be changed",
    "loads": "part that has landed",
    "dictionary": "table or column, with its name at Extend",
    "claims": "document that is planned and has not landed",
    "_schema_version": "version of these tables",
    "latest_documents": "address, with the newest content and run",
    "low_confidence_fields": "field with a low confidence",
    "in_review": "document that waits for a review",
    "dead_letters": "document that failed permanently",
    "costs": "day, workflow and folder: documents and credits",
    "daily_throughput": "day and workflow: documents, bytes, seconds",
}

BY_STATUS = f"""
    SELECT status, coalesce(reason, '') AS reason, count(*) AS documents, sum(credits) AS credits
    FROM {DATASET}.documents GROUP BY 1, 2 ORDER BY 1, 2
"""


def print_warehouse(console: Console, warehouse: LandedWarehouse) -> None:
    """Print documents by status with their credits, the row counts of all tables, and an example query."""
    statuses = warehouse.rows(BY_STATUS)
    console.print(_table("Documents", ("status", "reason", "documents", "credits"), statuses, total=(2, 3)))
    counts, extracted = warehouse.table_counts(), warehouse.extracted_tables()
    by_name = meanings(extracted)
    for title, wanted in (
        ("Tables", set(counts) - warehouse.views()),
        ("Views to start from", warehouse.views()),
    ):
        order = [name for name in by_name if name in wanted] + sorted(wanted - by_name.keys())
        rows = [(name, counts[name], by_name.get(name, "")) for name in order]
        console.print(_table(f"{title}, in the schema {DATASET}", ("name", "rows", "one row per"), rows))
    if (query := example_query(extracted, counts)) is not None:
        columns, sql = query
        console.print(_table("For example", columns, warehouse.rows(sql)))
        console.print(f"[dim]{escape(sql)}[/]\n")


def meanings(extracted: Sequence[ExtractedTable]) -> dict[str, str]:
    """Return the meaning of a row of each table and view, the most useful ones first."""
    values = {}
    for table in extracted:
        lists = [part for part in table.path if part is not None]
        values[table.name] = f"element of its {lists[-1]}" if lists else f"result of {table.extractor!r}"
    return {"documents": "document, whatever its status", **values, **ALWAYS_THERE}


def example_query(
    tables: Sequence[ExtractedTable], counts: Mapping[str, int]
) -> tuple[tuple[str, ...], str] | None:
    """Return the columns and the text of a query that joins documents with the most used extractor.

    It selects the first two columns and the last one, which are mostly a name, a date and a total.

    :param counts: rows by table.
    :return: None if nothing was extracted.
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
    plain = ", ".join(map(str, range(1, 3 + len(picked))))
    sql = f"SELECT {', '.join(shown)}\n{joined}\nGROUP BY {plain} ORDER BY d.name LIMIT {EXAMPLE_ROWS}"
    return tuple(columns), sql


def print_requests(console: Console, stats: Mapping[str, Any]) -> None:
    """Print the number of requests by endpoint, and the number of documents that were sent twice."""
    requests = sorted(stats["requests"].items())
    console.print(_table("Requests to Extend", ("endpoint", "requests"), requests, total=(1,)))
    created: Mapping[str, int] = stats["runs_created"]
    twice = sum(count > 1 for count in created.values())
    console.print(
        f"{sum(created.values()):,} runs for {len(created):,} documents; {twice:,} sent more than once\n"
    )


def print_results(console: Console, stats: Mapping[str, Any]) -> None:
    """Print how the results came: requests for them, lists, and events that were delivered and were not."""
    requests: Mapping[str, int] = stats["requests"]
    asked, listed = requests.get("GET /workflow_runs/{id}", 0), requests.get("GET /workflow_runs", 0)
    webhooks = stats["webhooks"]
    delivered = webhooks["deliveries"].get("delivered", 0)
    missed = sum(webhooks["events"].values()) - delivered
    console.print(
        f"{asked:,} result requests, {listed:,} {'list' if listed == 1 else 'lists'}; "
        f"{delivered:,} events delivered" + f", {missed:,} not" * bool(missed) + "\n"
    )


def print_verdict(console: Console, documents: int, found: Sequence[Difference]) -> None:
    """Print whether the landed rows equal the truth, and their differences."""
    if not found:
        console.print(f"[bold green]All {documents:,} documents landed as they are in the files.[/]")
        return
    console.print(f"[bold red]{len(found):,} differences from the {documents:,} documents' truth:[/]")
    for difference in found[:SHOWN_DIFFERENCES]:
        console.print(f"  {escape(str(difference))}")
    if len(found) > SHOWN_DIFFERENCES:
        console.print(f"  … and {len(found) - SHOWN_DIFFERENCES:,} more")


def print_how_to_open(console: Console, place: Path | str) -> None:
    """Print the path of the warehouse and a command that reads it; a database ends with its stack."""
    if isinstance(place, str):
        console.print("The warehouse was a database in Postgres, which has stopped with the stack.")
        return
    connect = f"import duckdb; duckdb.connect('{shown(place)}', read_only=True)"
    look = f"{connect}.sql('FROM {DATASET}.documents').show()"
    console.print(f"The warehouse is {escape(shown(place))}, a DuckDB file. To look at it:")
    console.print(f'  {escape(shown(Path(sys.executable)))} -c "{escape(look)}"')


def shown(path: Path | str) -> str:
    """Return the path, relative to the current folder if it is below it; a database as it is."""
    if isinstance(path, str):
        return path
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
