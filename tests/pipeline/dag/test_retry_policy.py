"""What a retry cannot change fails at once."""

from __future__ import annotations

import pytest
from airflow.sdk.definitions.retry_policy import RetryAction
from airflow.sdk.exceptions import XComNotFound

from extend_pipeline.dag.conventions import PIPELINE_RETRY_POLICY
from extend_pipeline.exceptions import PipelineOutcomeError
from extend_pipeline.warehouse.records import WarehouseBusyError, WarehouseError


@pytest.mark.parametrize(
    ("error", "action"),
    [
        pytest.param(XComNotFound("dag", "submit", "run_count"), RetryAction.FAIL, id="nothing left behind"),
        pytest.param(PipelineOutcomeError("too many failed"), RetryAction.FAIL, id="a verdict"),
        pytest.param(WarehouseBusyError("busy for a day"), RetryAction.FAIL, id="a day of waiting"),
        pytest.param(WarehouseError("unreachable"), RetryAction.DEFAULT, id="another fault of the warehouse"),
        pytest.param(ConnectionError("cut off"), RetryAction.DEFAULT, id="anything else"),
    ],
)
def test_retry(error: Exception, action: RetryAction) -> None:
    assert PIPELINE_RETRY_POLICY.evaluate(error, 1, 25).action is action
