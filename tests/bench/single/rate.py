"""Measure how much of a rate limit collectors use: ``python -m bench.single.rate --help``.

Extend's emulator runs as a process of its own. A collector is a slot for tasks, one after another, each of
them a process that reads a thousand runs, as the collecting task does. They are not told of the limit. A task
is started before its turn, so that imports do not count. Counted are answers, by the emulator: the share of
the limit that was used, and the share of the requests that was refused, over everything and after a warm-up.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import concurrent.futures
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.rows import tell
from fixtures.extend.api import ExtendApi, running

#: Seconds after which the pace is steady.
WARM_UP = 20.0
#: What a task says when it has imported everything, and when it has read everything.
READY, DONE = "ready", "done"
#: Runs that a task reads: those of a batch.
EACH = 1000
GET = "GET /workflow_runs/{id}"


async def collect(runs: list[str], reads: int) -> None:
    """Get runs until so many were got, as the collecting task does; in this process, once it is told to."""
    from extend_provider.client.pacing.limits import limits_of
    from extend_provider.client.pacing.machine import shared
    from extend_provider.client.pacing.retries import Backoff
    from extend_provider.hooks.extend import ExtendAsyncHook

    async with ExtendAsyncHook(max_attempts=100, backoff=Backoff(total=3600)) as hook:
        limits = limits_of(await hook.get_settings())
        places = limits.in_flight("read")

        async def read(number: int) -> None:
            async with places:
                await hook.get_run(runs[number % len(runs)])

        print(READY, flush=True)  # noqa: T201
        await asyncio.to_thread(sys.stdin.readline)
        async with shared(limits, "read"):
            await asyncio.gather(*(read(number) for number in range(reads)))
        print(DONE, flush=True)  # noqa: T201


def counts(api: ExtendApi) -> tuple[int, int]:
    """Return how many reads were answered so far, and how many of them were refused."""
    responses = api.stats()["responses"]
    mine = {name: count for name, count in responses.items() if name.startswith(GET)}
    refused = sum(count for name, count in mine.items() if name.endswith("429"))
    return sum(mine.values()), refused


def hear(task: subprocess.Popen[str], word: str) -> None:
    """Wait until a task says a word."""
    assert task.stdout is not None
    while task.stdout.readline().strip() != word:
        if task.poll() is not None:
            raise RuntimeError("A task failed; its error is above.")


def work(tasks: collections.deque[subprocess.Popen[str]]) -> None:
    """Be one collector: let one task after another do its reading until there are none."""
    with contextlib.suppress(IndexError):
        while True:
            task = tasks.popleft()
            assert task.stdin is not None
            task.stdin.write("go\n")
            task.stdin.flush()
            hear(task, DONE)


@contextlib.contextmanager
def task(api: ExtendApi, runs: list[str], reads: int, home: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a task of a collector, and kill it at the end."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "AIRFLOW_HOME": str(home),
        "TMPDIR": str(home),  # the tasks share with those of this measurement alone
        "AIRFLOW_CONN_EXTEND_DEFAULT": api.connection_json(),
    }
    command = [sys.executable, "-m", "bench.single.rate", "--collect", json.dumps([runs, reads])]
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def measure(collectors: int, limit: float, window: str, reads: int, warm_up: float) -> dict[str, Any]:
    """Let collectors read so many runs together; return the figures."""
    with (
        running("--synthetic", "--requests-per-second", "100000") as api,
        tempfile.TemporaryDirectory() as home,
        contextlib.ExitStack() as tasks,
        concurrent.futures.ThreadPoolExecutor(collectors) as slots,
    ):
        batch = api.submit_batch([{"file": {"text": "a"}, "metadata": {"n": n}} for n in range(50)])
        runs = [run["id"] for run in api.runs(batch)]
        api.configure(requests_per_second=limit, rate_window=window)
        before = counts(api)
        each = min(EACH, reads // collectors)
        waiting: collections.deque[subprocess.Popen[str]] = collections.deque()
        for _ in range(reads // each):
            waiting.append(tasks.enter_context(task(api, runs, each, Path(home))))
            hear(waiting[-1], READY)
        steady: list[tuple[float, tuple[int, int]]] = []
        started = time.time()
        working = [slots.submit(work, waiting) for _ in range(collectors)]
        while not all(slot.done() for slot in working):
            time.sleep(0.1)
            if time.time() >= started + warm_up:
                steady.append((time.time(), counts(api)))
        ended, after = time.time(), counts(api)
        for slot in working:
            slot.result()
    total, refused = after[0] - before[0], after[1] - before[1]
    row = {
        "collectors": collectors,
        "limit": limit,
        "window": window,
        "reads": reads // each * each,
        "read": total - refused,
        "answers": total,
        "turned_away": refused,
        "seconds": round(ended - started, 1),
        "used": round((total - refused) / limit / (ended - started), 3),
        "refused": round(refused / total, 4),
    }
    if len(steady) > 1:
        (first_at, first), (last_at, last) = steady[0], steady[-1]
        asked, away = last[0] - first[0], last[1] - first[1]
        row["steady_used"] = round((asked - away) / limit / (last_at - first_at), 3)
        row["steady_refused"] = round(away / max(asked, 1), 4)
    return row


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.single.rate", description=__doc__)
    parser.add_argument("--collectors", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--limits", type=float, nargs="+", default=[10, 75], help="requests per second")
    parser.add_argument("--windows", nargs="+", default=["bucket", "sliding"], help="bucket, fixed, sliding")
    parser.add_argument("--seconds", type=float, default=60, help="for which the reads last at the limit")
    parser.add_argument("--reads", type=int, help="all collectors together, instead of --seconds")
    parser.add_argument("--warm-up", type=float, default=WARM_UP)
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--collect", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.collect:
        asyncio.run(collect(*json.loads(asked.collect)))
        return
    if asked.quick:
        asked.limits, asked.windows, asked.seconds, asked.warm_up = [75], ["sliding"], 6, 2
    rows = [
        measure(
            collectors,
            limit,
            window,
            asked.reads or int(limit * asked.seconds),
            asked.warm_up,
        )
        for window in asked.windows
        for limit in asked.limits
        for collectors in asked.collectors
    ]
    tell(rows, as_json=asked.json)


if __name__ == "__main__":
    main()
