"""The command that finishes a cancellation by hand, as a person runs it."""

from __future__ import annotations

import datetime as dt
import os
import shlex
import subprocess
import sys

import pytest

from extend_provider.batch.cancellation import RemoteWork
from extend_provider.batch.orphans import Mark, Sought
from extend_provider.client.models import BatchInput, FileInput
from extend_provider.hooks.extend import ExtendHook
from fixtures.extend_api import ExtendApi


@pytest.fixture(autouse=True)
def connection(extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", extend_api.connection_json())
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", extend_api.connection_json())
    extend_api.configure(synthetic=True, hold=True, cancelling_seconds=0)


def submit(count: int) -> str:
    with ExtendHook() as hook:
        return hook.create_batch("workflow_invoices", [BatchInput(FileInput(text="t"))] * count)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "extend_provider", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "100"},
    )


def test_batches_and_runs_are_cancelled_and_told(extend_api: ExtendApi) -> None:
    first, second = submit(3), submit(2)
    with ExtendHook() as hook:
        run = hook.create_run("workflow_invoices", FileInput(text="t"))
    done = command(
        "cancel", "--batch-id", first, "--batch-id", second, "--run-id", run.id, "--conn-id", "other"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Batch {first}: 3 runs cancelled, 0 had settled before." in done.stdout
    assert f"Batch {second}: 2 runs cancelled, 0 had settled before." in done.stdout
    assert f"Runs {run.id}: 1 runs cancelled" in done.stdout
    assert "3/3" in done.stderr
    assert extend_api.stats()["runs"] == {"CANCELLED": 6}


def test_a_batch_whose_id_never_arrived_is_waited_for_as_long_as_it_may_be_listed_late(
    extend_api: ExtendApi,
) -> None:
    since = dt.datetime.now(dt.UTC).isoformat()
    extend_api.configure(listing_lag_seconds=6)
    with ExtendHook() as hook:
        batch_id = hook.create_batch("workflow_invoices", [BatchInput(FileInput(text="t"), {"chunk": "c1"})])
    done = command("cancel", "--workflow-id", "workflow_invoices", "--metadata", "chunk=c*", "--since", since)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Batch {batch_id}: 1 runs cancelled" in done.stdout
    assert extend_api.stats()["runs"] == {"CANCELLED": 1}


def test_single_runs_whose_ids_never_arrived_are_looked_for_beside_those_that_are_known(
    extend_api: ExtendApi,
) -> None:
    now = dt.datetime.now(dt.UTC)
    with ExtendHook() as hook:
        known = hook.create_run("workflow_invoices", FileInput(text="one"))
        hook.create_run("workflow_invoices", FileInput(text="two"), metadata={"k": "a/2:1"})
        hook.create_batch("workflow_invoices", [BatchInput(FileInput(text="t"), {"k": "a/2:1"})])
    sought = Sought("workflow_invoices", Mark({"k": "a/2:*"}), now.isoformat(), now.isoformat(), runs=1)
    work = RemoteWork("extend_default", run_ids=(known.id,), sought=sought)
    done = command(*shlex.split(work.command)[3:])
    assert done.returncode == 0, done.stdout + done.stderr
    assert extend_api.stats()["runs"] == {"CANCELLED": 2, "PENDING": 1}


def test_an_unknown_batch_is_not_taken_for_success() -> None:
    done = command("cancel", "--batch-id", "batch_of_nobody")
    assert done.returncode == 1
    assert "not one is listed; check the id" in done.stdout


def test_without_anything_to_cancel_it_says_what_is_missing() -> None:
    done = command("cancel")
    assert done.returncode == 2
    assert "--batch-id" in done.stderr
