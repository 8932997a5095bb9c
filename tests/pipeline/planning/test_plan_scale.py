"""The memory of a plan: one join tells which of many documents have landed, whatever their number.

For other sizes, run ``PYTHONPATH=tests python tests/pipeline/planning/test_plan_scale.py 1000000``.
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
from fixtures.warehouse.files import DATASET, land, warehouse
from fixtures.warehouse.runs import WORKFLOW, raw_lines, run

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


def measure(file: Path, documents: int) -> dict[str, Any]:
    """Ask in this process which of the documents have not landed; half of them have."""
    begun = time.perf_counter()
    with warehouse(file) as opened:
        found = map(document, range(documents))
        left = sum(1 for _ in opened.unlanded(found, workflow_id=WORKFLOW, version=None))
    seconds = round(time.perf_counter() - begun, 1)
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return {"documents": documents, "left": left, "seconds": seconds, "peak_megabytes": int(peak) // 1024}


def measured(file: Path, documents: int) -> dict[str, Any]:
    """Fill the file here, and measure in a process that has nothing else in its memory."""
    fill(file, documents)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, __file__, "measure", str(file), str(documents)]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    figures: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return figures


def test_a_plan_leaves_out_what_has_landed_in_bounded_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = measured(tmp_path / "warehouse.duckdb", 100_000)
    with capsys.disabled():
        sys.stdout.write(f"\nplanning: {figures}\n")
    assert figures["left"] == 50_000
    assert figures["peak_megabytes"] < MOST_MEGABYTES


if __name__ == "__main__":
    if sys.argv[1] == "measure":
        sys.stdout.write(json.dumps(measure(Path(sys.argv[2]), int(sys.argv[3]))) + "\n")
    else:
        with tempfile.TemporaryDirectory() as folder:
            sys.stdout.write(f"{measured(Path(folder) / 'warehouse.duckdb', int(sys.argv[1]))}\n")
