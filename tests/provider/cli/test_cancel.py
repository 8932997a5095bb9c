"""The command that finishes a cancellation by hand, as a person runs it."""

from __future__ import annotations

import datetime as dt
import os
import shlex
import subprocess
import sys

import pytest

from extend_provider.batch.cancellation import RemoteWork
from extend_provider.batch.orphans import IdempotencyKey, Orphan
from extend_provider.client.models import BatchInput, FileInput
from extend_provider.hooks.extend import ExtendHook
from fixtures.extend.api import ExtendApi
from fixtures.tasks.extend_command import extend_command


@pytest.fixture(autouse=True)
def connection(extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", extend_api.connection_json())
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", extend_api.connection_json())
    extend_api.configure(synthetic=True, hold=True, cancelling_seconds=0)


def submit(count: int) -> str:
    with ExtendHook() as hook:
        return hook.create_batch("workflow_invoices", [BatchInput(FileInput(text="t"))] * count)


def test_batches_and_runs_are_cancelled_and_reported(extend_api: ExtendApi) -> None:
    """In a process of its own: Airflow finds the command, and its result can be piped."""
    first, second = submit(3), submit(2)
    with ExtendHook() as hook:
        run = hook.create_run("workflow_invoices", FileInput(text="t"))
    ids = ["--batch-id", first, "--batch-id", second, "--run-id", run.id, "--conn-id", "other"]
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "extend", "cancel", *ids],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "100"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == [
        f"Batch {first}: 3 runs cancelled, 0 had settled before.",
        f"Batch {second}: 2 runs cancelled, 0 had settled before.",
        f"Runs {run.id}: 1 runs cancelled, 0 had settled before.",
    ]
    assert "3/3" in done.stderr
    assert extend_api.stats()["runs"] == {"CANCELLED": 6}


def test_a_search_for_a_lost_batch_continues_while_it_may_be_listed_late(
    extend_api: ExtendApi, capsys: pytest.CaptureFixture[str]
) -> None:
    since = dt.datetime.now(dt.UTC).isoformat()
    extend_api.configure(listing_lag_seconds=2)
    with ExtendHook() as hook:
        batch_id = hook.create_batch("workflow_invoices", [BatchInput(FileInput(text="t"), {"chunk": "c1"})])
    lost = ["--workflow-id", "workflow_invoices", "--metadata", "chunk=c*", "--since", since]
    assert extend_command("cancel", *lost) == 0
    assert f"Batch {batch_id}: 1 runs cancelled" in capsys.readouterr().out
    assert extend_api.stats()["runs"] == {"CANCELLED": 1}


def test_cancel_finds_lost_single_runs_beside_the_known_ones(
    extend_api: ExtendApi,
) -> None:
    now = dt.datetime.now(dt.UTC)
    with ExtendHook() as hook:
        known = hook.create_run("workflow_invoices", FileInput(text="one"))
        hook.create_run("workflow_invoices", FileInput(text="two"), metadata={"k": "a/2:1"})
        hook.create_batch("workflow_invoices", [BatchInput(FileInput(text="t"), {"k": "a/2:1"})])
    orphan = Orphan(
        "workflow_invoices", IdempotencyKey({"k": "a/2:*"}), now.isoformat(), now.isoformat(), runs=1
    )
    work = RemoteWork("extend_default", run_ids=(known.id,), orphan=orphan)
    assert extend_command(*shlex.split(work.command)[2:]) == 0
    assert extend_api.stats()["runs"] == {"CANCELLED": 2, "PENDING": 1}


def test_an_unknown_batch_is_reported_as_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert extend_command("cancel", "--batch-id", "batch_of_nobody") == 1
    assert "no run is listed; check the id" in capsys.readouterr().out


def test_a_command_without_anything_to_cancel_names_what_is_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert extend_command("cancel") == 2
    assert "--batch-id" in capsys.readouterr().err


def test_a_connection_that_airflows_database_has_will_do(
    extend_api: ExtendApi, stored_connection: str, capsys: pytest.CaptureFixture[str]
) -> None:
    batch_id = submit(2)
    assert extend_command("cancel", "--batch-id", batch_id, "--conn-id", stored_connection) == 0
    assert f"Batch {batch_id}: 2 runs cancelled" in capsys.readouterr().out
