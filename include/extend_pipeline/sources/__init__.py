"""Where documents come from: stores that list, look up, sign and read objects. They know no settings.

``addresses`` parses what a DAG author writes, ``objects`` defines the interface of a store, and
:class:`Stores` opens the store of an address. Each kind of store is a module: ``s3``, ``object_storage``,
``local``, ``web``.
"""

from __future__ import annotations

import posixpath
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from extend_pipeline.sources.addresses import SourceItem
from extend_pipeline.sources.objects import (
    LOOK_UPS,
    Absent,
    Forbidden,
    Found,
    ListsFromAnywhere,
    Located,
    ObjectChangedError,
    Seen,
    Store,
    Unusable,
    canonical,
    relist,
)

__all__ = [
    "Absent",
    "Forbidden",
    "Found",
    "Located",
    "ObjectChangedError",
    "Seen",
    "Store",
    "Stores",
    "Unusable",
    "canonical",
]


class Stores:
    """The stores of a run's addresses, each opened once.

    :param source: the addresses.
    :param aws_conn_id: the connection that opens S3.
    :param source_conn_id: the connection that opens any other store; None for the library's default
        credentials.
    """

    def __init__(
        self, source: Sequence[SourceItem], *, aws_conn_id: str, source_conn_id: str | None = None
    ) -> None:
        self._source = source
        self._aws_conn_id, self._source_conn_id = aws_conn_id, source_conn_id
        self._opened: dict[str, Store] = {}
        self._lock = threading.Lock()

    def of(self, root: str) -> Store:
        """Return the store of addresses that begin with ``root``, such as ``s3://bucket`` or ``file://``.

        :raises PipelineInputError: if no installed provider reads such addresses.
        """
        scheme = root.partition("://")[0]
        key = scheme if scheme in ("s3", "https") else root
        with self._lock:
            if key not in self._opened:
                self._opened[key] = self._open(scheme, root)
            return self._opened[key]

    def look_up(self, places: Sequence[Located], modified: Sequence[str] | None = None) -> list[Seen]:
        """Return each object as it is now: by listings where these are cheaper, otherwise one by one.

        :param places: distinct ones.
        :param modified: when each was last modified, as far as that is known, to find out whether its bucket
            keeps versions. Without it no version is needed.
        """
        listed = self._listed(places, dict(zip(places, modified, strict=True)) if modified else {})

        def look(place: Located) -> Seen:
            seen = listed.get(place)
            # Some stores list a new object late, and what was named has been in no listing before.
            late = isinstance(seen, Absent) and self._prefix_of(place) is None
            return self.of(place.root).look_up(place) if seen is None or late else seen

        with ThreadPoolExecutor(LOOK_UPS) as pool:
            return list(pool.map(look, places))

    def _listed(
        self, places: Sequence[Located], modified: Mapping[Located, str]
    ) -> dict[Located, Found | Absent]:
        listed: dict[Located, Found | Absent] = {}
        for prefix, below in self._prefixes(places).items():
            store = self.of(prefix.root)
            if isinstance(store, ListsFromAnywhere):
                newest = max(below, key=modified.__getitem__).key if modified else None
                seen = relist(store, prefix, sorted(place.key for place in below), newest)
                listed |= {Located(prefix.root, key): each for key, each in seen.items()}
        return listed

    def _prefixes(self, places: Sequence[Located]) -> dict[Located, list[Located]]:
        """Divide objects by the prefix to list: that of the source, or the folder of all that were named."""
        found: dict[Located, list[Located]] = {}
        named: dict[str, list[Located]] = {}
        for place in places:
            prefix = self._prefix_of(place)
            group = named.setdefault(place.root, []) if prefix is None else found.setdefault(prefix, [])
            group.append(place)
        for root, group in named.items():
            folder = posixpath.commonprefix([place.key for place in group]).rpartition("/")
            found.setdefault(Located(root, "".join(folder[:2])), []).extend(group)
        return found

    def _prefix_of(self, place: Located) -> Located | None:
        """Return the prefix of the source that covers an object; None if it was named itself."""
        covering = (item.place for item in self._source if item.is_prefix and item.covers(*place))
        return next(covering, None)

    def _open(self, scheme: str, root: str) -> Store:
        # Imported here, because each brings the libraries of its own kind.
        if scheme == "s3":
            from extend_pipeline.sources.s3.store import S3Store

            return S3Store.connect(self._aws_conn_id)
        if scheme == "https":
            from extend_pipeline.sources.web import WebStore

            return WebStore()
        if scheme == "file":
            from extend_pipeline.sources.local import LocalStore

            return LocalStore()
        from extend_pipeline.sources.object_storage import PathStore

        return PathStore.connect(root, self._source_conn_id)
