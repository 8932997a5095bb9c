"""Several tasks wait for one batch: only the end of the last one cancels it; Airflow says who is left."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from extend_provider.batch.ownership import Waiter, add_waiter, other_waiters, remove_waiter
from extend_provider.client.models import BatchInput, FileInput
from extend_provider.hooks.extend import ExtendHook
from extend_provider.triggers.batch import ExtendBatchTrigger
from fixtures.extend.api import ExtendApi
from fixtures.sources.s3 import S3
from fixtures.tasks.task_support import TaskInstance, carried_over

OURS = Waiter("dag", "run", "group.wait", 2)
THEIRS = Waiter("another", "manual__2026-11-22T02:00:00+00:00", "other.wait", 0)
States = dict[Waiter, str | None]


@pytest.fixture(autouse=True)
def connection(extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", extend_api.connection_json())
    extend_api.configure(hold=True, synthetic=True, cancelling_seconds=0)


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> States:
    """What Airflow knows of tasks; what is not in it has been deleted with its run."""
    rows: States = {OURS: "failed", THEIRS: "deferred"}

    def get_task_states(
        *, dag_id: str, task_ids: list[str], run_ids: list[str], map_index: int
    ) -> dict[str, Any]:
        asked = Waiter(dag_id, run_ids[0], task_ids[0], map_index)
        return {asked.run_id: {asked.task_id: rows[asked]}} if asked in rows else {}

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", get_task_states)
    return rows


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return f"file://{tmp_path}/batches/followers"


@pytest.fixture
def folder_in_s3(s3: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", s3.connection_json())
    return f"s3://aws_default@{s3.bucket('workspace')}/batches/followers"


async def killed(folder: str) -> str:
    """Kill the task of ours, which waits for a new batch in the triggerer; return the batch."""
    with ExtendHook() as hook:
        batch_id = hook.create_batch("workflow_invoices", [BatchInput(FileInput(text="t"))] * 2)
    trigger = carried_over(
        ExtendBatchTrigger(
            batch_id=batch_id,
            run_count=2,
            followers=folder,
            extend_conn_id="extend_default",
            policy={"deadline": 0, "poll_interval": 1},
        )
    )
    trigger._task_instance = TaskInstance(
        dag_id=OURS.dag_id, run_id=OURS.run_id, task_id=OURS.task_id, map_index=OURS.map_index
    )
    await trigger.on_kill()
    await trigger.cleanup()
    return batch_id


@pytest.mark.parametrize("state", [None, "queued", "running", "deferred", "up_for_retry"])
async def test_a_batch_with_another_waiter_continues_and_the_log_names_the_waiter(
    state: str | None,
    states: States,
    folder: str,
    extend_api: ExtendApi,
    capsys: pytest.CaptureFixture[str],
) -> None:
    states[THEIRS] = state
    for each in (OURS, THEIRS):
        add_waiter(folder, each)
    batch_id = await killed(folder)
    assert extend_api.stats()["runs"] == {"PENDING": 2}
    said = capsys.readouterr().out
    assert str(THEIRS) in said
    assert f"airflow extend cancel --batch-id {batch_id}" in said


@pytest.mark.parametrize("state", ["failed", "success", "skipped", "deleted"])
async def test_a_waiter_that_has_ended_or_is_gone_does_not_prevent_the_cancellation(
    state: str, states: States, folder: str, extend_api: ExtendApi
) -> None:
    if state == "deleted":
        del states[THEIRS]
    else:
        states[THEIRS] = state
    for each in (OURS, THEIRS):
        add_waiter(folder, each)
    await killed(folder)
    assert extend_api.stats()["runs"] == {"CANCELLED": 2}


async def test_a_task_of_the_same_group_does_not_count_as_another_waiter(
    states: States, folder: str, extend_api: ExtendApi
) -> None:
    beside = Waiter.of(OURS, "submit")
    assert beside.task_id == "group.submit"
    states[beside] = "running"
    add_waiter(folder, beside)
    await killed(folder)
    assert extend_api.stats()["runs"] == {"CANCELLED": 2}


async def test_a_batch_without_waiter_files_belongs_to_the_task_alone(
    states: States, folder: str, extend_api: ExtendApi
) -> None:
    await killed(folder)
    assert extend_api.stats()["runs"] == {"CANCELLED": 2}


async def test_an_unreadable_waiter_file_prevents_the_cancellation(
    states: States, folder: str, extend_api: ExtendApi, capsys: pytest.CaptureFixture[str]
) -> None:
    add_waiter(folder, THEIRS)
    (marker,) = Path(folder.removeprefix("file://")).iterdir()
    marker.write_text("{")
    batch_id = await killed(folder)
    assert extend_api.stats()["runs"] == {"PENDING": 2}
    assert f"cancel --batch-id {batch_id}" in capsys.readouterr().out


@pytest.mark.parametrize("where", ["folder", "folder_in_s3"])
def test_a_waiter_can_be_removed_twice(where: str, states: States, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(where)
    assert other_waiters(folder, OURS) == []
    add_waiter(folder, THEIRS)
    add_waiter(folder, THEIRS)
    assert other_waiters(folder, OURS) == [THEIRS]
    assert other_waiters(folder, THEIRS) == []
    for _ in range(2):
        remove_waiter(folder, THEIRS)
    assert other_waiters(folder, OURS) == []


def test_a_waiter_added_later_by_another_process_is_read(states: States, folder_in_s3: str, s3: S3) -> None:
    add_waiter(folder_in_s3, OURS)
    assert other_waiters(folder_in_s3, OURS) == [], "the listing has been read once"
    marker = json.dumps(dataclasses.asdict(THEIRS)).encode()
    s3.put("workspace", "batches/followers/theirs.json", marker)
    assert other_waiters(folder_in_s3, OURS) == [THEIRS]
