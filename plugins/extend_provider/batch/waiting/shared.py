"""The budget and the experience that all waits of a process share, for each connection."""

from __future__ import annotations

import dataclasses
import functools
import os
import threading
from typing import Final

from extend_provider.batch.waiting.budget import ReadBudget
from extend_provider.batch.waiting.experience import Experience
from extend_provider.client.pacing.limits import limits_of
from extend_provider.client.settings import ExtendSettings

#: Reads per second that Extend allows on the largest and on the smallest plan with a published limit.
LARGEST_PLAN: Final = 75.0
SMALLEST_PLAN: Final = 10.0


@dataclasses.dataclass(frozen=True, slots=True)
class SharedPace:
    """What the waits of one connection share."""

    budget: ReadBudget
    experience: Experience


_shared: dict[tuple[str, str], SharedPace] = {}
_lock = threading.Lock()


def shared_pace(settings: ExtendSettings) -> SharedPace:
    """Return what the waits of a connection share in this process; the settings read last hold for all."""
    key = settings.conn_id, settings.base_url
    with _lock:
        if key not in _shared:
            _shared[key] = SharedPace(ReadBudget(lambda: LARGEST_PLAN), Experience())
        shared = _shared[key]
        shared.budget.rate = functools.partial(read_rate, settings)
        return shared


def read_rate(settings: ExtendSettings) -> float:
    """Return of how many reads per second the waits of this process take their share.

    What a person says of the plan counts. Without that, it is the largest plan until Extend refuses a read,
    and what was learnt of the refusal afterwards: on a smaller plan, a thousand waits are refused in their
    first seconds. A process that only polls may have been refused because of what others sent, and never
    tries enough to learn that more is allowed, so it counts on the smallest plan at least; the pace of
    requests itself keeps to what was learnt.
    """
    if settings.requests_per_second is not None:
        return settings.requests_per_second
    limits = limits_of(settings)
    return max(limits.rate("read"), SMALLEST_PLAN) if limits.learnt("read") else LARGEST_PLAN


def forget_pace() -> None:
    """Forget all waits and what was seen of batches, as in a new process."""
    global _lock  # after a fork, another thread of the parent may have held it
    _lock = threading.Lock()
    _shared.clear()


os.register_at_fork(after_in_child=forget_pace)
