"""Cleaning the inbox of webhooks: what was collected, once it has landed; the rest a day later.

    <part>.webhooks.jsonl    beside a part of the raw zone: what collecting it took out of the inbox

Invariant: only what was read is removed, by its name. A webhook that comes between collecting and landing, as
of a reviewer's decision, stays for the next look at reviews. Nothing here fails a task: a webhook that stays
is swept, and a run whose webhook is gone is asked for.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterable
from typing import Final

from airflow.sdk import ObjectStoragePath

from extend_pipeline.batches.ledger import WorkspaceLedger
from extend_pipeline.batches.reservations import Reservation, chunk_folder
from extend_pipeline.settings import Settings
from extend_pipeline.storage.formats import Stored, decode, encode
from extend_pipeline.storage.raw_zone import beside
from extend_pipeline.storage.workspace import opened, write_lines
from extend_pipeline.warehouse.records import Claim
from extend_provider.security import describe_error
from extend_provider.webhooks.inbox.store import Inbox

log = logging.getLogger(__name__)

_TAKEN: Final = ".webhooks.jsonl"
#: How long the webhooks of batches that are not at work are kept.
KEPT: Final = dt.timedelta(days=1)


class Taken(Stored, frozen=True, kw_only=True):
    """What was taken out of an inbox, by the names of its objects.

    :ivar inbox: its address.
    """

    inbox: str
    batch_id: str
    names: tuple[str, ...]


def inbox_of(conn_id: str) -> Inbox | None:
    """Return the inbox of a connection; None if it has none, or cannot be read, which other tasks report.

    What is on the connection's queue is brought into the inbox before.
    """
    from extend_provider.hooks.extend import ExtendHook
    from extend_provider.webhooks.queue import drain

    try:
        settings = ExtendHook(extend_conn_id=conn_id).settings
        drain(settings)
        return Inbox.of(settings)
    except Exception as error:  # noqa: BLE001  # of whatever secrets backend there is
        log.warning("Connection %s could not be read: %s", conn_id, describe_error(error))
        return None


def part_note(part_uri: str) -> ObjectStoragePath:
    """Return the file beside a part of the raw zone that says what was taken out of the inbox for it."""
    return beside(part_uri, _TAKEN)


def note_taken(path: ObjectStoragePath, taken: Iterable[Taken]) -> None:
    """Keep in a file what was taken out of an inbox, until :func:`remove_taken`."""
    write_lines(path, map(encode, taken))


def remove_taken(path: ObjectStoragePath) -> None:
    """Remove from the inbox what a file says was taken, which has landed; without the file, nothing."""
    try:
        with opened(path, "rb") as lines:
            taken = [decode(Taken, line, str(path)) for line in lines]
        for each in taken:
            Inbox(each.inbox).remove(each.batch_id, each.names)
        path.unlink(missing_ok=True)
    except FileNotFoundError:
        return
    except Exception as error:  # noqa: BLE001  # everything has landed
        log.warning("Webhooks that have landed stay in the inbox for a day: %s", describe_error(error))


def sweep(inbox: Inbox, settings: Settings, claims: Callable[[], Iterable[Claim]]) -> None:
    """Remove webhooks that are older than a day and belong to no batch of ours that is at work.

    :param claims: returns the claims of documents that have not landed; called if there is anything old.
    """
    at_work: set[str] = set()
    known = False

    def is_at_work(batch_id: str) -> bool:
        nonlocal known
        if not known:
            at_work.update(_batches(settings, claims()))
            known = True
        return batch_id in at_work

    try:
        removed = inbox.sweep(dt.datetime.now(dt.UTC) - KEPT, is_at_work)
    except Exception as error:  # noqa: BLE001  # everything has landed
        log.warning("The inbox of webhooks could not be swept: %s", describe_error(error))
    else:
        if removed:
            log.info("%s webhooks older than a day were removed from the inbox.", f"{removed:,}")


def _batches(settings: Settings, claims: Iterable[Claim]) -> Iterable[str]:
    """Yield the batches of all rounds of the chunks that hold claims."""
    for claim in claims:
        asked = {"workflow_id": claim.workflow_id, "version": claim.version}
        folder = chunk_folder(settings.model_copy(update=asked), Reservation.of(claim).key)
        batch_id, number = WorkspaceLedger(folder).read().batch_id, 1
        while batch_id is not None:
            yield batch_id
            number += 1
            batch_id = WorkspaceLedger(folder / f"round-{number}").read().batch_id
