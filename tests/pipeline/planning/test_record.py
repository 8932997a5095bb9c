"""What a run leaves for the page in Airflow: small, and nothing that the page must not show."""

from __future__ import annotations

import json

import pytest

from extend_pipeline.planning.record import LandedRecord, PipelineRecord, landed_record, pipeline_record
from extend_pipeline.storage.formats import from_plain
from fixtures.sources.discovered import settings

#: Bytes that fit into any database's column for XComs, many times over.
SMALL = 2000


@pytest.mark.unit
def test_a_plan_leaves_a_few_bounded_names_and_none_of_what_was_asked_for() -> None:
    wanted = settings(
        [f"s3://inbox/{number}.pdf" for number in range(10_000)],
        dataset="d" * 63,
        warehouse_conn_id="w" * 200,
        metadata={"customer": "hush-hush"},
        max_credits=7.5,
    )
    left = pipeline_record(wanted, "postgres", "2026-11-27T02:00:00+00:00")
    text = json.dumps(left)
    assert len(text) < SMALL
    assert "hush-hush" not in text
    assert "s3://" not in text
    read = from_plain(PipelineRecord, left, "XCom")
    assert (read.warehouse_conn_id, read.dataset, read.max_credits) == ("w" * 200, "d" * 63, 7.5)


@pytest.mark.unit
def test_what_has_landed_is_a_count_for_each_status_however_many_documents_there_are() -> None:
    left = landed_record({"PROCESSED": 10**9, "FAILED": 10**6, "NEEDS_REVIEW": 5}, 2.4e9)
    assert len(json.dumps(left)) < SMALL
    read = from_plain(LandedRecord, left, "XCom")
    assert (read.by_status["PROCESSED"], read.credits) == (10**9, 2.4e9)
