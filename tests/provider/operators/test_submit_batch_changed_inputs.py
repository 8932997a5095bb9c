"""The batch operator when its inputs, or its workflow, are no longer those that were submitted."""

from __future__ import annotations

from typing import Any

import pytest

from extend_provider.exceptions import (
    ExtendInputError,
    ExtendNotFoundError,
)
from fixtures.extend.api import ExtendApi
from fixtures.tasks.submit_batch import (
    LISTING,
    SUBMISSION,
    cancel_runs,
    operator,
    texts,
    times_paid,
)
from fixtures.tasks.task_support import Task

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
def test_inputs_that_have_changed_since_are_refused_unless_the_batch_is_reattached(
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
    reattached = operator(inputs=changed, retries=2, on_changed_inputs="reattach").execute(task.attempt())
    assert reattached == first
    assert times_paid(extend_api) == {1}


def test_queries_and_secrets_do_not_count_as_changed_inputs(extend_api: ExtendApi) -> None:
    def given(signature: str) -> list[dict[str, Any]]:
        file = {"url": f"https://bucket.example/a.pdf?X-Amz-Signature={signature}", "password": signature}
        return [{"file": file, "secrets": {"token": signature}}]

    task = Task(retries=1)
    first = operator(inputs=given("one"), retries=1).execute(task.attempt())
    assert operator(inputs=given("two"), retries=1).execute(task.attempt()) == first


def test_a_wholly_cancelled_batch_is_submitted_again_with_the_present_inputs(
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


def test_another_workflow_is_tried_at_once_after_a_refusal(extend_api: ExtendApi) -> None:
    task = Task(retries=1)
    with pytest.raises(ExtendNotFoundError):
        operator(inputs=texts(1), retries=1, workflow_id="workflow_unknown").execute(task.attempt())
    assert operator(inputs=texts(1), retries=1).execute(task.attempt()) is not None
    assert extend_api.requests_to(LISTING) == 0
