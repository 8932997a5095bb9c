"""``python -m sandbox.stack run``: the whole way as a newcomer walks it, by exit code and words."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import duckdb

from fixtures.airflow.timing import RUN_SECONDS
from sandbox.stack.home import Home

PROJECT = Path(__file__).parents[2]


def test_run_lands_every_document_and_leaves_no_process(tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = [sys.executable, "-m", "sandbox.stack", "--home", str(home), "run", "--documents", "40"]
    done = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All 40 documents landed as they are in the files." in done.stdout
    assert re.search(r"(\d+) runs for \1 documents; 0 sent more than once", done.stdout)
    assert re.search(r"POST /workflow_runs/batch\W+1\W", done.stdout)
    assert re.search(r"^0 result requests, [0-3] lists?; \d+ events delivered$", done.stdout, re.MULTILINE)
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as warehouse:
        assert warehouse.sql("SELECT count(*) FROM extend.documents").fetchall() == [(40,)]
    assert not Home(home).is_taken()
    assert not Home(home).strays()
