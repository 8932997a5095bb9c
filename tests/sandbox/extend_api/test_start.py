"""The emulator as a process: it says where it is, takes settings from the command line, ends cleanly."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import requests

from fixtures.extend.api import running
from fixtures.extend.scripted_server import Reply, ScriptedServer

HEADERS = {"Authorization": "Bearer sk_other", "x-extend-api-version": "2026-02-09"}
COMMAND = [sys.executable, "-m", "sandbox.extend_api"]


def test_emulator_serves_with_its_switches_and_leaves_no_files(tmp_path: Path) -> None:
    switches = ["--port", "0", "--key", "sk_other", "--validation-status", "422", "--hold"]
    rules = ["--outcomes", '[{"status": "FAILED", "name_glob": "*.pdf"}]']
    env = {"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    command = [*COMMAND, *switches, *rules]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        settings = requests.get(f"{url}/_sandbox/settings", timeout=10).json()
        refusal = requests.get(f"{url}/workflow_runs?sortDir=up", headers=HEADERS, timeout=10)
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        process.wait(10)
    assert settings["hold"] is True
    assert settings["outcomes"][0]["name_glob"] == "*.pdf"
    assert refusal.status_code == 422
    psutil.wait_procs(children, timeout=5)
    assert [child for child in children if child.is_running()] == []
    assert list(tmp_path.iterdir()) == []


def test_unknown_switch_and_wrong_value_are_named() -> None:
    for switches, named in ((["--latency", "1"], "--latency"), (["--max-page-size", "0"], "max_page_size")):
        ended = subprocess.run([*COMMAND, *switches], capture_output=True, text=True, timeout=30, check=False)
        assert ended.returncode != 0
        assert named in ended.stderr


def test_emulator_ends_at_once_with_deliveries_under_way() -> None:
    with ScriptedServer(Reply(503), Reply(delay=20)) as receiver, running("--synthetic") as api:
        api.configure(webhook_retry_seconds=60)
        api.listen(receiver.url)
        api.submit_batch([{"file": {"text": "x"}}] * 2)
        deadline = time.monotonic() + 10
        while len(receiver.requests) < 2:
            assert time.monotonic() < deadline
        assert api.stats()["webhooks"]["pending"] == 2
        process = psutil.Process(api.pid)
        process.terminate()
        process.wait(10)


def test_worker_processes_end_when_the_server_is_killed() -> None:
    with tempfile.TemporaryDirectory() as folder:
        env = {"TMPDIR": folder, "PATH": "/usr/bin:/bin"}
        command = [*COMMAND, "--port", "0", "--key", "sk_other"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            body = {"workflow": {"id": "workflow_invoices"}, "file": {"text": "Invoice 1"}}
            run = requests.post(f"{url}/workflow_runs", json=body, headers=HEADERS, timeout=10).json()
            while run["status"] in ("PENDING", "PROCESSING"):
                run = requests.get(f"{url}/workflow_runs/{run['id']}", headers=HEADERS, timeout=10).json()
            workers = psutil.Process(process.pid).children(recursive=True)
            process.kill()
        assert workers
        _, alive = psutil.wait_procs(workers, timeout=5)
        assert alive == []
