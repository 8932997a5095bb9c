"""Deliveries of the emulator's webhooks: which there are, and what they say. The judges are both SDKs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from extend_ai.types.webhook_event import WebhookEvent
from extend_ai.wrapper.errors import WebhookSignatureVerificationError

from fixtures.extend import contract_2025_04_21 as older
from fixtures.extend.api import NEWEST, ExtendApi
from fixtures.extend.contract import OLDER
from fixtures.extend.emulated import ENDPOINT, INVOICE, batch, events
from fixtures.extend.scripted_server import Received, Reply, ScriptedServer, closed_port
from fixtures.extend.strict_types import faults
from sandbox.extend_api.errors import ApiError
from sandbox.extend_api.signed_urls import check_query
from sandbox.extend_api.webhooks.payloads import Payloads


def test_sdk_verifies_a_delivery_with_the_full_run(
    extend_api: ExtendApi, client: Any, receiver: ScriptedServer
) -> None:
    endpoint = extend_api.listen(receiver.url, headers={"X-Tenant": "acme"})
    batch_id = batch(extend_api)
    extend_api.webhooks(delivered=1)
    [run] = extend_api.runs(batch_id)
    [request] = receiver.requests
    secret = endpoint["signingSecret"]
    event = client.webhooks.verify_and_parse(request.body, request.headers, secret)
    assert (event.event_type, event.payload.id) == ("workflow_run.completed", run["id"])
    assert request.json["payload"] == run
    assert (run["batchId"], run["metadata"]) == (batch_id, {"n": 0})
    assert request.method == "POST"
    assert request.headers["x-extend-api-version"] == NEWEST
    assert request.headers["x-tenant"] == "acme"
    assert abs(int(request.headers["x-extend-request-timestamp"]) - time.time()) < 60
    with pytest.raises(WebhookSignatureVerificationError):
        client.webhooks.verify_and_parse(request.body + b" ", request.headers, secret)


@pytest.mark.parametrize(
    ("outcome", "event"),
    [
        ({}, "completed"),
        ({"status": "FAILED"}, "failed"),
        ({"status": "NEEDS_REVIEW"}, "needs_review"),
        ({"status": "REJECTED", "message": "No."}, "rejected"),
        ({"status": "CANCELLED"}, "cancelled"),
    ],
)
def test_each_end_of_a_run_is_an_event(
    extend_api: ExtendApi, receiver: ScriptedServer, outcome: dict[str, Any], event: str
) -> None:
    extend_api.configure(outcomes=[outcome] if outcome else [])
    extend_api.listen(receiver.url)
    batch(extend_api)
    extend_api.webhooks(delivered=1)
    [(event_type, payload)] = events(receiver)
    assert event_type == f"workflow_run.{event}"
    assert payload["status"] == outcome.get("status", "PROCESSED")
    assert faults(receiver.requests[0].json, WebhookEvent) == []


def test_change_of_a_run_that_has_ended_is_no_event(extend_api: ExtendApi, receiver: ScriptedServer) -> None:
    extend_api.listen(receiver.url)
    [run] = extend_api.runs(batch(extend_api))
    extend_api.call("POST", f"/workflow_runs/{run['id']}", json={"metadata": {"seen": True}})
    assert extend_api.webhooks(delivered=1)["events"] == {"workflow_run.completed": 1}


def test_unknown_status_cancelled_run_and_deleted_run(
    extend_api: ExtendApi, receiver: ScriptedServer
) -> None:
    extend_api.configure(outcomes=[{"status": "PAUSED"}])
    extend_api.listen(receiver.url)
    batch(extend_api)
    extend_api.configure(hold=True, cancelling_seconds=0)
    batch_id = batch(extend_api, count=2)
    params = {"batchId": batch_id}
    first, second = extend_api.call("GET", "/workflow_runs", params=params).json()["data"]
    extend_api.call("DELETE", f"/workflow_runs/{first['id']}")
    extend_api.call("POST", f"/workflow_runs/{second['id']}/cancel", json={})
    extend_api.webhooks(delivered=1)
    [(event_type, payload)] = events(receiver)
    assert (event_type, payload["id"]) == ("workflow_run.cancelled", second["id"])


def test_decision_of_a_reviewer_is_an_event_of_its_own(
    extend_api: ExtendApi, receiver: ScriptedServer
) -> None:
    extend_api.configure(outcomes=[{"status": "NEEDS_REVIEW", "first_attempts": 1}])
    extend_api.listen(receiver.url, workflow_id="workflow_mixed")
    [approved, rejected, moved] = extend_api.runs(batch(extend_api, "workflow_mixed", 3))
    extend_api.webhooks(delivered=3)
    extend_api.review(approved["id"], "approve", edits={"total": 1.0})
    extend_api.review(rejected["id"], "reject", note="No.")
    extend_api.review(moved["id"], "reclassify", type="receipt")
    extend_api.webhooks(delivered=6)
    told = {payload["id"]: (event, payload) for event, payload in events(receiver)[3:]}
    event, run = told[approved["id"]]
    assert (event, run["reviewed"], run["status"]) == ("workflow_run.completed", True, "PROCESSED")
    assert run["stepRuns"][1]["result"]["extractRun"]["output"]["value"]["total"] == 1.0
    assert [told[rejected["id"]][0], told[rejected["id"]][1]["rejectionNote"]] == [
        "workflow_run.rejected",
        "No.",
    ]
    assert told[moved["id"]][0] == "workflow_run.completed"
    ids = [request.json["eventId"] for request in receiver.requests]
    assert len(set(ids)) == 6


@pytest.mark.parametrize(("version", "expected"), [(NEWEST, 7), (OLDER, 1)])
def test_step_events_come_before_the_end_of_their_run(
    extend_api: ExtendApi, receiver: ScriptedServer, version: str, expected: int
) -> None:
    extend_api.configure(webhook_concurrency=1)
    extend_api.listen(
        receiver.url,
        "step_run.processed",
        "completed",
        workflow_id="workflow_mailroom",
        api_version=version,
    )
    batch(extend_api, "workflow_mailroom")
    extend_api.webhooks(delivered=expected + 1)
    *steps, (last, run) = events(receiver)
    assert {event for event, _ in steps} == {"workflow_run.step_run.processed"}
    assert last == "workflow_run.completed"
    shown = [step for step in run["stepRuns"] if step["status"] == "PROCESSED"]
    assert [payload for _, payload in steps] == shown
    if version == NEWEST:
        assert [faults(each.json, WebhookEvent) for each in receiver.requests] == [[]] * (expected + 1)
    else:
        assert [faults(payload, older.StepRun) for _, payload in steps] == [[]]


def test_only_a_subscription_to_the_workflow_hears_of_it(
    extend_api: ExtendApi, receiver: ScriptedServer
) -> None:
    every = ["workflow.created", "extract_run.processed"]
    extend_api.call(
        "POST", "/webhook_endpoints", json={**ENDPOINT, "url": receiver.url, "enabledEvents": every}
    )
    extend_api.listen(receiver.url, workflow_id="workflow_mixed")
    extend_api.listen(receiver.url, "failed")
    disabled = extend_api.listen(receiver.url)
    path = f"/webhook_endpoints/{disabled['id']}"
    extend_api.call("POST", path, json={"status": "disabled"})
    extend_api.runs(batch(extend_api))
    assert extend_api.webhooks()["events"] == {}
    assert receiver.requests == []
    extend_api.call("POST", path, json={"status": "enabled"})
    batch(extend_api)
    extend_api.webhooks(delivered=1)


def test_run_of_the_dashboard_has_no_events(extend_api: ExtendApi, receiver: ScriptedServer) -> None:
    extend_api.listen(receiver.url)
    body = {"workflow": {"id": "workflow_invoices"}, "file": {"text": INVOICE}}
    started = requests.post(f"{extend_api.url}/_sandbox/runs", json=body, timeout=10).json()
    deadline = time.monotonic() + 10
    while extend_api.call("GET", f"/workflow_runs/{started['id']}").json()["status"] != "PROCESSED":
        assert time.monotonic() < deadline
    assert extend_api.webhooks()["events"] == {}
    extend_api.call("POST", "/workflow_runs", json=body)
    assert extend_api.webhooks(delivered=1)["events"] == {"workflow_run.completed": 1}


def test_older_endpoint_gets_the_older_shape_and_its_sdk_reads_it(
    extend_api: ExtendApi, receiver: ScriptedServer
) -> None:
    extend_api.listen(receiver.url, api_version=OLDER)
    batch_id = batch(extend_api)
    extend_api.webhooks(delivered=1)
    [request] = receiver.requests
    [run] = extend_api.runs(batch_id)
    got = extend_api.call("GET", f"/workflow_runs/{run['id']}", version=OLDER).json()
    assert request.json["payload"] == got["workflowRun"]
    assert faults(request.json["payload"], older.Run) == []
    assert request.headers["x-extend-api-version"] == OLDER
    assert _legacy_sdk_reads(request) == {
        "type": "workflow_run.completed",
        "run": run["id"],
        "batch": batch_id,
        "status": "PROCESSED",
    }


def _legacy_sdk_reads(request: Received) -> Any:
    """Return what the last SDK of the older version makes of a delivery, in a process of its own."""
    folder = Path(sys.prefix) / "legacy-sdk"
    if not folder.is_dir():
        pytest.fail(f"The legacy SDK is not in {folder}: run `make setup`.")
    script = """
import json, sys
from extend_ai.core.unchecked_base_model import construct_type
from extend_ai.types.webhook_event import WebhookEvent
event = construct_type(type_=WebhookEvent, object_=json.load(sys.stdin))
run = event.payload
seen = {"type": event.event_type, "run": run.id, "batch": run.batch_id, "status": run.status}
print(json.dumps(seen))
"""
    ended = subprocess.run(
        [sys.executable, "-c", script],
        input=request.body,
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


# Payloads as a URL


def test_large_payload_is_a_signed_url_that_the_sdk_fetches(
    extend_api: ExtendApi, client: Any, receiver: ScriptedServer
) -> None:
    small, large = {"urlThresholdBytes": 100_000}, {"urlThresholdBytes": 100}
    inline = extend_api.listen(receiver.url, payload={"format": "url", **small})
    linked = extend_api.listen(receiver.url, payload={"format": "url", **large})
    [run] = extend_api.runs(batch(extend_api))
    extend_api.webhooks(delivered=2)
    by_secret = {}
    for request in receiver.requests:
        for endpoint in (inline, linked):
            if client.webhooks.verify(request.body, request.headers, endpoint["signingSecret"]):
                by_secret[endpoint["id"]] = request
    assert by_secret[inline["id"]].json["payload"] == run
    request = by_secret[linked["id"]]
    event = client.webhooks.verify_and_parse(
        request.body, request.headers, linked["signingSecret"], allow_signed_url=True
    )
    assert client.webhooks.is_signed_url_event(event)
    assert (event.payload.id, event.payload.metadata) == (run["id"], {"n": 0})
    assert requests.get(event.payload.data, timeout=10).json() == run
    assert client.webhooks.fetch_signed_payload_sync(event).payload.id == run["id"]
    assert extend_api.stats()["webhooks"]["payloads_fetched"] == 2


def test_older_endpoint_gets_only_the_url_and_a_changed_one_is_refused(
    extend_api: ExtendApi, receiver: ScriptedServer
) -> None:
    extend_api.listen(receiver.url, api_version=OLDER, payload={"format": "url"})
    batch(extend_api)
    extend_api.webhooks(delivered=1)
    [(_, payload)] = events(receiver)
    assert payload.keys() == {"data"}
    url = payload["data"]
    assert faults(requests.get(url, timeout=10).json(), older.Run) == []
    for wrong in (
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url.split("?")[0],
        url.replace("event_", "event"),
    ):
        assert requests.get(wrong, timeout=10).status_code == 403


def test_step_that_is_sent_as_a_url_is_named_by_its_own_id(
    extend_api: ExtendApi, receiver: ScriptedServer
) -> None:
    extend_api.listen(receiver.url, "step_run.processed", payload={"format": "url"})
    [run] = extend_api.runs(batch(extend_api))
    extend_api.webhooks(delivered=1)
    [(_, payload)] = events(receiver)
    assert payload["id"] == run["stepRuns"][0]["id"]
    assert "metadata" not in payload


def test_payload_is_kept_as_long_as_its_url_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Payloads()
    for name in ("a", "b"):
        kept.address(name, name.encode())
    assert [kept.get(name) for name in ("a", "b")] == [b"a", b"b"]
    monkeypatch.setattr("sandbox.extend_api.webhooks.payloads.LIFETIME_SECONDS", -1)
    kept = Payloads()
    path = kept.address("a", b"a")
    kept.address("b", b"b")
    with pytest.raises(ApiError, match="not found"):
        kept.get("a")
    with pytest.raises(ApiError, match="expired"):
        check_query("a", dict(parse_qsl(urlsplit(path).query)))


# Retries


def test_refused_delivery_is_tried_again_with_the_same_event(extend_api: ExtendApi) -> None:
    script = (Reply(500), Reply(302, headers={"Location": extend_api.url}), Reply(fault="reset"), Reply(201))
    extend_api.configure(webhook_retry_seconds=0.05)
    with ScriptedServer(*script) as server:
        extend_api.listen(server.url)
        batch(extend_api)
        counts = extend_api.webhooks(delivered=1)
        bodies = [request.body for request in server.requests]
    assert len(bodies) == 4
    assert len(set(bodies)) == 1
    assert counts["answers"] == {"500": 1, "302": 1, "unreachable": 1, "201": 1}
    journal = requests.get(f"{extend_api.url}/_sandbox/deliveries", timeout=10).json()
    assert [(each["attempt"], each["answer"]) for each in journal] == [
        (1, "500"),
        (2, "302"),
        (3, "unreachable"),
        (4, "201"),
    ]


def test_waiting_times_double_until_the_event_is_given_up(extend_api: ExtendApi) -> None:
    extend_api.configure(webhook_retry_seconds=0.1, webhook_attempts=4)
    extend_api.listen(f"http://127.0.0.1:{closed_port()}")
    batch(extend_api)
    began = time.monotonic()
    assert extend_api.webhooks(given_up=1)["answers"] == {"unreachable": 4}
    assert time.monotonic() - began > 0.1 + 0.2 + 0.4 - 0.1


def test_endpoint_that_does_not_answer_times_out_and_blocks_nothing(extend_api: ExtendApi) -> None:
    extend_api.configure(webhook_timeout_seconds=0.5, webhook_attempts=1, webhook_concurrency=2)
    with ScriptedServer(Reply(delay=3)) as server:
        extend_api.listen(server.url)
        extend_api.runs(batch(extend_api, count=4))
        assert extend_api.stats()["webhooks"]["pending"] > 0
        assert extend_api.webhooks(given_up=4)["answers"] == {"timeout": 4}


def test_deliveries_at_a_time_are_bounded(extend_api: ExtendApi) -> None:
    extend_api.configure(webhook_concurrency=2, synthetic=True)
    with ScriptedServer(Reply(delay=0.2)) as server:
        extend_api.listen(server.url)
        began = time.monotonic()
        batch(extend_api, count=6)
        extend_api.webhooks(delivered=6)
        assert time.monotonic() - began > 3 * 0.2


def test_removed_endpoint_gets_no_further_attempt(extend_api: ExtendApi) -> None:
    extend_api.configure(webhook_retry_seconds=0.3)
    endpoint = extend_api.listen(f"http://127.0.0.1:{closed_port()}")
    extend_api.runs(batch(extend_api))
    extend_api.call("DELETE", f"/webhook_endpoints/{endpoint['id']}")
    assert extend_api.webhooks(withdrawn=1)["deliveries"] == {"withdrawn": 1}


def test_reset_forgets_endpoints_deliveries_and_counts(extend_api: ExtendApi) -> None:
    extend_api.configure(webhook_retry_seconds=60)
    extend_api.listen(f"http://127.0.0.1:{closed_port()}")
    extend_api.runs(batch(extend_api))
    assert extend_api.stats()["webhooks"]["pending"] == 1
    extend_api.reset()
    assert extend_api.call("GET", "/webhook_endpoints").json()["data"] == []
    assert extend_api.webhooks()["events"] == {}
    extend_api.runs(batch(extend_api))
    assert extend_api.webhooks()["events"] == {}
