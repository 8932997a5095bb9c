"""Airflow's own cost for each chunk: ``python -m bench.stack.overhead --help``.

``documents_to_warehouse`` with one document in each chunk, and a DAG of the same shape whose tasks do
nothing, run one after the other in the same Airflow. With so few documents, the difference is what the
pipeline itself adds to each task.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.rows import tell
from bench.stack.world import Measured, World, running_world

HERE = Path(__file__).parent
OURS, EMPTY = "ours", "tasks without work"
DAG_FILES = {OURS: str(HERE / "dags" / "ours.py"), EMPTY: str(HERE / "dags" / "empty_shape.py")}
CHUNKS, QUICK = 20, 3
#: Tasks of a run: three, and four for each chunk.
TASKS, TASKS_OF_CHUNK = 3, 4

console = Console(stderr=True, highlight=False)


def row(measured: Measured, chunks: int) -> dict[str, Any]:
    """Return what a run took, in all and for each chunk."""
    return {
        "way": measured.way,
        "chunks": chunks,
        "tasks": TASKS + TASKS_OF_CHUNK * chunks,
        "seconds": measured.seconds,
        "CPU seconds": measured.cpu_seconds,
        "CPU seconds of a chunk": round(measured.cpu_seconds / chunks, 2),
    }


def compared(world: World, chunks: int) -> list[dict[str, Any]]:
    """Run both DAGs with so many chunks."""
    world.seed(chunks)
    world.clean(webhooks=False)
    empty = world.run_dag("bench_empty", EMPTY, chunks, chunks=chunks)
    world.clean(webhooks=False)
    ours = world.run_dag("bench_ours", OURS, chunks, source=world.source, chunk_size=1)
    return [row(empty, chunks), row(ours, chunks)]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench.stack.overhead", description=__doc__)
    parser.add_argument("--chunks", type=int, default=CHUNKS)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} chunks")
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
    asked = parser.parse_args()
    with running_world(lambda step: console.print(f"[dim]{step}[/]")) as world:
        rows = compared(world, QUICK if asked.quick else asked.chunks)
    tell(rows, as_json=asked.json)


if __name__ == "__main__":
    main()
