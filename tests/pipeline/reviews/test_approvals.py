"""What a person is asked about documents of low confidence, and what becomes of the answer."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.reviews.approvals import (
    APPROVE,
    LATER,
    LISTED,
    REJECT,
    decided_lines,
    decision_of,
    question,
)
from extend_pipeline.storage.workspace import compressed_writer
from extend_pipeline.warehouse.records import LandedRun
from fixtures.warehouse.runs import WORKFLOW, document


def held(number: int, raw_uri: str | None = None, **changes: Any) -> LandedRun:
    facts: dict[str, Any] = {
        "document": document(number),
        "run_id": f"workflow_run_{number}",
        "batch_id": "batch_1",
        "workflow_id": WORKFLOW,
        "version": None,
        "repetition": "",
        "raw_uri": raw_uri,
        "dashboard_url": f"https://dashboard.extend.ai/workflows/workflow_run_{number}",
        "low_confidence": 2,
        "lowest_confidence": 0.31,
        "steps": ("exr_1",),
    }
    return LandedRun(**{**facts, **changes})


def test_the_question_lists_a_few_documents_with_links_however_many_there_are() -> None:
    few = question((held(number) for number in range(3)), 3, dataset="extend", min_confidence=0.8)
    many = question((held(number) for number in range(50_000)), 50_000, dataset="extend", min_confidence=0.8)
    assert few.count("open at Extend") == 3
    assert "more" not in few.splitlines()[-1]
    assert many.count("open at Extend") == LISTED
    assert "49,980 more" in many
    assert len(many) < 8_000


def test_a_name_cannot_break_out_of_the_question() -> None:
    nasty = held(1, document=document(1, uri="s3://inbox/`a`\n# [x](http://evil.example)"))
    (line,) = [
        line
        for line in question([nasty], 1, dataset="extend", min_confidence=0.8).splitlines()
        if "inbox" in line
    ]
    assert line.startswith("* `s3://inbox/'a' # [x](http://evil.example)`:")


@pytest.mark.parametrize(("answer", "decision"), [(APPROVE, "APPROVED"), (REJECT, "REJECTED"), (LATER, None)])
def test_an_answer_is_a_decision_of_somebody(answer: str, decision: str | None) -> None:
    at = dt.datetime(2026, 11, 22, 9, tzinfo=dt.UTC)
    user = {"id": "1", "name": "jane"}
    given = {"chosen_options": [answer], "responded_at": at, "responded_by_user": user}
    assert decision_of(given) == (decision, {"by": "jane", "at": "2026-11-22T09:00:00+00:00"})


def test_no_question_and_no_answer_decide_nothing() -> None:
    assert decision_of(None) == (None, {})
    assert decision_of({"chosen_options": [LATER], "responded_by_user": None})[0] is None


def raw_file(path: Path, *run_ids: str) -> str:
    uri = f"file://{path}"
    with compressed_writer(ObjectStoragePath(uri)) as file:
        for run_id in run_ids:
            file.write(json.dumps({"api_version": "2026-02-09", "run": {"id": run_id}}).encode() + b"\n")
    return uri


def test_only_held_runs_are_read_from_the_raw_zone(tmp_path: Path) -> None:
    first = raw_file(tmp_path / "1.gz", *(f"workflow_run_{number}" for number in range(5)))
    second = raw_file(tmp_path / "2.gz", "workflow_run_7")
    runs = [held(1, first), held(3, first), held(7, second)]
    found = list(decided_lines(runs, "APPROVED", {"by": "jane"}))
    assert [run.run_id for run, _ in found] == ["workflow_run_1", "workflow_run_3", "workflow_run_7"]
    record = json.loads(found[0][1])
    assert record == {
        "api_version": "2026-02-09",
        "run": {"id": "workflow_run_1"},
        "approval": "APPROVED",
        "decided": {"by": "jane"},
    }


def test_a_run_missing_from_the_raw_zone_is_named(tmp_path: Path) -> None:
    uri = raw_file(tmp_path / "1.gz", "workflow_run_2")
    with pytest.raises(PipelineInputError, match=r"lacks 1 runs .* workflow_run_1"):
        list(decided_lines([held(1, uri)], "APPROVED", {}))
