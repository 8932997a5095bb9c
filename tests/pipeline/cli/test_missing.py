"""Dead letters from a terminal: what is listed, and the command that sends them again."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.warehouse_files import land
from fixtures.warehouse_runs import WORKFLOW, document, raw_lines, run


def command(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    connection = json.dumps({"conn_type": "duckdb", "host": str(file)})
    environment = {**os.environ, "AIRFLOW_CONN_WAREHOUSE_DEFAULT": connection, "COLUMNS": "250"}
    return subprocess.run(
        [sys.executable, "-m", "extend_pipeline", "dead-letters", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


def test_dead_letters_are_listed_and_the_command_to_send_them_again_is_told(file: Path) -> None:
    failed = run(document(2), status="FAILED", failureReason="INVALID_WORKFLOW")
    cancelled = run(document(3), status="CANCELLED")
    documents = [document(number) for number in (1, 2, 3)]
    land(file, documents, raw_lines(run(document(1)), failed, cancelled))

    listed = command(file)
    assert listed.returncode == 0, listed.stderr
    assert document(1).uri not in listed.stdout
    assert document(2).uri in listed.stdout
    assert "2 dead letters: 1 FAILED INVALID_WORKFLOW, 1 CANCELLED." in listed.stdout
    assert "The first 1;" in command(file, "--limit", "1").stdout

    *words, conf = shlex.split(command(file, "--resend").stdout)
    assert words == ["airflow", "dags", "trigger", "extend_on_demand", "--conf"]
    assert json.loads(conf) == {
        "reprocess": "failed",
        "workflow_id": WORKFLOW,
        "version": None,
        "warehouse_conn_id": "warehouse_default",
        "dataset": "extend",
    }


@pytest.mark.parametrize(
    ("package", "arguments"),
    [
        ("extend_pipeline", ["dead-letters", "--dataset", "nothing_there", "--resend"]),
        ("extend_pipeline", ["reservations", "--workspace", "file:///nowhere"]),
        ("extend_provider", ["cancel", "--run-id", "workflow_run_1", "--timeout", "2"]),
    ],
)
def test_log_lines_go_where_they_do_not_stand_in_the_result(
    file: Path, package: str, arguments: list[str]
) -> None:
    loud = (
        "import logging, runpy, structlog, sys; sys.argv = sys.argv[1:]; from airflow.sdk import BaseHook; "
        "get = BaseHook.get_connection; "
        "BaseHook.get_connection = lambda *a: (logging.getLogger('airflow.task').warning('LOUD'), "
        "structlog.get_logger('airflow.other').warning('LOUD'), get(*a))[-1]; "
        "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
    )
    connections = {"WAREHOUSE_DEFAULT": {"conn_type": "duckdb", "host": str(file)}}
    connections["EXTEND_DEFAULT"] = {"conn_type": "extend", "host": "http://127.0.0.1:9", "password": "sk_x"}
    environment = {f"AIRFLOW_CONN_{name}": json.dumps(given) for name, given in connections.items()}
    done = subprocess.run(
        [sys.executable, "-c", loud, package, *arguments],
        env={**os.environ, **environment, "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "[warning" in done.stderr
    assert "LOUD" not in done.stdout
    assert "[info" not in done.stdout
    assert "[warning" not in done.stdout


def test_without_dead_letters_there_is_nothing_to_send(file: Path) -> None:
    land(file, [document(1)], raw_lines(run(document(1))))
    assert "0 dead letters." in command(file).stdout
    assert command(file, "--resend").stdout == ""


def test_a_dataset_that_has_nothing_yet_has_no_dead_letters(file: Path) -> None:
    assert "0 dead letters." in command(file).stdout
