"""Only the owner cancels: a late kill of an older attempt leaves alone what the next one has reattached."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from airflow.sdk import BaseOperator, TaskInstanceState
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from extend_provider.operators.run_workflow import ExtendRunWorkflowOperator
from extend_provider.operators.submit_batch import ExtendSubmitBatchOperator
from extend_provider.sensors.batch import ExtendBatchSensor
from extend_provider.triggers.base import CancellingTrigger
from fixtures.extend.api import ExtendApi
from fixtures.tasks.task_support import Task, carried_over
from fixtures.tasks.xcoms import Place

WORKFLOW = "workflow_invoices"
UNTOUCHED, CANCELLED = {"PENDING": 2}, {"CANCELLED": 2}


class Airflow:
    """The row of one task instance, and its XComs.

    :ivar state: of the row.
    :ivar there: whether there is a row.
    :ivar before_telling: called before a state is told.
    :ivar after_telling: called after.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, xcoms: dict[Place, Any]) -> None:
        self.state: str | None = None
        self.there = True
        self.xcoms = xcoms
        self.task = Task(retries=3)
        self.before_telling: Callable[[], None] = lambda: None
        self.after_telling: Callable[[], None] = lambda: None
        monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", self._states)

    def _states(self, **asked: Any) -> dict[str, Any]:
        self.before_telling()
        told: dict[str, Any] = {"run": {"task": self.state}} if self.there else {}
        self.after_telling()
        return told

    def delete(self) -> None:
        """Delete the run."""
        self.there = False
        self.xcoms.clear()

    def begin(self, operator: BaseOperator) -> Any:
        """Begin an attempt in a worker, as Airflow does; return its context."""
        self.state = "running"
        self.xcoms.clear()
        return self.go_on(operator, self.task.attempt())

    def go_on(self, operator: BaseOperator, context: Any) -> Any:
        """Resume an attempt in a worker, which is another process."""
        self.state = "running"
        operator.pre_execute(context)
        return context

    def deferred(self, execute: Callable[[], Any]) -> CancellingTrigger:
        """Have a task deferred; return its trigger as the triggerer makes it."""
        with pytest.raises(TaskDeferred) as deferred:
            execute()
        self.state = "deferred"
        trigger: CancellingTrigger = carried_over(deferred.value.trigger)
        trigger._task_instance = self.task.attempts[-1]
        return trigger


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch, xcoms: dict[Place, Any]) -> Airflow:
    return Airflow(monkeypatch, xcoms)


@pytest.fixture(autouse=True)
def connection(extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch) -> None:
    made = extend_api.connection_json(timeout=1, listing_grace=600)
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", made)
    monkeypatch.setattr("extend_provider.batch.submission.MAX_WORKER_WAIT", 0.0)
    extend_api.configure(synthetic=True, hold=True, cancelling_seconds=0)


def kill(trigger: CancellingTrigger) -> None:
    async def on_kill() -> None:
        await trigger.on_kill()
        await trigger.cleanup()

    asyncio.run(on_kill())


def submit() -> ExtendSubmitBatchOperator:
    inputs = [{"file": {"text": "t"}}] * 2
    return ExtendSubmitBatchOperator(
        task_id="task", workflow_id=WORKFLOW, inputs=inputs, retries=3, deferrable=True
    )


def looking_for_a_lost_batch(api: ExtendApi, airflow: Airflow) -> CancellingTrigger:
    """Return the trigger of an attempt that looks for a batch whose answer was lost, and which turns up."""
    trigger = looking(api, airflow)
    accept(api, trigger)
    return trigger


def looking(api: ExtendApi, airflow: Airflow) -> CancellingTrigger:
    api.configure(
        faults=[{"endpoint": "POST /workflow_runs/batch", "kind": "error", "accepted": False, "count": 1}]
    )
    operator = submit()
    context = airflow.begin(operator)
    return airflow.deferred(lambda: operator.execute(context))


def accept(api: ExtendApi, trigger: CancellingTrigger) -> None:
    """Have Extend make the batch that is looked for."""
    assert trigger.work is not None
    assert trigger.work.orphan is not None
    ((key, pattern),) = trigger.work.orphan.key.patterns.items()
    given = {"file": {"text": "t"}, "metadata": {key: pattern.replace("*", "2")}}
    api.submit_batch([given] * 2, workflow_id=WORKFLOW)


def waiting_for_a_batch(api: ExtendApi, airflow: Airflow) -> CancellingTrigger:
    operator = ExtendBatchSensor(
        task_id="task",
        batch_id=api.submit_batch([{"file": {"text": "t"}}] * 2),
        run_count=2,
        deferrable=True,
    )
    context = airflow.begin(operator)
    return airflow.deferred(lambda: operator.execute(context))


def waiting_for_runs(api: ExtendApi, airflow: Airflow) -> CancellingTrigger:
    files = [{"url": "https://files.example/a.pdf"}, {"url": "https://files.example/b.pdf"}]
    operator = ExtendRunWorkflowOperator(task_id="task", workflow_id=WORKFLOW, files=files, deferrable=True)
    context = airflow.begin(operator)
    return airflow.deferred(lambda: operator.execute(context))


TRIGGERS = pytest.mark.parametrize(
    "first",
    [looking_for_a_lost_batch, waiting_for_a_batch, waiting_for_runs],
    ids=["lost batch", "batch", "runs"],
)
First = Callable[[ExtendApi, Airflow], CancellingTrigger]


def test_a_cleared_task_keeps_the_batch_that_its_next_attempt_owns(
    extend_api: ExtendApi, airflow: Airflow
) -> None:
    old = looking_for_a_lost_batch(extend_api, airflow)
    airflow.task.clear()
    operator = submit()
    assert operator.execute(airflow.begin(operator)) is not None
    airflow.state = "success"
    kill(old)
    assert extend_api.stats()["runs"] == UNTOUCHED


@TRIGGERS
@pytest.mark.parametrize("state", ["success", "failed", "skipped", "deferred"])
@pytest.mark.parametrize("how", ["next attempt", "same attempt, resumed elsewhere", "next attempt begins"])
def test_an_older_trigger_cancels_nothing_after_a_later_end(
    first: First, state: str, how: str, extend_api: ExtendApi, airflow: Airflow
) -> None:
    old = first(extend_api, airflow)
    if how == "next attempt":
        airflow.begin(submit())
    elif how == "next attempt begins":
        airflow.xcoms.clear()
    else:  # Airflow has moved the trigger to another triggerer, which has reported
        airflow.go_on(submit(), {"ti": airflow.task.attempts[-1]})
    airflow.state = state
    kill(old)
    assert extend_api.stats()["runs"] == UNTOUCHED


@TRIGGERS
@pytest.mark.parametrize("end", ["failed", "success", "deleted", "marked, and deleted at once"])
@pytest.mark.parametrize("before", ["nothing", "clear that has not begun"])
def test_an_explicit_end_cancels_what_the_trigger_waits_for(
    first: First, end: str, before: str, extend_api: ExtendApi, airflow: Airflow
) -> None:
    trigger = first(extend_api, airflow)
    if before != "nothing":
        airflow.task.clear()
        airflow.state = None
    if end == "deleted":
        airflow.delete()
    elif end == "marked, and deleted at once":
        airflow.state, airflow.after_telling = "failed", airflow.delete
    else:
        airflow.state = end
    kill(trigger)
    assert extend_api.stats()["runs"] == CANCELLED


def test_after_a_clear_and_a_retry_an_explicit_end_cancels_by_the_last_trigger_alone(
    extend_api: ExtendApi, airflow: Airflow
) -> None:
    triggers = [looking(extend_api, airflow)]
    for _ in range(2):
        airflow.task.clear()
        operator = submit()
        context = airflow.begin(operator)
        triggers.append(airflow.deferred(partial(operator.execute, context)))
    accept(extend_api, triggers[0])
    airflow.state = "failed"
    for old in triggers[:-1]:
        kill(old)
    assert extend_api.stats()["runs"] == UNTOUCHED
    kill(triggers[-1])
    assert extend_api.stats()["runs"] == CANCELLED


def test_an_attempt_that_ends_during_the_check_counts_as_another_owner(
    extend_api: ExtendApi, airflow: Airflow
) -> None:
    old = waiting_for_a_batch(extend_api, airflow)

    def another_one_ends() -> None:
        airflow.begin(submit())
        airflow.state = "success"

    airflow.state, airflow.before_telling = None, another_one_ends
    kill(old)
    assert extend_api.stats()["runs"] == UNTOUCHED


def killed_in_its_worker(api: ExtendApi, airflow: Airflow, before: Callable[[Any], None]) -> None:
    """Have a batch submitted, and the process of the task killed right after."""
    operator = submit()
    context = airflow.begin(operator)
    assert operator.execute(context) is not None
    assert api.stats()["runs"] == UNTOUCHED
    before(context)
    operator.on_kill()


def test_an_older_worker_cancels_nothing(extend_api: ExtendApi, airflow: Airflow) -> None:
    def another_attempt_has_ended(context: Any) -> None:
        airflow.begin(submit())
        airflow.state = "failed"

    killed_in_its_worker(extend_api, airflow, another_attempt_has_ended)
    assert extend_api.stats()["runs"] == UNTOUCHED


@pytest.mark.parametrize(
    "told",
    [{"end_date": datetime.now(UTC)}, {"state": TaskInstanceState.SKIPPED}],
    ids=["end", "state"],
)
def test_a_worker_that_is_shut_down_after_a_normal_end_cancels_nothing(
    told: dict[str, Any], extend_api: ExtendApi, airflow: Airflow
) -> None:
    """Callbacks and listeners run then; the batch is downstream's, or is to be left by ``on_timeout``."""

    def it_has_told_its_end(context: Any) -> None:
        airflow.state = "success"
        for name, value in told.items():
            setattr(context["ti"], name, value)

    killed_in_its_worker(extend_api, airflow, it_has_told_its_end)
    assert extend_api.stats()["runs"] == UNTOUCHED


@pytest.mark.parametrize("state", ["failed", "success"])
def test_an_explicit_end_cancels_the_work_of_a_worker(
    state: str, extend_api: ExtendApi, airflow: Airflow
) -> None:
    killed_in_its_worker(extend_api, airflow, lambda _: setattr(airflow, "state", state))
    assert extend_api.stats()["runs"] == CANCELLED


def test_a_trigger_of_the_release_before_uses_the_task_state_until_an_attempt_begins(
    extend_api: ExtendApi, airflow: Airflow
) -> None:
    operator = submit()
    trigger = waiting_for_a_batch(extend_api, airflow)
    kept = trigger.serialize()[1]
    del kept["owner"]
    airflow.xcoms.clear()
    stored = type(trigger)(**kept)
    stored._task_instance = airflow.task.attempts[-1]
    airflow.begin(operator)
    airflow.state = "success"
    kill(stored)
    assert extend_api.stats()["runs"] == UNTOUCHED
    airflow.xcoms.clear()
    kill(stored)
    assert extend_api.stats()["runs"] == CANCELLED


def test_each_process_writes_a_token_of_its_own(airflow: Airflow) -> None:
    operator, marks = submit(), set()
    context = airflow.begin(operator)
    marks.add(operator.work_owner)
    airflow.go_on(operator, context)
    marks.add(operator.work_owner)
    assert len(marks) == 2
    assert airflow.xcoms == {("dag", "run", "task", -1, "extend_owner"): operator.work_owner}
