"""Measure the receiver of webhooks: ``python -m bench.single.webhooks --help``.

A receiver runs alone, in a process of its own that is bound to one core; this process delivers signed events
to it over kept-alive connections. Events per CPU second of the receiver are what to compare on a machine that
does other things besides.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import psutil

from bench.rows import tell
from fixtures.sources.s3 import S3
from fixtures.webhooks import deliveries
from fixtures.webhooks.receiver import RunningReceiver, connection, running

COLUMNS = ("inbox", "at a time", "events", "events/s", "events per CPU s", "p50 ms", "p99 ms", "bytes each")


def requests_of(events: int, fields: int) -> list[bytes]:
    """Return requests as they go over the wire, each of a run with so many extracted fields."""
    value = {f"field_{number}": f"value {number} of an invoice" for number in range(fields)}
    steps = [{"stepType": "EXTRACT", "result": {"extractRun": {"output": {"value": value}}}}]
    made = []
    for number in range(events):
        run = deliveries.run(f"workflow_run_{number}", batchId=f"batch_{number // 1000}", stepRuns=steps)
        body = deliveries.body(run, f"event_{number}")
        lines = [f"{name}: {value}" for name, value in deliveries.headers(body).items()]
        head = ["POST /extend_default HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *lines, "", ""]
        made.append("\r\n".join(head).encode() + body)
    return made


async def deliver(address: tuple[str, int], pending: list[bytes], at_a_time: int) -> list[float]:
    """Deliver all; return the seconds of each."""
    seconds: list[float] = []

    async def sender() -> None:
        reader, writer = await asyncio.open_connection(*address)
        while pending:
            request = pending.pop()
            started = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            seconds.append(time.perf_counter() - started)
            if not head.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(head.decode())
        writer.close()

    await asyncio.gather(*(sender() for _ in range(at_a_time)))
    return seconds


def measure(receiver: RunningReceiver, events: int, at_a_time: int, fields: int) -> list[Any]:
    """Deliver to a running receiver that has had its first requests."""
    process = psutil.Process(receiver.pid)
    process.cpu_affinity([max(process.cpu_affinity() or [0])])
    asyncio.run(deliver(receiver.address, requests_of(50, fields), 4))
    pending = requests_of(events, fields)
    size = len(pending[0])
    before, started = process.cpu_times(), time.perf_counter()
    seconds = sorted(asyncio.run(deliver(receiver.address, pending, at_a_time)))
    wall, after = time.perf_counter() - started, process.cpu_times()
    cpu = after.user + after.system - before.user - before.system
    milliseconds = [1000 * seconds[int(len(seconds) * share)] for share in (0.5, 0.99)]
    return [
        at_a_time,
        events,
        round(events / wall),
        round(events / cpu),
        *(f"{ms:.1f}" for ms in milliseconds),
        size,
    ]


@contextlib.contextmanager
def place(kind: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Make a place for an inbox; return its address and the environment that it needs."""
    if kind == "file":
        with tempfile.TemporaryDirectory(prefix="extend-bench-") as folder:
            yield f"file://{folder}/inbox", {}
    else:
        command = [sys.executable, "-m", "sandbox.s3", "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                s3 = S3(server.stdout.readline().split()[-1])
                bucket = s3.bucket("bench")
                yield f"s3://aws_bench@{bucket}/inbox", {"AIRFLOW_CONN_AWS_BENCH": s3.connection_json()}
            finally:
                server.terminate()


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--at-a-time", type=int, nargs="+", default=[1, 16])
    parser.add_argument(
        "--fields", type=int, default=60, help="extracted fields of a run (default: %(default)s)"
    )
    parser.add_argument("--inbox", choices=["file", "s3"], nargs="+", default=["file"])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    asked = parser.parse_args()
    rows = []
    for kind in asked.inbox:
        for at_a_time in asked.at_a_time:
            with place(kind) as (inbox, environment):
                settings = {"AIRFLOW_CONN_EXTEND_DEFAULT": connection(inbox), **environment}
                with running(inbox, settings) as receiver:
                    rows.append([kind, *measure(receiver, asked.events, at_a_time, asked.fields)])
    tell([dict(zip(COLUMNS, row, strict=True)) for row in rows], as_json=asked.json)


if __name__ == "__main__":
    main()
