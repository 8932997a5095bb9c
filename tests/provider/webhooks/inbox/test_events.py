"""Bodies of webhooks: which run they are about, and what is refused."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_provider.webhooks.inbox.events import (
    EventError,
    OtherEvent,
    RemoteEvent,
    RunEvent,
    UnknownEvent,
    read_event,
)
from fixtures.webhooks import deliveries


def test_an_event_of_a_run_is_read() -> None:
    event = read_event(deliveries.body(), "2026-02-09")
    assert isinstance(event, RunEvent)
    assert (event.event_id, event.event_type) == ("event_1", "workflow_run.completed")
    assert (event.batch_id, event.run_id, event.status) == ("batch_1", "workflow_run_1", "PROCESSED")
    assert event.api_version == "2026-02-09"
    assert event.moment is not None
    assert event.moment.isoformat() == "2026-11-27T05:00:00+00:00"
    assert event.payload["metadata"] == {"key": "k1"}


def test_the_text_of_the_run_is_kept_byte_for_byte() -> None:
    text = b'{ "id":"workflow_run_1","status":"PROCESSED", "n":1.10, "t":"\\ud800\\u00e4",\r\n "big":1e999 }'
    event = read_event(
        b'{"payload": ' + text + b' ,"eventType":"workflow_run.completed","eventId":"e"}', None
    )
    assert isinstance(event, RunEvent)
    assert event.received == text


def test_a_run_without_a_batch_is_an_event_too() -> None:
    for payload in (deliveries.run(batchId=None), {"id": "r", "status": "FAILED"}):
        event = read_event(deliveries.body(payload), None)
        assert isinstance(event, RunEvent)
        assert event.batch_id is None


@pytest.mark.parametrize(
    ("fields", "moment"),
    [
        ({"reviewedAt": "2026-11-27T07:00:00+02:00", "endTime": "x"}, "2026-11-27T05:00:00+00:00"),
        ({"endTime": "2026-11-26T00:00:00"}, "2026-11-26T00:00:00+00:00"),
        ({"updatedAt": "yesterday"}, None),
        ({"updatedAt": "0001-01-01T00:00:00+14:00"}, None),
        ({"updatedAt": 7}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_the_last_change_is_read_where_the_run_has_it(fields: dict[str, Any], moment: str | None) -> None:
    event = read_event(deliveries.body({"id": "r", "status": "PROCESSED", **fields}), None)
    assert isinstance(event, RunEvent)
    assert (event.moment and event.moment.isoformat()) == moment


@pytest.mark.parametrize(
    ("header", "fields", "version"),
    [
        ("2025-04-21", {}, "2025-04-21"),
        ("2026-02-09", {"outputs": []}, "2026-02-09"),
        (None, {"workflowVersion": {}}, "2026-02-09"),
        (None, {"outputs": [], "url": "https://dashboard.extend.ai/r"}, "2025-04-21"),
        (None, {}, "2026-02-09"),
    ],
)
def test_both_api_versions_are_spoken(header: str | None, fields: dict[str, Any], version: str) -> None:
    event = read_event(deliveries.body({"id": "r", "status": "PROCESSED", **fields}), header)
    assert isinstance(event, RunEvent)
    assert event.api_version == version


@pytest.mark.parametrize(
    "event_type",
    [
        "workflow_run.step_run.processed",
        "extract_run.processed",
        "batch_parse_run.failed",
        "extractor.draft.updated",
        "workflow.deployed",
        "processor_run.processed",
    ],
)
def test_an_event_that_is_not_of_a_run_is_of_no_use(event_type: str) -> None:
    event = read_event(deliveries.body({"id": "x"}, eventType=event_type), "2026-02-09")
    assert event == OtherEvent("event_1", event_type)


@pytest.mark.parametrize(
    ("event_type", "version"),
    [
        ("workflow_run.archived", None),
        ("agent_run.processed", None),
        ("workflow_run.completed", "2027-01-01"),
    ],
)
def test_an_event_that_nobody_knows_is_kept_apart(event_type: str, version: str | None) -> None:
    content = deliveries.body({"id": "x", "data": "https://example.com/page?id=1"}, eventType=event_type)
    assert read_event(content, version) == UnknownEvent("event_1", event_type, content)


def test_the_url_of_a_payload_is_not_kept_with_an_unknown_event() -> None:
    payload = {
        "object": "signed_data_url",
        "data": "https://b.s3.amazonaws.com/k?X-Amz-Signature=1",
        "id": "x",
    }
    event = read_event(deliveries.body(payload, eventType="agent_run.processed"), None)
    assert isinstance(event, UnknownEvent)
    assert b"Signature" not in event.received


@pytest.mark.parametrize(
    "payload",
    [
        {"object": "signed_data_url", "data": "https://b.s3.amazonaws.com/k?X-Amz-Signature=1", "id": "r"},
        {"data": "https://b.s3.amazonaws.com/k?X-Amz-Signature=1"},
    ],
)
def test_a_payload_behind_a_url_is_to_be_fetched(payload: dict[str, Any]) -> None:
    event = read_event(deliveries.body(payload), "2026-02-09")
    assert isinstance(event, RemoteEvent)
    assert event.url == payload["data"]
    assert event.run_id == payload.get("id")
    assert "Signature" not in repr(event)
    whole = event.with_payload(b' {"id": "r", "status": "PROCESSED"}\n')
    assert (whole.run_id, whole.received) == ("r", b'{"id": "r", "status": "PROCESSED"}')


@pytest.mark.parametrize(
    "fetched", [b"[]", b"<Error/>", b'{"id": "another", "status": "PROCESSED"}', b'{"id": "r"}']
)
def test_a_fetched_payload_must_be_the_run_of_the_event(fetched: bytes) -> None:
    event = read_event(deliveries.body({"object": "signed_data_url", "data": "https://x", "id": "r"}), None)
    assert isinstance(event, RemoteEvent)
    with pytest.raises(EventError):
        event.with_payload(fetched)


DEEP = (
    b'{"eventId":"e","eventType":"workflow_run.completed","payload":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        b"not json",
        b'{"eventId": "e"',
        deliveries.body() + b"{}",
        b"\xef\xbb\xbf" + deliveries.body(),
        deliveries.body().decode().encode("utf-16"),
        deliveries.body().replace(b"Invoices", b"\xff\xfe"),
        deliveries.body(deliveries.run(score=float("nan"))),
        deliveries.body(deliveries.run(score=float("-inf"))),
        deliveries.body().replace(b'"eventId"', b'"eventId": "e0", "eventId"'),
        deliveries.body().replace(b'"batchId"', b'"batchId": "batch_0", "batchId"'),
        deliveries.body().replace(b'"Invoices"', b"9" * 5_000),
        DEEP,
    ],
)
def test_what_decoders_could_read_differently_is_no_json(content: bytes) -> None:
    with pytest.raises(EventError) as refused:
        read_event(content, None)
    assert refused.value.reason == "not_json"
    assert "Invoices" not in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b"{}",
        deliveries.body(eventId=None),
        deliveries.body(eventId=7),
        deliveries.body(eventId=""),
        deliveries.body(eventType="workflow run"),
        deliveries.body(eventType="workflow_run." + "x" * 100),
        deliveries.body(eventType=["workflow_run.completed"]),
        deliveries.body(payload=[]),
        deliveries.body(payload="text"),
        deliveries.body({"id": "r"}),
        deliveries.body({"status": "PROCESSED"}),
        deliveries.body(deliveries.run(object="extract_run")),
        deliveries.body(deliveries.run(status="processed")),
        deliveries.body(deliveries.run(status="P" * 25)),
        deliveries.body(deliveries.run(status="P~0")),
        deliveries.body({"object": "signed_data_url", "data": None, "id": "r"}),
        deliveries.body({"object": "signed_data_url", "data": "https://x", "id": "../r"}),
    ],
)
def test_json_of_another_shape_is_refused(content: bytes) -> None:
    with pytest.raises(EventError) as refused:
        read_event(content, None)
    assert refused.value.reason == "shape"


BAD_IDS = [
    "..",
    ".",
    "a/b",
    "a\\b",
    "a~b",
    "a b",
    "a\n",
    "\x00",
    "\ud800",
    "é",
    "x" * 129,
    ".hidden",
    "a.json",
]


@pytest.mark.parametrize("bad", BAD_IDS)
@pytest.mark.parametrize("field", ["eventId", "id", "batchId"])
def test_no_id_reaches_the_store_that_could_leave_its_folder(field: str, bad: str) -> None:
    content = (
        deliveries.body(event_id=bad)
        if field == "eventId"
        else deliveries.body(deliveries.run(**{"run_id" if field == "id" else field: bad}))
    )
    with pytest.raises(EventError):
        read_event(content, None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
KEYS = st.sampled_from(["eventId", "eventType", "payload", "id", "status", "batchId", "object", "data"])
VALUES = JSON | st.sampled_from(["workflow_run.completed", "PROCESSED", "run_1", "signed_data_url"])


@given(st.dictionaries(KEYS, VALUES | st.dictionaries(KEYS, VALUES)), st.none() | st.text())
def test_any_json_is_an_event_or_is_refused(envelope: dict[str, Any], version: str | None) -> None:
    with contextlib.suppress(EventError):
        read_event(json.dumps(envelope).encode(), version)


@given(st.binary() | st.text().map(str.encode), st.none() | st.text())
def test_any_bytes_are_an_event_or_are_refused(content: bytes, version: str | None) -> None:
    with pytest.raises(EventError):
        read_event(content, version)
