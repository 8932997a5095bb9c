"""An SQS queue: messages taken a few at a time, and deleted when they are done with.

A message that is not deleted comes again after the queue's visibility timeout, and goes to its dead-letter
queue after as many times as its redrive policy says. Credentials, endpoint, proxy and certificates are the
AWS connection's. All of it blocks: async code calls it in threads.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import islice
from typing import Any, Final

from extend_provider.exceptions import ExtendError

log = logging.getLogger(__name__)

#: How many messages one request takes or deletes at most (SQS' own limit).
MOST_MESSAGES: Final = 10
#: The longest that one request waits for a message, in seconds (SQS' own limit).
LONGEST_WAIT: Final = 20
_REGION: Final = re.compile(r"https://(?:sqs\.([a-z0-9-]+)\.|([a-z0-9-]+)\.queue\.)amazonaws\.com(?:\.cn)?/")


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """A message as it was received.

    :param receipt: what deletes it; of this reception only.
    :param attributes: its message attributes that are texts or numbers, by name.
    :param sent_at: when SQS took it, in seconds since the epoch (``SentTimestamp``); kept when it goes to
        the dead letters, new when somebody moves it back.
    :param receptions: how often it has been received, this time included.
    """

    id: str
    receipt: str = dataclasses.field(repr=False)
    body: str = dataclasses.field(repr=False)
    attributes: Mapping[str, str] = dataclasses.field(repr=False)
    sent_at: float
    receptions: int


class SqsQueue:
    """A queue, reached by an Airflow connection of type ``aws``.

    :param url: the queue's URL; its region counts where it names one.
    :param aws_conn_id: None for boto's own credentials.
    """

    def __init__(self, url: str, aws_conn_id: str | None = "aws_default") -> None:
        self.url = url
        self.aws_conn_id = aws_conn_id

    def __repr__(self) -> str:
        return f"SqsQueue({self.url!r})"

    @cached_property
    def _client(self) -> Any:
        try:
            from airflow.providers.amazon.aws.hooks.sqs import SqsHook
        except ImportError:
            raise ExtendError(
                f"The queue {self.url} needs the package apache-airflow-providers-amazon, which is not "
                "installed. Install it, or let Extend send its webhooks to Airflow itself."
            ) from None
        return SqsHook(aws_conn_id=self.aws_conn_id, region_name=region_of(self.url)).get_conn()

    def receive(self, wait_seconds: int = 0, limit: int = MOST_MESSAGES) -> list[Message]:
        """Take up to ten messages; others do not see them until the visibility timeout has passed.

        :param wait_seconds: how long to wait for the first one, at most 20.
        :raises botocore.exceptions.ClientError: or another of botocore's, if SQS refuses or does not answer.
        """
        answer = self._client.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=min(limit, MOST_MESSAGES),
            WaitTimeSeconds=min(wait_seconds, LONGEST_WAIT),
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
        )
        return [_message(raw) for raw in answer.get("Messages", ())]

    def delete(self, messages: Iterable[Message]) -> None:
        """Delete messages that are done with.

        One that SQS does not delete comes again, and the log says so.
        """
        remaining = iter(messages)
        while some := list(islice(remaining, MOST_MESSAGES)):
            entries = [
                {"Id": str(number), "ReceiptHandle": message.receipt} for number, message in enumerate(some)
            ]
            answer = self._client.delete_message_batch(QueueUrl=self.url, Entries=entries)
            for failure in answer.get("Failed", ()):
                log.warning(
                    "Message %s of %s was not deleted (%s); it comes again.",
                    some[int(failure["Id"])].id,
                    self.url,
                    failure.get("Code"),
                )


def region_of(url: str) -> str | None:
    """Return the region that a queue's URL names; None where the connection has to say it."""
    match = _REGION.match(url)
    return match and (match[1] or match[2])


def _message(raw: Mapping[str, Any]) -> Message:
    system = raw.get("Attributes", {})
    return Message(
        id=raw["MessageId"],
        receipt=raw["ReceiptHandle"],
        body=raw["Body"],
        attributes={
            name: value["StringValue"]
            for name, value in raw.get("MessageAttributes", {}).items()
            if "StringValue" in value
        },
        sent_at=int(system["SentTimestamp"]) / 1000,
        receptions=int(system.get("ApproximateReceiveCount", 1)),
    )
