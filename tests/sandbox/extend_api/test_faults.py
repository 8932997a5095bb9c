"""Each way the emulator can be told to misbehave, proven by a request that runs into it."""

from __future__ import annotations

import email.utils
import time
from typing import Any

import pytest
import requests

from fixtures.extend.api import ExtendApi

BATCH = "POST /workflow_runs/batch"
BODY = {"workflow": {"id": "workflow_invoices"}, "inputs": [{"file": {"text": "x", "name": "one.txt"}}]}


def _submit(extend_api: ExtendApi, **options: Any) -> requests.Response:
    return extend_api.call("POST", "/workflow_runs/batch", json=BODY, **options)


@pytest.mark.parametrize("accepted", [False, True], ids=["before acceptance", "after acceptance"])
@pytest.mark.parametrize("status", [500, 503])
def test_error_comes_before_or_after_the_request_takes_effect(
    extend_api: ExtendApi, accepted: bool, status: int
) -> None:
    extend_api.configure(faults=[{"endpoint": BATCH, "status": status, "accepted": accepted}])
    answer = _submit(extend_api)
    assert (answer.status_code, answer.json()["code"]) == (status, "INTERNAL_ERROR")
    assert answer.json()["retryable"] is True
    assert extend_api.stats()["runs_created"] == ({"one.txt": 1} if accepted else {})
    assert _submit(extend_api).status_code == 200


@pytest.mark.parametrize("accepted", [False, True], ids=["before acceptance", "after acceptance"])
def test_dropped_connection_gives_no_answer(extend_api: ExtendApi, accepted: bool) -> None:
    extend_api.configure(faults=[{"endpoint": BATCH, "kind": "drop", "accepted": accepted}])
    with pytest.raises(requests.ConnectionError):
        _submit(extend_api)
    assert extend_api.stats()["runs_created"] == ({"one.txt": 1} if accepted else {})
    assert extend_api.journal()[-1]["status"] is None
    assert extend_api.stats()["responses"] == {f"{BATCH} dropped": 1}


@pytest.mark.parametrize("accepted", [False, True], ids=["before acceptance", "after acceptance"])
def test_slow_request_of_a_gone_client_takes_effect_only_if_accepted(
    extend_api: ExtendApi, accepted: bool
) -> None:
    extend_api.configure(faults=[{"endpoint": BATCH, "kind": "slow", "seconds": 0.5, "accepted": accepted}])
    with pytest.raises(requests.ReadTimeout):
        _submit(extend_api, timeout=0.2)
    deadline = time.monotonic() + 5
    while not extend_api.journal():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert extend_api.stats()["runs_created"] == ({"one.txt": 1} if accepted else {})


def test_late_request_takes_effect_after_its_client_has_left(extend_api: ExtendApi) -> None:
    extend_api.configure(faults=[{"endpoint": BATCH, "kind": "late", "seconds": 0.6}])
    with pytest.raises(requests.ReadTimeout):
        _submit(extend_api, timeout=0.2)
    assert extend_api.stats()["runs_created"] == {}
    deadline = time.monotonic() + 5
    while not extend_api.stats()["runs_created"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert extend_api.stats()["runs_created"] == {"one.txt": 1}


def test_slow_answer_is_complete(extend_api: ExtendApi) -> None:
    extend_api.configure(faults=[{"kind": "slow", "seconds": 0.3}])
    started = time.monotonic()
    assert _submit(extend_api).json()["batchId"].startswith("batch_")
    assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize("accepted", [False, True], ids=["before acceptance", "after acceptance"])
def test_malformed_answer_is_not_json(extend_api: ExtendApi, accepted: bool) -> None:
    extend_api.configure(faults=[{"endpoint": BATCH, "kind": "malformed", "accepted": accepted}])
    answer = _submit(extend_api)
    assert answer.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        answer.json()
    assert len(extend_api.stats()["runs_created"]) == accepted


def test_fault_follows_its_skip_and_count(extend_api: ExtendApi) -> None:
    extend_api.configure(
        faults=[{"endpoint": BATCH, "kind": "rate_limit", "skip": 1, "count": 2, "retry_after": 3}]
    )
    answers = [_submit(extend_api) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 429, 429, 200]
    assert [answer.headers.get("Retry-After") for answer in answers] == [None, "3", "3", None]
    assert answers[1].json()["code"] == "RATE_LIMIT_EXCEEDED"


def test_fault_set_again_strikes_again(extend_api: ExtendApi) -> None:
    for _ in range(2):
        extend_api.configure(faults=[{"endpoint": BATCH}])
        assert [_submit(extend_api).status_code for _ in range(2)] == [500, 200]


def test_fault_without_a_count_strikes_its_endpoint_forever(extend_api: ExtendApi) -> None:
    extend_api.configure(faults=[{"endpoint": "GET /workflow_runs/{id}", "count": None}])
    assert [extend_api.call("GET", "/workflow_runs/any").status_code for _ in range(3)] == [500] * 3
    assert extend_api.call("GET", "/workflow_runs").status_code == 200


@pytest.mark.parametrize("kind", ["none", "seconds", "date"])
def test_rate_limit_answers_429_with_the_configured_header(extend_api: ExtendApi, kind: str) -> None:
    extend_api.configure(requests_per_second=2, retry_after=kind, retry_after_seconds=7)
    answers = [extend_api.call("GET", "/workflow_runs") for _ in range(8)]
    limited = [answer for answer in answers if answer.status_code == 429]
    assert limited
    assert [answer.status_code for answer in answers[:2]] == [200, 200]
    header = limited[0].headers.get("Retry-After")
    if kind == "none":
        assert header is None
    elif kind == "seconds":
        assert header == "7"
    else:
        wait = email.utils.parsedate_to_datetime(str(header)).timestamp() - time.time()
        assert 4 < wait <= 7
    assert _submit(extend_api).status_code == 200  # writing has a limit of its own


def test_older_version_answers_429_in_its_own_shape(extend_api: ExtendApi) -> None:
    extend_api.configure(faults=[{"kind": "rate_limit"}])
    answer = extend_api.call("GET", "/workflow_runs", version="2025-04-21")
    assert (answer.status_code, answer.json().keys()) == (429, {"error"})


def test_runs_per_minute_limits_single_runs_and_paces_batches(extend_api: ExtendApi) -> None:
    extend_api.configure(runs_per_minute=2, synthetic=True)
    body = {"workflow": {"id": "workflow_invoices"}, "file": {"text": "x"}}
    answers = [extend_api.call("POST", "/workflow_runs", json=body).status_code for _ in range(3)]
    assert answers == [200, 200, 429]
    extend_api.submit_batch([{"file": {"text": "x"}}] * 3)
    time.sleep(0.5)
    assert extend_api.stats()["runs"] == {"PROCESSED": 2, "PENDING": 3}


def test_queue_refuses_runs_above_its_limit(extend_api: ExtendApi) -> None:
    extend_api.configure(max_queued_runs=1, hold=True)
    assert _submit(extend_api).status_code == 200
    refused = _submit(extend_api)
    assert (refused.status_code, refused.json()["code"]) == (429, "RATE_LIMIT_EXCEEDED")


def test_new_runs_are_refused_without_credits(extend_api: ExtendApi) -> None:
    extend_api.configure(no_credits=True)
    assert _submit(extend_api).status_code == 402
    assert extend_api.call("GET", "/workflow_runs").status_code == 200
    assert extend_api.stats()["runs_created"] == {}


def test_organization_key_needs_a_workspace(extend_api: ExtendApi) -> None:
    extend_api.configure(organization_key=True, workspace_id="ws_acme")
    assert extend_api.call("GET", "/workflow_runs").status_code == 400
    headers = {"x-extend-workspace-id": "ws_acme"}
    assert extend_api.call("GET", "/workflow_runs", headers=headers).status_code == 200


def test_batch_has_a_status_if_the_setting_is_on(extend_api: ExtendApi) -> None:
    extend_api.configure(batch_status="batch_run", synthetic=True)
    batch_id = _submit(extend_api).json()["batchId"]
    extend_api.runs(batch_id)
    batch = extend_api.call("GET", f"/batch_runs/{batch_id}").json()
    assert (batch["object"], batch["status"], batch["runCount"]) == ("batch_run", "PROCESSED", 1)


@pytest.mark.parametrize("status", ["PENDING", "PROCESSING"])
def test_new_run_has_the_configured_status(extend_api: ExtendApi, status: str) -> None:
    extend_api.configure(initial_status=status, hold=True)
    body = {"workflow": {"id": "workflow_invoices"}, "file": {"text": "x"}}
    assert extend_api.call("POST", "/workflow_runs", json=body).json()["status"] == status


@pytest.mark.parametrize("status", [400, 409, 422])
def test_cancelling_a_settled_run_is_refused_with_the_configured_status(
    extend_api: ExtendApi, status: int
) -> None:
    extend_api.configure(cancel_refusal_status=status, synthetic=True)
    [run] = extend_api.runs(extend_api.submit_batch([{"file": {"text": "x"}}]))
    assert extend_api.call("POST", f"/workflow_runs/{run['id']}/cancel").status_code == status


def test_unreadable_url_refuses_the_whole_batch_if_the_setting_is_on(extend_api: ExtendApi) -> None:
    extend_api.configure(unreachable_url="reject_batch")
    inputs = [{"file": {"text": "x"}}, {"file": {"url": "http://127.0.0.1:9/a.pdf?secret=1"}}]
    body = {"workflow": {"id": "workflow_invoices"}, "inputs": inputs}
    answer = extend_api.call("POST", "/workflow_runs/batch", json=body)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("UNABLE_TO_DOWNLOAD_FILE")
    assert answer.json()["message"].endswith("; Path: inputs[1].file")
    assert "secret" not in answer.text
    assert extend_api.stats()["runs_created"] == {}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"latency": 1}, id="unknown name"),
        pytest.param({"latency_seconds": -1}, id="value out of range"),
        pytest.param({"hold": "yes"}, id="wrong type"),
        pytest.param({"faults": [{"kind": "explode"}]}, id="unknown kind of fault"),
        pytest.param({"outcomes": [{"status": "FAILED", "glob": "*"}]}, id="unknown condition"),
    ],
)
def test_wrong_setting_is_refused_and_changes_nothing(extend_api: ExtendApi, changes: dict[str, Any]) -> None:
    before = requests.get(f"{extend_api.url}/_sandbox/settings", timeout=10).json()
    body = {"synthetic": True, **changes}
    answer = requests.patch(f"{extend_api.url}/_sandbox/settings", json=body, timeout=10)
    assert answer.status_code == 422
    assert requests.get(f"{extend_api.url}/_sandbox/settings", timeout=10).json() == before


def test_requests_are_counted_and_journalled_without_secrets(
    extend_api: ExtendApi,
) -> None:
    extend_api.configure(synthetic=True)
    [run] = extend_api.runs(_submit(extend_api).json()["batchId"])
    extend_api.call("GET", "/workflow_runs/none", params={"secret": "s3cr3t"})
    stats = extend_api.stats()
    assert stats["requests"][BATCH] == extend_api.requests_to(BATCH) == 1
    assert stats["requests"]["GET /workflow_runs/{id}"] == 2
    assert stats["responses"]["GET /workflow_runs/{id} 404"] == 1
    assert stats["runs"] == {"PROCESSED": 1}
    journal = extend_api.journal()
    assert [(entry["method"], entry["path"], entry["status"]) for entry in journal][-2:] == [
        ("GET", f"/workflow_runs/{run['id']}", 200),
        ("GET", "/workflow_runs/none", 404),
    ]
    assert "s3cr3t" not in str(journal)
    assert extend_api.key not in str(journal)


def test_runs_are_counted_by_input(extend_api: ExtendApi) -> None:
    extend_api.configure(hold=True)
    inputs = [
        {"file": {"text": "x", "name": "named.txt"}, "metadata": {"document_id": "d1"}},
        {"file": {"text": "x", "name": "named.txt"}},
        {"file": {"url": "http://127.0.0.1:9/a%20b.pdf?signature=s"}},
    ]
    extend_api.submit_batch(inputs)
    extend_api.submit_batch(inputs[:1])
    assert extend_api.stats()["runs_created"] == {"d1": 2, "named.txt": 1, "/a%20b.pdf": 1}


def test_reset_clears_everything(extend_api: ExtendApi) -> None:
    extend_api.configure(latency_seconds=30)
    _submit(extend_api)
    extend_api.reset()
    stats = extend_api.stats()
    assert (stats["requests"], stats["runs_created"], stats["runs"], stats["files"]) == ({}, {}, {}, 0)
    extend_api.configure(synthetic=True)
    [run] = extend_api.runs(_submit(extend_api).json()["batchId"])
    assert run["status"] == "PROCESSED"
