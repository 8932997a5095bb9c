"""How runs are worked on and how they end: order, time, rules, cancelling, review."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest
import requests

from fixtures.extend.api import ExtendApi
from fixtures.extend.emulated import INVOICE


def _inputs(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [{"file": {"text": INVOICE, "name": f"{n:03}.txt"}, **fields} for n in range(count)]


def _by_name(runs: list[dict[str, Any]]) -> dict[str, str]:
    return {run["files"][0]["name"]: run["status"] for run in runs}


def _until(extend_api: ExtendApi, runs: dict[str, int]) -> None:
    """Wait until there are so many runs of each status."""
    deadline = time.monotonic() + 10
    while (found := extend_api.stats()["runs"]) != runs:
        assert time.monotonic() < deadline, found
        time.sleep(0.01)


def _seconds(run: dict[str, Any]) -> float:
    start, end = (datetime.fromisoformat(run[name]) for name in ("startTime", "endTime"))
    return (end - start).total_seconds()


def test_held_runs_stay_pending_until_released(extend_api: ExtendApi) -> None:
    extend_api.configure(hold=True, synthetic=True)
    batch_id = extend_api.submit_batch(_inputs(3))
    time.sleep(0.2)
    assert extend_api.stats()["runs"] == {"PENDING": 3}
    extend_api.configure(hold=False)
    assert {run["status"] for run in extend_api.runs(batch_id)} == {"PROCESSED"}


def test_lower_priority_numbers_run_first_and_equal_ones_in_order(extend_api: ExtendApi) -> None:
    extend_api.configure(hold=True, synthetic=True, max_concurrent_runs=1, latency_seconds=0.01)
    late = extend_api.submit_batch(_inputs(3))
    early = extend_api.submit_batch(_inputs(3), priority=1)
    body = {"workflow": {"id": "workflow_invoices"}, "file": {"text": "single"}}
    single = extend_api.call("POST", "/workflow_runs", json=body).json()
    extend_api.configure(hold=False)
    early_runs, late_runs = extend_api.runs(early), extend_api.runs(late)
    middle = extend_api.call("GET", f"/workflow_runs/{single['id']}").json()
    started = [run["startTime"] for run in (*early_runs, middle, *late_runs)]
    assert started == sorted(started)
    assert len(set(started)) == len(started)


def test_run_is_processing_for_the_latency(extend_api: ExtendApi) -> None:
    extend_api.configure(synthetic=True, latency_seconds=0.4)
    batch_id = extend_api.submit_batch(_inputs(1))
    _until(extend_api, {"PROCESSING": 1})
    [fixed] = extend_api.runs(batch_id)
    assert _seconds(fixed) >= 0.4
    extend_api.configure(latency_seconds=0.05, latency_max_seconds=0.4)
    drawn = [_seconds(run) for run in extend_api.runs(extend_api.submit_batch(_inputs(20)))]
    assert min(drawn) >= 0.05
    assert max(drawn) - min(drawn) > 0.02


def test_number_of_processing_runs_stays_below_the_limit(extend_api: ExtendApi) -> None:
    extend_api.configure(synthetic=True, latency_seconds=60, max_concurrent_runs=2)
    extend_api.submit_batch(_inputs(5))
    _until(extend_api, {"PROCESSING": 2, "PENDING": 3})
    time.sleep(0.1)
    assert extend_api.stats()["runs"] == {"PROCESSING": 2, "PENDING": 3}


def test_cancelled_run_frees_its_place_for_the_next(extend_api: ExtendApi) -> None:
    extend_api.configure(latency_seconds=60, max_concurrent_runs=1, cancelling_seconds=0)
    batch_id = extend_api.submit_batch(_inputs(2))
    _until(extend_api, {"PROCESSING": 1, "PENDING": 1})
    params = {"batchId": batch_id, "status": "PROCESSING"}
    [first] = extend_api.call("GET", "/workflow_runs", params=params).json()["data"]
    extend_api.call("POST", f"/workflow_runs/{first['id']}/cancel")
    _until(extend_api, {"CANCELLED": 1, "PROCESSING": 1})


def test_credits_per_page_follow_the_setting(extend_api: ExtendApi) -> None:
    extend_api.configure(credits_per_page=2.5)
    [run] = extend_api.runs(extend_api.submit_batch(_inputs(1), "workflow_mixed"))
    assert run["usage"]["credits"] == 5.0
    assert [entry["credits"] for entry in run["usage"]["breakdown"]] == [2.5, 2.5]


@pytest.mark.parametrize(
    ("rule", "struck"),
    [
        pytest.param({"name_glob": "00[12].txt"}, {"001.txt", "002.txt"}, id="by name"),
        pytest.param({"metadata": {"tenant": "acme"}}, {"000.txt", "001.txt", "002.txt"}, id="by metadata"),
        pytest.param({"metadata": {"tenant": "other"}}, set(), id="by other metadata"),
        pytest.param({"fraction": 0.0}, set(), id="none"),
    ],
)
def test_rule_decides_the_outcome_of_matching_runs(
    extend_api: ExtendApi, rule: dict[str, Any], struck: set[str]
) -> None:
    extend_api.configure(outcomes=[{"status": "FAILED", **rule}], synthetic=True)
    runs = _by_name(extend_api.runs(extend_api.submit_batch(_inputs(3, metadata={"tenant": "acme"}))))
    assert {name for name, status in runs.items() if status == "FAILED"} == struck


def test_fraction_selects_the_same_inputs_every_time(extend_api: ExtendApi) -> None:
    extend_api.configure(outcomes=[{"status": "REJECTED", "fraction": 0.4, "message": "No."}], synthetic=True)
    first, second = (_by_name(extend_api.runs(extend_api.submit_batch(_inputs(60)))) for _ in range(2))
    assert first == second
    assert 10 < sum(status == "REJECTED" for status in first.values()) < 40


@pytest.mark.parametrize(
    "status", ["FAILED", "REJECTED", "CANCELLED", "NEEDS_REVIEW", "A_STATUS_OF_TOMORROW"]
)
def test_rule_can_end_a_run_in_any_status(extend_api: ExtendApi, status: str) -> None:
    extend_api.configure(outcomes=[{"status": status, "message": "Because."}], synthetic=True)
    [run] = extend_api.runs(extend_api.submit_batch(_inputs(1)))
    assert run["status"] == status
    assert run.get("failureMessage") == ("Because." if status == "FAILED" else None)
    assert run["rejectionNote"] == ("Because." if status == "REJECTED" else None)
    assert (run["endTime"] is None) is (status == "NEEDS_REVIEW")


def test_first_matching_rule_wins(extend_api: ExtendApi) -> None:
    rules = [{"status": "CANCELLED", "name_glob": "000*"}, {"status": "REJECTED"}]
    extend_api.configure(outcomes=rules, synthetic=True)
    runs = extend_api.runs(extend_api.submit_batch(_inputs(2)))
    assert [run["status"] for run in runs] == ["CANCELLED", "REJECTED"]


def test_transient_failure_ends_after_its_attempts(extend_api: ExtendApi) -> None:
    extend_api.configure(outcomes=[{"status": "FAILED", "first_attempts": 2}], synthetic=True)
    statuses = [extend_api.runs(extend_api.submit_batch(_inputs(1)))[0]["status"] for _ in range(3)]
    assert statuses == ["FAILED", "FAILED", "PROCESSED"]


def test_processing_run_is_cancelled_through_cancelling(extend_api: ExtendApi) -> None:
    extend_api.configure(latency_seconds=30, cancelling_seconds=0.2)
    batch_id = extend_api.submit_batch(_inputs(1))
    _until(extend_api, {"PROCESSING": 1})
    [summary] = extend_api.call("GET", "/workflow_runs", params={"batchId": batch_id}).json()["data"]
    cancelled = extend_api.call("POST", f"/workflow_runs/{summary['id']}/cancel", json={}).json()
    assert cancelled["status"] == "CANCELLING"
    [run] = extend_api.runs(batch_id)
    assert run["status"] == "CANCELLED"
    assert run["stepRuns"] == []


def _in_review(extend_api: ExtendApi, workflow_id: str = "workflow_invoices", **rule: Any) -> dict[str, Any]:
    extend_api.configure(outcomes=[{"status": "NEEDS_REVIEW", **rule}])
    [run] = extend_api.runs(extend_api.submit_batch(_inputs(1), workflow_id))
    assert run["status"] == "NEEDS_REVIEW"
    return run


def test_approved_run_has_the_reviewers_edits(extend_api: ExtendApi) -> None:
    waiting = _in_review(extend_api)
    edits = {"total": 120.5, "vendor.name": "Acme AG"}
    run = extend_api.review(waiting["id"], "approve", edits=edits, reviewer="jane@example.com", note="Typo.")
    extract = run["stepRuns"][0]["result"]["extractRun"]
    assert (run["status"], run["reviewed"], run["reviewedByUser"]) == ("PROCESSED", True, "jane@example.com")
    assert run["reviewedAt"] == run["endTime"]
    assert (extract["reviewed"], extract["edited"]) == (True, True)
    assert extract["edits"]["total"]["originalValue"] == 119.0
    assert extract["edits"]["total"]["editedValue"] == 120.5
    assert extract["edits"]["total"]["notes"] == "Typo."
    assert extract["initialOutput"]["value"]["total"] == 119.0
    assert extract["output"] == extract["reviewedOutput"]
    assert extract["output"]["value"]["total"] == 120.5
    assert extract["output"]["value"]["vendor"]["name"] == "Acme AG"
    older = extend_api.call("GET", f"/workflow_runs/{run['id']}", version="2025-04-21").json()["workflowRun"]
    assert older["reviewedBy"] == "jane@example.com"
    assert older["outputs"][0]["edits"]["total"]["editedValue"] == 120.5


def test_run_approved_without_edits_is_reviewed_but_not_edited(extend_api: ExtendApi) -> None:
    run = extend_api.review(_in_review(extend_api)["id"], "approve")
    extract = run["stepRuns"][0]["result"]["extractRun"]
    assert (extract["reviewed"], extract["edited"], extract["edits"]) == (True, False, None)
    assert extract["output"] == extract["initialOutput"] == extract["reviewedOutput"]


def test_rejected_run_has_the_note(extend_api: ExtendApi) -> None:
    run = extend_api.review(_in_review(extend_api)["id"], "reject", note="Not an invoice.")
    assert (run["status"], run["reviewed"]) == ("REJECTED", True)
    assert run["rejectionNote"] == "Not an invoice."


def test_reclassified_run_restarts_with_the_given_class(extend_api: ExtendApi) -> None:
    waiting = _in_review(extend_api, "workflow_mixed", first_attempts=1)
    assert extend_api.review(waiting["id"], "reclassify", type="receipt")["status"] == "PROCESSING"
    [run] = extend_api.runs(waiting["batchId"])
    classify, extract = run["stepRuns"]
    assert run["status"] == "PROCESSED"
    assert classify["result"]["classifyRun"]["output"]["type"] == "receipt"
    assert extract["result"]["extractRun"]["extractor"]["id"] == "ex_receipts"


def test_reclassified_run_can_need_review_again(extend_api: ExtendApi) -> None:
    waiting = _in_review(extend_api, "workflow_mixed")
    extend_api.review(waiting["id"], "reclassify", type="receipt")
    assert extend_api.runs(waiting["batchId"])[0]["status"] == "NEEDS_REVIEW"


def test_review_step_is_listed_if_the_setting_is_on(extend_api: ExtendApi) -> None:
    extend_api.configure(review_steps=True)
    waiting = _in_review(extend_api)
    assert [(step["stepType"], step["status"]) for step in waiting["stepRuns"]] == [
        ("EXTRACT", "PROCESSED"),
        ("HUMAN_REVIEW", "WAITING"),
    ]
    approved = extend_api.review(waiting["id"], "approve")
    assert (approved["stepRuns"][1]["status"], approved["stepRuns"][1]["result"]) == ("PROCESSED", None)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param({"decision": "approve", "edits": {"no.such.path": 1}}, 422, id="edit of nothing"),
        pytest.param({"decision": "reclassify", "type": "receipt"}, 422, id="workflow without classes"),
        pytest.param({"decision": "postpone"}, 422, id="unknown decision"),
        pytest.param({"decision": "approve", "editor": "x"}, 422, id="unknown field"),
    ],
)
def test_wrong_decision_is_refused(extend_api: ExtendApi, body: dict[str, Any], status: int) -> None:
    run = _in_review(extend_api)
    url = f"{extend_api.url}/_sandbox/runs/{run['id']}/review"
    assert requests.post(url, json=body, timeout=10).status_code == status
    after = extend_api.call("GET", f"/workflow_runs/{run['id']}").json()
    assert (after["status"], after["reviewed"]) == ("NEEDS_REVIEW", False)


def test_decision_on_a_run_outside_review_is_refused(extend_api: ExtendApi) -> None:
    [run] = extend_api.runs(extend_api.submit_batch(_inputs(1)))
    url = f"{extend_api.url}/_sandbox/runs/{run['id']}/review"
    assert requests.post(url, json={"decision": "approve"}, timeout=10).status_code == 409
