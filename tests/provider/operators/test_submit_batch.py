"""The batch operator: what it sends, what it refuses before sending, what it shows."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator, task
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.execution_time.task_runner import _serialize_rendered_fields

from extend_provider.client.models import BatchInput, FileInput, WorkflowRun
from extend_provider.client.rate_limit import limiter_for
from extend_provider.client.retries import Backoff
from extend_provider.exceptions import (
    ExtendAuthError,
    ExtendCreditsError,
    ExtendError,
    ExtendInputError,
    ExtendNotFoundError,
    ExtendUnclearSubmissionError,
)
from extend_provider.hooks.extend import ExtendHook
from extend_provider.operators.submit_batch import ExtendSubmitBatchOperator
from fixtures.extend_api import ExtendApi
from fixtures.scripted_server import closed_port
from fixtures.task_support import Task, resume, run_deferred, run_on

SUBMISSION = "POST /workflow_runs/batch"
FILE_ID = {"file": {"file_id": "file_1"}}


@pytest.fixture(autouse=True)
def connection(extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", extend_api.connection_json())
    extend_api.configure(synthetic=True)


def operator(**arguments: Any) -> ExtendSubmitBatchOperator:
    defaults = {"task_id": "submit", "workflow_id": "workflow_invoices", "deferrable": True}
    return ExtendSubmitBatchOperator(**{**defaults, **arguments})


def texts(count: int) -> list[dict[str, Any]]:
    return [
        {"file": {"text": f"text {index}", "name": f"{index}.txt"}, "metadata": {"document_id": f"d{index}"}}
        for index in range(count)
    ]


def runs_of(batch_id: str) -> list[WorkflowRun]:
    with ExtendHook() as hook:
        return [hook.get_run(run.id) for page in hook.iter_run_pages(batch_id=batch_id) for run in page]


@pytest.mark.parametrize("api_version", ["2026-02-09", "2025-04-21"])
def test_a_batch_is_sent_in_one_request_and_its_id_returned(
    api_version: str, extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", extend_api.connection_json(api_version))
    task = Task()
    batch_id = operator(inputs=texts(3)).execute(task.attempt())
    assert batch_id is not None
    assert task.xcoms == {"run_count": 3}
    assert extend_api.requests_to(SUBMISSION) == 1
    assert extend_api.stats()["runs_created"] == {"d0": 1, "d1": 1, "d2": 1}
    assert {run.metadata["document_id"] for run in runs_of(batch_id)} == {"d0", "d1", "d2"}


def test_a_thousand_inputs_go_in_one_request(extend_api: ExtendApi) -> None:
    task = Task()
    operator(inputs=texts(1000)).execute(task.attempt())
    assert task.xcoms == {"run_count": 1000}
    assert extend_api.requests_to(SUBMISSION) == 1


def test_rendered_numbers_are_taken_as_numbers(extend_api: ExtendApi) -> None:
    made = operator(inputs=texts(1), version="{{ 'draft' }}", priority="{{ 7 }}")
    made.version, made.priority = "None", " 7 "
    assert made.execute(Task().attempt()) is not None
    assert extend_api.requests_to(SUBMISSION) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param({"priority": 0}, "priority is 0", id="priority-0"),
        pytest.param({"priority": 101}, "priority is 101", id="priority-101"),
        pytest.param({"version": "latest"}, "version is 'latest'", id="latest"),
        pytest.param({"workflow_id": ""}, "workflow_id is ''", id="workflow"),
        pytest.param({"workflow_id": None}, "workflow_id is None", id="no-workflow"),
        pytest.param({"inputs": None}, "inputs are missing", id="no-inputs"),
        pytest.param({"inputs": []}, "inputs has 0 elements", id="0-inputs"),
        pytest.param({"inputs": [FILE_ID] * 1001}, "inputs has 1,001 elements", id="1001-inputs"),
        pytest.param(
            {"inputs": [FILE_ID, {**FILE_ID, "metadata": {"k": "x" * 10_240}}]},
            r"inputs\[1\].metadata",
            id="metadata",
        ),
        pytest.param({"inputs": [FILE_ID, FILE_ID, {"file": {}}]}, r"inputs\[2\].file", id="no-source"),
        pytest.param(
            {"inputs": [{"file": {"file_id": "f", "text": "t"}}]}, "file_id and text", id="two-sources"
        ),
    ],
)
def test_wrong_literals_are_refused_when_the_dag_is_parsed(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ExtendInputError, match=says):
        operator(**{"inputs": [FILE_ID], **arguments})


@pytest.mark.parametrize(
    ("rendered", "says"),
    [
        ({"priority": "101"}, "priority is '101'"),
        ({"version": "latest"}, "version is 'latest'"),
        ({"workflow_id": "None"}, "workflow_id is 'None'"),
        ({"inputs": []}, "inputs has 0 elements"),
        ({"inputs": [FILE_ID] * 1001}, "inputs has 1,001 elements"),
        ({"inputs": [FILE_ID, {"file": {"url": "ftp://h/a"}}]}, r"inputs\[1\].file.url"),
        ({"inputs": "[{'file': 1}]"}, "inputs must be a list"),
    ],
    ids=["priority", "version", "workflow", "0-inputs", "1001-inputs", "url", "text"],
)
def test_what_a_template_turns_out_to_be_is_refused_before_any_request(
    rendered: dict[str, Any], says: str, extend_api: ExtendApi
) -> None:
    made = operator(inputs=[FILE_ID])
    for field, value in rendered.items():
        setattr(made, field, value)
    with pytest.raises(ExtendInputError, match=says):
        made.execute(Task().attempt())
    assert extend_api.stats()["requests"] == {}


@pytest.mark.parametrize(
    ("settings", "workflow_id", "kind"),
    [
        pytest.param({}, "workflow_unknown", ExtendNotFoundError, id="unknown-workflow"),
        pytest.param({"no_credits": True}, "workflow_invoices", ExtendCreditsError, id="no-credits"),
    ],
)
def test_refusals_of_extend_are_final_and_create_nothing(
    settings: dict[str, Any], workflow_id: str, kind: type[ExtendError], extend_api: ExtendApi
) -> None:
    extend_api.configure(**settings)
    with pytest.raises(kind) as caught:
        operator(workflow_id=workflow_id, inputs=texts(1)).execute(Task().attempt())
    assert not caught.value.retryable
    assert extend_api.requests_to(SUBMISSION) == 1
    assert extend_api.stats()["runs_created"] == {}


def test_a_wrong_key_is_final(extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = json.dumps({"conn_type": "extend", "host": extend_api.url, "password": "sk_5ecre7"})
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", wrong)
    with pytest.raises(ExtendAuthError) as caught:
        operator(inputs=texts(1)).execute(Task().attempt())
    assert "5ecre7" not in str(caught.value)


def test_the_rate_limit_is_waited_for_before_the_submission_is_begun(
    extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = extend_api.connection_json(requests_per_second=2, timeout=1, acceptance_window=5)
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", slow)
    for _ in range(10):
        limiter_for("extend_default", 2).reserve()
    task = Task()
    assert operator(inputs=texts(1), deferrable=False).execute(task.attempt()) is not None
    intent = task.store.values["extend_submission"]["intent"]
    (posted,) = extend_api.journal()
    assert intent["number"] == 1
    waited = datetime.fromisoformat(posted["at"]) - datetime.fromisoformat(intent["begun_at"])
    assert waited < timedelta(seconds=2), "the turn took five"
    assert extend_api.stats()["requests"] == {SUBMISSION: 1}


def test_an_extend_that_cannot_be_reached_costs_no_retry(
    extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    down = json.dumps({"conn_type": "extend", "host": f"http://127.0.0.1:{closed_port()}", "password": "sk"})
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", down)
    monkeypatch.setattr("extend_provider.batch.submission.PATIENCE", 0.0)
    task = Task()
    made = operator(inputs=texts(1))
    with pytest.raises(TaskDeferred) as deferred:
        made.execute(task.attempt())
    assert deferred.value.trigger.serialize()[1]["work"] is None
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", extend_api.connection_json())
    fresh = operator(inputs=texts(1))  # a worker of its own
    assert resume(fresh, deferred.value, {**task.attempt(), "ti": task.attempts[0]}) is not None
    assert extend_api.stats()["requests"] == {SUBMISSION: 1}


class WorkerKilled(BaseException):
    """What ends a worker without any except clause running."""


LISTING = "GET /workflow_runs"


@pytest.fixture
def impatient(extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """An absence is proven three seconds after a submission."""
    monkeypatch.setenv(
        "AIRFLOW_CONN_EXTEND_DEFAULT",
        extend_api.connection_json(timeout=1, acceptance_window=1, listing_grace=1),
    )


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


def times_paid(api: ExtendApi) -> set[int]:
    return set(api.stats()["runs_created"].values())


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
def test_a_clear_takes_the_batch_up(keeps_state: bool, extend_api: ExtendApi) -> None:
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
def test_a_clear_submits_again_if_it_is_to_and_its_retries_do_not(
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
def test_a_retry_does_not_submit_again_because_the_dag_has_another_number_of_retries_by_then(
    retries: tuple[int, int], traced: bool, extend_api: ExtendApi
) -> None:
    before, after = retries
    task = Task(retries=before, traced=traced)
    first = operator(inputs=texts(1), retries=before, on_clear="resubmit").execute(task.attempt())
    made = operator(inputs=texts(1), retries=after, on_clear="resubmit")
    assert made.execute(task.attempt()) == first
    assert extend_api.requests_to(SUBMISSION) == 1


def test_a_clear_that_nothing_tells_from_a_retry_pays_nothing_again(extend_api: ExtendApi) -> None:
    task = Task(retries=1)
    made = operator(inputs=texts(1), retries=1, on_clear="resubmit")
    first = made.execute(task.attempt())
    task.clear(running=True, keeps_trace=True)
    assert made.execute(task.attempt()) == first
    assert extend_api.requests_to(SUBMISSION) == 1


@pytest.mark.parametrize("traced", [True, False], ids=["traced", "without trace"])
def test_what_the_release_before_has_written_is_taken_up_by_a_retry_and_submitted_anew_by_a_clear(
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


def cancel_runs(batch_id: str | None, *, but: int = 0) -> None:
    with ExtendHook() as hook:
        for run in runs_of(str(batch_id))[but:]:
            hook.cancel_run(run.id)


@pytest.mark.parametrize("keeps_state", [True, False], ids=["airflow-3.3", "airflow-3.4"])
@pytest.mark.parametrize("running", [True, False], ids=["running", "not running"])
def test_a_clear_submits_anew_what_was_cancelled_as_a_whole(
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
def test_the_new_submission_is_not_mistaken_for_the_cancelled_one(extend_api: ExtendApi) -> None:
    extend_api.configure(hold=True)
    task = Task(retries=1)
    made = operator(inputs=texts(1), retries=1)
    cancelled = made.execute(task.attempt())
    cancel_runs(cancelled)
    task.clear()
    extend_api.configure(faults=[{"endpoint": SUBMISSION, "kind": "drop", "accepted": True}])
    assert made.execute(task.attempt()) not in {None, cancelled}
    assert times_paid(extend_api) == {2}


def test_what_was_cancelled_in_part_is_taken_up_and_a_retry_takes_up_anything(extend_api: ExtendApi) -> None:
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


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("accepted", [True, False], ids=["accepted", "lost"])
@pytest.mark.parametrize("kind", ["error", "drop"])
def test_after_an_unclear_answer_the_same_attempt_finds_the_batch_or_proves_its_absence(
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
    monkeypatch.setattr("extend_provider.batch.submission.PATIENCE", 0.0)
    extend_api.configure(faults=[{"endpoint": SUBMISSION, "kind": "late", "seconds": 4}])
    task = Task()
    made = operator(inputs=texts(2), deferrable=deferrable)
    assert (run_deferred if deferrable else run_on)(made, task.attempt()) is not None
    assert extend_api.requests_to(SUBMISSION) == 1
    assert times_paid(extend_api) == {1}
    assert task.xcoms == {"run_count": 2}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("then", ["it is back", "a key is refused"])
def test_an_outage_while_the_batch_is_looked_for_is_waited_out(
    then: str, extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extend_provider.batch.submission.PATIENCE", 0.0)
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
def test_a_search_that_is_cut_short_is_taken_up_by_the_next_attempt(
    extend_api: ExtendApi, killed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    extend_api.configure(listing_lag_seconds=1.5)
    task = Task(retries=2)
    made = operator(inputs=texts(1), retries=2)
    with killed("after the request"):
        made.execute(task.attempt())
    task.clear(keeps_state=False)
    with monkeypatch.context() as patched:
        patched.setattr("extend_provider.batch.submission.find_batch", _die)
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
def test_after_a_clean_refusal_the_next_attempt_submits(clear: bool, extend_api: ExtendApi) -> None:
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


def test_the_mark_counts_in_the_metadata_and_its_key_is_reserved(extend_api: ExtendApi) -> None:
    nearly_full = {**FILE_ID, "metadata": {"k": "x" * 10_200}}
    with pytest.raises(ExtendInputError, match=r"inputs\[1\].metadata is 10,2.. bytes"):
        operator(inputs=[FILE_ID, nearly_full]).execute(Task().attempt())
    with pytest.raises(ExtendInputError, match=r"inputs\[0\].metadata has the key 'airflow_submission'"):
        operator(inputs=[{**FILE_ID, "metadata": {"airflow_submission": "x"}}]).execute(Task().attempt())
    assert extend_api.stats()["requests"] == {}


CHANGES = pytest.mark.parametrize(
    "change",
    [
        pytest.param({"file": {"text": "another", "name": "0.txt"}}, id="text"),
        pytest.param({"file": {"text": "text 0", "name": "other.txt"}}, id="name"),
        pytest.param({"file": {"file_id": "file_1"}}, id="file"),
        pytest.param({"metadata": {"document_id": "d0", "k": 1}}, id="metadata"),
    ],
)


@CHANGES
@pytest.mark.parametrize("then", ["retry", "clear on 3.3", "clear on 3.4"])
def test_inputs_that_have_changed_since_are_refused_unless_the_batch_is_to_be_taken_up(
    change: dict[str, Any], then: str, extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_EXTEND_DEFAULT",
        extend_api.connection_json(timeout=1, acceptance_window=1, listing_grace=1),
    )
    task = Task(retries=2)
    first = operator(inputs=texts(2), retries=2).execute(task.attempt())
    if then != "retry":
        task.clear(keeps_state=then == "clear on 3.3")
    one, other = texts(2)
    changed = [{**one, **change}, other]
    with pytest.raises(
        ExtendInputError, match=rf"{first}.*on_clear='resubmit'.*on_changed_inputs='reattach'"
    ):
        operator(inputs=changed, retries=2).execute(task.attempt())
    taken_up = operator(inputs=changed, retries=2, on_changed_inputs="reattach").execute(task.attempt())
    assert taken_up == first
    assert times_paid(extend_api) == {1}


def test_what_changes_by_itself_between_two_attempts_is_no_change(extend_api: ExtendApi) -> None:
    def given(signature: str) -> list[dict[str, Any]]:
        file = {"url": f"https://bucket.example/a.pdf?X-Amz-Signature={signature}", "password": signature}
        return [{"file": file, "secrets": {"token": signature}}]

    task = Task(retries=1)
    first = operator(inputs=given("one"), retries=1).execute(task.attempt())
    assert operator(inputs=given("two"), retries=1).execute(task.attempt()) == first


def test_what_was_cancelled_as_a_whole_is_submitted_anew_with_the_inputs_of_now(
    extend_api: ExtendApi,
) -> None:
    extend_api.configure(hold=True)
    task = Task(retries=1)
    first = operator(inputs=texts(2), retries=1).execute(task.attempt())
    cancel_runs(first)
    task.clear()
    assert operator(inputs=texts(3), retries=1).execute(task.attempt()) != first
    assert task.xcoms == {"run_count": 3}


@pytest.mark.parametrize("cleared", [False, True], ids=["retry", "clear"])
@pytest.mark.parametrize("change", [{"workflow_id": "workflow_other"}, {"version": 2}], ids=str)
def test_another_workflow_or_version_is_sent_nothing_as_long_as_there_is_a_batch(
    change: dict[str, Any], cleared: bool, extend_api: ExtendApi
) -> None:
    task = Task(retries=1)
    first = operator(inputs=texts(1), retries=1).execute(task.attempt())
    if cleared:
        task.clear()
    with pytest.raises(ExtendInputError, match=f"{first}.*on_clear='resubmit'"):
        operator(inputs=texts(1), retries=1, **change).execute(task.attempt())
    assert extend_api.requests_to(SUBMISSION) == 1


def test_after_a_refusal_another_workflow_is_tried_at_once(extend_api: ExtendApi) -> None:
    task = Task(retries=1)
    with pytest.raises(ExtendNotFoundError):
        operator(inputs=texts(1), retries=1, workflow_id="workflow_unknown").execute(task.attempt())
    assert operator(inputs=texts(1), retries=1).execute(task.attempt()) is not None
    assert extend_api.requests_to(LISTING) == 0


def test_a_policy_nobody_knows_is_refused_when_the_dag_is_parsed() -> None:
    with pytest.raises(ExtendInputError, match="on_clear is 'ignore'"):
        operator(inputs=[FILE_ID], on_clear="ignore")
    with pytest.raises(ExtendInputError, match="on_changed_inputs is 'ignore'"):
        operator(inputs=[FILE_ID], on_changed_inputs="ignore")


def test_inputs_that_are_built_late_are_not_compared(extend_api: ExtendApi) -> None:
    task = Task(retries=1)
    late = LateInputs(task_id="late", workflow_id="workflow_invoices", retries=1)
    late.made = [BatchInput(FileInput(text="t"))]
    first = late.execute(task.attempt())
    late.made = []
    assert late.execute(task.attempt()) == first


class LateInputs(ExtendSubmitBatchOperator):
    """Builds its inputs in the worker."""

    made: Sequence[BatchInput] = ()

    def get_inputs(self, context: Any) -> Sequence[BatchInput]:
        return self.made


def test_a_subclass_builds_its_inputs_in_the_worker(extend_api: ExtendApi) -> None:
    late = LateInputs(task_id="late", workflow_id="workflow_invoices")
    late.made = [BatchInput(FileInput(text="t", name="t.txt"), metadata={"document_id": "d"})]
    task = Task()
    assert late.execute(task.attempt()) is not None
    assert task.xcoms == {"run_count": 1}
    assert extend_api.stats()["runs_created"] == {"d": 1}


def test_a_subclass_with_nothing_to_submit_succeeds_without_a_batch(extend_api: ExtendApi) -> None:
    task = Task()
    assert LateInputs(task_id="late", workflow_id="workflow_invoices").execute(task.attempt()) is None
    assert task.xcoms == {"run_count": 0}
    assert extend_api.stats()["requests"] == {}


def test_what_a_subclass_builds_is_checked_too(extend_api: ExtendApi) -> None:
    late = LateInputs(task_id="late", workflow_id="workflow_invoices")
    late.made = [BatchInput(FileInput(url="https://h/a", text="both"))]
    with pytest.raises(ExtendInputError, match=r"inputs\[0\].file"):
        late.execute(Task().attempt())
    assert extend_api.stats()["requests"] == {}


SECRETS = {
    "file": {"url": "https://bucket/a%20b.pdf?X-Amz-Signature={{ 'sig-5ecre7' }}", "password": "pw-5ecre7"},
    "metadata": {"document_id": "{{ 'd' ~ 1 }}"},
    "secrets": {"token": "tok-5ecre7"},
}


def rendered(made: BaseOperator) -> tuple[BaseOperator, dict[str, Any]]:
    """Render an operator as the worker does; return it and what Airflow would store of it."""
    context: dict[str, Any] = {"ti": None, "task": made, "expanded_ti_count": None}
    made.render_template_fields(context)  # type: ignore[arg-type]  # what these templates need of a context
    used: BaseOperator = context["task"]
    return used, _serialize_rendered_fields(used)


def test_rendered_inputs_show_what_is_sent_without_credentials() -> None:
    with DAG("dag", schedule=None):
        made = operator(inputs=[SECRETS, {"file": {"text": "text-5ecre7"}}])
    used, shown = rendered(made)
    assert isinstance(used, ExtendSubmitBatchOperator)
    assert "5ecre7" not in json.dumps(shown)
    assert shown["inputs"][0]["file"]["url"] == "https://bucket/a%20b.pdf?***"
    assert shown["inputs"][0]["metadata"] == {"document_id": "d1"}
    (sent, _) = used.get_inputs({})
    assert sent.file.url == "https://bucket/a%20b.pdf?X-Amz-Signature=sig-5ecre7"
    assert "5ecre7" not in repr(vars(used)["inputs"])


def test_a_mapped_task_seals_its_inputs_as_well() -> None:
    with DAG("dag", schedule=None):
        mapped = ExtendSubmitBatchOperator.partial(
            task_id="submit", workflow_id="{{ 'workflow_' ~ 1 }}"
        ).expand(inputs=[[SECRETS], [FILE_ID]])
    used = mapped.unmap({"inputs": [SECRETS]})
    context: Any = {"task": used}
    used._do_render_template_fields(used, used.template_fields, context, used.get_template_env(), set())
    shown = _serialize_rendered_fields(used)
    assert "5ecre7" not in json.dumps(shown)
    assert shown["workflow_id"] == "workflow_1"


def test_inputs_from_another_task_make_it_upstream() -> None:
    with DAG("dag", schedule=None):

        @task
        def make_inputs() -> list[dict[str, Any]]:
            return [FILE_ID]

        made = operator(inputs=make_inputs())
    assert made.upstream_task_ids == {"make_inputs"}
