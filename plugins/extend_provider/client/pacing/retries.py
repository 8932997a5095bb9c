"""How long to wait before a call is sent again, for the sync and the async hook alike.

What may be sent again at all is decided in :mod:`extend_provider.client.errors`.
"""

from __future__ import annotations

import dataclasses
import random
from typing import Any, Final, Protocol

import tenacity

from extend_provider.client.calls import ApiCall
from extend_provider.client.errors import may_repeat
from extend_provider.exceptions import ExtendRateLimitError

#: Seconds for which a call waits because of the rate limit before a line of the log says so.
TOLD_SECONDS: Final = 10.0


class Log(Protocol):
    """What is needed of a logger; Airflow's are of several types."""

    def warning(self, event: str, *args: Any) -> Any:
        """Log a warning."""


@dataclasses.dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait between tries, in seconds.

    The n-th wait is ``initial * 2 ** (n - 1)`` up to ``maximum``, of which jitter takes up to a half, so that
    tasks which failed together do not come back together. A wait is never shorter than the ``Retry-After`` of
    the answer. Once waiting would exceed ``total``, the call fails with what it has.
    """

    initial: float = 1.0
    maximum: float = 60.0
    total: float = 300.0

    def delay(self, attempt: int, asked: float | None, *, chance: float) -> float:
        """Return the wait after failed try number ``attempt`` (from 1); ``chance`` is uniform in [0, 1)."""
        own = min(self.maximum, self.initial * 2.0 ** min(attempt - 1, 32)) * (1 - chance / 2)
        return own if asked is None else max(own, asked * (1 + chance / 10))


def retrying(call: ApiCall[Any], *, max_attempts: int, backoff: Backoff, log: Log) -> dict[str, Any]:
    """Return the arguments of ``tenacity.Retrying`` and ``tenacity.AsyncRetrying`` that retry ``call``."""

    def wait(state: tenacity.RetryCallState) -> float:
        asked = getattr(_failure(state), "retry_after", None)
        return backoff.delay(state.attempt_number, asked, chance=random.random())  # noqa: S311  # jitter

    def stop(state: tenacity.RetryCallState) -> bool:
        return state.attempt_number >= max_attempts or state.idle_for + state.upcoming_sleep > backoff.total

    def warn(state: tenacity.RetryCallState) -> None:
        refused = isinstance(_failure(state), ExtendRateLimitError)
        if refused and state.idle_for + state.upcoming_sleep < TOLD_SECONDS:
            return  # a part of finding the limit; what is learnt of it is logged once, for all requests
        log.warning(
            "Try %d of %d failed, the next one in %.1f s: %s",
            state.attempt_number,
            max_attempts,
            state.upcoming_sleep,
            _failure(state),
        )

    return {
        "retry": tenacity.retry_if_exception(lambda error: may_repeat(call, error)),
        "wait": wait,
        "stop": stop,
        "before_sleep": warn,
        "reraise": True,
    }


def _failure(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
