"""The state between looks, and the record that travels in a trigger's event."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_provider.batch.waiting.polling import Outcome, Poller, PollResult, WaitPolicy, first_deadline
from extend_provider.batch.waiting.progress import BatchProgress
from extend_provider.exceptions import (
    ExtendAuthError,
    ExtendBatchError,
    ExtendConnectionError,
    ExtendError,
    ExtendServerError,
)

NOW = 1_800_000_000.0
FAULT = ExtendServerError("Extend failed.", status=503, retryable=True)
REFUSED = ExtendAuthError("Invalid API key.", status=401, code="UNAUTHORIZED", request_id="req_1")


def waiting(**changes: Any) -> Poller:
    arguments: dict[str, Any] = {"deadline": NOW + 3600, "poll_interval": 60.0}
    return Poller(WaitPolicy(**{**arguments, **changes}), chance=lambda: 0.5)


def test_only_a_change_is_reported() -> None:
    wait = waiting()
    first, second, third = (
        wait.polled(BatchProgress(2, {"PROCESSED": processed}), now=NOW) for processed in (0, 0, 1)
    )
    assert [first.changed, second.changed, third.changed] == [True, False, True]


def test_transient_errors_are_tolerated_until_the_deadline() -> None:
    wait = waiting()
    wait.polled(BatchProgress(2, {"PROCESSED": 1}), now=NOW)
    results = [wait.failed(FAULT, now=NOW + second) for second in range(0, 3600, 60)]
    assert {result.outcome for result in results} == {Outcome.WAIT}
    assert [result.delay for result in results] == sorted(result.delay for result in results)

    end = wait.failed(FAULT, now=NOW + 3600)

    assert end.outcome is Outcome.TIMED_OUT
    assert "1 of 2 settled" in end.message
    assert "503" in end.message


def test_more_failed_polls_in_a_row_than_tolerated_end_the_wait() -> None:
    wait = waiting(max_poll_errors=2)
    for _ in range(2):
        assert wait.failed(FAULT, now=NOW).outcome is Outcome.WAIT
    wait.polled(BatchProgress(2, {}), now=NOW)
    for _ in range(2):
        assert wait.failed(FAULT, now=NOW).outcome is Outcome.WAIT
    assert wait.failed(FAULT, now=NOW).outcome is Outcome.GAVE_UP


def test_a_refusal_ends_the_wait_at_once_and_keeps_the_counts() -> None:
    wait = waiting()
    progress = BatchProgress(2, {"PROCESSED": 1})
    wait.polled(progress, now=NOW)
    end = wait.failed(REFUSED, now=NOW)
    assert end.outcome is Outcome.GAVE_UP
    assert end.progress == progress.as_dict()


def test_an_unexpected_error_ends_the_wait_and_shows_no_url() -> None:
    error = KeyError("https://user:pw@bucket/a.pdf?X-Amz-Signature=5ecre7 with Bearer sk_live")
    end = waiting().failed(error, now=NOW)
    assert end.outcome is Outcome.GAVE_UP
    assert "KeyError" in end.message
    assert not any(secret in json.dumps(end.as_event()) for secret in ("5ecre7", "pw@", "sk_live"))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        pytest.param(REFUSED, ExtendAuthError, id="auth"),
        pytest.param(
            ExtendConnectionError("No route.", retryable=False), ExtendConnectionError, id="connection"
        ),
        pytest.param(RuntimeError("boom"), ExtendError, id="unexpected"),
    ],
)
def test_the_error_of_an_event_is_raised_with_its_type(error: Exception, kind: type[ExtendError]) -> None:
    event = json.loads(json.dumps(waiting().failed(error, now=NOW).as_event()))
    failure = PollResult.from_event(event).failure("Batch b", "Nothing was cancelled.")
    assert type(failure) is kind
    assert str(failure).startswith("Batch b: ")
    assert "Nothing was cancelled." in str(failure)
    if isinstance(error, ExtendError):
        assert (failure.status, failure.code, failure.request_id) == (
            error.status,
            error.code,
            error.request_id,
        )
        assert str(failure).count("UNAUTHORIZED") <= 1


def test_runs_in_review_are_a_batch_error_with_the_policy_fail() -> None:
    end = waiting(on_needs_review="fail").polled(BatchProgress(1, {"NEEDS_REVIEW": 1}), now=NOW)
    assert type(end.failure("Batch b", "")) is ExtendBatchError


@given(
    by_status=st.dictionaries(
        st.sampled_from(["PROCESSED", "FAILED", "NEEDS_REVIEW", "ODD"]), st.integers(1, 9)
    ),
    late=st.booleans(),
)
def test_an_event_survives_json(by_status: dict[str, int], late: bool) -> None:
    result = waiting().polled(
        BatchProgress(sum(by_status.values()), by_status, "https://d/1"), now=NOW + (7200 if late else 0)
    )
    if result.is_final:
        event = json.loads(json.dumps(result.as_event()))
        assert PollResult.from_event(event) == result
        assert len(json.dumps(event)) < 1000


@pytest.mark.parametrize(
    "event",
    [None, {}, {"status": "success"}, {"outcome": "odd", "message": ""}, "text", {"outcome": "done", "x": 1}],
    ids=repr,
)
def test_an_empty_event_is_a_retryable_error(event: Any) -> None:
    with pytest.raises(ExtendError, match="without an event") as caught:
        PollResult.from_event(event)
    assert caught.value.retryable


def test_the_shorter_of_timeout_and_execution_timeout_sets_the_deadline() -> None:
    def deadline(execution_timeout: timedelta | None) -> tuple[float, str]:
        return first_deadline(NOW, 100, attempt_started_at=NOW + 50, execution_timeout=execution_timeout)

    assert deadline(None) == (NOW + 100, "timeout")
    assert deadline(timedelta(seconds=49)) == (NOW + 99, "execution_timeout")
    assert deadline(timedelta(seconds=51)) == (NOW + 100, "timeout")


@pytest.mark.parametrize(
    ("poll_interval", "shortest"), [(60, 5), (600, 50), (12, 1), (5, 1), (0.2, 0.2)], ids=repr
)
def test_the_shortest_interval_follows_the_longest(poll_interval: float, shortest: float) -> None:
    assert WaitPolicy(NOW, poll_interval).shortest_interval == pytest.approx(shortest)
