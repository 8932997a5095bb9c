"""Key ranges: how a long listing is divided without knowing its keys.

S3 tells neither how many keys there are nor which is the last. But it lists from anywhere, in the order of
keys, so the characters that follow a prefix are found by skipping: ask for the first key, then for the first
one beyond all that share its next character, and so on. One request per character, a few dozen in all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from extend_pipeline.sources.objects import KeyRange

#: Ranges that are enough to keep several listings at work although some are much longer than others.
WANTED: Final = 16
#: Requests that finding them may take.
MOST_PROBES: Final = 64
#: The last character: with it, a text sorts after all keys that begin with what stands before it.
_LAST: Final = "\U0010ffff"


def divide(
    first_keys: Callable[[str, str], Sequence[str]],
    prefix: str,
    after: str,
    *,
    wanted: int = WANTED,
    most_probes: int = MOST_PROBES,
) -> list[KeyRange]:
    """Divide the keys below a prefix that sort after ``after``; the ranges adjoin, and hold all of them.

    Where the cuts lie is a guess from the characters that occur. That a key is in exactly one range is not:
    it holds for any cuts.

    :param first_keys: of a prefix and a text, returns the first two keys below the prefix after the text.
    :param wanted: divide no further once there are so many ranges; there may be fewer, or some more.
    :return: no range if there are no such keys.
    """
    left = most_probes

    def probe(stem: str, position: str) -> Sequence[str]:
        nonlocal left
        left -= 1
        return first_keys(stem, position) if left >= 0 else ()

    def branches(stem: str) -> list[str]:
        """Return the stems that are longer by one character; the stem itself if it holds a single key."""
        found: list[str] = []
        position = after
        while keys := probe(stem, position):
            if len(keys) == 1 and not found:
                return [stem]
            branch = keys[0][: len(stem) + 1]
            if branch == stem or branch in found[-1:]:
                position = keys[0]
            else:
                found.append(branch)
                position = branch + _LAST
        return found

    to_divide, whole = deque(branches(prefix)), list[str]()
    if not to_divide:
        return []
    while to_divide and left > 0 and len(to_divide) + len(whole) < wanted:
        stem = to_divide.popleft()
        longer = branches(stem)
        (whole if longer == [stem] else to_divide).extend(longer)
    cuts = sorted(stem + _LAST for stem in (*to_divide, *whole))[:-1]
    return [KeyRange(*pair) for pair in zip([after, *cuts], [*cuts, None], strict=True)]
