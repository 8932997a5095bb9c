"""The retry policy of the pipeline's tasks: Extend's, and the pipeline's own verdicts."""

from __future__ import annotations

from typing import Final

from airflow.sdk import ExceptionRetryPolicy
from airflow.sdk.definitions.retry_policy import RetryAction, RetryRule

from extend_pipeline.exceptions import PipelineOutcomeError
from extend_provider.retry import EXTEND_RETRY_POLICY

PIPELINE_RETRY_POLICY: Final = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=PipelineOutcomeError,
            action=RetryAction.FAIL,
            reason="Everything that could land has landed; adding it up again changes nothing.",
        ),
        *EXTEND_RETRY_POLICY.rules,
    ],
    default=RetryAction.DEFAULT,
)
