"""``dead-letters``: which documents are listed, and the command that sends them again."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from extend_pipeline.__main__ import main
from fixtures.warehouse.files import land
from fixtures.warehouse.runs import WORKFLOW, document, raw_lines, run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


@pytest.fixture
def printed(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Run the command; return what it prints."""
    connection = json.dumps({"conn_type": "duckdb", "host": str(file)})
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_DEFAULT", connection)
    monkeypatch.setenv("COLUMNS", "250")

    def call(*arguments: str) -> str:
        capsys.readouterr()
        assert main(["dead-letters", *arguments]) == 0
        return capsys.readouterr().out

    return call


def test_dead_letters_are_listed_and_the_command_to_send_them_again_is_printed(
    file: Path, printed: Callable[..., str]
) -> None:
    failed = run(document(2), status="FAILED", failureReason="INVALID_WORKFLOW")
    cancelled = run(document(3), status="CANCELLED")
    documents = [document(number) for number in (1, 2, 3)]
    land(file, documents, raw_lines(run(document(1)), failed, cancelled))

    listed = printed()
    assert document(1).uri not in listed
    assert document(2).uri in listed
    assert "2 dead letters: 1 FAILED INVALID_WORKFLOW, 1 CANCELLED." in listed
    assert "The first 1;" in printed("--limit", "1")

    *words, conf = shlex.split(printed("--resend"))
    assert words == ["airflow", "dags", "trigger", "extend_on_demand", "--conf"]
    assert json.loads(conf) == {
        "reprocess": "failed",
        "workflow_id": WORKFLOW,
        "version": None,
        "warehouse_conn_id": "warehouse_default",
        "dataset": "extend",
    }


def test_no_command_is_printed_without_dead_letters(file: Path, printed: Callable[..., str]) -> None:
    land(file, [document(1)], raw_lines(run(document(1))))
    assert "0 dead letters." in printed()
    assert printed("--resend") == ""


def test_an_empty_dataset_has_no_dead_letters(printed: Callable[..., str]) -> None:
    assert "0 dead letters." in printed()


def test_log_lines_are_written_to_stderr(file: Path) -> None:
    loud = (
        "import logging, runpy, structlog, sys; sys.argv = sys.argv[1:]; from airflow.sdk import BaseHook; "
        "get = BaseHook.get_connection; "
        "BaseHook.get_connection = lambda *a: (logging.getLogger('airflow.task').warning('LOUD'), "
        "structlog.get_logger('airflow.other').warning('LOUD'), get(*a))[-1]; "
        "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
    )
    arguments = ["dead-letters", "--dataset", "nothing_there", "--resend"]
    connections = {"WAREHOUSE_DEFAULT": {"conn_type": "duckdb", "host": str(file)}}
    environment = {f"AIRFLOW_CONN_{name}": json.dumps(given) for name, given in connections.items()}
    done = subprocess.run(
        [sys.executable, "-c", loud, "extend_pipeline", *arguments],
        env={**os.environ, **environment, "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "[warning" in done.stderr
    assert "LOUD" not in done.stdout
    assert "[info" not in done.stdout
    assert "[warning" not in done.stdout
