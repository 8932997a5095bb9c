"""Measure how much of a rate limit collectors use: ``python -m bench.rate --help``.

Extend's emulator runs as a process of its own, and each collector is one as well. They know nothing of the
limit nor of each other, and get runs one after another through the asynchronous hook. Counted are answers, by
the emulator: the share of the limit that was used, and the share of the requests that was refused, over
everything and after a warm-up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from bench.rows import tell
from fixtures.extend.api import ExtendApi, running

#: Seconds after which the pace is steady.
WARM_UP = 20.0
#: What a collector says when it has imported everything.
READY = "ready"
GET = "GET /workflow_runs/{id}"


async def collect(runs: list[str], reads: int) -> None:
    """Get runs until so many were got, as the collecting task does; in this process, once it is told to."""
    from extend_provider.client.pacing.limits import limits_of
    from extend_provider.client.pacing.retries import Backoff
    from extend_provider.hooks.extend import ExtendAsyncHook

    async with ExtendAsyncHook(max_attempts=100, backoff=Backoff(total=3600)) as hook:
        places = limits_of(await hook.get_settings()).in_flight("read")

        async def read(number: int) -> None:
            async with places:
                await hook.get_run(runs[number % len(runs)])

        print(READY, flush=True)  # noqa: T201
        await asyncio.to_thread(sys.stdin.readline)
        await asyncio.gather(*(read(number) for number in range(reads)))


def counts(api: ExtendApi) -> tuple[int, int]:
    """Return how many reads were answered so far, and how many of them were refused."""
    responses = api.stats()["responses"]
    mine = {name: count for name, count in responses.items() if name.startswith(GET)}
    refused = sum(count for name, count in mine.items() if name.endswith("429"))
    return sum(mine.values()), refused


def start(collectors: list[Any]) -> None:
    """Let collectors begin together, once each of them has imported everything."""
    for process in collectors:
        while process.stdout.readline().strip() != READY:
            if process.poll() is not None:
                raise RuntimeError("A collector failed; its error is above.")
    for process in collectors:
        process.stdin.write("go\n")
        process.stdin.flush()


def measure(collectors: int, limit: float, window: str, reads: int, warm_up: float) -> dict[str, Any]:
    """Let collectors read so many runs each; return the figures."""
    with (
        running("--synthetic", "--requests-per-second", "100000") as api,
        tempfile.TemporaryDirectory() as home,
    ):
        batch = api.submit_batch([{"file": {"text": "a"}, "metadata": {"n": n}} for n in range(50)])
        runs = [run["id"] for run in api.runs(batch)]
        api.configure(requests_per_second=limit, rate_window=window)
        before = counts(api)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "AIRFLOW_HOME": home,
            "AIRFLOW_CONN_EXTEND_DEFAULT": api.connection_json(),
        }
        command = [sys.executable, "-m", "bench.rate", "--collect", json.dumps([runs, reads])]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        processes = [subprocess.Popen(command, env=environment, **pipes) for _ in range(collectors)]
        steady: list[tuple[float, tuple[int, int]]] = []
        try:
            start(processes)
            started = ended = time.time()
            after = before
            while all(process.poll() is None for process in processes):
                ended, after = time.time(), counts(api)
                if ended >= started + warm_up:
                    steady.append((ended, after))
                if after[0] - after[1] - before[0] + before[1] >= reads * collectors:
                    break  # a process takes seconds to end, in which it asks for nothing
                time.sleep(0.1)
            for process in processes:
                process.communicate()
            answered, turned_away = (late - early for late, early in zip(counts(api), before, strict=True))
        finally:
            for process in processes:
                process.kill()
                process.wait()
    total, refused = after[0] - before[0], after[1] - before[1]
    row = {
        "collectors": collectors,
        "limit": limit,
        "window": window,
        "reads": reads * collectors,
        "read": answered - turned_away,
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
    parser = argparse.ArgumentParser(prog="python -m bench.rate", description=__doc__)
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
            (asked.reads or int(limit * asked.seconds)) // collectors,
            asked.warm_up,
        )
        for window in asked.windows
        for limit in asked.limits
        for collectors in asked.collectors
    ]
    tell(rows, as_json=asked.json)


if __name__ == "__main__":
    main()
