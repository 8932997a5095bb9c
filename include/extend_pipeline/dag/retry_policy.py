"""The retry policy of the pipeline's tasks: Extend's, and the pipeline's own verdicts."""

from __future__ import annotations

from typing import Final

from airflow.sdk import ExceptionRetryPolicy
from airflow.sdk.definitions.retry_policy import RetryAction, RetryRule
from airflow.sdk.exceptions import XComNotFound

from extend_pipeline.exceptions import PipelineOutcomeError
from extend_provider.retry_policy import EXTEND_RETRY_POLICY

PIPELINE_RETRY_POLICY: Final = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=PipelineOutcomeError,
            action=RetryAction.FAIL,
            reason="Everything that could land has landed; adding it up again changes nothing.",
        ),
        RetryRule(
            exception=XComNotFound,
            action=RetryAction.FAIL,
            reason="A task before this one was marked as success before it was through; clear that one.",
        ),
        *EXTEND_RETRY_POLICY.rules,
    ],
    default=RetryAction.DEFAULT,
)
