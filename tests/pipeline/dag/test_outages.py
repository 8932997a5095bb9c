"""An outage of Extend is waited out without a worker and without a retry, up to the task's own deadline."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import DownstreamTasksSkipped, TaskDeferred

from extend_pipeline.batches.collection import collect_chunk
from extend_pipeline.dag.conventions import ExtendCallOperator
from extend_pipeline.exceptions import is_gone, is_outage
from extend_provider.client.pacing.limits import RULES
from extend_provider.exceptions import (
    ExtendAuthError,
    ExtendBadRequestError,
    ExtendConnectionError,
    ExtendError,
    ExtendNotFoundError,
    ExtendRateLimitError,
    ExtendServerError,
)
from extend_provider.sensors.batch import ExtendBatchTimeoutError
from extend_provider.triggers.submission import ExtendSubmissionTrigger
from fixtures.pipeline.chunk_tasks import Waiting
from fixtures.tasks.task_support import Task, resume, run_on

RUN = "GET /workflow_runs/{id}"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extend_provider.triggers.base.EARLIEST_REPORT_SECONDS", 0.0)
    monkeypatch.setattr("extend_provider.client.pacing.retries.Backoff.delay", lambda *_, **__: 0.01)
    monkeypatch.setattr("extend_pipeline.dag.conventions.FIRST_PAUSE", 0.1)
    # Who is always refused soon asks every two seconds only.
    quick = {category: dataclasses.replace(rules, lowest=rules.start) for category, rules in RULES.items()}
    monkeypatch.setattr("extend_provider.client.pacing.limits.RULES", quick)


@pytest.mark.parametrize(
    ("error", "outage", "gone"),
    [
        (ExtendServerError("failed", status=503, retryable=True), True, False),
        (ExtendConnectionError("no answer", retryable=True), True, False),
        (ExtendRateLimitError("too many", status=429, retryable=True), True, False),
        (ExtendConnectionError("a certificate that is not trusted"), False, False),
        (ExtendError("fewer are listed", retryable=True), False, False),
        (ExtendAuthError("wrong key", status=401), False, False),
        (ExtendNotFoundError("nothing", status=404), False, True),
        (ExtendBadRequestError("deleted", status=410), False, True),
    ],
)
def test_errors_are_classified_as_outage_or_gone(error: ExtendError, outage: bool, gone: bool) -> None:
    assert (is_outage(error), is_gone(error)) == (outage, gone)


def collecting(waiting: Waiting, timeout: float = 60.0) -> ExtendCallOperator:
    return ExtendCallOperator(
        task_id="collect",
        function=collect_chunk,
        arguments=[waiting.sent()],
        timeout=dt.timedelta(seconds=timeout),
    )


@pytest.mark.parametrize(
    "fault",
    [
        {"endpoint": RUN, "kind": "error", "status": 503},
        {"endpoint": RUN, "kind": "rate_limit", "retry_after": 0.1},
        {"endpoint": "GET /workflow_runs", "kind": "drop"},
        {"endpoint": "GET /workflow_runs", "kind": "malformed"},
    ],
    ids=lambda fault: fault["kind"],
)
def test_an_outage_during_the_collection_is_waited_for(waiting: Waiting, fault: dict[str, Any]) -> None:
    waiting.api.configure(outcomes=[])
    waiting.api.runs(waiting.submit())
    task, collect = Task(), collecting(waiting)
    waiting.api.configure(faults=[{**fault, "count": None}])
    with pytest.raises(TaskDeferred) as first:
        collect.execute(task.attempt())
    trigger = first.value.trigger
    assert isinstance(trigger, ExtendSubmissionTrigger)
    assert trigger.work is None, "the end of the task cancels nothing: all has settled"
    waiting.api.configure(faults=[])
    collected = resume(collect, first.value, task.attempts[0])
    assert [part["runs"] for part in collected["parts"]] == [4]


def test_the_pauses_grow_and_end_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    def down() -> None:
        raise ExtendServerError("down", status=503, retryable=True)

    clock = [1000.0]
    monkeypatch.setattr("extend_pipeline.dag.conventions.FIRST_PAUSE", 30.0)
    monkeypatch.setattr("extend_pipeline.dag.conventions.time.time", lambda: clock[0])
    operator = ExtendCallOperator(
        task_id="ask", function=down, arguments=[], timeout=dt.timedelta(seconds=100)
    )
    context, call, pauses = Task().attempt(), operator.execute, []
    for _ in range(3):
        began = dt.datetime.now(dt.UTC).timestamp()
        with pytest.raises(TaskDeferred) as deferred:
            call(context)
        trigger = deferred.value.trigger.serialize()[1]
        pauses.append(round(trigger["at"] - began))
        clock[0] += pauses[-1]
        call = functools.partial(operator.ask_again, event=trigger["state"])
    assert pauses == [30, 60, 10]
    with pytest.raises(ExtendBatchTimeoutError, match=r"no answer by the deadline .*down.* Nothing is lost"):
        call(context)


def test_a_collection_that_outlives_its_deadline_leaves_what_was_collected(waiting: Waiting) -> None:
    waiting.api.configure(outcomes=[])
    waiting.api.runs(waiting.submit())
    kept = waiting.collect()
    waiting.api.configure(faults=[{"endpoint": RUN, "kind": "error", "status": 500, "count": None}])
    with pytest.raises(ExtendBatchTimeoutError, match="Nothing is lost"):
        run_on(collecting(waiting, timeout=1), Task().attempt())
    waiting.api.configure(faults=[])
    assert waiting.collect() == kept


def test_an_error_that_is_no_outage_fails_at_once(waiting: Waiting) -> None:
    waiting.api.configure(hold=True)
    waiting.submit()
    with pytest.raises(ExtendError, match="is PENDING") as failure:
        collecting(waiting).execute(Task().attempt())
    assert not isinstance(failure.value, ExtendBatchTimeoutError)


@pytest.mark.parametrize("result", ["folder", None])
def test_downstream_tasks_are_skipped_without_a_result(result: str | None) -> None:
    with DAG("dag"):
        asks = ExtendCallOperator(
            task_id="ask",
            function=lambda: result,
            arguments=[],
            timeout=dt.timedelta(1),
            short_circuit=True,
        )
        asks >> EmptyOperator(task_id="land") >> EmptyOperator(task_id="after", trigger_rule="all_done")
    context: Any = {**Task().attempt(), "task": asks}
    if result:
        assert asks.execute(context) == result
        return
    with pytest.raises(DownstreamTasksSkipped) as skipped:
        asks.execute(context)
    assert sorted(skipped.value.tasks) == ["after", "land"]
