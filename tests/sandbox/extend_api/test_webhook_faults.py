"""What can happen to deliveries on their way, as switches of the emulator."""

from __future__ import annotations

import time
from typing import Any

import pytest
from extend_ai import Extend
from extend_ai.wrapper.errors import WebhookSignatureVerificationError

from fixtures.extend.api import ExtendApi
from fixtures.extend.scripted_server import ScriptedServer


@pytest.fixture
def secret(extend_api: ExtendApi, receiver: ScriptedServer) -> str:
    """The secret of the receiver, which listens to all runs of invoices."""
    extend_api.configure(synthetic=True)
    return str(extend_api.listen(receiver.url)["signingSecret"])


def batch(api: ExtendApi, count: int) -> str:
    return api.submit_batch([{"file": {"text": "x", "name": f"{n:03}.txt"}} for n in range(count)])


def names(server: ScriptedServer) -> list[str]:
    return [request.json["payload"]["files"][0]["name"] for request in server.requests]


def is_genuine(api: ExtendApi, request: Any, secret: str) -> bool:
    client: Any = Extend(token=api.key, base_url=api.url)
    return bool(client.webhooks.verify(request.body, request.headers, secret))


def test_lost_share_is_always_of_the_same_inputs(
    extend_api: ExtendApi, receiver: ScriptedServer, secret: str
) -> None:
    extend_api.configure(webhook_faults=[{"kind": "lose", "fraction": 0.5}])
    batch(extend_api, 60)
    counts = extend_api.webhooks(total=60)
    arrived = set(names(receiver))
    assert counts["deliveries"] == {"lost": 60 - len(arrived), "delivered": len(arrived)}
    assert 15 < len(arrived) < 45
    batch(extend_api, 60)
    extend_api.webhooks(total=120, delivered=2 * len(arrived))
    assert set(names(receiver)) == arrived


def test_only_as_many_events_of_one_type_are_hit_as_asked(
    extend_api: ExtendApi, receiver: ScriptedServer, secret: str
) -> None:
    extend_api.configure(
        max_concurrent_runs=1,
        webhook_concurrency=1,
        outcomes=[{"status": "FAILED", "name_glob": "000.txt"}],
        webhook_faults=[{"kind": "lose", "event": "workflow_run.completed", "skip": 1, "count": 2}],
    )
    batch(extend_api, 5)
    extend_api.webhooks(lost=2, delivered=3)
    assert names(receiver) == ["000.txt", "001.txt", "004.txt"]


def test_delayed_event_holds_no_other(extend_api: ExtendApi, receiver: ScriptedServer, secret: str) -> None:
    extend_api.configure(
        max_concurrent_runs=1, webhook_faults=[{"kind": "delay", "seconds": 0.5, "count": 1}]
    )
    began = time.monotonic()
    batch(extend_api, 3)
    extend_api.webhooks(delivered=3)
    assert names(receiver)[-1] == "000.txt"
    assert time.monotonic() - began > 0.5


def test_repeated_event_keeps_its_id(extend_api: ExtendApi, receiver: ScriptedServer, secret: str) -> None:
    extend_api.configure(webhook_faults=[{"kind": "repeat"}, {"kind": "repeat"}])
    batch(extend_api, 1)
    counts = extend_api.webhooks(delivered=1)
    assert counts["answers"] == {"200": 3}
    assert len({request.json["eventId"] for request in receiver.requests}) == 1
    assert len(receiver.requests) == 3


def test_decision_overtakes_the_review_before_it(
    extend_api: ExtendApi, receiver: ScriptedServer, secret: str
) -> None:
    fault = {"kind": "reorder", "event": "workflow_run.needs_review", "seconds": 20}
    extend_api.configure(outcomes=[{"status": "NEEDS_REVIEW"}], webhook_faults=[fault])
    [run] = extend_api.runs(batch(extend_api, 1))
    extend_api.review(run["id"], "approve")
    extend_api.webhooks(delivered=2)
    told = [(request.json["eventType"], request.json["payload"]["status"]) for request in receiver.requests]
    assert told == [("workflow_run.completed", "PROCESSED"), ("workflow_run.needs_review", "NEEDS_REVIEW")]


def test_events_of_a_batch_change_places_and_the_last_one_does_not_wait_for_ever(
    extend_api: ExtendApi, receiver: ScriptedServer, secret: str
) -> None:
    extend_api.configure(
        max_concurrent_runs=1, webhook_concurrency=1, webhook_faults=[{"kind": "reorder", "seconds": 0.5}]
    )
    batch(extend_api, 9)
    extend_api.webhooks(delivered=9)
    assert names(receiver) != sorted(names(receiver)) == sorted(f"{n:03}.txt" for n in range(9))


def test_earlier_event_that_arrives_meanwhile_overtakes_nothing(
    extend_api: ExtendApi, receiver: ScriptedServer, secret: str
) -> None:
    faults = [
        {"kind": "delay", "seconds": 0.3, "count": 1},
        {"kind": "reorder", "seconds": 20, "skip": 1, "count": 1},
        {"kind": "delay", "seconds": 1.5, "skip": 2, "count": 1},
    ]
    extend_api.configure(max_concurrent_runs=1, webhook_faults=faults)
    batch(extend_api, 3)
    extend_api.webhooks(delivered=3)
    assert names(receiver) == ["000.txt", "002.txt", "001.txt"]


def test_forged_event_comes_first_says_something_else_and_is_signed_wrongly(
    extend_api: ExtendApi, receiver: ScriptedServer, secret: str
) -> None:
    extend_api.configure(webhook_faults=[{"kind": "forge"}])
    batch(extend_api, 1)
    counts = extend_api.webhooks(delivered=1)
    forged, genuine = receiver.requests
    assert [is_genuine(extend_api, each, secret) for each in (forged, genuine)] == [False, True]
    assert [each.json["payload"]["status"] for each in (forged, genuine)] == ["FAILED", "PROCESSED"]
    assert forged.json["payload"]["id"] == genuine.json["payload"]["id"]
    assert forged.json["eventId"] != genuine.json["eventId"]
    assert (counts["answers"], counts["forged_answers"]) == ({"200": 1}, {"200": 1})


def test_old_delivery_is_signed_rightly_for_its_time(
    extend_api: ExtendApi, receiver: ScriptedServer, secret: str
) -> None:
    extend_api.configure(webhook_faults=[{"kind": "old", "seconds": 3600}])
    batch(extend_api, 1)
    extend_api.webhooks(delivered=1)
    [request] = receiver.requests
    client: Any = Extend(token=extend_api.key, base_url=extend_api.url)
    with pytest.raises(WebhookSignatureVerificationError, match="too old"):
        client.webhooks.verify_and_parse(request.body, request.headers, secret)
    event = client.webhooks.verify_and_parse(request.body, request.headers, secret, max_age_seconds=0)
    assert event.event_type == "workflow_run.completed"


def test_payload_comes_as_a_url_without_being_asked_for(
    extend_api: ExtendApi, receiver: ScriptedServer, secret: str
) -> None:
    extend_api.configure(webhook_faults=[{"kind": "url", "count": 1}])
    batch(extend_api, 2)
    extend_api.webhooks(delivered=2)
    objects = sorted(request.json["payload"]["object"] for request in receiver.requests)
    assert objects == ["signed_data_url", "workflow_run"]


def test_faults_apply_together_and_can_be_taken_back(
    extend_api: ExtendApi, receiver: ScriptedServer, secret: str
) -> None:
    extend_api.configure(webhook_faults=[{"kind": "url"}, {"kind": "repeat"}])
    batch(extend_api, 1)
    assert extend_api.webhooks(delivered=1)["answers"] == {"200": 2}
    assert {request.json["payload"]["object"] for request in receiver.requests} == {"signed_data_url"}
    extend_api.configure(webhook_faults=[])
    batch(extend_api, 1)
    assert extend_api.webhooks(delivered=2)["answers"] == {"200": 3}
    assert receiver.requests[-1].json["payload"]["object"] == "workflow_run"
