"""The way of a webhook: verified, read, its payload fetched where needed, stored, answered.

Receiver and queue share it, so that a request gets the same answer however it comes. It blocks.

| what arrives | answer |
|---|---|
| no, a wrong or an old signature; a clock that is off | 401 |
| a body over the limit | 413 |
| no JSON; JSON of another shape | 400 |
| an event of a run: stored, or stored before | 200 |
| an event of a type that nobody knows: kept apart | 200 |
| an event that Extend documents and that is of no use here | 200 |
| a payload that must not be fetched, or is not one | 200: another delivery would change nothing |
| a payload that cannot be fetched now; an inbox that cannot be written to; a missing setting | 503 |

Whatever is not stored costs no document: the batch is polled, and collecting asks Extend for the run.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import Final

from extend_provider.client.settings import ExtendSettings
from extend_provider.exceptions import ExtendError
from extend_provider.security import describe_error
from extend_provider.webhooks.inbox.events import (
    EventError,
    OtherEvent,
    RemoteEvent,
    RunEvent,
    UnknownEvent,
    read_event,
)
from extend_provider.webhooks.inbox.store import Inbox
from extend_provider.webhooks.payloads import PayloadRefusedError, PayloadUnavailableError, fetch_payload
from extend_provider.webhooks.signature import API_VERSION, Headers, SignatureError, header, verify

log = logging.getLogger(__name__)

#: The largest body that is taken, in bytes. Extend sends a URL instead of a payload over the threshold that
#: the endpoint names (``urlThresholdBytes``).
LARGEST_BODY: Final = 32 * 2**20

OK: Final = 200
BAD_REQUEST: Final = 400
UNAUTHORIZED: Final = 401
TOO_LARGE: Final = 413
UNAVAILABLE: Final = 503

#: Returns the payload that a URL holds.
Fetch = Callable[[str, ExtendSettings], bytes]


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """A webhook as it came.

    :param received_at: when, in seconds since the epoch.
    """

    body: bytes = dataclasses.field(repr=False)
    headers: Headers = dataclasses.field(repr=False)
    received_at: float


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What is answered, and why.

    :param status: of HTTP.
    :param reason: a word, for counts and metrics.
    :param message: a sentence for the log; without content, URLs or secrets.
    """

    status: int
    reason: str
    message: str = ""

    @property
    def is_final(self) -> bool:
        """Whether the event is done with: stored, or of no use."""
        return self.status == OK


def take(request: Request, settings: ExtendSettings, *, fetch: Fetch = fetch_payload) -> Answer:
    """Store a webhook if it is one, and say what to answer; it is durable when this returns ``stored``."""
    if len(request.body) > LARGEST_BODY:
        return Answer(TOO_LARGE, "too_large", f"The body has more than {LARGEST_BODY:,} bytes.")
    inbox = Inbox.of(settings)
    if not settings.webhook_secrets:
        return missing(settings.conn_id, "webhook_secrets", "the signing secret (wss_…) of Extend's endpoint")
    if inbox is None:
        return missing(settings.conn_id, "webhook_inbox", "the address where webhooks are kept")
    try:
        verify(request.body, request.headers, settings.webhook_secrets, now=request.received_at)
    except SignatureError as error:
        return Answer(UNAUTHORIZED, error.reason, str(error))
    try:
        event = read_event(request.body, header(request.headers, API_VERSION))
    except EventError as error:
        return Answer(BAD_REQUEST, error.reason, str(error))
    match event:
        case OtherEvent():
            return Answer(OK, "of_no_use", f"Events {event.event_type} are of no use here.")
        case RemoteEvent():
            return _fetched(event, settings, inbox, fetch)
    return _put(event, inbox)


def missing(conn_id: str, setting: str, what: str) -> Answer:
    """Return the answer where the connection lacks a setting."""
    message = f"Connection {conn_id!r} has no {setting}; add {what} to its extra. Extend delivers again."
    return Answer(UNAVAILABLE, f"no_{setting}", message)


def _fetched(event: RemoteEvent, settings: ExtendSettings, inbox: Inbox, fetch: Fetch) -> Answer:
    about = f"event {event.event_id}, run {event.run_id or 'unknown'}"
    try:
        whole = event.with_payload(fetch(event.url, settings))
    except PayloadRefusedError as error:
        return Answer(
            OK, error.reason, f"The payload of {about} was not taken: {error} Extend is asked for the run."
        )
    except EventError as error:
        return Answer(
            OK, "payload_shape", f"The payload of {about} is none: {error} Extend is asked for the run."
        )
    except PayloadUnavailableError as error:
        return Answer(UNAVAILABLE, "payload_unavailable", f"The payload of {about}: {error}")
    except ExtendError as error:  # of the connection: its proxy, its certificates
        return Answer(UNAVAILABLE, "payload_unavailable", str(error))
    return _put(whole, inbox)


def _put(event: RunEvent | UnknownEvent, inbox: Inbox) -> Answer:
    try:
        new = inbox.put(event)
    except Exception as error:  # noqa: BLE001  # of whatever store there is
        message = f"{inbox.address} took no event: {describe_error(error)}. Extend delivers it again."
        return Answer(UNAVAILABLE, "not_writable", message)
    if isinstance(event, UnknownEvent):
        kept = (
            f"Events {event.event_type} are not known in this API version; kept in {inbox.address}/unknown."
        )
        return Answer(OK, "unknown_type", kept)
    return Answer(OK, "stored" if new else "repeated")
