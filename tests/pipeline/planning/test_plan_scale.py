"""What it costs to ask which of many documents have landed before: one join, whatever their number.

Run ``PYTHONPATH=tests python tests/pipeline/test_plan_scale.py 1000000`` for other sizes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from extend_pipeline.documents import Document
from fixtures.warehouse_files import DATASET, land, warehouse
from fixtures.warehouse_runs import WORKFLOW, raw_lines, run

#: What a process that plans may use, however many documents there are.
MOST_MEGABYTES = 450


def document(number: int) -> Document:
    """The document of this number, as :func:`fill` lands it."""
    return Document(f"s3://inbox/{number:09}.pdf", f"etag-{number}", 9, "2026-11-21T00:00:00+00:00")


def fill(file: Path, documents: int) -> None:
    """Let every second one of the first ``documents`` have landed, by statements of the database."""
    land(file, [document(0)], raw_lines(run(document(0))))
    with duckdb.connect(str(file)) as connection:
        connection.execute(
            f"""INSERT INTO {DATASET}.documents BY NAME
                SELECT model.* EXCLUDE (document_id, uri, etag),
                       left(sha256(other.uri || chr(0) || other.etag), 32) AS document_id,
                       other.uri, other.etag
                FROM {DATASET}.documents AS model, (
                    SELECT format('s3://inbox/{{:09d}}.pdf', 2 * n) AS uri, 'etag-' || (2 * n) AS etag
                    FROM range(1, {documents // 2}) AS numbers(n)
                ) AS other"""
        )


def measure(documents: int) -> dict[str, Any]:
    """Ask for ``documents`` candidates in this process; half of them have landed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "warehouse.duckdb"
        subprocess.run(
            [sys.executable, __file__, "fill", str(file), str(documents)], env=environment(), check=True
        )
        begun = time.perf_counter()
        with warehouse(file) as opened:
            candidates = map(document, range(documents))
            left = sum(1 for _ in opened.unlanded(candidates, workflow_id=WORKFLOW, version=None))
        seconds = round(time.perf_counter() - begun, 1)
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return {"candidates": documents, "left": left, "seconds": seconds, "peak_megabytes": int(peak) // 1024}


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_what_has_landed_is_left_out_in_bounded_memory(capsys: pytest.CaptureFixture[str]) -> None:
    answer = subprocess.run(
        [sys.executable, __file__, "100000"], env=environment(), capture_output=True, text=True, check=True
    )
    figures = json.loads(answer.stdout.splitlines()[-1])
    with capsys.disabled():
        sys.stdout.write(f"\nplanning: {figures}\n")
    assert figures["left"] == 50_000
    assert figures["peak_megabytes"] < MOST_MEGABYTES


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        fill(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        sys.stdout.write(json.dumps(measure(int(sys.argv[1]))) + "\n")
