"""Seconds from the last run that settles to its landed row: ``python -m bench.stack.latency --help``.

A batch is held at Extend until its wait is deferred and has lasted for some time. Then its runs end at once:
by polling, the wait learns of it with its next look; with webhooks, when the last event arrives.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import duckdb
from rich.console import Console

from bench.rows import tell
from bench.stack.world import EXTEND, World, running_world

DAG, WAIT = "bench_ours", "documents_to_warehouse.chunk.wait"
DOCUMENTS = 100
#: Seconds that a batch is held after its wait was deferred: the longer it lasts, the rarer are the looks.
HELD, QUICK = (10.0, 120.0), (10.0,)
RUN_SECONDS = 300

console = Console(stderr=True, highlight=False)


def measured(world: World, held: float, *, webhooks: bool) -> dict[str, Any]:
    """Hold a batch for some seconds; return what it took to notice its end, and to land it."""
    world.clean(webhooks=webhooks)
    world.extend.configure(**EXTEND | {"latency_seconds": 0}, hold=True)
    client = world.stack.client
    client.wait_for_dag(DAG)
    run = client.trigger(DAG, conf={"source": world.source})
    client.wait_for_task(DAG, run.dag_run_id, WAIT, ["deferred"], map_index=0, timeout=RUN_SECONDS)
    time.sleep(held)
    world.extend.configure(hold=False)
    client.wait_for_run(DAG, run.dag_run_id, timeout=RUN_SECONDS, interval=0.5)
    settled, landed = moments(world)
    noticed = client.task(DAG, run.dag_run_id, WAIT, map_index=0).end_date
    return {
        "told by": "webhooks" if webhooks else "polling",
        "the batch takes s": round(held),
        "until the wait has ended": None if noticed is None else round(noticed.timestamp() - settled, 1),
        "until the rows have landed": round(landed - settled, 1),
    }


def moments(world: World) -> tuple[float, float]:
    """Return when the last run ended and when the last row landed, in seconds since the epoch."""
    with duckdb.connect(str(world.warehouse), read_only=True) as warehouse:
        found = warehouse.execute(
            "SELECT epoch(max(ended_at)), epoch(max(landed_at)) FROM extend.documents"
        ).fetchall()
    ((settled, landed),) = found
    return settled, landed


def compared(world: World, waits: tuple[float, ...], say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Measure both ways with each length of the wait."""
    world.seed(DOCUMENTS)
    rows = []
    for webhooks in (False, True):
        for held in waits:
            rows.append(measured(world, held, webhooks=webhooks))
            say(str(rows[-1]))
    return rows


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench.stack.latency", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"only waits of {QUICK[0]:g} s")
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
    asked = parser.parse_args()
    with running_world(lambda step: console.print(f"[dim]{step}[/]")) as world:
        rows = compared(world, QUICK if asked.quick else HELD, console.print)
    tell(rows, as_json=asked.json)


if __name__ == "__main__":
    main()
