"""Looking again at many objects by a listing of their keys, which tells of a thousand at a time.

A listing costs as much as a dozen heads. It pays where the keys lie close together, as those of a chunk do
that came from a listing; where they do not, what is left is looked up one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, runtime_checkable

from extend_pipeline.sources.objects import Absent, Found, ListedPage, Located

#: Objects that a page has to tell of to be worth it.
FEWEST: Final = 16


@runtime_checkable
class ListsFromAnywhere(Protocol):
    """A store that can begin a listing at any key."""

    def page_from(self, prefix: Located, key: str) -> ListedPage | None:
        """Return one page that begins with a key; None if the store does not list so."""
        ...


def relist(store: ListsFromAnywhere, prefix: Located, keys: Sequence[str]) -> dict[str, Found | Absent]:
    """Return what a listing tells of objects, by their keys; those that it does not pay for are left out.

    :param keys: below the prefix, each once, in their order.
    """
    told: dict[str, Found | Absent] = {}
    if len(keys) < FEWEST:
        return told
    while left := keys[len(told) :]:
        page = store.page_from(prefix, left[0])
        if page is None:
            break
        covered = [key for key in left if page.through is None or key <= page.through]
        told |= {key: page.found.get(key, Absent()) for key in covered}
        if len(covered) < FEWEST:
            break
    return told
