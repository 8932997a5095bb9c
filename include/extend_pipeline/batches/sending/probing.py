"""Probing: check, by a request like those of Extend, that it can read the documents, before anything is paid.

One byte of a few objects of each folder, and of each encryption key, is read through a presigned URL. Rights
are granted for folders and keys: if no probed object of one can be read, a setting is wrong, and the run
stops and names what is missing. If some can be read, the others become rows with a reason.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias, runtime_checkable

from extend_pipeline.batches.sending.inputs import Checked
from extend_pipeline.documents import OBJECT_FORBIDDEN, Document
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.sources import Located, Stores

if TYPE_CHECKING:
    from extend_pipeline.sources.s3.answers import Answer

#: How many groups are probed in a run, and how many objects of each if the first one cannot be read.
GROUPS: Final = 64
EACH: Final = 3
#: Objects probed at the same time.
_PARALLEL: Final = 16


@runtime_checkable
class Probes(Protocol):
    """A store that can test whether a presigned URL reads an object."""

    def try_reading(self, place: Located, version: str | None) -> Answer | None:
        """Return the store's refusal; None if the object can be read."""
        ...

    def encrypted_by(self, place: Located) -> str:
        """Return the key that encrypts the object; empty if the store does not report it."""
        ...


class Group(NamedTuple):
    """Objects that probably have the same access rights."""

    root: str
    folder: str
    policy: str

    @classmethod
    def of(cls, item: Checked) -> Group:
        """Return the group of a document."""
        place = Located.of(item.document.uri)
        return cls(place.root, place.key.rpartition("/")[0], item.policy)

    @property
    def mark(self) -> int:
        """A pseudo-random number by which groups are chosen; the same in every attempt."""
        return zlib.crc32("/".join(self).encode("utf-8", "surrogatepass"))


Groups: TypeAlias = Mapping[Group, Sequence[Checked]]


def sample(items: Iterable[Checked]) -> dict[Group, list[Checked]]:
    """Return the first two and the last document of up to :data:`GROUPS` groups, spread over all of them."""
    kept: dict[Group, list[Checked]] = {}
    highest: Group | None = None
    for item in items:
        group = Group.of(item)
        if group not in kept:
            if highest is not None:
                if group.mark >= highest.mark:
                    continue
                del kept[highest]
            kept[group] = []
            highest = max(kept, key=lambda each: each.mark) if len(kept) == GROUPS else None
        kept[group][EACH - 1 :] = [item]
    return kept


def check_rights(stores: Stores, documents: Iterable[Document], conn_id: str) -> None:
    """Check that the documents of a plan can be read, before the plan is carried out.

    :param conn_id: of the connection that reads them.
    :raises PipelineInputError: if nothing of a folder with several documents can be read, or nothing at all.
    """
    asked = (Checked(document) for document in documents)
    groups = sample(item for item in asked if isinstance(stores.of(_root(item)), Probes))
    _try_groups(stores, groups).check(stores, groups, conn_id)


def probed(stores: Stores, checked: Sequence[Checked], conn_id: str) -> list[Checked]:
    """Probe a few of a chunk's objects again right before they are sent; return all documents, in order.

    One that cannot be read ends as FAILED. If versions cannot be read (``s3:GetObjectVersion``), they are
    left out of what is sent: the object was checked just now, so it is still the one that was found.

    :raises PipelineInputError: see :func:`check_rights`.
    """
    sendable = [item for item in checked if item.document.status is None]
    groups = sample(item for item in sendable if isinstance(stores.of(_root(item)), Probes))
    # The plan has probed the folders: of those of a chunk the first and the last are enough.
    folders = [group for group in groups if not group.policy]
    for group in folders[1:-1]:
        del groups[group]
    tried = _try_groups(stores, groups)
    tried.check(stores, groups, conn_id)
    return [tried.applied_to(item) for item in checked]


@dataclasses.dataclass
class _Tried:
    """Answers of the store.

    :ivar refused: objects that cannot be read, by address.
    :ivar unversioned: roots whose objects can be read, but not by their version.
    """

    refused: dict[str, Answer] = dataclasses.field(default_factory=dict)
    unversioned: set[str] = dataclasses.field(default_factory=set)

    def check(self, stores: Stores, groups: Groups, conn_id: str) -> None:
        """Check that no group is refused as a whole.

        :raises PipelineInputError: it names the missing right and how to grant it.
        """
        whole = [items for items in groups.values() if all(self._is_refused(item) for item in items)]
        certain = [items for items in whole if len(items) > 1]
        if not certain and (len(whole) < len(groups) or len(whole) < 2):
            return
        first = (certain or whole)[0][0].document
        place = Located.of(first.uri)
        store = stores.of(place.root)
        answer = self.refused[first.uri]
        what, how = answer.lacks(encrypted_by=store.encrypted_by(place) if isinstance(store, Probes) else "")
        folders = sorted({"/".join(filter(None, Group.of(items[0])[:2])) + "/" for items in certain or whole})
        more = f" and {len(folders) - 3:,} more folders" if len(folders) > 3 else ""
        raise PipelineInputError(
            f"Extend could read nothing below {', '.join(folders[:3])}{more}. Missing: {what}. Nothing was "
            f"sent to Extend. {how[0].upper()}{how[1:]}, for the identity of the connection "
            f"{conn_id!r}; then clear this task. S3 answered {answer.status} {answer.code} to one byte of "
            f"{first.uri!r}" + (f": {answer.message}" if answer.message else ".")
        )

    def _is_refused(self, item: Checked) -> bool:
        return item.document.uri in self.refused

    def applied_to(self, item: Checked) -> Checked:
        """Return a document with the status that the probes give it."""
        if item.document.status is not None:
            return item
        if (answer := self.refused.get(item.document.uri)) is not None:
            why = answer.refusal()
            ended = dataclasses.replace(item.document, status="FAILED", reason=OBJECT_FORBIDDEN, message=why)
            return dataclasses.replace(item, document=ended)
        return dataclasses.replace(item, version_id=None) if _root(item) in self.unversioned else item


def _try_groups(stores: Stores, groups: Groups) -> _Tried:
    """Probe the first object of each group, and the others of a group whose first cannot be read."""
    tried = _Tried()

    def attempt(item: Checked) -> bool:
        place = Located.of(item.document.uri)
        store = stores.of(place.root)
        if not isinstance(store, Probes):
            return True
        answer = store.try_reading(place, item.version_id)
        if answer is not None and item.version_id and (answer := store.try_reading(place, None)) is None:
            tried.unversioned.add(place.root)
        if answer is not None:
            tried.refused[item.document.uri] = answer
        return answer is None

    with concurrent.futures.ThreadPoolExecutor(_PARALLEL) as pool:
        may_read = list(pool.map(attempt, [items[0] for items in groups.values()]))
        doubtful = [items for items, fine in zip(groups.values(), may_read, strict=True) if not fine]
        list(pool.map(attempt, [item for items in doubtful for item in items[1:]]))
    return tried


def _root(item: Checked) -> str:
    return Located.of(item.document.uri).root
