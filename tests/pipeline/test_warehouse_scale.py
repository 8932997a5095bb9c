"""What landing costs. Run ``python tests/pipeline/test_warehouse_scale.py 100000`` for other sizes."""

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

import pytest

from pipeline.warehouse_files import land, provenance, warehouse
from pipeline.warehouse_runs import WORKFLOW, document, many_lines

#: What a process that lands a chunk may use, whatever the chunk's size.
MOST_MEGABYTES = 400


def measure(documents: int) -> dict[str, Any]:
    """Land ``documents`` documents twice, then ask which of twice as many have not landed."""
    figures: dict[str, Any] = {"documents": documents}
    with tempfile.TemporaryDirectory() as folder:
        raw, file = Path(folder) / "part.jsonl", Path(folder) / "warehouse.duckdb"
        with raw.open("wb") as lines:
            lines.writelines(many_lines(documents))
        figures["raw_megabytes"] = raw.stat().st_size // 10**6
        for name in ("first_seconds", "again_seconds"):
            started = time.perf_counter()
            with raw.open("rb") as lines:
                landing = land(
                    file, map(document, range(documents)), lines, origin=provenance(raw_uri="raw/1")
                )
            figures[name] = round(time.perf_counter() - started, 2)
        figures["rows"] = sum(landing.rows.values())
        started = time.perf_counter()
        with warehouse(file) as opened:
            candidates = map(document, range(2 * documents))
            left = sum(1 for _ in opened.unlanded(candidates, workflow_id=WORKFLOW, version=None))
        figures["unlanded"], figures["unlanded_seconds"] = left, round(time.perf_counter() - started, 2)
    figures["peak_megabytes"] = peak_megabytes()
    return figures


def peak_megabytes() -> int:
    """Return the most memory this process has had; ``getrusage`` would count what its parent had, too."""
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak) // 1024


@pytest.mark.parametrize("documents", [1000, 5000])
def test_a_chunk_lands_in_bounded_memory_whatever_its_size(
    documents: int, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    answer = subprocess.run(
        [sys.executable, __file__, str(documents)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    figures = json.loads(answer.stdout)
    with capsys.disabled():
        sys.stdout.write(f"\nlanding: {figures}\n")
    assert figures["unlanded"] == documents
    assert figures["peak_megabytes"] < MOST_MEGABYTES


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(int(sys.argv[1]))) + "\n")
