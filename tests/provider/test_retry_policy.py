"""Which failures of a task Airflow tries again."""

from __future__ import annotations

import pytest
from airflow.sdk.definitions.retry_policy import ExceptionRetryPolicy, RetryAction

from extend_provider import exceptions as e
from extend_provider.retry_policy import EXTEND_RETRY_POLICY

FAIL, WAIT = RetryAction.FAIL, RetryAction.DEFAULT

CASES = [
    (e.ExtendAuthError, FAIL),
    (e.ExtendCreditsError, FAIL),
    (e.ExtendBadRequestError, FAIL),
    (e.ExtendNotFoundError, FAIL),
    (e.ExtendInputError, FAIL),
    (e.ExtendRateLimitError, WAIT),
    (e.ExtendServerError, WAIT),
    (e.ExtendConnectionError, WAIT),
    (e.ExtendUnclearSubmissionError, WAIT),
    (e.ExtendBatchError, WAIT),
    (e.ExtendError, WAIT),
    (ValueError, WAIT),
    (OSError, WAIT),
]


@pytest.mark.parametrize(("error", "action"), [pytest.param(*case, id=case[0].__name__) for case in CASES])
def test_a_permanent_error_fails_at_once(error: type[Exception], action: RetryAction) -> None:
    decision = EXTEND_RETRY_POLICY.evaluate(error("no"), try_number=1, max_tries=3)
    assert decision.action is action
    assert (decision.reason is None) is (action is WAIT)


def test_waiting_is_left_to_the_tasks_own_delay() -> None:
    decision = EXTEND_RETRY_POLICY.evaluate(e.ExtendServerError("no"), try_number=1, max_tries=3)
    assert decision.retry_delay is None


@pytest.mark.parametrize(("error", "action"), [pytest.param(*case, id=case[0].__name__) for case in CASES])
def test_the_policy_survives_the_serialization_of_a_dag(error: type[Exception], action: RetryAction) -> None:
    policy = ExceptionRetryPolicy.deserialize(EXTEND_RETRY_POLICY.serialize())
    assert policy.evaluate(error("no"), try_number=1, max_tries=3).action is action
