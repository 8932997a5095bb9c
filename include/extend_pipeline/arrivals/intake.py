"""Intake: from messages in the queue to a bundle in the workspace. Blocks; runs in a thread of the trigger.

Invariants: a message is deleted after the bundle with its addresses is whole, so whatever is killed in
between, the message comes back and its documents are in two bundles, which costs nothing. A message that
cannot be read is left in the queue, whose redrive policy moves it to the dead-letter queue.
"""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final

from extend_pipeline.arrivals.bundling import Bundle
from extend_pipeline.arrivals.manifests import Bundles
from extend_pipeline.arrivals.notifications import UnreadableNotificationError, read_notification
from extend_pipeline.sources.document_names import written
from extend_pipeline.sources.objects import Located
from extend_provider.webhooks.sqs import Message, SqsQueue

#: A bundle is closed with so many documents, or after so many seconds: well before the messages become
#: visible again, which a new queue does after 30.
MOST_DOCUMENTS: Final = 1000
MOST_SECONDS: Final = 5.0
#: How long an unreadable message is hidden if no dead-letter queue takes it. SQS allows twelve hours in all.
HIDDEN_SECONDS: Final = 11 * 3600
#: Addresses that a line of the log names, and unreadable messages that are remembered as named.
_NAMED: Final = 5
_REMEMBERED: Final = 1000
#: Seconds without a look after messages that could not be read.
_PAUSE: Final = 1.0


@dataclasses.dataclass
class _Batch:
    """What one step has received.

    :ivar read: the messages that could be read, by their ids.
    :ivar arrived: the documents, each once, in the order of their arrival.
    :ivar left_out: other objects and events, by the reason.
    """

    read: dict[str, Message] = dataclasses.field(default_factory=dict)
    unreadable: list[tuple[Message, str]] = dataclasses.field(default_factory=list)
    arrived: dict[Located, None] = dataclasses.field(default_factory=dict)
    left_out: dict[str, list[str]] = dataclasses.field(default_factory=lambda: defaultdict(list))


class Intake:
    """Empties the queue into bundles.

    :param reason_against: why an object is no document of this pipeline; None if it is one.
    :param log: the logger of the trigger.
    """

    def __init__(
        self,
        queue: SqsQueue,
        bundles: Bundles,
        reason_against: Callable[[Located], str | None],
        log: Any,
    ) -> None:
        self._queue, self._bundles, self._reason_against, self._log = queue, bundles, reason_against, log
        self._named: dict[str, None] = {}
        self._has_dead_letters: bool | None = None

    def step(self, wait: int) -> Bundle | None:
        """Receive what is there, write it as a bundle, delete the messages; return the bundle, if any.

        :param wait: seconds to wait for a first message; 0 to 20.
        """
        batch = _Batch()
        began = time.monotonic()
        while page := self._queue.receive(wait):
            new = [self._sort(message, batch) for message in page]
            full = len(batch.arrived) >= MOST_DOCUMENTS or time.monotonic() - began >= MOST_SECONDS
            if full or not any(new):  # a queue may show the same messages again at once
                break
            wait = 0
        bundle = self._bundles.write(list(batch.arrived), time.time()) if batch.arrived else None
        if batch.read:
            self._queue.delete(batch.read.values())
        self._say(bundle, batch.left_out)
        if batch.unreadable:
            self._leave(batch.unreadable)
        return bundle

    def _sort(self, message: Message, batch: _Batch) -> bool:
        """Add a message to the batch; return whether it is new and can be read."""
        if message.id in batch.read:
            batch.read[message.id] = message  # with the receipt that deletes it now
            return False
        try:
            notification = read_notification(message.body)
        except UnreadableNotificationError as error:
            batch.unreadable.append((message, str(error)))
            return False
        batch.read[message.id] = message
        batch.left_out["no arrival"].extend(notification.others)
        for place in notification.arrived:
            if reason := self._reason_against(place):
                batch.left_out[reason].append(place.uri)
            else:
                batch.arrived[place] = None
        return True

    def _leave(self, unreadable: Sequence[tuple[Message, str]]) -> None:
        for message, reason in unreadable:
            if message.id in self._named:
                continue
            self._named[message.id] = None
            if len(self._named) > _REMEMBERED:
                del self._named[next(iter(self._named))]
            self._log.warning(
                "The message %s cannot be read: %s. It is left to the dead-letter queue.", message.id, reason
            )
        if self._has_dead_letters is None:
            self._has_dead_letters = self._queue.has_dead_letter_queue()
            if not self._has_dead_letters:
                self._log.warning(
                    "The queue has no redrive policy that this connection can see, so messages that cannot "
                    "be read stay in it until they expire, and are looked at twice a day. Give it a "
                    "dead-letter queue."
                )
        if not self._has_dead_letters:
            self._queue.hide([message for message, _ in unreadable], HIDDEN_SECONDS)
        time.sleep(_PAUSE)  # a queue may show them again at once

    def _say(self, bundle: Bundle | None, left_out: dict[str, list[str]]) -> None:
        counts = {why: len(what) for why, what in left_out.items() if what}
        if bundle is not None:
            self._log.info("%s documents have arrived; bundle %s.", f"{bundle.documents:,}", bundle.name)
        for why, count in counts.items():
            shown = ", ".join(map(written, left_out[why][:_NAMED]))
            more = f" and {count - _NAMED:,} more" if count > _NAMED else ""
            self._log.info("Left out (%s): %s%s.", why, shown, more)
        if "in the workspace" in counts:
            self._log.warning(
                "The bucket announces the pipeline's own files: narrow its event notification to a prefix "
                "outside of the workspace."
            )
