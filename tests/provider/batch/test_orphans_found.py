"""A task is ended while it is not known whether its batch exists: it is looked for, and cancelled."""

from __future__ import annotations

import asyncio
import datetime as dt
import shlex
import subprocess
import sys
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from extend_provider.batch.cancellation import RemoteWork, cancel
from extend_provider.batch.ledger import Intent, TaskStateLedger
from extend_provider.batch.orphans import IdempotencyKey, Orphan
from extend_provider.batch.submission import Submitter
from extend_provider.exceptions import ExtendError
from extend_provider.hooks.extend import ExtendHook
from extend_provider.operators.submit_batch import ExtendSubmitBatchOperator
from extend_provider.triggers.submission import ExtendSubmissionTrigger
from fixtures.extend.api import ExtendApi
from fixtures.tasks.extend_command import extend_command
from fixtures.tasks.task_support import Task, TaskInstance, carried_over

SUBMISSION = "POST /workflow_runs/batch"
WORKFLOW = "workflow_invoices"


@pytest.fixture(autouse=True)
def connection(extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(extend_api, monkeypatch, grace=600)
    extend_api.configure(synthetic=True, hold=True, cancelling_seconds=0)
    monkeypatch.setattr("extend_provider.batch.submission.MAX_WORKER_WAIT", 0.0)


def connect(extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch, *, grace: float) -> None:
    made = extend_api.connection_json(timeout=1, acceptance_window=1, listing_grace=grace)
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", made)


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """What Airflow says of the task."""
    rows: dict[str, str | None] = {"task": "failed"}
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", lambda **_: {"run": rows})
    return rows


def operator(**arguments: Any) -> ExtendSubmitBatchOperator:
    inputs = [{"file": {"text": f"t{number}"}, "metadata": {"number": number}} for number in range(3)]
    arguments = {"deferrable": True, **arguments}
    return ExtendSubmitBatchOperator(
        task_id="submit", workflow_id=WORKFLOW, inputs=inputs, retries=3, **arguments
    )


def lost(extend_api: ExtendApi, **arguments: Any) -> ExtendSubmissionTrigger:
    """Return the trigger that waits for the proof that a submission without an answer came to nothing."""
    extend_api.configure(faults=[{"endpoint": SUBMISSION, "kind": "error", "accepted": False}])
    task = Task(retries=3)
    with pytest.raises(TaskDeferred) as deferred:
        operator(**arguments).execute(task.attempt())
    trigger: ExtendSubmissionTrigger = carried_over(deferred.value.trigger)
    trigger._task_instance = TaskInstance()
    return trigger


def accepted_after_all(extend_api: ExtendApi, trigger: ExtendSubmissionTrigger) -> str:
    """Have Extend make the batch of which nobody has heard."""
    assert trigger.work is not None
    assert trigger.work.orphan is not None
    ((key, pattern),) = trigger.work.orphan.key.patterns.items()
    metadata = {key: pattern.replace("*", "3")}
    return extend_api.submit_batch([{"file": {"text": "t"}, "metadata": metadata}] * 3, workflow_id=WORKFLOW)


def kill(trigger: ExtendSubmissionTrigger) -> None:
    async def on_kill() -> None:
        await trigger.on_kill()
        await trigger.cleanup()

    asyncio.run(on_kill())


def test_a_batch_that_is_listed_late_is_cancelled(
    extend_api: ExtendApi, state: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extend_provider.batch.cancellation.CANCEL_SECONDS", 0.7)  # the proof takes longer
    trigger = lost(extend_api)
    extend_api.configure(listing_lag_seconds=1)
    accepted_after_all(extend_api, trigger)
    extend_api.submit_batch([{"file": {"text": "of others"}}], workflow_id=WORKFLOW)
    kill(trigger)
    assert extend_api.stats()["runs"] == {"CANCELLED": 3, "PENDING": 1}


@pytest.mark.parametrize(
    ("rows", "arguments"),
    [({"task": None}, {}), ({"task": "failed"}, {"cancel_on_kill": False})],
    ids=["cleared", "without cancel_on_kill"],
)
def test_a_task_that_moves_to_another_attempt_keeps_its_batch(
    extend_api: ExtendApi,
    state: dict[str, str | None],
    rows: dict[str, str | None],
    arguments: dict[str, Any],
) -> None:
    trigger = lost(extend_api, **arguments)
    accepted_after_all(extend_api, trigger)
    state.update(rows)
    kill(trigger)
    assert extend_api.stats()["runs"] == {"PENDING": 3}


def test_a_rate_limited_submission_is_not_searched_for(
    extend_api: ExtendApi, state: dict[str, str | None]
) -> None:
    limit = {"endpoint": SUBMISSION, "kind": "rate_limit", "retry_after": 600}
    extend_api.configure(faults=[limit])
    with pytest.raises(TaskDeferred) as deferred:
        operator().execute(Task().attempt())
    kill(carried_over(deferred.value.trigger))
    assert extend_api.stats()["requests"] == {SUBMISSION: 1}


class WorkerKilled(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize("answered", [True, False], ids=["answer arrives", "answer does not arrive"])
@pytest.mark.parametrize(
    ("ended", "left"), [("failed", {"CANCELLED": 3}), ("running", {"PENDING": 3})], ids=["ended", "shut down"]
)
def test_a_kill_during_the_post_cancels_the_batch_if_the_task_was_ended(
    extend_api: ExtendApi,
    state: dict[str, str | None],
    monkeypatch: pytest.MonkeyPatch,
    ended: str,
    left: dict[str, int],
    answered: bool,
) -> None:
    state["task"] = ended
    made, create = operator(), ExtendHook.create_batch

    def killed(hook: ExtendHook, *args: Any, **kwargs: Any) -> str:
        batch_id = create(hook, *args, **kwargs)
        made.on_kill()  # as Airflow's handler of SIGTERM does, after which the process goes on
        if not answered:
            raise WorkerKilled
        return batch_id

    monkeypatch.setattr(ExtendHook, "create_batch", killed)
    try:
        made.execute(Task().attempt())
    except WorkerKilled:
        assert not answered
    assert extend_api.stats()["runs"] == left


@pytest.mark.parametrize("when", ["in begin", "after begin", "right before the request"])
@pytest.mark.parametrize("ended", ["failed", None], ids=["ended", "cleared"])
def test_a_kill_between_intent_and_request_sends_nothing(
    extend_api: ExtendApi,
    state: dict[str, str | None],
    monkeypatch: pytest.MonkeyPatch,
    when: str,
    ended: str | None,
) -> None:
    state["task"] = ended
    made, task = operator(), Task(retries=3)
    place, name = {
        "in begin": (TaskStateLedger, "_write"),
        "after begin": (TaskStateLedger, "begin"),
        "right before the request": (Submitter, "_own"),
    }[when]
    real = getattr(place, name)

    def killed(self: Any, *arguments: Any, **options: Any) -> Any:
        told = real(self, *arguments, **options)
        if isinstance(self, Submitter) or isinstance(arguments[0], Intent):
            made.on_kill()
        return told

    with monkeypatch.context() as patched:
        patched.setattr(place, name, killed)
        with pytest.raises(ExtendError, match="being killed, so nothing was sent"):
            made.execute(task.attempt())
    looked = extend_api.requests_to("GET /workflow_runs")
    assert extend_api.requests_to(SUBMISSION) == 0
    assert looked == 0 or when == "right before the request", "there was nothing to look for yet"
    assert operator().execute(task.attempt()) is not None, (
        "the intent was withdrawn, so nothing is proven first"
    )
    assert extend_api.requests_to(SUBMISSION) == 1
    assert extend_api.requests_to("GET /workflow_runs") == looked
    assert extend_api.stats()["runs"] == {"PENDING": 3}


def test_a_batch_not_listed_in_time_is_reported_with_the_command(
    extend_api: ExtendApi,
    state: dict[str, str | None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("extend_provider.batch.ownership.SEARCH_SECONDS", 0.5)
    extend_api.configure(listing_lag_seconds=600)
    made, create = operator(), ExtendHook.create_batch

    def killed(hook: ExtendHook, *args: Any, **kwargs: Any) -> str:
        create(hook, *args, **kwargs)
        made.on_kill()
        raise WorkerKilled

    with monkeypatch.context() as patched:
        patched.setattr(ExtendHook, "create_batch", killed)
        with pytest.raises(WorkerKilled):
            made.execute(Task().attempt())
    assert extend_api.stats()["runs"] == {"PENDING": 3}
    told = caplog.text + capsys.readouterr().out
    assert "it was not found at Extend: time was up after 0.5 s." in told
    (mark,) = {word for word in shlex.split(told.replace("'", "")) if word.startswith("airflow_submission=")}
    assert f"cancel --workflow-id {WORKFLOW} --metadata" in told
    key, _, pattern = mark.partition("=")
    extend_api.configure(listing_lag_seconds=0)
    extend_api.submit_batch(
        [{"file": {"text": "t"}, "metadata": {key: pattern.replace("*", "3")}}], workflow_id=WORKFLOW
    )
    command = ["cancel", "--workflow-id", WORKFLOW, "--metadata", mark, "--since", "2026-01-01T00:00:00Z"]
    assert extend_command(*command) == 0
    assert "1 runs cancelled" in capsys.readouterr().out


HELD_IMPORT = """
import sys
from extend_provider.batch.cancellation import RemoteWork
from extend_provider.batch.ownership import CancelsOnKillMixin
assert "aiohttp" not in sys.modules
CancelsOnKillMixin().own_work(RemoteWork("extend_default", "batch_1"), None)
assert "aiohttp" in sys.modules
"""


def test_the_modules_of_a_cancellation_are_imported_before_the_request() -> None:
    """The signal may come while the main thread imports it: then the cancelling thread could not."""
    subprocess.run([sys.executable, "-c", HELD_IMPORT], check=True, timeout=60)


def work(until: dt.timedelta) -> RemoteWork:
    now = dt.datetime.now(dt.UTC)
    orphan = Orphan(WORKFLOW, IdempotencyKey({"chunk": "this"}), now.isoformat(), (now + until).isoformat())
    return RemoteWork("extend_default", run_count=2, orphan=orphan)


async def test_a_proven_absence_leaves_nothing_to_cancel() -> None:
    outcome = await cancel(work(dt.timedelta(seconds=1)))
    assert outcome.complete
    assert str(outcome) == "Extend did not accept it, so there is nothing to cancel."


async def test_a_search_costs_a_bounded_number_of_requests(extend_api: ExtendApi) -> None:
    outcome = await cancel(work(dt.timedelta(hours=1)), seconds=6)
    assert not outcome.complete
    assert "time was up after 6 s" in str(outcome)
    assert work(dt.timedelta()).command.startswith(
        f"airflow extend cancel --workflow-id {WORKFLOW} --metadata chunk=this --since "
    )
    assert extend_api.requests_to("GET /workflow_runs") <= 4


@pytest.mark.parametrize(
    "arguments",
    [
        ["--workflow-id", "w"],
        ["--workflow-id", "w", "--metadata", "chunk=1"],
        ["--workflow-id", "w", "--metadata", "chunk", "--since", "2026-01-01"],
        ["--workflow-id", "w", "--metadata", "chunk=1", "--since", "yesterday"],
        ["--workflow-id", "w", "--metadata", "chunk=1", "--since", "2026-01-01", "--conn-id", "nobody"],
    ],
    ids=["neither", "no since", "no value", "no time", "no connection"],
)
def test_a_search_without_a_key_is_refused(arguments: list[str], extend_api: ExtendApi) -> None:
    assert extend_command("cancel", *arguments) == 2
    assert extend_api.stats()["requests"] == {}
