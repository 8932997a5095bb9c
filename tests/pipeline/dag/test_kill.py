"""A chunk's task is ended in its worker, at the moments when a batch comes into being."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.triggers.base import BaseTrigger

from extend_pipeline.batches.chunk_state import ChunkRound
from extend_pipeline.dag.wait import WaitChunkOperator
from extend_provider.batch.ownership import Waiter, add_waiter, other_waiters
from extend_provider.exceptions import ExtendError
from extend_provider.hooks.extend import ExtendHook
from extend_provider.sensors.batch import ExtendBatchTimeoutError
from extend_provider.triggers.batch import ExtendBatchTrigger
from fixtures.pipeline.chunk_tasks import BATCH, Chunk
from fixtures.tasks.task_support import Task, event_of, not_settled_yet, run_on


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extend_provider.triggers.base.EARLIEST_REPORT_SECONDS", 0.0)


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What Airflow says of a run's tasks, by the run."""
    answers = {"run": "failed"}

    def get_task_states(*, run_ids: list[str], **asked: Any) -> dict[str, Any]:
        return {run_id: {"any": answers[run_id]} for run_id in run_ids if run_id in answers}

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", get_task_states)
    return answers


@contextlib.contextmanager
def ended_while_sending(operator: Any) -> Iterator[None]:
    """Do what Airflow's task process does on SIGTERM, while the answer is on its way: ``on_kill``, go on."""
    create = ExtendHook.create_batch

    def ended(hook: ExtendHook, *args: Any, **kwargs: Any) -> str:
        batch_id = create(hook, *args, **kwargs)
        operator.on_kill()
        return batch_id

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ExtendHook, "create_batch", ended)
        yield


@pytest.mark.parametrize(
    ("state", "left"),
    [
        pytest.param("failed", {"CANCELLED": 3}, id="ended"),
        pytest.param("running", {"PENDING": 3}, id="worker shut down"),
    ],
)
def test_a_batch_whose_id_arrives_after_the_kill_is_cancelled_if_the_task_was_ended(
    chunk: Chunk, states: dict[str, str], state: str, left: dict[str, int]
) -> None:
    chunk.api.configure(hold=True, cancelling_seconds=0)
    states["run"] = state

    def run(operator: Any, context: Any) -> Any:
        with ended_while_sending(operator):
            return operator.execute(context)

    chunk.run = run
    chunk.submit()
    assert chunk.api.stats()["runs"] == left
    assert chunk.api.requests_to(BATCH) == 1


def test_nothing_is_sent_any_more_by_a_process_that_is_being_ended(
    chunk: Chunk, states: dict[str, str]
) -> None:
    def run(operator: Any, context: Any) -> Any:
        operator.on_kill()
        return operator.execute(context)

    chunk.run = run
    with pytest.raises(ExtendError, match="being killed, so nothing was sent"):
        chunk.submit()
    assert chunk.api.requests_to(BATCH) == 0
    chunk.run = run_on
    assert chunk.submit() is not None
    assert chunk.times_paid() == {1}
    assert chunk.api.requests_to("GET /workflow_runs") == 0, "there was no intent to look into"


def waiting(chunk: Chunk) -> WaitChunkOperator:
    """Return the task that waits for the chunk's batch, which failed for a passing reason."""
    chunk.submit()
    return WaitChunkOperator(task_id="wait", chunk=chunk.sent, poke_interval=0.2, timeout=60)


def test_a_task_that_is_ended_while_it_looks_at_its_batch_cancels_it(
    chunk: Chunk, states: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk.api.configure(hold=True, cancelling_seconds=0)
    operator = waiting(chunk)
    states["run"] = "failed"
    poll = ExtendBatchTrigger.poll

    async def ended(trigger: ExtendBatchTrigger, hook: Any) -> Any:
        operator.on_kill()
        return await poll(trigger, hook)

    monkeypatch.setattr(ExtendBatchTrigger, "poll", ended)
    with pytest.raises(ExtendError, match="being killed, so nothing was sent"):
        operator.execute(Task().attempt())
    assert chunk.api.stats()["runs"] == {"CANCELLED": 3}


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
def test_a_kill_between_two_rounds_cancels_the_round_just_sent_unless_others_wait_for_it(
    chunk: Chunk, states: dict[str, str], shared: bool
) -> None:
    chunk.api.configure(
        outcomes=[{"name_glob": "*", "status": "FAILED", "first_attempts": 1}], cancelling_seconds=0
    )
    operator = waiting(chunk)
    if shared:
        states["another run"] = "deferred"
        add_waiter(
            ChunkRound.first(operator.chunk).waiters_folder, Waiter("dag", "another run", "group.wait", 0)
        )
    context = Task().attempt()
    with not_settled_yet(), pytest.raises(TaskDeferred) as first:
        operator.execute(context)
    event = event_of(first.value)
    chunk.api.configure(hold=True)
    with ended_while_sending(operator), pytest.raises(TaskDeferred):
        operator.resume_execution("execute_complete", {"event": event}, context)
    assert chunk.times_paid() == {2}
    assert chunk.api.stats()["runs"] == {"FAILED": 3, ("PENDING" if shared else "CANCELLED"): 3}


def test_a_rate_limited_second_round_is_sent_later_with_the_same_deadline(
    chunk: Chunk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extend_provider.batch.submission.MAX_WORKER_WAIT", 0.0)
    chunk.api.configure(
        outcomes=[{"name_glob": "*", "status": "FAILED", "first_attempts": 1}],
        faults=[{"endpoint": BATCH, "kind": "rate_limit", "retry_after": 0.1, "skip": 1, "count": 2}],
    )
    operator, context = waiting(chunk), Task().attempt()
    handed_over: list[dict[str, Any]] = []

    def hand_over(*, trigger: BaseTrigger, **how: Any) -> None:
        handed_over.append(trigger.serialize()[1])
        raise TaskDeferred(trigger=trigger, **how)

    monkeypatch.setattr(WaitChunkOperator, "defer", staticmethod(hand_over))
    assert run_on(operator, context)["by_status"] == {"PROCESSED": 3}
    assert chunk.times_paid() == {2}
    assert chunk.api.requests_to(BATCH) == 4, "two batches, and two that were turned away"
    waits = [each["policy"] for each in handed_over if "policy" in each]
    laters = [each["state"] for each in handed_over if "state" in each]
    assert [each["turned_away"] for each in laters] == [1, 2]
    assert len({each["deadline"] for each in [*waits, *(each["policy"] for each in laters)]}) == 1


def test_time_that_is_up_for_one_does_not_cancel_what_others_wait_for(
    chunk: Chunk, states: dict[str, str]
) -> None:
    chunk.api.configure(hold=True, cancelling_seconds=0)
    operator = waiting(chunk)
    operator.timeout, operator.on_timeout = 1.0, "cancel"
    other = Waiter("dag", "another run", "group.wait", 0)
    add_waiter(ChunkRound.first(operator.chunk).waiters_folder, other)
    states["another run"] = "deferred"
    with pytest.raises(ExtendBatchTimeoutError, match=re.escape(f"other tasks wait for it, e.g. {other}")):
        run_on(operator, Task().attempt())
    assert chunk.api.stats()["runs"] == {"PENDING": 3}

    states["another run"] = "failed"
    with pytest.raises(ExtendBatchTimeoutError, match="3 runs cancelled"):
        run_on(operator, Task().attempt())
    assert chunk.api.stats()["runs"] == {"CANCELLED": 3}


def test_a_chunk_is_followed_from_its_submission_to_the_end_of_the_wait(
    chunk: Chunk, states: dict[str, str]
) -> None:
    operator = waiting(chunk)
    folder = ChunkRound.first(operator.chunk).waiters_folder
    states["run"] = "running"
    us, them = Waiter("dag", "run", "wait"), Waiter("dag", "another run", "wait")
    assert other_waiters(folder, them) == [us], "its submission has said so"
    context = Task().attempt()
    context["ti"].task_id = "wait"
    run_on(operator, context)
    assert other_waiters(folder, them) == []
