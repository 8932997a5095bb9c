"""A long listing divided into ranges: whatever the keys, each of them is in exactly one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_pipeline.sources import KeyRange
from extend_pipeline.sources.s3.key_ranges import divide

#: Few characters, so that keys share beginnings; the last two are the ends of what a key may hold.
KEYS = st.lists(st.text(alphabet="ab/é\U0010ffff", max_size=6), unique=True, max_size=60).map(sorted)


class Lister:
    """A store that lists as S3 does, and counts."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys, self.requests = keys, 0

    def first_keys(self, prefix: str, after: str) -> list[str]:
        self.requests += 1
        following = (key for key in self.keys[bisect_right(self.keys, after) :] if key.startswith(prefix))
        return [key for key, _ in zip(following, range(2), strict=False)]


def holders(key: str, ranges: list[KeyRange]) -> int:
    return sum(each.after < key and (each.until is None or key <= each.until) for each in ranges)


@given(KEYS, st.sampled_from(["", "a", "ab/"]), st.integers(1, 12), st.integers(1, 40), st.data())
def test_each_key_is_in_exactly_one_range(
    keys: list[str], prefix: str, wanted: int, most_probes: int, data: st.DataObject
) -> None:
    below = [key for key in keys if key.startswith(prefix)]
    after = data.draw(st.sampled_from(below)) if below else prefix
    lister = Lister(keys)
    ranges = divide(lister.first_keys, prefix, after, wanted=wanted, most_probes=most_probes)
    rest = [key for key in below if key > after]
    assert lister.requests <= most_probes
    assert [holders(key, ranges) for key in rest] == [1] * len(rest)
    assert bool(ranges) == bool(rest)
    assert not ranges or (ranges[0].after, ranges[-1].until) == (after, None)


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param([], id="nothing"),
        pytest.param([f"in/{number:032x}.pdf" for number in range(0, 1 << 128, 1 << 118)], id="hashes"),
        pytest.param([f"in/{n:06}.pdf" for n in range(50_000)], id="numbers in one folder"),
        pytest.param([f"in/{2024 + n // 365}/{n % 365:03}/a.pdf" for n in range(1000)], id="days"),
    ],
)
def test_usual_keys_are_divided_evenly_enough(keys: list[str]) -> None:
    ranges = divide(Lister(keys).first_keys, "in/", "")
    sizes = [sum(holders(key, [each]) for key in keys) for each in ranges]
    assert sum(sizes) == len(keys)
    # With ranges this even, eight at a time take a quarter of the time of one.
    assert max(sizes, default=0) <= len(keys) / 4
