"""What each DAG file costs to parse: ``python -m bench.single.parsing --help``.

Each file is parsed in a process of its own, in which Airflow is imported already, as it is in Airflow's DAG
processor. What is imported besides is counted: the modules, and the heavy libraries among them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.rows import tell

DAGS = Path(__file__).parents[3] / "dags"
EMPTY = "an empty DAG"
EMPTY_FILE = """
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG("empty"):
    EmptyOperator(task_id="empty")
"""
#: Libraries that no DAG file may import while it is parsed.
HEAVY = ("aiohttp", "boto3", "botocore", "duckdb", "pandas", "pyarrow", "requests", "s3fs")
MARK = "measured: "
CHILD = f"""
import importlib.util, json, sys, time
from airflow.sdk import DAG
before, started, used = set(sys.modules), time.perf_counter(), time.process_time()
spec = importlib.util.spec_from_file_location("parsed", sys.argv[1])
spec.loader.exec_module(importlib.util.module_from_spec(spec))
wall, cpu = time.perf_counter() - started, time.process_time() - used
new = set(sys.modules) - before
heavy = sorted(new & set({HEAVY!r}))
print({MARK!r} + json.dumps({{"wall": wall, "cpu": cpu, "modules": len(new), "heavy": heavy}}))
"""


def parsed(file: Path) -> dict[str, Any]:
    """Parse a file in a process of its own; return seconds, and what it has imported."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(DAGS), *filter(None, sys.path)])}
    command = [sys.executable, "-c", CHILD, str(file)]
    answer = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(answer.stdout.rpartition(MARK)[2])
    return found


def measured(files: Iterable[Path], repeat: int) -> list[dict[str, Any]]:
    """Return a row for each file, with medians of the times."""
    rows = []
    for file in files:
        again = [parsed(file) for _ in range(repeat)]
        rows.append(
            {
                "file": EMPTY if file.name == "empty.py" else file.name,
                "ms": round(1000 * statistics.median(each["wall"] for each in again)),
                "CPU ms": round(1000 * statistics.median(each["cpu"] for each in again)),
                "modules imported": again[0]["modules"],
                "heavy libraries": ", ".join(again[0]["heavy"]) or "none",
            }
        )
    return rows


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench.single.parsing", description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="how often; the medians are printed")
    parser.add_argument("--quick", action="store_true", help="one file beside the empty DAG, once")
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="extend-bench-") as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text(EMPTY_FILE)
        files = [DAGS / "extend_nightly.py"] if asked.quick else sorted(DAGS.glob("extend_*.py"))
        rows = measured([empty, *files], 1 if asked.quick else asked.repeat)
    tell(rows, as_json=asked.json)


if __name__ == "__main__":
    main()
