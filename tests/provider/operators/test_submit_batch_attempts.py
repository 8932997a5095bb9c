"""The batch operator over the attempts of a task: retried, cleared, cancelled in between."""

from __future__ import annotations

import hashlib

import pytest

from extend_provider.exceptions import (
    ExtendCreditsError,
    ExtendInputError,
)
from extend_provider.hooks.extend import ExtendHook
from fixtures.extend.api import ExtendApi
from fixtures.tasks.submit_batch import (
    LISTING,
    SUBMISSION,
    cancel_runs,
    operator,
    runs_of,
    texts,
    times_paid,
)
from fixtures.tasks.task_support import Task


def test_the_first_attempt_costs_one_request(extend_api: ExtendApi) -> None:
    operator(inputs=texts(2)).execute(Task().attempt())
    assert extend_api.stats()["requests"] == {SUBMISSION: 1}


def test_a_retry_returns_the_batch_of_the_attempt_before(extend_api: ExtendApi) -> None:
    task = Task(retries=1)
    made = operator(inputs=texts(2), retries=1)
    first = made.execute(task.attempt())
    assert made.execute(task.attempt()) == first
    assert task.xcoms == {"run_count": 2}
    assert extend_api.stats()["requests"] == {SUBMISSION: 1}


@pytest.mark.parametrize("keeps_state", [True, False], ids=["airflow-3.3", "airflow-3.4"])
def test_a_clear_reuses_the_batch(keeps_state: bool, extend_api: ExtendApi) -> None:
    task = Task(retries=1)
    made = operator(inputs=texts(2), retries=1)
    first = made.execute(task.attempt())
    task.clear(keeps_state=keeps_state)
    assert made.execute(task.attempt()) == first
    assert task.xcoms == {"run_count": 2}
    assert times_paid(extend_api) == {1}


@pytest.mark.parametrize(
    ("how", "traced"),
    [
        pytest.param({}, True, id="airflow-3.3"),
        pytest.param({"keeps_state": False}, True, id="airflow-3.4"),
        pytest.param({"running": True}, True, id="running"),
        pytest.param({}, False, id="without trace"),
        pytest.param({"keeps_trace": True}, True, id="airflow-3.3, tracing off, run not reset"),
        pytest.param({"keeps_trace": True, "keeps_state": False}, True, id="airflow-3.4, the same"),
    ],
)
def test_a_clear_with_resubmit_submits_again_and_its_retries_do_not(
    how: dict[str, bool], traced: bool, extend_api: ExtendApi
) -> None:
    task = Task(retries=1, traced=traced)
    made = operator(inputs=texts(1), retries=1, on_clear="resubmit")
    first = made.execute(task.attempt())
    task.clear(**how)
    second = made.execute(task.attempt())
    assert second != first
    assert made.execute(task.attempt()) == second
    assert extend_api.requests_to(SUBMISSION) == 2


@pytest.mark.parametrize("traced", [True, False], ids=["traced", "without trace"])
@pytest.mark.parametrize("retries", [(1, 5), (5, 1)], ids=["more", "fewer"])
def test_a_retry_after_a_change_of_retries_does_not_submit_again(
    retries: tuple[int, int], traced: bool, extend_api: ExtendApi
) -> None:
    before, after = retries
    task = Task(retries=before, traced=traced)
    first = operator(inputs=texts(1), retries=before, on_clear="resubmit").execute(task.attempt())
    made = operator(inputs=texts(1), retries=after, on_clear="resubmit")
    assert made.execute(task.attempt()) == first
    assert extend_api.requests_to(SUBMISSION) == 1


def test_a_clear_that_looks_like_a_retry_pays_nothing_again(extend_api: ExtendApi) -> None:
    task = Task(retries=1)
    made = operator(inputs=texts(1), retries=1, on_clear="resubmit")
    first = made.execute(task.attempt())
    task.clear(running=True, keeps_trace=True)
    assert made.execute(task.attempt()) == first
    assert extend_api.requests_to(SUBMISSION) == 1


@pytest.mark.parametrize("traced", [True, False], ids=["traced", "without trace"])
def test_an_entry_of_the_release_before_is_reused_by_a_retry_and_replaced_by_a_clear(
    traced: bool, extend_api: ExtendApi
) -> None:
    task = Task(retries=2, traced=traced)
    made = operator(inputs=texts(1), retries=2, on_clear="resubmit")
    first = made.execute(task.attempt())
    # The first of three tries, or its trace context, was what a generation was called by then.
    trace = task.attempts[0].context_carrier.get("traceparent")
    called = hashlib.sha256((trace or "1").encode()).hexdigest()[:8]
    task.store.values["extend_submission"].update(since=called, generation=called)
    assert made.execute(task.attempt()) == first
    task.clear(keeps_trace=True)
    assert made.execute(task.attempt()) != first
    assert extend_api.requests_to(SUBMISSION) == 2


@pytest.mark.parametrize("keeps_state", [True, False], ids=["airflow-3.3", "airflow-3.4"])
@pytest.mark.parametrize("running", [True, False], ids=["running", "not running"])
def test_a_clear_submits_a_wholly_cancelled_batch_again(
    keeps_state: bool, running: bool, extend_api: ExtendApi
) -> None:
    extend_api.configure(hold=True)
    task = Task(retries=1)
    made = operator(inputs=texts(2), retries=1)
    batches = [made.execute(task.attempt())]
    for _ in range(2):
        cancel_runs(batches[-1])
        task.clear(keeps_state=keeps_state, running=running)
        batches.append(made.execute(task.attempt()))
    assert len(set(batches)) == 3
    assert made.execute(task.attempt()) == batches[-1]
    assert times_paid(extend_api) == {3}


@pytest.mark.usefixtures("impatient")
def test_a_search_does_not_confuse_the_new_submission_with_the_cancelled_one(extend_api: ExtendApi) -> None:
    extend_api.configure(hold=True)
    task = Task(retries=1)
    made = operator(inputs=texts(1), retries=1)
    cancelled = made.execute(task.attempt())
    cancel_runs(cancelled)
    task.clear()
    extend_api.configure(faults=[{"endpoint": SUBMISSION, "kind": "drop", "accepted": True}])
    assert made.execute(task.attempt()) not in {None, cancelled}
    assert times_paid(extend_api) == {2}


def test_a_partly_cancelled_batch_is_reused_and_a_retry_reuses_any_batch(extend_api: ExtendApi) -> None:
    extend_api.configure(hold=True)
    task = Task(retries=1)
    made = operator(inputs=texts(2), retries=1)
    first = made.execute(task.attempt())
    cancel_runs(first, but=1)
    task.clear()
    assert made.execute(task.attempt()) == first
    with ExtendHook() as hook:
        hook.cancel_run(runs_of(str(first))[0].id)
    assert made.execute(task.attempt()) == first
    assert times_paid(extend_api) == {1}


def test_an_attempt_that_failed_before_submitting_costs_the_next_one_nothing(extend_api: ExtendApi) -> None:
    task = Task(retries=1)
    made = operator(inputs=texts(1), retries=1)
    good, made.inputs = made.inputs, []
    with pytest.raises(ExtendInputError):
        made.execute(task.attempt())
    made.inputs = good
    assert made.execute(task.attempt()) is not None
    assert extend_api.stats()["requests"] == {SUBMISSION: 1}


@pytest.mark.parametrize("clear", [False, True], ids=["retry", "clear"])
def test_a_retry_after_a_refusal_submits(clear: bool, extend_api: ExtendApi) -> None:
    extend_api.configure(no_credits=True)
    task = Task(retries=1)
    made = operator(inputs=texts(1), retries=1)
    with pytest.raises(ExtendCreditsError):
        made.execute(task.attempt())
    extend_api.configure(no_credits=False)
    if clear:
        task.clear()
    assert made.execute(task.attempt()) is not None
    assert extend_api.stats()["runs_created"] == {"d0": 1}
    assert extend_api.requests_to(LISTING) == 0
