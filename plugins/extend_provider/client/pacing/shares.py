"""How the processes of a machine divide what they have learnt of a limit: decided without clock or I/O.

Each process has a share, in whole requests. Now and then it looks at all shares, which are kept in one place:
what it has above an equal part it makes spare, and what it has below it takes from what is spare. The share
of a process that ends, or is not seen any more, is spare. So a task that begins is soon where the others are,
nothing of the limit is left unused when one ends, and what one learns is everybody's.

Only processes that the limit keeps waiting take part: one that asks little leaves the limit to the others,
and one at work that was not refused yet finds its part itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from extend_provider.client.pacing.level import Learnt

#: Seconds after which a process that was not seen has ended, and after which a spare share is worth nothing.
GONE_SECONDS, WORTH_SECONDS = 10.0, 600.0
#: Level at which a process begins if the others have everything, until they have looked and made room.
LEAST: Final = 0.5
#: The process of the spare share.
NOBODY: Final = ""


class Share(msgspec.Struct, frozen=True):
    """What one process has of a limit. Times are seconds since the epoch.

    :param process: what tells it from others; :data:`NOBODY` if the share is spare.
    :param seen_at: when the process has looked; of the spare share, when anybody last has.
    :param wants: whether it begins, or the limit has kept its requests waiting just now.
    :param level: requests in one period; 0 while nothing is learnt.
    :param failures: see :data:`~extend_provider.client.pacing.level.MOST_FAILURES`.
    :param step_at: when a higher level is tried next.
    """

    process: str
    seen_at: float
    wants: bool = False
    level: float = 0.0
    failures: int = 0
    step_at: float = 0.0

    @classmethod
    def of(cls, process: str, now: float, learnt: Learnt | None, *, wants: bool = False) -> Share:
        """Return what a process has."""
        if learnt is None:
            return cls(process, now, wants)
        return cls(process, now, wants, learnt.level, learnt.failures, now + learnt.step_in)

    @property
    def learnt(self) -> Learnt | None:
        """What a process may go on with."""
        if not self.level:
            return None
        return Learnt(self.level, self.failures, self.step_at - self.seen_at)


def kept(shares: Sequence[Share], own: Share, looked_at: float) -> Share:
    """Return what a process still has: nothing if it stood still for so long that others have divided it.

    A machine that was suspended goes on with all its processes, each of which seems gone to the others. After
    :data:`WORTH_SECONDS`, its share was worth nothing to them, and it keeps it.

    :param looked_at: when the process has looked before.
    """
    is_there = not shares or any(each.process == own.process for each in shares)
    was_away = GONE_SECONDS <= abs(own.seen_at - looked_at) < WORTH_SECONDS
    return msgspec.structs.replace(own, level=0.0) if was_away and not is_there else own


def divide(shares: Sequence[Share], own: Share) -> list[Share]:
    """Return the shares after a look of one process; the first one is its own.

    :param own: as it is at the time of the look.
    """
    others, spare = _others(shares, own), _spare(shares, own)
    partners = [each for each in others if each.wants]
    total = own.level + spare.level + sum(each.level for each in partners)
    if own.wants and total:
        known = own if own.level else max([spare, *partners], key=lambda each: each.level)
        target = _target(own.process, [each.process for each in partners], total)
        level, left = _towards(target, own.level, spare.level)
        own = msgspec.structs.replace(own, level=level, failures=known.failures, step_at=known.step_at)
        spare = msgspec.structs.replace(spare, level=left, seen_at=own.seen_at)
    return [own, *others, spare]


def leave(shares: Sequence[Share], own: Share) -> list[Share]:
    """Return the shares after the end of a process."""
    left = msgspec.structs.replace(own, process=NOBODY)
    return [*_others(shares, own), _spare([*shares, left], own)]


def _target(process: str, partners: Iterable[str], total: float) -> int:
    """Return an equal part in whole requests, as each of the partners computes it.

    A part of a request would be of no use to a process, but is to all of them together.
    """
    all_of_them = sorted([process, *partners])
    each, more = divmod(math.floor(total), len(all_of_them))
    return each + (all_of_them.index(process) < more)


def _towards(target: int, has: float, left: float) -> tuple[float, float]:
    """Return the level of a process, and what is spare then.

    A level below one request, which a process may have begun with, is worth nothing to others.
    """
    whole = has if has >= 1 else 0.0
    level = math.floor(min(target, whole + left))
    return (level, left + whole - level) if level else (max(has, LEAST), left)


def _others(shares: Iterable[Share], own: Share) -> list[Share]:
    """Return the shares of the other processes at work."""
    return [each for each in shares if each.process != own.process and not _is_over(each, own)]


def _spare(shares: Iterable[Share], own: Share) -> Share:
    """Return in one what those have left that are not at work any more."""
    over = [each for each in shares if each.process != own.process and _is_over(each, own)]
    worth = [each for each in over if each.level and own.seen_at - each.seen_at < WORTH_SECONDS]
    latest = max(worth, key=lambda each: each.seen_at, default=own)
    level = sum(each.level for each in worth)
    return msgspec.structs.replace(latest, process=NOBODY, wants=False, level=level)


def _is_over(share: Share, own: Share) -> bool:
    return share.process == NOBODY or abs(own.seen_at - share.seen_at) >= GONE_SECONDS
