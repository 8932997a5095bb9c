"""``python -m sandbox.stack run``: the whole way as a newcomer walks it, by exit code and words."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import httpx
import pytest

from fixtures.airflow.timing import RUN_SECONDS, SEEN_SECONDS
from fixtures.page.server import PAGE
from sandbox.stack.client import AirflowClient
from sandbox.stack.home import Home
from sandbox.stack.processes.network import free_ports

PROJECT = Path(__file__).parents[2]


@pytest.mark.long
def test_run_lands_every_document_and_leaves_no_process(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (port,) = free_ports(1)
    options = ["run", "--documents", "40", "--ui-port", str(port)]
    command = [sys.executable, "-m", "sandbox.stack", "--home", str(home), *options]
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


@pytest.mark.long
def test_up_opens_with_a_night_that_has_landed_and_is_on_the_page(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "sandbox.stack", "--home", str(home.path), "up"]
    options = ["--documents", "40", "--days", "2", "--ui-port", str(port)]
    opened = subprocess.Popen([*command, *options], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    guard = threading.Timer(RUN_SECONDS, opened.kill)
    guard.start()
    try:
        assert opened.stdout is not None
        printed = ""
        for line in opened.stdout:
            printed += line
            if "Ctrl-C stops everything." in line:
                break
        state = home.read_state()
        assert state is not None, printed
        assert "All 40 documents landed as they are in the files." in printed
        overview = f"{state.airflow_url}{PAGE}/api/extend_nightly/overview"
        with AirflowClient(state.airflow_url, state.username, state.password) as client:
            cookie = {"_token": client.token()}
        shown = httpx.get(overview, cookies=cookie, timeout=SEEN_SECONDS, trust_env=False).json()
        assert (shown["state"], sum(shown["total"].values())) == ("ready", 40)
        opened.send_signal(signal.SIGINT)
        assert opened.wait(SEEN_SECONDS) == 128 + signal.SIGINT
    finally:
        guard.cancel()
        opened.kill()
        opened.wait()
        left = home.kill_strays()
    assert left == 0
