"""Notifications of S3: every form that they come in, and what is none."""

from __future__ import annotations

import contextlib
import json
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from extend_pipeline.arrivals.notifications import (
    Notification,
    UnreadableNotificationError,
    read_notification,
)
from extend_pipeline.sources.objects import Located

BUCKET = "acme-inbox"


def record(key: str, event: str = "ObjectCreated:Put", source: str = "aws:s3") -> dict[str, Any]:
    return {
        "eventVersion": "2.1",
        "eventSource": source,
        "eventName": event,
        "s3": {"bucket": {"name": BUCKET}, "object": {"key": quote_plus(key, safe="/"), "size": 3}},
    }


def direct(*records: Any) -> str:
    return json.dumps({"Records": list(records)})


def on_the_bus(key: str, event: str = "Object Created") -> str:
    detail = {"version": "0", "bucket": {"name": BUCKET}, "object": {"key": key, "size": 3}}
    return json.dumps({"version": "0", "source": "aws.s3", "detail-type": event, "detail": detail})


def by_topic(message: str) -> str:
    return json.dumps({"Type": "Notification", "TopicArn": "arn:aws:sns:…:inbox", "Message": message})


def arrived(*keys: str) -> Notification:
    return Notification(tuple(Located(f"s3://{BUCKET}", key) for key in keys))


KEYS = [
    "a.pdf",
    "red flower.pdf",
    "a+b.pdf",
    "100%.pdf",
    "Übergabe/№ 7 – 請求書.pdf",
    "%2F.pdf",
    "a&b=c;d?.pdf",
]


@pytest.mark.parametrize("key", KEYS)
def test_the_key_is_the_objects_own_in_every_form(key: str) -> None:
    forms = [direct(record(key)), on_the_bus(key), by_topic(direct(record(key))), by_topic(on_the_bus(key))]
    assert [read_notification(form) for form in forms] == [arrived(key)] * 4


def test_a_key_that_another_store_encodes_whole_is_the_same() -> None:
    told = record("x", event="s3:ObjectCreated:Put", source="minio:s3")
    told["s3"]["object"]["key"] = "documents%2Fa.pdf"
    assert read_notification(direct(told)) == arrived("documents/a.pdf")


def test_all_records_of_a_message_count() -> None:
    told = direct(record("a.pdf"), record("b.pdf", "ObjectRemoved:Delete"), record("c.pdf"))
    read = read_notification(told)
    assert read.arrived == arrived("a.pdf", "c.pdf").arrived
    assert read.others == (f"ObjectRemoved:Delete s3://{BUCKET}/b.pdf",)


@pytest.mark.parametrize("event", ["ObjectCreated:Copy", "ObjectCreated:CompleteMultipartUpload"])
def test_every_way_of_creating_an_object_is_an_arrival(event: str) -> None:
    assert read_notification(direct(record("a.pdf", event))) == arrived("a.pdf")


def test_a_restored_object_has_arrived_and_one_being_restored_has_not() -> None:
    assert read_notification(direct(record("a.pdf", "ObjectRestore:Completed"))) == arrived("a.pdf")
    assert read_notification(on_the_bus("a.pdf", "Object Restore Completed")) == arrived("a.pdf")
    assert read_notification(direct(record("a.pdf", "ObjectRestore:Post"))).arrived == ()


@pytest.mark.parametrize(
    ("told", "others"),
    [
        ({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": BUCKET}, "s3:TestEvent"),
        ({"Records": [record("in/")]}, f"folder s3://{BUCKET}/in/"),
        (json.loads(on_the_bus("a.pdf", "Object Deleted")), f"Object Deleted s3://{BUCKET}/a.pdf"),
    ],
)
def test_what_is_no_arrival_is_named(told: Any, others: str) -> None:
    assert read_notification(json.dumps(told)) == Notification((), (others,))
    assert read_notification(by_topic(json.dumps(told))) == Notification((), (others,))


FOREIGN: list[Any] = [
    *({}, [], "text", 5, None, {"Records": []}, {"Records": {}}, {"Records": [5]}, {"Message": "hello"}),
    {"Records": [record("a.pdf"), {"eventSource": "aws:ses"}]},
    {"Records": [record("a.pdf", source="aws:dynamodb")]},
    {"Records": [{**record("a.pdf"), "s3": {"bucket": {"name": BUCKET}}}]},
    {"Records": [{**record("a.pdf"), "s3": {"bucket": {"name": "a/b"}, "object": {"key": "c"}}}]},
    {"Records": [{**record("a.pdf"), "s3": {"bucket": {"name": BUCKET}, "object": {"key": "%ff"}}}]},
    {"Records": [{**record("a.pdf"), "s3": {"bucket": {"name": BUCKET}, "object": {"key": "\ud800"}}}]},
    *({"Records": [record("a" * 1025)]}, {"Records": [record("")]}),
    {"source": "aws.ec2", "detail-type": "Object Created", "detail": {}},
    {"source": "aws.s3", "detail-type": "Object Created", "detail": {"bucket": {"name": BUCKET}}},
    {"TopicArn": "arn", "Message": "no JSON"},
    {"TopicArn": "arn", "Message": json.dumps({"alarm": "high"})},
]


@pytest.mark.parametrize("told", FOREIGN, ids=range(len(FOREIGN)))
def test_what_is_no_notification_is_refused_without_quoting_it(told: Any) -> None:
    with pytest.raises(UnreadableNotificationError) as refused:
        read_notification(json.dumps(told))
    assert "a.pdf" not in str(refused.value)
    assert "alarm" not in str(refused.value)


@pytest.mark.parametrize("body", ["", "{", "\x00", "[" * 100_000])
def test_what_is_not_json_is_refused(body: str) -> None:
    with pytest.raises(UnreadableNotificationError, match="JSON"):
        read_notification(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["Records", "s3"]), inner),
)


@given(st.text() | JSON.map(json.dumps))
@example(by_topic(by_topic(by_topic(by_topic("{}")))))
def test_nothing_else_is_ever_raised(body: str) -> None:
    with contextlib.suppress(UnreadableNotificationError):
        assert isinstance(read_notification(body), Notification)


@given(st.text(min_size=1, max_size=200).filter(lambda key: not key.endswith("/")))
def test_any_key_comes_through_whole(key: str) -> None:
    assert read_notification(direct(record(key))) == read_notification(on_the_bus(key)) == arrived(key)
