"""Ask for runs in review, a few at a time: the inbox of webhooks first, then Extend with one request each."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from extend_pipeline.exceptions import is_gone
from extend_pipeline.reviews.decisions import NEWS, ReviewState, review_state
from extend_pipeline.reviews.webhooks import ReviewWebhooks
from extend_pipeline.storage.raw_zone import run_line
from extend_pipeline.warehouse.records import LandedRun
from extend_provider.exceptions import ExtendError, ExtendServerError

if TYPE_CHECKING:
    from extend_provider.hooks.extend import ExtendAsyncHook

log = logging.getLogger(__name__)

#: Runs fetched at the same time; the connection's rate limit applies as well.
PARALLEL: Final = 8
#: A run that Extend fails to return does not block the others; more failures than this mean an outage.
MAX_UNANSWERED: Final = 8


def ask(
    hook: ExtendAsyncHook,
    runs: Iterable[LandedRun],
    *,
    take: Callable[[LandedRun, bytes], object],
    deleted: Callable[[LandedRun], object],
    webhooks: ReviewWebhooks | None = None,
    asks_for_all: bool = True,
) -> Counter[ReviewState]:
    """Look for news of each run; return how many are in which state.

    :param take: called, in the order of the runs, with each run that has news and its line for the raw zone.
    :param deleted: called with each run that does not exist at Extend any more.
    :param webhooks: of these runs, if there is an inbox.
    :param asks_for_all: fetch the runs of which no webhook has come, too. They are fetched in any case where
        the inbox cannot be read.
    :raises ExtendError: if requests fail as a whole: wrong key, no connection, too many errors.
    """
    return asyncio.run(_ask(hook, runs, take, deleted, webhooks, asks_for_all))


async def _ask(
    hook: ExtendAsyncHook,
    runs: Iterable[LandedRun],
    take: Callable[[LandedRun, bytes], object],
    deleted: Callable[[LandedRun], object],
    webhooks: ReviewWebhooks | None,
    asks_for_all: bool,
) -> Counter[ReviewState]:
    states = Counter[ReviewState]()
    remaining = iter(runs)
    async with hook:
        while page := list(itertools.islice(remaining, PARALLEL)):
            if webhooks is not None:
                await webhooks.look(page)
            asks = asks_for_all or webhooks is None or not webhooks.is_readable
            answers = await asyncio.gather(
                *(_answer(hook, known, webhooks, asks) for known in page), return_exceptions=True
            )
            for known, answer in zip(page, answers, strict=True):
                if isinstance(answer, BaseException):
                    raise answer  # not in a group: the retry policy decides by the type
                found, line = answer
                states[found] += 1
                if line is not None and found in NEWS:
                    take(known, line)
                elif found is ReviewState.DELETED:
                    deleted(known)
            if states[ReviewState.UNANSWERED] > MAX_UNANSWERED:
                raise ExtendServerError(
                    f"Extend answered more than {MAX_UNANSWERED} requests for runs in review with server "
                    "errors, see the log. Nothing has landed or changed; the next look fetches them again.",
                    retryable=True,
                )
    return states


async def _answer(
    hook: ExtendAsyncHook, known: LandedRun, webhooks: ReviewWebhooks | None, asks: bool
) -> tuple[ReviewState, bytes | None]:
    """Return a run's state, and its line for the raw zone."""
    news = await webhooks.news(known) if webhooks is not None else None
    if news is not None and news[1] is not None:
        return news[0], news[1].line
    if news is None and not asks:
        return ReviewState.WAITING, None
    try:
        run = await hook.get_run(known.run_id)
    except ExtendError as error:
        if is_gone(error):
            log.warning("Run %s of %s does not exist any more: %s", known.run_id, known.document.uri, error)
            return ReviewState.DELETED, None
        if isinstance(error, ExtendServerError):
            log.warning("Extend failed to return run %s of %s: %s", known.run_id, known.document.uri, error)
            return ReviewState.UNANSWERED, None
        raise
    return review_state(known, run), run_line(hook.api_version, run.received)
