"""Deliveries: signed requests, with retries, in the background and a bounded number at a time."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import hashlib
import hmac
import itertools
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import msgspec

from sandbox.extend_api.settings import Settings
from sandbox.extend_api.shapes import SHAPES
from sandbox.extend_api.state.model import iso, now_ms
from sandbox.extend_api.webhooks.faults import Treatment, WebhookFaults
from sandbox.extend_api.webhooks.payloads import Payloads
from sandbox.extend_api.webhooks.registry import Endpoint

logger = logging.getLogger(__name__)

JOURNAL_LENGTH = 10_000
#: A forged delivery is signed with this.
WRONG_SECRET = "wss_of_somebody_else"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event for one endpoint.

    :param subject_id: id of what the payload is: a run or a step run.
    :param key: identity of the run's input.
    :param payload: JSON in the endpoint's API version.
    :param metadata: JSON of the run's metadata; None for a step.
    """

    endpoint: Endpoint
    event_id: str
    event_type: str
    run_id: str
    subject_id: str
    key: str
    payload: bytes
    metadata: bytes | None


class Tally:
    """Counts of events by type, deliveries by outcome and requests by answer; and a journal of requests.

    The outcomes are ``delivered``, ``lost`` (a fault), ``given_up`` (no 2xx after the last attempt) and
    ``withdrawn`` (the endpoint was removed or disabled). An answer is a status, ``timeout`` or
    ``unreachable``. The journal has no body and no header, so it cannot contain a secret.
    """

    def __init__(self) -> None:
        self.events: collections.Counter[str] = collections.Counter()
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.answers: collections.Counter[str] = collections.Counter()
        self.forged: collections.Counter[str] = collections.Counter()
        self.journal: collections.deque[dict[str, Any]] = collections.deque(maxlen=JOURNAL_LENGTH)


class Deliveries:
    """Delivers events in the background.

    :param settings: called for each delivery.
    :param is_registered: called before each attempt; False if the endpoint is gone or disabled.
    """

    def __init__(self, settings: Callable[[], Settings], is_registered: Callable[[str], bool]) -> None:
        self._settings = settings
        self._is_registered = is_registered
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Condition()
        self._sending = 0
        self._sequence = itertools.count()
        self._start_over()

    def _start_over(self) -> None:
        self.tally = Tally()
        self.payloads = Payloads()
        self.faults = WebhookFaults()
        self._held: dict[str, tuple[int, asyncio.Event]] = {}

    async def start(self) -> None:
        """Open the HTTP session; call it on the running loop."""
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def stop(self) -> None:
        """Stop all deliveries and close the session."""
        await self.reset()
        await self._http.close()

    async def reset(self) -> None:
        """Stop all deliveries and start the counts over."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._start_over()

    def stats(self) -> dict[str, Any]:
        """Return the counts; ``pending`` are the events that have no outcome yet."""
        tally = self.tally
        return {
            "events": dict(tally.events),
            "deliveries": dict(tally.outcomes),
            "pending": len(self._tasks),
            "answers": dict(tally.answers),
            "forged_answers": dict(tally.forged),
            "payloads_fetched": self.payloads.fetched,
        }

    def send(self, delivery: Delivery) -> None:
        """Deliver an event; the call returns at once."""
        self.tally.events[delivery.event_type] += 1
        treatment = self.faults.treat(delivery.event_type, delivery.key)
        if treatment.lost:
            self.tally.outcomes["lost"] += 1
            return
        task = asyncio.create_task(self._deliver(delivery, treatment, next(self._sequence)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, delivery: Delivery, treatment: Treatment, number: int) -> None:
        """Deliver an event as its treatment says, and record the outcome."""
        try:
            await asyncio.sleep(treatment.delay)
            if treatment.hold is not None:
                await self._wait_to_be_overtaken(delivery.endpoint.id, number, treatment.hold)
            if treatment.forged:
                self.tally.forged[await self._request(delivery, _forged_body(delivery), WRONG_SECRET)] += 1
            outcome = await self._attempt(delivery, treatment)
            self._overtake(delivery.endpoint.id, number)
            for _ in range(treatment.repeats if outcome == "delivered" else 0):
                await self._request_once(delivery, treatment, attempt=0)
        except Exception:
            logger.exception("The emulator failed to deliver %s", delivery.event_id)
            outcome = "given_up"
        self.tally.outcomes[outcome] += 1

    async def _attempt(self, delivery: Delivery, treatment: Treatment) -> str:
        """Try until the endpoint accepts the event; the waiting times double. Return the outcome."""
        settings = self._settings()
        for attempt in range(1, settings.webhook_attempts + 1):
            if attempt > 1:
                await asyncio.sleep(settings.webhook_retry_seconds * 2 ** (attempt - 2))
            if not self._is_registered(delivery.endpoint.id):
                return "withdrawn"
            answer = await self._request_once(delivery, treatment, attempt)
            if len(answer) == 3 and answer.startswith("2"):
                return "delivered"
        return "given_up"

    async def _request_once(self, delivery: Delivery, treatment: Treatment, attempt: int) -> str:
        """Make one request for an event, and count the answer; attempt 0 repeats a delivery."""
        body = self._body(delivery, as_url=treatment.as_url)
        answer = await self._request(delivery, body, delivery.endpoint.secret, age=treatment.age)
        self.tally.answers[answer] += 1
        self.tally.journal.append(
            {
                "at": iso(now_ms()),
                "eventId": delivery.event_id,
                "eventType": delivery.event_type,
                "runId": delivery.run_id,
                "endpointId": delivery.endpoint.id,
                "attempt": attempt,
                "answer": answer,
            }
        )
        return answer

    def _body(self, delivery: Delivery, *, as_url: bool) -> bytes:
        """Return the body of a request, with the payload or a new URL of it."""
        endpoint = delivery.endpoint
        options = endpoint.options.payload
        if options is not None and options.format == "url":
            as_url = as_url or len(delivery.payload) > (options.urlThresholdBytes or 0)
        if not as_url:
            return _envelope(delivery, msgspec.Raw(delivery.payload))
        name = f"{delivery.event_id}.{endpoint.api_version}"
        url = endpoint.served_at + self.payloads.address(name, delivery.payload)
        metadata = None if delivery.metadata is None else msgspec.Raw(delivery.metadata)
        shapes = SHAPES[endpoint.api_version]
        return _envelope(delivery, shapes.signed_payload(url, delivery.subject_id, metadata))

    async def _request(self, delivery: Delivery, body: bytes, secret: str, *, age: float = 0.0) -> str:
        """Send a signed request as soon as there is room, and return the answer."""
        endpoint, settings = delivery.endpoint, self._settings()
        async with self._in_turn():
            headers = {
                **(endpoint.options.headers or {}),
                **signed_headers(body, secret, time.time() - age),
                "Content-Type": "application/json",
                "x-extend-api-version": endpoint.api_version,
            }
            timeout = aiohttp.ClientTimeout(total=settings.webhook_timeout_seconds)
            try:
                async with self._http.post(
                    endpoint.url, data=body, headers=headers, timeout=timeout, allow_redirects=False
                ) as response:
                    return str(response.status)
            except TimeoutError:
                return "timeout"
            except (aiohttp.ClientError, ValueError):
                return "unreachable"

    @contextlib.asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        """Wait, in the order of arrival, until fewer requests than allowed are under way."""
        async with self._room:
            await self._room.wait_for(lambda: self._sending < self._settings().webhook_concurrency)
            self._sending += 1
        try:
            yield
        finally:
            self._sending -= 1
            async with self._room:
                self._room.notify()

    async def _wait_to_be_overtaken(self, endpoint_id: str, number: int, seconds: float) -> None:
        """Wait until a later event has been delivered; if one waits already, this is the later one."""
        if endpoint_id in self._held:
            return
        overtaken = asyncio.Event()
        self._held[endpoint_id] = number, overtaken
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(overtaken.wait(), seconds)
        self._held.pop(endpoint_id, None)

    def _overtake(self, endpoint_id: str, number: int) -> None:
        held = self._held.get(endpoint_id)
        if held is not None and number > held[0]:
            held[1].set()


def signed_headers(body: bytes, secret: str, at: float) -> dict[str, str]:
    """Return the headers that prove a request: its time in seconds, and the HMAC of time and body."""
    timestamp = str(int(at))
    message = f"v0:{timestamp}:".encode() + body
    signature = hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
    return {"x-extend-request-timestamp": timestamp, "x-extend-request-signature": signature}


def _envelope(delivery: Delivery, payload: Any) -> bytes:
    return msgspec.json.encode(
        {"eventId": delivery.event_id, "eventType": delivery.event_type, "payload": payload}
    )


def _forged_body(delivery: Delivery) -> bytes:
    """Return the event with a lie: the run has failed. Its id is new, so that no check of ids refuses it."""
    payload = msgspec.json.decode(delivery.payload)
    lie = {**payload, "status": "FAILED", "failureReason": "FORGED", "failureMessage": "FORGED"}
    forged = {"eventId": f"{delivery.event_id}_forged", "eventType": "workflow_run.failed", "payload": lie}
    return msgspec.json.encode(forged)
