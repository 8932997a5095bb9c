"""The batch operator when an answer is lost or a worker dies: the batch is found, and paid once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from extend_provider.client.pacing.retries import Backoff
from extend_provider.exceptions import (
    ExtendAuthError,
    ExtendUnclearSubmissionError,
)
from extend_provider.hooks.extend import ExtendHook
from fixtures.extend.api import ExtendApi
from fixtures.tasks.submit_batch import (
    LISTING,
    SUBMISSION,
    WorkerKilled,
    operator,
    runs_of,
    texts,
    times_paid,
)
from fixtures.tasks.task_support import Task, run_deferred, run_on


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], contextlib.AbstractContextManager[None]]:
    """Kill the worker right before or right after the submitting request."""
    create_batch = ExtendHook.create_batch

    @contextlib.contextmanager
    def kill(when: str) -> Iterator[None]:
        def die(*arguments: Any, **options: Any) -> Any:
            if when == "after the request":
                create_batch(*arguments, **options)
            raise WorkerKilled

        with monkeypatch.context() as patched:
            patched.setattr(ExtendHook, "create_batch", die)
            with pytest.raises(WorkerKilled):
                yield

    return kill


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("accepted", [True, False], ids=["accepted", "lost"])
@pytest.mark.parametrize("kind", ["error", "drop"])
def test_an_attempt_with_an_unclear_answer_finds_the_batch_or_proves_its_absence(
    accepted: bool, kind: str, extend_api: ExtendApi
) -> None:
    extend_api.configure(faults=[{"endpoint": SUBMISSION, "kind": kind, "accepted": accepted}])
    task = Task()
    batch_id = operator(inputs=texts(3)).execute(task.attempt())
    assert len(runs_of(str(batch_id))) == task.xcoms["run_count"] == 3
    assert times_paid(extend_api) == {1}
    assert extend_api.requests_to(SUBMISSION) == (1 if accepted else 2)


@pytest.mark.usefixtures("impatient")
def test_answers_that_stay_unclear_end_the_attempt(
    extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extend_provider.batch.submission.SUBMISSION_ATTEMPTS", 2)
    extend_api.configure(faults=[{"endpoint": SUBMISSION, "kind": "error", "count": None}])
    with pytest.raises(ExtendUnclearSubmissionError):
        operator(inputs=texts(1)).execute(Task().attempt())
    assert extend_api.requests_to(SUBMISSION) == 2


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "in the worker"])
def test_a_batch_that_extend_accepts_after_its_client_has_left_is_the_only_one(
    deferrable: bool, extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = extend_api.connection_json(timeout=0.5, acceptance_window=6, listing_grace=0.5)
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", impatient)
    monkeypatch.setattr("extend_provider.batch.submission.MAX_WORKER_WAIT", 0.0)
    extend_api.configure(faults=[{"endpoint": SUBMISSION, "kind": "late", "seconds": 4}])
    task = Task()
    made = operator(inputs=texts(2), deferrable=deferrable)
    assert (run_deferred if deferrable else run_on)(made, task.attempt()) is not None
    assert extend_api.requests_to(SUBMISSION) == 1
    assert times_paid(extend_api) == {1}
    assert task.xcoms == {"run_count": 2}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("then", ["it is back", "a key is refused"])
def test_an_outage_during_the_search_is_waited_for(
    then: str, extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extend_provider.batch.submission.MAX_WORKER_WAIT", 0.0)
    monkeypatch.setattr(Backoff, "delay", lambda *_, **__: 0.01)
    lost = {"endpoint": SUBMISSION, "kind": "drop", "accepted": True}
    outage = {"endpoint": LISTING, "kind": "error", "status": 503, "count": 12}
    refused = [{"endpoint": LISTING, "kind": "error", "status": 401}] if then == "a key is refused" else []
    extend_api.configure(faults=[lost, outage, *refused])
    task = Task()
    if refused:
        with pytest.raises(ExtendAuthError):
            run_deferred(operator(inputs=texts(1)), task.attempt())
    else:
        assert run_deferred(operator(inputs=texts(1)), task.attempt()) is not None
    assert extend_api.requests_to(SUBMISSION) == 1
    assert extend_api.requests_to(LISTING) == 13
    assert times_paid(extend_api) == {1}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("when", ["before the request", "after the request"])
@pytest.mark.parametrize("then", ["retry", "clear on 3.3", "clear on 3.4"])
def test_a_killed_worker_pays_once(when: str, then: str, extend_api: ExtendApi, killed: Any) -> None:
    task = Task(retries=1)
    made = operator(inputs=texts(2), retries=1)
    with killed(when):
        made.execute(task.attempt())
    if then != "retry":
        task.clear(keeps_state=then == "clear on 3.3")
    assert made.execute(task.attempt()) is not None
    assert task.xcoms == {"run_count": 2}
    assert times_paid(extend_api) == {1}


@pytest.mark.usefixtures("impatient")
def test_an_interrupted_search_is_continued_by_the_next_attempt(
    extend_api: ExtendApi, killed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    extend_api.configure(listing_lag_seconds=1.5)
    task = Task(retries=2)
    made = operator(inputs=texts(1), retries=2)
    with killed("after the request"):
        made.execute(task.attempt())
    task.clear(keeps_state=False)
    with monkeypatch.context() as patched:
        patched.setattr("extend_provider.batch.submission.find_orphan", _die)
        with pytest.raises(WorkerKilled):
            made.execute(task.attempt())
    assert made.execute(task.attempt()) is not None
    assert times_paid(extend_api) == {1}


def _die(*arguments: Any, **options: Any) -> Any:
    raise WorkerKilled


@pytest.mark.usefixtures("impatient")
def test_another_task_of_the_same_workflow_is_not_mistaken_for_this_one(
    extend_api: ExtendApi, killed: Any
) -> None:
    task, other = Task(retries=1), Task()
    made = operator(inputs=texts(1), retries=1)
    with killed("before the request"):
        made.execute(task.attempt())
    context = other.attempt()
    context["ti"].task_id = "another"
    of_another = operator(inputs=texts(1)).execute(context)
    assert made.execute(task.attempt()) != of_another
