"""The ``retry_policy`` for tasks that call Extend.

    ExtendBatchSensor(..., retries=3, retry_policy=EXTEND_RETRY_POLICY)

Errors that a retry cannot change fail at once: a wrong key, no credits, a refused request or input, a
workflow that does not exist. The rest (rate limits, server faults, no connection, an unclear submission,
which the next try resolves) is retried after the task's own ``retry_delay``.
"""

from __future__ import annotations

from typing import Final

from airflow.sdk import ExceptionRetryPolicy
from airflow.sdk.definitions.retry_policy import RetryAction, RetryRule

from extend_provider.exceptions import (
    ExtendAuthError,
    ExtendBadRequestError,
    ExtendCreditsError,
    ExtendInputError,
    ExtendNotFoundError,
)


def _fails(error: type[Exception], reason: str) -> RetryRule:
    return RetryRule(exception=error, action=RetryAction.FAIL, reason=reason)


EXTEND_RETRY_POLICY: Final = ExceptionRetryPolicy(
    rules=[
        _fails(ExtendAuthError, "Extend does not accept the API key; correct the connection."),
        _fails(ExtendCreditsError, "The workspace is out of credits; add some."),
        _fails(ExtendNotFoundError, "Extend does not know this id; correct it."),
        _fails(ExtendInputError, "The input was refused before any request; correct it."),
        _fails(ExtendBadRequestError, "Extend refuses the request as it stands; correct it."),
    ],
    default=RetryAction.DEFAULT,
)
