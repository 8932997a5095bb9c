"""How processes divide a limit: what each look changes, and that nothing is lost or made by looking."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import msgspec
import pytest

from extend_provider.client.pacing.level import Learnt
from extend_provider.client.pacing.shares import (
    GONE_SECONDS,
    LEAST,
    NOBODY,
    WORTH_SECONDS,
    Share,
    divide,
    kept,
    leave,
)

NOW = 1_000_000.0


def share(process: str, level: float, *, wants: bool = True, seen_at: float = NOW) -> Share:
    return Share(process, seen_at, wants, level, failures=3, step_at=NOW + 20)


def levels(shares: list[Share]) -> dict[str, float]:
    return {each.process: each.level for each in shares}


def looks(shares: list[Share], processes: str, rounds: int = 3) -> list[Share]:
    """Let each process look a few times."""
    for process in processes * rounds:
        (own,) = (each for each in shares if each.process == process)
        shares = divide(shares, own)
    return shares


def test_a_process_alone_keeps_what_it_has_learnt() -> None:
    assert levels(divide([], share("a", 75.0))) == {"a": 75.0, NOBODY: 0.0}


@pytest.mark.parametrize(
    ("shares", "away", "level"),
    [
        ([share("b", 40.0)], GONE_SECONDS, 0.0),
        ([share(NOBODY, 40.0)], GONE_SECONDS, 0.0),
        ([share("b", 40.0)], GONE_SECONDS - 0.1, 20.0),
        ([share("b", 20.0)], WORTH_SECONDS, 20.0),
        ([share("b", 40.0)], -GONE_SECONDS, 0.0),
        ([share("b", 20.0), share("a", 20.0)], GONE_SECONDS, 20.0),
        ([], GONE_SECONDS, 20.0),
    ],
    ids=[
        "divided",
        "spare",
        "just now",
        "long ago",
        "a clock that was set back",
        "still there",
        "a file that was removed",
    ],
)
def test_one_that_stood_still_has_nothing_once_others_have_divided_it(
    shares: list[Share], away: float, level: float
) -> None:
    assert kept(shares, share("a", 20.0), NOW - away).level == level


def test_a_process_that_has_learnt_nothing_has_nothing_to_share() -> None:
    assert levels(divide([], share("a", 0.0))) == {"a": 0.0, NOBODY: 0.0}


def test_the_next_one_takes_all_that_was_left_and_when_to_try_more() -> None:
    left = leave([], share("a", 75.0))
    own, spare = divide(left, Share("b", NOW + 5, wants=True))
    assert (own.level, spare.level) == (75.0, 0.0)
    assert own.learnt == Learnt(75.0, failures=3, step_in=15.0)


def test_one_that_has_learnt_itself_goes_on_with_when_it_tries_more() -> None:
    own = Share("a", NOW, wants=True, level=10.0, failures=5, step_at=NOW + 7)
    found = divide([share("b", 40.0), share(NOBODY, 20.0)], own)[0]
    assert found.learnt == Learnt(30.0, failures=5, step_in=7.0)


def test_one_that_begins_beside_others_waits_for_their_looks_and_has_an_equal_part() -> None:
    before = [share("a", 40.0), share("b", 35.0), Share("c", NOW, wants=True)]
    shares = divide(before, before[2])
    assert shares[0].level == LEAST
    assert shares[0].learnt == Learnt(LEAST, failures=3, step_in=20.0)
    assert levels(looks(shares, "abc")) == {"a": 25.0, "b": 25.0, "c": 25.0, NOBODY: 0.0}


@pytest.mark.parametrize(
    ("total", "parts"), [(10, [3, 3, 2, 2]), (75, [19, 19, 19, 18]), (3, [1, 1, 1, LEAST])]
)
def test_shares_are_whole_requests_and_differ_by_one(total: int, parts: list[float]) -> None:
    shares = [share("a", total), *(Share(process, NOW, wants=True) for process in "bcd")]
    found = levels(looks(shares, "abcd"))
    assert [found[process] for process in "abcd"] == parts
    assert found[NOBODY] == 0


def test_parts_of_a_request_add_up() -> None:
    shares = [share("a", 2.6), share("b", 2.7), share("c", 2.9)]
    found = levels(looks(shares, "abc"))
    assert found == pytest.approx({"a": 3, "b": 3, "c": 2, NOBODY: 0.2})


def test_of_those_that_end_others_have_everything_at_their_next_look() -> None:
    shares = looks([share("a", 75.0), *(Share(process, NOW, wants=True) for process in "bcd")], "abcd")
    for process in "abc":
        shares = leave(shares, next(each for each in shares if each.process == process))
    assert levels(looks(shares, "d", rounds=1)) == {"d": 75.0, NOBODY: 0.0}


def test_one_that_is_not_seen_any_more_has_ended() -> None:
    gone, silent = NOW - GONE_SECONDS, NOW - GONE_SECONDS + 0.1
    shares = divide([share("a", 40.0, seen_at=gone), share("b", 30.0, seen_at=silent)], share("c", 5.0))
    assert levels(shares) == {"c": 37.0, "b": 30.0, NOBODY: 8.0}


def test_what_was_left_long_ago_is_worth_nothing() -> None:
    old = [share(NOBODY, 40.0, seen_at=NOW - WORTH_SECONDS), share("a", 30.0, seen_at=NOW - WORTH_SECONDS)]
    assert levels(divide(old, Share("b", NOW, wants=True))) == {"b": 0.0, NOBODY: 0.0}
    newer = [share(NOBODY, 40.0, seen_at=NOW - WORTH_SECONDS + 0.1)]
    assert levels(divide(newer, Share("b", NOW, wants=True))) == {"b": 40.0, NOBODY: 0.0}


def test_what_is_given_now_is_not_as_old_as_what_was_spare_before() -> None:
    old = share(NOBODY, 0.4, seen_at=NOW - WORTH_SECONDS + 1)
    shares = divide([share("a", 40.0), old, Share("b", NOW, wants=True)], share("a", 40.0))
    (later,) = (each for each in shares if each.process == "b")
    taken = divide(shares, msgspec.structs.replace(later, seen_at=NOW + 2))[0]
    assert taken.level == 20.0


@pytest.mark.parametrize("seen_at", [NOW - GONE_SECONDS, NOW + GONE_SECONDS])
def test_a_clock_that_was_set_leaves_nobody_counted_for_ever(seen_at: float) -> None:
    assert levels(divide([share("a", 40.0, seen_at=seen_at)], share("b", 5.0))) == {"b": 45.0, NOBODY: 0.0}


def test_one_whose_requests_do_not_wait_neither_gives_nor_takes() -> None:
    idle = share("a", 60.0, wants=False)
    assert levels(divide([share("b", 4.0)], idle))["a"] == 60.0
    assert levels(divide([share(NOBODY, 9.0)], share("a", 4.0, wants=False)))["a"] == 4.0
    assert levels(divide([idle], share("b", 4.0))) == {"b": 4.0, "a": 60.0, NOBODY: 0.0}


def test_one_that_begins_beside_idle_ones_finds_the_limit_itself() -> None:
    assert divide([share("a", 60.0, wants=False)], Share("b", NOW, wants=True))[0].learnt is None


def test_a_share_below_one_request_is_kept_until_there_is_a_whole_one() -> None:
    own, spare, *_ = divide([share(NOBODY, 0.4)], share("a", 0.7))
    assert (own.level, spare.level) == (0.7, 0.4)
    own, spare, *_ = divide([share(NOBODY, 3.4)], share("a", 0.7))
    assert (own.level, spare.level) == pytest.approx((3.0, 0.4)), "it was made of nothing, maybe"


Levels = st.lists(st.floats(1, 200), min_size=1, max_size=8)


@hypothesis.given(Levels, st.integers(0, 4))
def test_nothing_is_lost_or_made_and_all_are_equal_after_a_few_looks(had: list[float], begin: int) -> None:
    processes = [chr(97 + number) for number in range(len(had) + begin)]
    begun_with = [*had, *[0.0] * begin]
    shares = [share(process, level) for process, level in zip(processes, begun_with, strict=True)]
    for _ in range(4):
        for process in processes:
            shares = looks(shares, process, rounds=1)
    found = levels(shares)
    spare = found.pop(NOBODY)
    whole = [level for level in found.values() if level >= 1]
    assert sum(whole) + spare == pytest.approx(sum(had))
    assert spare < 1.001
    assert max(found.values()) - min(found.values()) <= 1.001
    assert all(level == int(level) for level in whole)
