"""Selects the fault of a request, and limits the rate of requests."""

from __future__ import annotations

import collections
import dataclasses
import email.utils
import time
from collections.abc import Iterable
from typing import Generic, Literal, TypeVar

from sandbox.extend_api.errors import ApiError
from sandbox.extend_api.settings import Fault, Settings, WebhookFault

RateWindow = Literal["bucket", "fixed", "sliding"]
AnyFault = TypeVar("AnyFault", Fault, WebhookFault)


@dataclasses.dataclass(slots=True)
class Armed(Generic[AnyFault]):
    """A fault, the number of matches that it lets pass, and of those that it then hits (None: all)."""

    fault: AnyFault
    skip: int
    left: int | None

    def strikes(self) -> bool:
        """Count a match; return True if the fault hits it."""
        if self.left == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.left is not None:
            self.left -= 1
        return True


class Faults:
    """The configured faults with their remaining counts."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._armed = [Armed(fault, fault.skip, fault.count) for fault in faults]

    def strike(self, endpoint: str) -> Fault | None:
        """Return the fault of this request, if any, and count it.

        :param endpoint: method and path template.
        """
        for armed in self._armed:
            if armed.fault.endpoint in ("*", endpoint) and armed.strikes():
                return armed.fault
        return None


class RateLimiter:
    """A limit for one period, a second or a minute, counted in one of several ways."""

    def __init__(self, period_seconds: float = 1.0) -> None:
        self._period = period_seconds
        self._tokens: float | None = None
        self._at = 0.0
        self._taken: collections.deque[float] = collections.deque()

    def admit(
        self, limit: float, amount: int = 1, *, window: RateWindow = "bucket", burst: float = 1.0
    ) -> bool:
        """Take ``amount``; return False and take nothing if the limit does not allow it.

        :param limit: per period.
        :param window: ``bucket`` refills steadily; ``fixed`` counts within a period of the clock, ``sliding``
            within any period: both are stricter.
        :param burst: size of the bucket, in periods of the limit.
        """
        if window == "bucket":
            return self._take_tokens(limit, amount, max(limit * burst, 1.0))
        now = time.monotonic()
        start = now - self._period if window == "sliding" else now - now % self._period
        while self._taken and self._taken[0] <= start:
            self._taken.popleft()
        if len(self._taken) + amount > max(limit, 1.0):
            return False
        self._taken.extend([now] * amount)
        return True

    def _take_tokens(self, limit: float, amount: int, full: float) -> bool:
        now = time.monotonic()
        held = full if self._tokens is None else self._tokens + (now - self._at) * limit / self._period
        self._tokens, self._at = min(full, held), now
        if self._tokens < amount:
            return False
        self._tokens -= amount
        return True


def rate_limited(settings: Settings, message: str) -> ApiError:
    """Return a 429 with the configured ``Retry-After``."""
    headers = {}
    if settings.retry_after == "seconds":
        headers["Retry-After"] = f"{settings.retry_after_seconds:g}"
    elif settings.retry_after == "date":
        moment = time.time() + settings.retry_after_seconds
        headers["Retry-After"] = email.utils.formatdate(moment, usegmt=True)
    return ApiError(429, "RATE_LIMIT_EXCEEDED", message, headers=headers)
