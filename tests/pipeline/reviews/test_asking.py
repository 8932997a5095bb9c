"""Asking Extend for runs in review: one request each, and one that fails does not keep the others."""

from __future__ import annotations

from collections import Counter

import pytest

from extend_pipeline.reviews.asking import MAX_UNANSWERED, ask
from extend_pipeline.reviews.decisions import ReviewState, review_state, step_marks
from extend_pipeline.warehouse.records import LandedRun
from extend_provider.client.models import StepRun, WorkflowRun
from extend_provider.exceptions import ExtendAuthError, ExtendServerError
from extend_provider.hooks.extend import ExtendAsyncHook
from fixtures.extend.api import ExtendApi
from fixtures.warehouse.runs import WORKFLOW, document

RUN = "GET /workflow_runs/{id}"


@pytest.fixture
def in_review(extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch) -> list[LandedRun]:
    """Runs that wait for a reviewer, as they have landed: more than one page of questions."""
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", extend_api.connection_json())
    extend_api.configure(outcomes=[{"status": "NEEDS_REVIEW"}])
    inputs = [
        {"file": {"text": f"Invoice number: {number}", "name": f"{number}.txt"}} for number in range(20)
    ]
    runs = extend_api.runs(extend_api.submit_batch(inputs))
    return [
        landed(number, run["id"], (run["stepRuns"][0]["result"]["extractRun"]["id"],))
        for number, run in enumerate(runs)
    ]


def landed(number: int, run_id: str, steps: tuple[str, ...]) -> LandedRun:
    place = ("batch_1", WORKFLOW, None, "", "raw/1", None, None, None)
    return LandedRun(document(number), run_id, *place, steps)


def asked(runs: list[LandedRun], **options: int) -> tuple[Counter[ReviewState], list[str], list[str]]:
    taken, deleted = list[str](), list[str]()
    states = ask(
        ExtendAsyncHook(**options),  # type: ignore[arg-type]
        runs,
        take=lambda run, line: taken.append(run.run_id),
        deleted=lambda run: deleted.append(run.run_id),
    )
    return states, taken, deleted


def test_news_are_taken_in_order_with_one_request_for_each_run(
    extend_api: ExtendApi, in_review: list[LandedRun]
) -> None:
    decided = [in_review[number].run_id for number in (3, 4, 17)]
    for run_id in decided:
        extend_api.review(run_id, "approve")
    gone = in_review[9].run_id
    extend_api.call("DELETE", f"/workflow_runs/{gone}")
    before = extend_api.requests_to(RUN)

    states, taken, deleted = asked(in_review)
    assert states == {ReviewState.DECIDED: 3, ReviewState.WAITING: 16, ReviewState.DELETED: 1}
    assert (taken, deleted) == (decided, [gone])
    assert extend_api.requests_to(RUN) - before == 20


def test_a_deleted_run_is_known_by_410_too(extend_api: ExtendApi, in_review: list[LandedRun]) -> None:
    extend_api.configure(deleted_status=410)
    extend_api.call("DELETE", f"/workflow_runs/{in_review[0].run_id}")
    assert asked(in_review[:1])[0] == {ReviewState.DELETED: 1}


def test_a_run_that_extend_fails_to_return_does_not_block_the_others(
    extend_api: ExtendApi, in_review: list[LandedRun]
) -> None:
    for run in in_review:
        extend_api.review(run.run_id, "approve")
    extend_api.configure(faults=[{"endpoint": RUN, "kind": "error", "skip": 5}])
    states, taken, _ = asked(in_review, max_attempts=1)
    assert states == {ReviewState.DECIDED: 19, ReviewState.UNANSWERED: 1}
    assert len(taken) == 19


def test_an_outage_ends_the_look_early(extend_api: ExtendApi, in_review: list[LandedRun]) -> None:
    extend_api.configure(faults=[{"endpoint": RUN, "kind": "error", "count": None}])
    before = extend_api.requests_to(RUN)
    with pytest.raises(ExtendServerError, match="Nothing has landed"):
        asked(in_review, max_attempts=1)
    assert MAX_UNANSWERED < extend_api.requests_to(RUN) - before < len(in_review)


def test_a_wrong_key_is_no_deleted_run(
    extend_api: ExtendApi, in_review: list[LandedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_EXTEND_DEFAULT", extend_api.connection_json().replace(extend_api.key, "sk_wrong")
    )
    with pytest.raises(ExtendAuthError):
        asked(in_review)


@pytest.mark.parametrize(
    ("status", "steps", "expected"),
    [
        pytest.param("NEEDS_REVIEW", ("exr_1",), ReviewState.WAITING, id="nobody has decided"),
        pytest.param("NEEDS_REVIEW", ("exr_2",), ReviewState.CHANGED, id="sent back and in review again"),
        pytest.param("PROCESSING", (), ReviewState.UNDER_WAY, id="sent back"),
        pytest.param("SOMETHING_NEW", ("exr_1",), ReviewState.UNDER_WAY, id="a status nobody knows"),
        *(
            pytest.param(status, ("exr_1",), ReviewState.DECIDED, id=status)
            for status in ("PROCESSED", "REJECTED", "FAILED", "CANCELLED")
        ),
    ],
)
def test_the_review_state_follows_from_status_and_steps(
    status: str, steps: tuple[str, ...], expected: ReviewState
) -> None:
    run = WorkflowRun(
        id="r",
        status=status,
        steps=tuple(StepRun(id=step, type="X", name=None, status=None) for step in steps),
    )
    assert step_marks(run) == steps
    assert review_state(landed(1, "r", ("exr_1",)), run) is expected
