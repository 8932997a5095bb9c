"""Reviewers' decisions that webhooks have brought, and how often Extend is asked for the others.

    <workspace>/reviews/<dataset>.<warehouse connection>.<connection to Extend>.json    when it was last asked

With an inbox, Extend is asked once a day only: for decisions whose webhook was lost, and for deleted runs.
A webhook may be late, so only what a reviewer has decided is taken from it; of any other news, such as a run
that is in review again, Extend knows whether it is the latest.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from airflow.sdk import ObjectStoragePath

from extend_pipeline.batches.inbox import Taken
from extend_pipeline.batches.runs import ReceivedRun, read_webhook
from extend_pipeline.reviews.decisions import NEWS, ReviewSettings, ReviewState, review_state
from extend_pipeline.storage.formats import Stored, read, write
from extend_pipeline.warehouse.records import LandedRun
from extend_provider.client.models import RunStatus
from extend_provider.security import describe_error
from extend_provider.webhooks.inbox.store import Arrived, Inbox

log = logging.getLogger(__name__)

#: How often Extend is asked for the runs in review of which no webhook has come. A little less than a day, so
#: that a daily look is not put off by a day because it began a minute earlier.
ASKED_EVERY: Final = dt.timedelta(hours=23)
_DECISIONS: Final = frozenset({RunStatus.PROCESSED, RunStatus.REJECTED})


class LastAsked(Stored, frozen=True, kw_only=True):
    """When Extend was last asked for every run in review, RFC 3339."""

    at: str


def is_asking_due(settings: ReviewSettings, now: dt.datetime) -> bool:
    """Return True if Extend is to be asked for the runs of which no webhook has come."""
    last = read(_path(settings), LastAsked)
    return last is None or now - dt.datetime.fromisoformat(last.at) >= ASKED_EVERY


def note_asked(settings: ReviewSettings, now: dt.datetime) -> None:
    """Remember that Extend was asked for every run in review."""
    write(_path(settings), LastAsked(at=now.isoformat(timespec="seconds")))


def _path(settings: ReviewSettings) -> ObjectStoragePath:
    place = (settings.dataset, settings.warehouse_conn_id, settings.extend_conn_id)
    name = ".".join(quote(part, safe="") for part in place)
    return ObjectStoragePath(settings.workspace) / "reviews" / f"{name}.json"


class ReviewWebhooks:
    """The webhooks of runs in review. Give it the runs in the order of their batches.

    :ivar is_readable: False once the inbox could not be read.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._arrived: dict[str, dict[str, Arrived]] = {}
        self._taken: dict[str, list[str]] = {}
        self.is_readable = True

    @property
    def taken(self) -> list[Taken]:
        """What was taken out of the inbox, by batch."""
        address = self._inbox.address
        return [
            Taken(inbox=address, batch_id=batch_id, names=tuple(names))
            for batch_id, names in self._taken.items()
        ]

    async def look(self, runs: Iterable[LandedRun]) -> None:
        """List the webhooks of the batches of some runs, and forget those of earlier ones."""
        batches = {run.batch_id for run in runs if run.batch_id is not None}
        self._arrived = {batch: found for batch, found in self._arrived.items() if batch in batches}
        for batch_id in batches - self._arrived.keys():
            try:
                self._arrived[batch_id] = await asyncio.to_thread(self._inbox.arrived, batch_id)
            except Exception as error:  # noqa: BLE001  # of whatever store there is; Extend knows, too
                if self.is_readable:
                    log.warning(
                        "The inbox of webhooks cannot be read, so Extend is asked: %s", describe_error(error)
                    )
                self.is_readable, self._arrived[batch_id] = False, {}

    async def news(self, known: LandedRun) -> tuple[ReviewState, ReceivedRun | None] | None:
        """Return what a webhook has brought of a run since it has landed; None if there is nothing new.

        There is no run in it if Extend has to be asked: the webhook is no decision, or lacks something.
        """
        arrived = self._arrived.get(known.batch_id or "", {}).get(known.run_id)
        if arrived is None or not arrived.settled:
            return None
        try:
            received = await asyncio.to_thread(read_webhook, self._inbox, known.batch_id, arrived)
        except Exception as error:  # noqa: BLE001  # as above
            log.warning("Run %s is asked for: %s", known.run_id, describe_error(error))
            return ReviewState.UNANSWERED, None
        state = review_state(known, received.run)
        if state not in NEWS:
            return None
        if received.run.status not in _DECISIONS:
            return state, None
        self._taken.setdefault(known.batch_id or "", []).extend(arrived.names)
        return state, received
