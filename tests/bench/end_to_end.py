"""Measure 1,000 and more documents from S3 through Extend into DuckDB: ``python -m bench.end_to_end --help``.

Ours stands beside what one would write instead: the same Airflow, the same API, the same S3, the same
documents. Extend answers at once, and each run takes five seconds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping

from rich.console import Console
from rich.table import Table

from bench.world import BUCKET, PREFIX, Measured, World, running_world

console = Console(stderr=True, highlight=False, width=160)


def polling(world: World, documents: int) -> Measured:
    """``documents_to_warehouse`` over a prefix, without webhooks."""
    world.clean(webhooks=False)
    return world.run_dag("bench_ours", "ours", documents, source=world.source)


def webhooks(world: World, documents: int) -> Measured:
    """The same, where Extend delivers events to the receiver in Airflow."""
    world.clean(webhooks=True)
    return world.run_dag("bench_ours", "ours, webhooks", documents, source=world.source)


def listed(world: World, documents: int) -> Measured:
    """The same over a list of addresses, as asset events and replays give it."""
    world.clean(webhooks=False)
    source = "\n".join(world.addresses)
    return world.run_dag("bench_ours", "ours, listed", documents, source=source)


def http_dag(world: World, documents: int) -> Measured:
    """A DAG of HttpOperator, HttpSensor and tasks with requests, boto3 and DuckDB."""
    world.clean(webhooks=False)
    return world.run_dag("bench_http", "HTTP DAG", documents, bucket=BUCKET, prefix=f"{PREFIX}/")


def mapped(world: World, documents: int) -> Measured:
    """One mapped operator for each file; it lands nothing."""
    world.clean(webhooks=False)
    way = "one mapped operator per file"
    return world.run_dag("bench_mapped", way, documents, bucket=BUCKET, prefix=f"{PREFIX}/")


def script(world: World, documents: int) -> Measured:
    """An asyncio script with aiohttp and bare DuckDB."""
    world.clean(webhooks=False)
    return world.run_script("bench.peers.script", "script, aiohttp", documents)


def sdk(world: World, documents: int) -> Measured:
    """The same script with the official SDK."""
    world.clean(webhooks=False)
    return world.run_script("bench.peers.sdk", "script, Extend's SDK", documents)


#: Ways by the names that the command line takes.
WAYS: Mapping[str, Callable[[World, int], Measured]] = {
    "script": script,
    "sdk": sdk,
    "http": http_dag,
    "ours": polling,
    "webhooks": webhooks,
    "listed": listed,
    "mapped": mapped,
}
#: The most documents that a way is measured with: beyond, it takes too long or is not meant for it.
MOST = {"sdk": 10_000, "listed": 10_000, "mapped": 100}
#: The DAG of each way, for ``--tasks``.
DAGS = {"ours": "bench_ours", "webhooks": "bench_ours", "listed": "bench_ours", "http": "bench_http"}


def median(measured: Iterable[Measured]) -> Measured:
    """Return the medians of one way's repetitions."""
    rows = [dataclasses.asdict(row) for row in measured]
    middle = {
        name: statistics.median(row[name] for row in rows) if isinstance(value, int | float) else value
        for name, value in rows[0].items()
    }
    whole = {name: round(middle[name]) for name, value in rows[0].items() if isinstance(value, int)}
    return Measured(**{**middle, **whole})


def compare(
    ways: Iterable[str], documents: Iterable[int], repeat: int, *, show_tasks: bool = False
) -> list[Measured]:
    """Measure each way with each number of documents; what was measured goes to stderr at once."""
    found = []
    with running_world(lambda step: console.print(f"[dim]{step}[/]")) as world:
        for count in sorted(documents):
            console.print(f"[dim]{count:,} documents to S3[/]")
            world.seed(count)
            for way in ways:
                if count > MOST.get(way, count):
                    continue
                again = []
                for _ in range(repeat):
                    again.append(WAYS[way](world, count))
                    console.print(again[-1])
                    if show_tasks and way in DAGS:
                        show(world.tasks(DAGS[way]))
                found.append(median(again))
    return found


def show(rows: list[dict[str, object]], to: Console = console) -> None:
    """Print rows as a table."""
    table = Table(*(rows[0] if rows else ()))
    for row in rows:
        table.add_row(
            *(f"{value:,}" if isinstance(value, int | float) else str(value) for value in row.values())
        )
    to.print(table)


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.end_to_end", description=__doc__)
    parser.add_argument("--documents", type=int, nargs="+", default=[10_000])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--repeat", type=int, default=1, help="repetitions, of which the medians are printed")
    parser.add_argument("--tasks", action="store_true", help="also say when the tasks began and ended")
    parser.add_argument("--quick", action="store_true", help="1,000 documents, once")
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
    asked = parser.parse_args()
    documents, repeat = ([1000], 1) if asked.quick else (asked.documents, asked.repeat)
    rows = [dataclasses.asdict(row) for row in compare(asked.ways, documents, repeat, show_tasks=asked.tasks)]
    if asked.json:
        json.dump(rows, sys.stdout, indent=1)
    else:
        show(rows, Console(width=160))


if __name__ == "__main__":
    main()
