"""Measure ``land()`` beside the barest SQL, in the same run: ``python -m bench.warehouse.landing --help``.

Each way runs in a process of its own, so that its peak of memory is its own. CPU seconds are what to compare
on a machine that does other things besides.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
from rich.console import Console
from rich.table import Table

from bench.usage import peak_megabytes
from bench.warehouse import bare, invoices
from extend_pipeline.warehouse.duckdb_file import DuckDBWarehouse
from extend_pipeline.warehouse.records import Provenance

#: Documents of a batch, which is what one load task lands.
BATCH = 1000
#: Documents that ``--quick`` lands.
QUICK = 200
COLUMNS = (
    "documents",
    "parts of",
    "items each",
    "way",
    "wall s",
    "CPU s",
    "× bare",
    "peak MB",
    "file MB",
    "rows",
)


def ours(file: Path, part: Path, first: int, count: int, memory_mb: int = 256) -> None:
    """Land a part as the pipeline does."""
    opened = DuckDBWarehouse(file, "extend", conn_id="bench", memory_limit_mb=memory_mb)
    with opened as warehouse, part.open("rb") as lines:
        origin = Provenance(workflow_id=invoices.WORKFLOW, batch_id="batch_1", raw_uri=part.name)
        warehouse.land(invoices.documents(first, count), lines, provenance=origin)


WAYS: dict[str, Callable[[Path, Path, int, int], None]] = {
    "land()": ours,
    # As much memory as the bare SQL has.
    "land(), 1,000 MB": functools.partial(ours, memory_mb=1000),
    "bare, evidence only": lambda file, part, *_: bare.land(file, part, every_field=False),
    "bare, every field": lambda file, part, *_: bare.land(file, part, every_field=True),
    # As much memory and as many threads as a landing has by default.
    "bare, every field, 256 MB": lambda file, part, *_: bare.land(
        file, part, every_field=True, memory_mb=256, threads=1
    ),
}


OURS = [way for way in WAYS if way.startswith("land()")]


def measure(way: str, file: Path, folder: Path) -> dict[str, Any]:
    """Land the parts in the folder, in this process."""
    started, used = time.perf_counter(), time.process_time()
    for part in sorted(folder.glob("*.jsonl")):
        first, count = map(int, part.stem.split("-"))
        WAYS[way](file, part, first, count)
    seconds, cpu = time.perf_counter() - started, time.process_time() - used
    return {"seconds": seconds, "cpu": cpu, "peak": peak_megabytes(), "file": file.stat().st_size / 1e6}


def compared(
    documents: int,
    size: int,
    folder: Path,
    into: Mapping[str, Path] | None = None,
    items: int | None = None,
    repeat: int = 1,
) -> Iterator[dict[str, Any]]:
    """Measure every way of landing so many documents in parts of this size.

    :param items: line items of each document; by default 0 to 10.
    :param into: files that hold documents already, by way; by default every way has a new one.
    :param repeat: how often each way lands them, one way after the other; figures are medians.
    """
    parts = folder / f"{documents}-in-{size}-{items}{'-more' if into else ''}"
    parts.mkdir()
    for first in range(0, documents, size):
        count = min(size, documents - first)
        with (parts / f"{first:09}-{count}.jsonl").open("wb") as part:
            part.writelines(invoices.lines(first, count, items))
    measured: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(repeat):
        for way, figures in measured.items():
            file = into[way] if into else parts / "new.duckdb"
            figures.append({**_in_a_process(way, file, parts), "rows": rows(file)})
            if not into:
                file.unlink()
    for way, figures in measured.items():
        medians = {name: statistics.median_low(each[name] for each in figures) for name in figures[0]}
        yield {"documents": documents, "parts": size, "items": items, "way": way, **medians}


def _in_a_process(way: str, file: Path, parts: Path) -> dict[str, Any]:
    answer = subprocess.run(
        [sys.executable, "-m", "bench.warehouse.landing", "--measure", way, str(file), str(parts)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    figures: dict[str, Any] = json.loads(answer.stdout)
    return figures


def rows(file: Path) -> int:
    """Return how many rows a file has."""
    with duckdb.connect(str(file), read_only=True) as connection:
        return int(connection.execute("SELECT sum(estimated_size) FROM duckdb_tables()").fetchall()[0][0])


def grown(file: Path, way: str, documents: int, folder: Path) -> None:
    """Make a file of so many documents: a tenth lands, and SQL copies it nine times under other names."""
    tenth = documents // 10
    part = folder / f"{documents}-{tenth}.jsonl"
    with part.open("wb") as lines:
        lines.writelines(invoices.lines(documents, tenth))
    WAYS[way](file, part, documents, tenth)
    part.unlink()
    with duckdb.connect(str(file)) as connection:
        tables = "SELECT schema_name, table_name FROM duckdb_tables()"
        for schema, table in connection.execute(tables).fetchall():
            name = f"{schema}.{table}"
            columns = {column for column, *_ in connection.execute(f"DESCRIBE {name}").fetchall()}
            keys = sorted(columns & {"document_id", "run_id"})
            if keys:
                others = ", ".join(f"{key} || '-' || copy AS {key}" for key in keys)
                copies = f"SELECT {table}.* REPLACE ({others}) FROM {name}, range(9) AS copies(copy)"
                connection.execute(f"INSERT INTO {name} {copies}")


def published(file: Path) -> tuple[float, float]:
    """Return how long it takes to publish a file for readers, in seconds, and how large it is, in GB."""
    started = time.perf_counter()
    with DuckDBWarehouse(file, "extend", conn_id="bench", snapshot=file.with_suffix(".read")) as warehouse:
        warehouse.publish()
    return time.perf_counter() - started, file.stat().st_size / 1e9


def show(measured: list[dict[str, Any]], console: Console) -> None:
    """Print a table; the ratios are of CPU seconds, to the bare ways in their order."""
    table = Table(*COLUMNS)
    for row in measured:
        same = [
            each for each in measured if all(each[key] == row[key] for key in ("documents", "parts", "items"))
        ]
        bares = [row["cpu"] / each["cpu"] for each in same if each["way"] not in OURS]
        table.add_row(
            f"{row['documents']:,}",
            f"{row['parts']:,}",
            "0 to 10" if row["items"] is None else f"{row['items']:,}",
            row["way"],
            f"{row['seconds']:.2f}",
            f"{row['cpu']:.2f}",
            " / ".join(f"{ratio:.2f}" for ratio in bares) if row["way"] in OURS else "",
            str(row["peak"]),
            f"{row['file']:.0f}",
            f"{row['rows']:,}",
        )
    console.print(table)


def main() -> None:
    """Run the benchmark, or one way of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.warehouse.landing", description=__doc__)
    parser.add_argument("--documents", type=int, nargs="*", default=[1000, 100_000])
    parser.add_argument(
        "--items",
        type=int,
        nargs="*",
        default=[1000, 10_000, 100_000],
        help="also land one document with so many line items",
    )
    parser.add_argument(
        "--quick", action="store_true", help=f"land {QUICK} documents, and {QUICK} line items, only"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list of rows instead of tables")
    parser.add_argument("--repeat", type=int, default=1, help="how often; figures are medians")
    parser.add_argument(
        "--into", type=int, default=0, help="also land a batch in a file of so many documents"
    )
    parser.add_argument("--measure", nargs=3, metavar=("WAY", "FILE", "PARTS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        way, file, parts = arguments.measure
        sys.stdout.write(json.dumps(measure(way, Path(file), Path(parts))))
        return
    console = Console(width=122, quiet=arguments.json)
    with tempfile.TemporaryDirectory(prefix="extend-bench-") as name:
        folder = Path(name)
        measured: list[dict[str, Any]] = []
        for documents in [QUICK] if arguments.quick else arguments.documents:
            for size in sorted({min(documents, BATCH), documents}):
                measured += compared(documents, size, folder, repeat=arguments.repeat)
        for items in [QUICK] if arguments.quick else arguments.items:
            measured += compared(1, 1, folder, items=items, repeat=arguments.repeat)
        show(measured, console)
        if arguments.into:
            into = {way: folder / f"{number}.duckdb" for number, way in enumerate(WAYS)}
            for way, grown_file in into.items():
                grown(grown_file, way, arguments.into, folder)
            console.print(f"A batch into a file of {arguments.into:,} documents:")
            more = list(compared(BATCH, BATCH, folder, into))
            show(more, console)
            measured += ({**row, "into": arguments.into} for row in more)
            seconds, size = published(into["land()"])
            console.print(f"Publishing that file for readers: {seconds:.2f} s for {size:.2f} GB.")
    if arguments.json:
        sys.stdout.write(json.dumps([{"into": 0, **row} for row in measured]) + "\n")


if __name__ == "__main__":
    main()
