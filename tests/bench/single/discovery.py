"""List and plan a million keys: ``python -m bench.single.discovery --help``.

The S3 of this benchmark speaks real pages of 1,000 keys, which it makes from a formula, so that it costs the
same on every page. Each way runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.rows import tell
from fixtures.sources.s3_listing import BUCKET, S3Listing, running
from sandbox.s3 import client

PREFIX = "documents/"
QUICK = 5000
FOLDER_SIZE = 5000
WAYS = ("bare listing", "discover", "discover and plan")
#: Marks the child's answer among what Airflow prints.
MARK = "measured: "


def bare(endpoint_url: str) -> int:
    """Page through the listing with boto3 and look at nothing."""
    pages = client(endpoint_url).get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=PREFIX)
    return sum(len(page["Contents"]) for page in pages)


def ours(endpoint_url: str, folder: Path, *, plans: bool) -> int:
    """Do what the tasks ``discover`` and ``plan`` do; return the documents, or those that are to be sent."""
    from airflow.sdk import ObjectStoragePath

    from extend_pipeline.planning.chunking import Planning
    from extend_pipeline.planning.listing import read_listing, write_listing
    from extend_pipeline.settings import Settings
    from extend_pipeline.warehouse.duckdb_file import DuckDBWarehouse
    from fixtures.pipeline.chunks import planner

    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = S3Listing(endpoint_url).connection_json()
    home = ObjectStoragePath(f"file://{folder}/runs/bench")
    settings = Settings.from_rendered(
        {
            "source": f"s3://{BUCKET}/{PREFIX}",
            "workflow_id": "w",
            "workspace": f"file://{folder}",
            "chunk_size": 1000,
        }
    )
    found = write_listing(home, settings)
    if not plans:
        return found
    with DuckDBWarehouse(folder / "warehouse.duckdb", "extend", conn_id="bench") as warehouse:
        plan = Planning(
            warehouse=warehouse,
            settings=settings,
            found=lambda: read_listing(home),
            folder=home,
            planner=planner("bench"),
        ).plan()
    return plan.to_send


def measure(way: str, endpoint_url: str) -> dict[str, Any]:
    """Measure a way in this process."""
    with tempfile.TemporaryDirectory(prefix="extend-bench-") as folder:
        started, used = time.perf_counter(), time.process_time()
        if way == "bare listing":
            documents = bare(endpoint_url)
        else:
            documents = ours(endpoint_url, Path(folder), plans=way == "discover and plan")
        seconds, cpu = time.perf_counter() - started, time.process_time() - used
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return {
        "documents": documents,
        "seconds": round(seconds, 1),
        "CPU seconds": round(cpu, 1),
        "peak MB": int(peak) // 1024,
    }


def compared(keys: int, ways: Sequence[str] = WAYS) -> list[dict[str, Any]]:
    """Measure ways, each in a process of its own, with the requests that it made."""
    rows = []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with running(keys, FOLDER_SIZE) as listing:
        for way in ways:
            command = [sys.executable, "-m", "bench.single.discovery", "--measure", way, listing.endpoint_url]
            answer = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            measured = json.loads(answer.stdout.rpartition(MARK)[2])
            rows.append({"way": way, "keys": keys, **measured, "requests": listing.control()})
    return rows


def main() -> None:
    """Run the benchmark, or one way of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.single.discovery", description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} keys")
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "URL"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        sys.stdout.write(MARK + json.dumps(measure(*asked.measure)))
        return
    rows = compared(QUICK if asked.quick else asked.keys)
    tell(rows, as_json=asked.json)


if __name__ == "__main__":
    main()
