"""Notifications of S3 as a queue delivers them: read into the objects that have arrived. Pure.

The same event comes in several forms: from S3 itself, from S3 by way of SNS, from EventBridge, and from
EventBridge by way of SNS. S3 encodes the key as in a form (``red flower.pdf`` is ``red+flower.pdf``);
EventBridge does not. See "Event message structure" and "Using EventBridge" in Amazon S3's user guide.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_plus

from extend_pipeline.sources.objects import MOST_KEY_BYTES, Located

#: Events after which an object can be read that could not be read before.
_ARRIVED: Final = ("ObjectCreated:", "ObjectRestore:Completed")
#: The same events as EventBridge names them.
_ARRIVED_ON_THE_BUS: Final = frozenset(("Object Created", "Object Restore Completed"))
#: How deep a message may be wrapped: EventBridge to SNS to SQS is one, and some chain two topics.
_MOST_WRAPPINGS: Final = 3


class UnreadableNotificationError(ValueError):
    """A message is no notification of S3. The text says why, and quotes nothing of it."""


class Notification(NamedTuple):
    """What a message says.

    :param arrived: the objects that can be read now.
    :param others: what else it says, for the log: ``ObjectRemoved:Delete s3://bucket/key``.
    """

    arrived: tuple[Located, ...] = ()
    others: tuple[str, ...] = ()


def read_notification(body: str) -> Notification:
    """Read the body of a message.

    :raises UnreadableNotificationError: if it is no notification of S3, or a record of it is damaged: then
        none of its records is used, and the message stays whole.
    """
    message = _parsed(body)
    for _ in range(_MOST_WRAPPINGS):
        if not (isinstance(message.get("Message"), str) and "TopicArn" in message):
            break
        message = _parsed(message["Message"])
    if message.get("Event") == "s3:TestEvent":
        return Notification(others=("s3:TestEvent",))
    if message.get("source") == "aws.s3" and "detail-type" in message:
        return _of_the_bus(message)
    records = message.get("Records")
    if not isinstance(records, list) or not records:
        raise UnreadableNotificationError("it is no event notification of S3")
    read = [_of_a_record(record) for record in records]
    return Notification(
        tuple(place for each in read for place in each.arrived),
        tuple(other for each in read for other in each.others),
    )


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise UnreadableNotificationError("it is not JSON") from None
    if not isinstance(value, dict):
        raise UnreadableNotificationError("it is no JSON object")
    return value


def _of_a_record(record: Any) -> Notification:
    # Stores with S3's interface name themselves: minio:s3, ceph:s3.
    source = _field(record, "eventSource")
    if not source.endswith(":s3"):
        raise UnreadableNotificationError("a record is of another service than S3")
    event = _field(record, "eventName").removeprefix("s3:")
    try:
        key = unquote_plus(_field(record, "s3", "object", "key"), errors="strict")
    except UnicodeDecodeError:
        raise UnreadableNotificationError("a key is not UTF-8") from None
    return _told(event, event.startswith(_ARRIVED), _field(record, "s3", "bucket", "name"), key)


def _of_the_bus(message: Mapping[str, Any]) -> Notification:
    event = _field(message, "detail-type")
    bucket = _field(message, "detail", "bucket", "name")
    key = _field(message, "detail", "object", "key")
    return _told(event, event in _ARRIVED_ON_THE_BUS, bucket, key)


def _told(event: str, arrived: bool, bucket: str, key: str) -> Notification:
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise UnreadableNotificationError("a key is not UTF-8") from None
    if not bucket or "/" in bucket or not 0 < size <= MOST_KEY_BYTES:
        raise UnreadableNotificationError("a bucket or key is empty or too long")
    place = Located(f"s3://{bucket}", key)
    if not arrived:
        return Notification(others=(f"{event} {place.uri}",))
    if key.endswith("/"):
        return Notification(others=(f"folder {place.uri}",))
    return Notification(arrived=(place,))


def _field(value: Any, *names: str) -> str:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    if not isinstance(value, str):
        raise UnreadableNotificationError(f"it has no {'.'.join(names)}")
    return value
