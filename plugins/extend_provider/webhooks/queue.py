"""Webhooks that come by an SQS queue, for an Airflow that Extend cannot reach.

API Gateway, or a function, puts each request on the queue as it came; whoever waits drains the queue into the
inbox. Nothing is trusted because it came by the queue: the same verification runs here. A message is one of

- the body as the message's body, and the headers ``x-extend-request-timestamp``,
  ``x-extend-request-signature`` and ``x-extend-api-version`` as message attributes (API Gateway's own
  integration with SQS); an attribute ``isBase64Encoded`` of ``true`` says that the body is base64;
- JSON ``{"headers": {…}, "body": "…", "isBase64Encoded": false}``: the event of a Lambda function behind API
  Gateway or a function URL, whole or only these three.

The window of the signature is measured at the time that SQS took the message (``SentTimestamp``), however
late it is read. Moving a dead letter back gives it a new one; then the time at which API Gateway had the
request counts, if the message says it: an attribute ``requestTimeEpoch``, or ``requestContext`` in the JSON.

Done with (200) is deleted. What can never be taken (400, 401, 413) is left, and the queue's redrive policy
moves it to the dead letters; so is what cannot be taken now (503), which comes again until then.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from extend_provider.client.settings import ExtendSettings
from extend_provider.security import describe_error
from extend_provider.webhooks.connections import mask_secrets
from extend_provider.webhooks.counts import Counts
from extend_provider.webhooks.intake import BAD_REQUEST, Answer, Request, take
from extend_provider.webhooks.signature import API_VERSION, FURTHEST_AHEAD, SIGNATURE, TIMESTAMP
from extend_provider.webhooks.sqs import Message, SqsQueue

log = logging.getLogger(__name__)

#: Seconds between two drains of a queue by one process.
INTERVAL: Final = 5.0
#: How much one drain takes before its callers look into the inbox: messages, and seconds.
MOST_TAKEN: Final = 2_000
LONGEST_DRAIN: Final = 30.0
#: How many messages are stored at the same time.
THREADS: Final = 8

_BASE64: Final = "isBase64Encoded"
_REQUEST_TIME: Final = "requestTimeEpoch"
_OF_EXTEND: Final = frozenset((TIMESTAMP, SIGNATURE, API_VERSION))


class MessageError(ValueError):
    """A message that carries no request; it does not say what is in it."""


class WebhookQueue:
    """The queue of a connection, drained by one thread of this process at a time.

    :param take: verifies and stores a request; it blocks.
    """

    def __init__(
        self,
        settings: ExtendSettings,
        *,
        interval: float = INTERVAL,
        take: Callable[[Request, ExtendSettings], Answer] = take,
        clock: Callable[[], float] = time.monotonic,
        counts: Counts | None = None,
    ) -> None:
        self.queue = SqsQueue(settings.webhook_queue or "", settings.webhook_queue_conn_id)
        self.counts = counts or Counts()
        self._interval = interval
        self._take = take
        self._clock = clock
        self._draining = threading.Lock()
        self._next = float("-inf")

    @property
    def is_due(self) -> bool:
        """Whether a drain would look into the queue now."""
        return self._clock() >= self._next and not self._draining.locked()

    def drain(self, settings: ExtendSettings) -> Counter[str]:
        """Store what is on the queue; return what became of the messages, by reason.

        It returns at once if another thread is at it, or was a moment ago. It raises nothing: a queue that
        does not answer costs time, and the batch is polled. It blocks.

        :param settings: the connection as it is now.
        """
        reasons: Counter[str] = Counter()
        if not self._draining.acquire(blocking=False):
            return reasons
        try:
            if self._clock() >= self._next:
                self._drain(settings, reasons)
        except Exception as error:  # noqa: BLE001  # botocore's, Airflow's, a secrets backend's
            log.warning(
                "Connection %r: webhooks cannot be taken from %s (%s). They stay on the queue; the batches "
                "are polled meanwhile.",
                settings.conn_id,
                self.queue.url,
                describe_error(error),
            )
        finally:
            self._next = self._clock() + self._interval
            self._draining.release()
        return reasons

    def _drain(self, settings: ExtendSettings, reasons: Counter[str]) -> None:
        deadline = self._clock() + LONGEST_DRAIN
        mask_secrets(settings)
        # Only a request that waits asks all of SQS' servers; one that does not may miss what is there.
        messages = self.queue.receive(wait_seconds=1)
        with ThreadPoolExecutor(THREADS, thread_name_prefix="extend-webhook-queue") as threads:
            while messages:
                answers = list(threads.map(lambda message: self._answer(message, settings), messages))
                self.queue.delete(
                    message for message, answer in zip(messages, answers, strict=True) if answer.is_final
                )
                reasons.update(answer.reason for answer in answers)
                if reasons.total() >= MOST_TAKEN or self._clock() >= deadline:
                    return
                messages = self.queue.receive()

    def _answer(self, message: Message, settings: ExtendSettings) -> Answer:
        try:
            answer = self._take(request_of(message), settings)
        except MessageError as error:
            answer = Answer(BAD_REQUEST, "message", str(error))
        left = "" if answer.is_final else f" Message {message.id} stays on the queue."
        self.counts.add(settings.conn_id, answer.reason, answer.message + left)
        return answer


def request_of(message: Message) -> Request:
    """Return the request that a message carries.

    :raises MessageError: if it carries none.
    """
    attributes = {name.lower(): value for name, value in message.attributes.items()}
    if SIGNATURE in attributes or TIMESTAMP in attributes:
        headers: Mapping[str, Any] = {name: attributes[name] for name in _OF_EXTEND if name in attributes}
        body, is_base64 = message.body, attributes.get(_BASE64.lower()) == "true"
        requested_at = attributes.get(_REQUEST_TIME.lower())
    else:
        envelope = _envelope(message.body)
        headers, body = envelope["headers"], envelope["body"]
        is_base64 = envelope.get(_BASE64) is True
        context = envelope.get("requestContext")
        context = context if isinstance(context, dict) else {}
        requested_at = context.get("timeEpoch") or context.get(_REQUEST_TIME)
    pairs = [(name, value) for name, value in headers.items() if isinstance(value, str)]
    return Request(_body(body, is_base64), pairs, _received_at(message, requested_at))


def _envelope(text: str) -> dict[str, Any]:
    try:
        envelope = json.loads(text)
    except (ValueError, RecursionError):
        envelope = None
    if (
        not isinstance(envelope, dict)
        or not isinstance(envelope.get("headers"), dict)
        or not isinstance(envelope.get("body"), str)
    ):
        raise MessageError(
            "The message has neither the headers of a signature as attributes, nor headers and body as JSON."
        )
    return envelope


def _body(text: str, is_base64: bool) -> bytes:
    try:
        return base64.b64decode(text, validate=True) if is_base64 else text.encode()
    except (binascii.Error, ValueError):  # half a surrogate pair cannot be encoded
        raise MessageError("The body of the message cannot be decoded.") from None


def _received_at(message: Message, requested_at: Any) -> float:
    """Return when the request came: not after SQS took the message."""
    try:
        stated = int(requested_at) / 1000
    except (TypeError, ValueError, OverflowError):
        return message.sent_at
    return min(stated, message.sent_at) if stated > -FURTHEST_AHEAD else message.sent_at


_queues: dict[tuple[str, str], WebhookQueue] = {}
_making = threading.Lock()


def queue_of(settings: ExtendSettings) -> WebhookQueue | None:
    """Return the queue of a connection, the same one for all of this process; None if it has none."""
    if not settings.webhook_queue or not settings.webhook_inbox:
        return None
    key = settings.webhook_queue, settings.webhook_queue_conn_id
    with _making:
        if key not in _queues:
            _queues[key] = WebhookQueue(settings)
        return _queues[key]


def drain(settings: ExtendSettings) -> None:
    """Bring what is on the connection's queue, if any, into its inbox. It blocks, and raises nothing."""
    queue = queue_of(settings)
    if queue is not None:
        queue.drain(settings)


async def drain_async(settings: ExtendSettings) -> None:
    """Do what :func:`drain` does in a thread, if that is due: a triggerer has hundreds of waits."""
    queue = queue_of(settings)
    if queue is not None and queue.is_due:
        await asyncio.to_thread(queue.drain, settings)
