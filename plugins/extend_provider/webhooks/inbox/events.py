"""A webhook's body, read without trusting it: which run it is about, and in which state. Pure.

The envelope is ``{"eventId": …, "eventType": …, "payload": {…}}`` (Extend's documentation, "Webhooks"). What
names a file later, every id and the status, is checked character by character. The content of a run is not
checked here: it is read as leniently as an answer of the API.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from extend_provider.client.models import utc_moment
from extend_provider.client.settings import Secret
from extend_provider.client.wire import API_VERSIONS, DEFAULT_API_VERSION
from extend_provider.client.wire.reading import UnreadableAnswerError, member_text
from extend_provider.client.wire.webhooks import RUN_EVENTS
from extend_provider.security import HIDDEN

#: The events that carry a workflow run; the older version has no others.
_RUN_EVENTS: Final = frozenset(RUN_EVENTS[DEFAULT_API_VERSION])
#: Events that Extend documents, of no use here: of steps, of processors, of changes to a workflow.
_OTHER_EVENTS: Final = re.compile(
    r"workflow_run\.step_run\.processed"
    r"|(parse|edit|form_detection|extract|classify|split|processor|parser|batch_processor|batch_parse)_run\.\w+"
    r"|(extractor|classifier|splitter|processor)\.\w+(\.\w+)?"
    r"|workflow\.(created|deployed|deleted)"
)
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_STATUS: Final = re.compile(r"[A-Z][A-Z_]{0,23}")
_EVENT_TYPE: Final = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
_LONGEST_EVENT_TYPE: Final = 100
#: When a run last changed, by the first of these that it has; a full run need not have ``updatedAt``.
_TIMES: Final = ("updatedAt", "reviewedAt", "endTime", "startTime", "initialRunAt")


class EventError(ValueError):
    """A body that is no event; the message says why, without any of its content.

    :param reason: for a count: ``not_json`` or ``shape``.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclasses.dataclass(frozen=True, slots=True)
class RunEvent:
    """A run that has come to a state.

    :param api_version: the version that the payload is written in.
    :param batch_id: None for a run that was created alone.
    :param updated_at: when the run last changed, as Extend wrote it; None if the payload does not say.
    :param payload: the run, decoded.
    :param received: its JSON text, byte for byte.
    """

    event_id: str
    event_type: str
    api_version: str
    batch_id: str | None
    run_id: str
    status: str
    updated_at: str | None
    payload: Mapping[str, Any] = dataclasses.field(repr=False)
    received: bytes = dataclasses.field(repr=False)

    @property
    def moment(self) -> dt.datetime | None:
        """When the run last changed, in UTC; None if the payload does not say it readably."""
        return _moment(self.updated_at)


@dataclasses.dataclass(frozen=True, slots=True)
class RemoteEvent:
    """An event whose payload is too large for the request, and must be fetched.

    :param url: where the payload is, for one hour; a credential.
    :param run_id: the run that it is about, if the event says so.
    """

    event_id: str
    event_type: str
    api_version: str | None
    url: Secret
    run_id: str | None

    def with_payload(self, received: bytes) -> RunEvent:
        """Return the event with its payload.

        :raises EventError: if that is no run, or another run than the event is about.
        """
        payload = _decoded(received)
        if not isinstance(payload, dict):
            raise EventError("shape", "The fetched payload is no JSON object.")
        event = _run_event(self.event_id, self.event_type, self.api_version, payload, received.strip())
        if self.run_id not in (None, event.run_id):
            raise EventError(
                "shape", f"The fetched payload is not of {self.run_id}, which the event is about."
            )
        return event


@dataclasses.dataclass(frozen=True, slots=True)
class UnknownEvent:
    """An event of a type, or in an API version, that nobody here knows; kept apart for people to see.

    :param received: the body, byte for byte; without the URL of a payload that was to be fetched.
    """

    event_id: str
    event_type: str
    received: bytes = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class OtherEvent:
    """An event that Extend documents, and that is of no use here."""

    event_id: str
    event_type: str


Event = RunEvent | RemoteEvent | UnknownEvent | OtherEvent


def read_event(body: bytes, api_version: str | None) -> Event:
    """Read a webhook's body.

    :param api_version: the request's ``x-extend-api-version``; None if it has none.
    :raises EventError: if it is not JSON, or JSON of another shape.
    """
    envelope = _decoded(body)
    if not isinstance(envelope, dict):
        raise EventError("shape", "The body is no JSON object.")
    event_id = _matching(_ID, envelope, "eventId")
    event_type = _matching(_EVENT_TYPE, envelope, "eventType")
    if len(event_type) > _LONGEST_EVENT_TYPE:
        raise EventError("shape", "eventType is too long.")
    payload = envelope.get("payload")
    if not isinstance(payload, dict):
        raise EventError("shape", "There is no payload that is a JSON object.")
    if _OTHER_EVENTS.fullmatch(event_type):
        return OtherEvent(event_id, event_type)
    if event_type not in _RUN_EVENTS or (api_version is not None and api_version not in API_VERSIONS):
        return UnknownEvent(event_id, event_type, _without_url(body, envelope, payload))
    if _is_remote(payload):
        run_id = _matching(_ID, payload, "id") if payload.get("id") is not None else None
        return RemoteEvent(event_id, event_type, api_version, Secret(payload["data"]), run_id)
    return _run_event(event_id, event_type, api_version, payload, _payload_text(body))


def is_id(text: str) -> bool:
    """Return whether a text has the form of Extend's ids, and is safe as a part of a file's name."""
    return _ID.fullmatch(text) is not None


def _run_event(
    event_id: str, event_type: str, api_version: str | None, payload: dict[str, Any], received: bytes
) -> RunEvent:
    if payload.get("object") not in (None, "workflow_run"):
        raise EventError("shape", f"The payload of {event_type} is no workflow run.")
    return RunEvent(
        event_id=event_id,
        event_type=event_type,
        api_version=api_version or _version_of(payload),
        batch_id=_matching(_ID, payload, "batchId") if payload.get("batchId") is not None else None,
        run_id=_matching(_ID, payload, "id"),
        status=_matching(_STATUS, payload, "status"),
        updated_at=next((payload[name] for name in _TIMES if isinstance(payload.get(name), str)), None),
        payload=payload,
        received=received,
    )


def _decoded(body: bytes) -> Any:
    """Decode JSON that every decoder reads alike: UTF-8, no repeated key, no ``NaN``, not too deep."""
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except EventError:
        raise
    except (ValueError, RecursionError):  # its text would show the content
        raise EventError("not_json", "The body is not JSON.") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    decoded = dict(pairs)
    if len(decoded) != len(pairs):
        raise EventError("not_json", "A JSON object of the body has a key twice.")
    return decoded


def _no_constant(name: str) -> Any:
    raise EventError("not_json", f"The body has {name} in it, which is not JSON.")


def _matching(pattern: re.Pattern[str], raw: Mapping[str, Any], key: str) -> str:
    value = raw.get(key)
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise EventError("shape", f"{key} is missing, or has a form that Extend does not document.")
    return value


def _is_remote(payload: Mapping[str, Any]) -> bool:
    """Return whether the payload is a URL; an older form of it has nothing else than ``data``."""
    named = payload.get("object") == "signed_data_url" or set(payload) == {"data"}
    if named and not isinstance(payload.get("data"), str):
        raise EventError("shape", "The payload names no URL to fetch it from.")
    return named


def _payload_text(body: bytes) -> bytes:
    try:
        return member_text(body, "payload")
    except (UnreadableAnswerError, ValueError, RecursionError):  # it was read before, a little less deep
        raise EventError("not_json", "The payload's text cannot be found.") from None


def _without_url(body: bytes, envelope: dict[str, Any], payload: dict[str, Any]) -> bytes:
    if not _is_remote(payload):
        return body
    return json.dumps({**envelope, "payload": {"id": payload.get("id"), "data": HIDDEN}}).encode()


def _version_of(payload: Mapping[str, Any]) -> str:
    """Return the API version by the payload's shape, for a request that does not name it."""
    newest = "workflowVersion" in payload or "dashboardUrl" in payload
    legacy = not newest and ("outputs" in payload or "url" in payload)
    return API_VERSIONS[-1] if legacy else DEFAULT_API_VERSION


def _moment(timestamp: str | None) -> dt.datetime | None:
    try:
        return utc_moment(timestamp).astimezone(dt.UTC) if timestamp else None
    except (ValueError, OverflowError):
        return None
