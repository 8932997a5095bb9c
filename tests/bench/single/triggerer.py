"""Measure one event loop that waits for many batches: ``python -m bench.single.triggerer --help``.

Extend's emulator runs as a process of its own, and so does the loop, which runs the triggers as Airflow's
triggerer does, without Airflow around them. No run settles meanwhile. Requests are counted by the emulator.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from bench.rows import tell
from bench.usage import peak_megabytes
from fixtures.extend.api import ExtendApi, running

LIST = "GET /workflow_runs"
#: Runs of each batch.
RUNS = 20
#: Seconds between two looks at how late the loop is.
TICK = 0.02
#: The figures of the process that waits come last, on a line of their own.
MARK = "figures: "


async def wait_for(batches: Sequence[str], seconds: float) -> dict[str, float]:
    """Let a trigger wait for each batch, in this process; return what it took of it."""
    importlib.import_module("extend_provider.hooks.extend")  # not part of the seconds
    from extend_provider.batch.waiting.polling import WaitPolicy
    from extend_provider.triggers.batch import ExtendBatchTrigger

    policy = WaitPolicy(deadline=time.time() + 3600, poll_interval=60.0).as_dict()

    async def follow(batch: str) -> None:
        trigger = ExtendBatchTrigger(
            batch_id=batch,
            run_count=RUNS,
            extend_conn_id="extend_default",
            policy=policy,
            cancel_on_kill=False,
        )
        async for event in trigger.run():
            raise AssertionError(f"{batch} has ended: {event.payload}")

    used, ends = time.process_time(), time.monotonic() + seconds
    waits = [asyncio.create_task(follow(batch)) for batch in batches]
    late = []
    while (before := time.monotonic()) < ends:
        await asyncio.sleep(TICK)
        late.append(time.monotonic() - before - TICK)
    cpu = time.process_time() - used
    for wait in waits:
        if wait.done():
            wait.result()
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    return {
        "cpu": round(cpu / seconds, 3),
        "lag_p99_ms": round(sorted(late)[int(0.99 * len(late))] * 1000, 1),
        "peak_mb": peak_megabytes(),
    }


def measure(batches: int, seconds: float, *, runs: int = RUNS) -> dict[str, Any]:
    """Wait for so many batches for so long; return the figures.

    :param runs: of each batch at the emulator.
    """
    with (
        running("--synthetic", "--requests-per-second", "100000") as api,
        tempfile.TemporaryDirectory() as home,
    ):
        api.configure(hold=True)
        ids = submitted(api, batches, runs)
        api.configure(requests_per_second=75)
        before = api.requests_to(LIST)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "AIRFLOW_HOME": home,
            "AIRFLOW_CONN_EXTEND_DEFAULT": api.connection_json(),
        }
        answer = subprocess.run(
            [sys.executable, "-m", "bench.single.triggerer", "--wait"],
            input=json.dumps([ids, seconds]),
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        lists, responses = api.requests_to(LIST) - before, api.stats()["responses"]
    return {
        "batches": batches,
        "seconds": seconds,
        "lists": lists,
        "lists_per_second": round(lists / seconds, 1),
        "refused": sum(count for name, count in responses.items() if name.endswith("429")),
        **json.loads(answer.stdout.rpartition(MARK)[2]),
    }


def submitted(api: ExtendApi, batches: int, runs: int) -> list[str]:
    """Submit so many batches and return their ids."""
    inputs = [{"file": {"text": "a"}, "metadata": {"n": number}} for number in range(runs)]
    return [api.submit_batch(inputs) for _ in range(batches)]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.single.triggerer", description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--wait", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.wait:
        figures = asyncio.run(wait_for(*json.load(sys.stdin)))
        print(MARK + json.dumps(figures))  # noqa: T201
        return
    if asked.quick:
        asked.batches, asked.seconds = [10, 50], 8
    rows = [measure(batches, asked.seconds) for batches in asked.batches]
    tell(rows, as_json=asked.json)


if __name__ == "__main__":
    main()
