"""Ask Extend for runs in review, a few at a time, each with one request."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from extend_pipeline.exceptions import is_gone
from extend_pipeline.reviews.decisions import NEWS, Verdict, verdict
from extend_pipeline.storage.raw_zone import run_line
from extend_pipeline.warehouse.records import LandedRun
from extend_provider.exceptions import ExtendError, ExtendServerError

if TYPE_CHECKING:
    from extend_provider.client.models import WorkflowRun
    from extend_provider.hooks.extend import ExtendAsyncHook

log = logging.getLogger(__name__)

#: Runs asked for at the same time; the connection's rate limit holds besides.
PARALLEL: Final = 8
#: One run that Extend cannot show must not keep the others; so many of them mean that Extend is down.
MAX_UNANSWERED: Final = 8


def ask(
    hook: ExtendAsyncHook,
    runs: Iterable[LandedRun],
    *,
    take: Callable[[LandedRun, bytes], object],
    deleted: Callable[[LandedRun], object],
) -> Counter[Verdict]:
    """Ask for each run and return how many came to which verdict.

    :param take: called, in the order of the runs, with each run that has news and its line for the raw zone.
    :param deleted: called with each run that Extend does not have any more.
    :raises ExtendError: if Extend cannot be asked: wrong key, no connection, too many errors.
    """
    return asyncio.run(_ask(hook, runs, take, deleted))


async def _ask(
    hook: ExtendAsyncHook,
    runs: Iterable[LandedRun],
    take: Callable[[LandedRun, bytes], object],
    deleted: Callable[[LandedRun], object],
) -> Counter[Verdict]:
    verdicts = Counter[Verdict]()
    remaining = iter(runs)
    async with hook:
        while page := list(itertools.islice(remaining, PARALLEL)):
            answers = await asyncio.gather(*(_answer(hook, known) for known in page), return_exceptions=True)
            for known, answer in zip(page, answers, strict=True):
                if isinstance(answer, BaseException):
                    raise answer  # bare, not in a group, so that the retry policy knows it
                found, run = answer
                verdicts[found] += 1
                if run is not None and found in NEWS:
                    take(known, run_line(hook.api_version, run.received))
                elif found is Verdict.DELETED:
                    deleted(known)
            if verdicts[Verdict.UNANSWERED] > MAX_UNANSWERED:
                raise ExtendServerError(
                    f"Extend answered more than {MAX_UNANSWERED} requests for runs in review with errors of "
                    "its own, see the log. Nothing has landed or changed; the next look asks again.",
                    retryable=True,
                )
    return verdicts


async def _answer(hook: ExtendAsyncHook, known: LandedRun) -> tuple[Verdict, WorkflowRun | None]:
    try:
        run = await hook.get_run(known.run_id)
    except ExtendError as error:
        if is_gone(error):
            log.warning("Run %s of %s is gone: %s", known.run_id, known.document.uri, error)
            return Verdict.DELETED, None
        if isinstance(error, ExtendServerError):
            log.warning("Run %s of %s is not shown: %s", known.run_id, known.document.uri, error)
            return Verdict.UNANSWERED, None
        raise
    return verdict(known, run), run
