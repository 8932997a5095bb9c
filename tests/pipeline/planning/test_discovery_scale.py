"""What discovering a long prefix costs, against the bare listing of boto3, each in a process of its own.

For other sizes, run ``PYTHONPATH=tests python tests/pipeline/planning/test_discovery_scale.py 1000000``, with
the seconds after it that a network takes for every answer.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures.sources.s3_listing import BUCKET, S3Listing, running
from sandbox.s3 import client

#: So many that they would show in the memory.
KEYS = 40_000
#: What our own work on each key may cost on top of boto3's, in processor time; it is a fifth (measured).
MOST_TIMES = 1.6
#: Megabytes that our own work may add to the memory of boto3's; all documents at once take 16 (measured).
MOST_MEGABYTES = 5


def bare(endpoint_url: str) -> int:
    """Page through the listing and look at nothing."""
    pages = client(endpoint_url).get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="documents/")
    return sum(len(page["Contents"]) for page in pages)


def discovery(endpoint_url: str) -> Callable[[], int]:
    """Load what a task has loaded anyway; return what discovers into a folder."""
    from airflow.sdk import ObjectStoragePath

    from extend_pipeline.planning.listing import write_listing
    from extend_pipeline.settings import Settings
    from fixtures.sources.s3_listing import S3Listing

    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = S3Listing(endpoint_url).connection_json()
    given = {"source": f"s3://{BUCKET}/documents/", "workflow_id": "w", "workspace": "file:///tmp/x"}
    settings = Settings.from_rendered(given)

    def discover() -> int:
        with tempfile.TemporaryDirectory() as folder:
            return write_listing(ObjectStoragePath(f"file://{folder}"), settings)

    return discover


def figures(endpoint_url: str, how: str) -> dict[str, Any]:
    """Measure one way of listing in this process."""
    listing = functools.partial(bare, endpoint_url) if how == "bare" else discovery(endpoint_url)
    peak, begun, used = peak_megabytes(), time.perf_counter(), time.process_time()
    keys = listing()
    seconds, processor = time.perf_counter() - begun, time.process_time() - used
    return {
        "how": how,
        "keys": keys,
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),
        "peak_megabytes": peak_megabytes(),
        "grown_megabytes": peak_megabytes() - peak,
    }


def peak_megabytes() -> int:
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak) // 1024


def measure(listing: S3Listing, how: str) -> dict[str, Any]:
    """Measure in a process of its own; with the number of requests that it took."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, __file__, listing.endpoint_url, how]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return {**json.loads(answer.stdout.splitlines()[-1]), "requests": listing.control()}


@pytest.mark.full
def test_discovery_costs_little_more_than_the_bare_listing_and_no_memory(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with running(KEYS, 5000) as listing:
        first, whole = (measure(listing, how) for how in ("bare", "ours"))
    with capsys.disabled():
        for each in (first, whole):
            sys.stdout.write(f"\ndiscovery: {each}")
    assert first["keys"] == whole["keys"] == KEYS
    assert whole["requests"] == first["requests"] == KEYS // 1000
    assert whole["processor_seconds"] < MOST_TIMES * first["processor_seconds"]
    assert whole["grown_megabytes"] < first["grown_megabytes"] + MOST_MEGABYTES


def main(arguments: list[str]) -> None:
    """Measure one way as a child, or all of them."""
    if arguments[0].startswith("http"):
        sys.stdout.write(json.dumps(figures(*arguments)) + "\n")
        return
    latency = float(arguments[1]) if len(arguments) > 1 else 0.0
    with running(int(arguments[0]), 5000, latency) as listing:
        for how in ("bare", "ours"):
            sys.stdout.write(f"{measure(listing, how)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
