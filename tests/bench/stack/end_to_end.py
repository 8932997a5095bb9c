"""Measure documents from S3 through Extend into DuckDB: ``python -m bench.stack.end_to_end --help``.

Ours stands beside what one would write instead: the same Airflow, the same API, the same S3, the same
documents. Extend answers at once, and each run takes five seconds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.rows import show
from bench.stack.world import BUCKET, PREFIX, Measured, World, running_world

#: The way that the others are compared with.
COMPARED = "HTTP DAG"
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
    return world.run_dag("bench_http", COMPARED, documents, bucket=BUCKET, prefix=f"{PREFIX}/")


def mapped(world: World, documents: int) -> Measured:
    """One mapped operator for each file; it lands nothing."""
    world.clean(webhooks=False)
    way = "one mapped operator per file"
    return world.run_dag("bench_mapped", way, documents, bucket=BUCKET, prefix=f"{PREFIX}/")


def script(world: World, documents: int) -> Measured:
    """An asyncio script with aiohttp and bare DuckDB."""
    world.clean(webhooks=False)
    return world.run_script("bench.stack.peers.script", "script, aiohttp", documents)


def sdk(world: World, documents: int) -> Measured:
    """The same script with the official SDK."""
    world.clean(webhooks=False)
    return world.run_script("bench.stack.peers.sdk", "script, Extend's SDK", documents)


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


def median(measured: Sequence[Measured]) -> Measured:
    """Return the medians of one way's repetitions."""
    rows = [dataclasses.asdict(row) for row in measured]
    middle = {
        name: statistics.median(row[name] for row in rows) if isinstance(value, int | float) else value
        for name, value in rows[0].items()
    }
    whole = {name: round(middle[name]) for name, value in rows[0].items() if isinstance(value, int)}
    rounded = {name: round(middle[name], 2) for name, value in rows[0].items() if isinstance(value, float)}
    return Measured(**{**middle, **whole, **rounded, "runs": len(rows)})


@dataclasses.dataclass(slots=True)
class Comparison:
    """What has been measured so far, by way and number of documents.

    :param keep: file that has the medians so far, for whom a later failure must not cost them.
    """

    keep: Path | None = None
    failures: list[str] = dataclasses.field(default_factory=list)
    _measured: dict[tuple[int, str], list[Measured]] = dataclasses.field(default_factory=dict)

    def add(self, row: Measured) -> None:
        """Take a repetition in."""
        self._measured.setdefault((row.documents, row.way), []).append(row)
        if self.keep is not None:
            self.keep.write_text(self.json())

    def rows(self) -> list[Measured]:
        """Return the medians."""
        ordered = sorted(self._measured.items(), key=lambda item: item[0][0])
        return [
            dataclasses.replace(median(rows), times=self._times(documents, rows))
            for (documents, _), rows in ordered
        ]

    def _times(self, documents: int, rows: Sequence[Measured]) -> float | None:
        """Compare with the HTTP DAG, repetition by repetition: the machine's speed changes between them."""
        compared = self._measured.get((documents, COMPARED), ())
        ratios = [row.seconds / other.seconds for row, other in zip(rows, compared, strict=False)]
        return round(statistics.median(ratios), 2) if ratios else None

    def json(self) -> str:
        """Return the medians as a JSON list."""
        return json.dumps([dataclasses.asdict(row) for row in self.rows()], indent=1)


def compare(
    world: World, ways: Sequence[str], documents: int, repeat: int, into: Comparison, **options: Any
) -> None:
    """Measure each way with a number of documents, ``repeat`` times.

    A way that fails is not tried again, and stops no other way.

    :param options: ``deadline``: after it no second repetition begins; ``show_tasks``.
    """
    console.print(f"[dim]{documents:,} documents to S3[/]")
    world.seed(documents)
    left = [way for way in ways if documents <= MOST.get(way, documents)]
    for number in range(repeat):
        for way in list(left):
            if number and time.monotonic() > options.get("deadline", float("inf")):
                return
            try:
                row = WAYS[way](world, documents)
            except Exception as error:  # noqa: BLE001 (whatever it is, the other ways are measured)
                console.print(f"{way} with {documents:,} documents has failed: {error}", markup=False)
                into.failures.append(f"{way} with {documents:,} documents")
                left.remove(way)
                continue
            console.print(row)
            into.add(row)
            if options.get("show_tasks") and way in DAGS:
                show(world.tasks(DAGS[way]), console)


def main() -> int:
    """Measure, and print a table or JSON; return 1 if a way has failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.stack.end_to_end", description=__doc__)
    parser.add_argument("--documents", type=int, nargs="+", default=[10_000])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--repeat", type=int, default=1, help="repetitions, of which the medians are printed")
    parser.add_argument(
        "--minutes", type=float, default=60, help="begin no further repetition after so many minutes"
    )
    parser.add_argument("--tasks", action="store_true", help="also say when the tasks began and ended")
    parser.add_argument("--quick", action="store_true", help="1,000 documents, once")
    parser.add_argument("--keep", type=Path, help="file for the rows so far, as JSON")
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
    asked = parser.parse_args()
    documents, repeat = ([1000], 1) if asked.quick else (sorted(asked.documents), asked.repeat)
    deadline = time.monotonic() + asked.minutes * 60
    found = Comparison(asked.keep)
    with running_world(lambda step: console.print(f"[dim]{step}[/]")) as world:
        for count in documents:
            compare(world, asked.ways, count, repeat, found, deadline=deadline, show_tasks=asked.tasks)
    if asked.json:
        sys.stdout.write(found.json())
    else:
        show([dataclasses.asdict(row) for row in found.rows()], Console(width=160))
    return int(bool(found.failures))


if __name__ == "__main__":
    sys.exit(main())
