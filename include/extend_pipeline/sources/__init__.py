"""Where documents come from: stores that list, look up, sign and read objects. They know no settings.

``addresses`` parses what a DAG author writes, ``objects`` defines the interface of a store, and
:class:`Stores` opens the store of an address. Each kind of store is a module: ``s3``, ``object_storage``,
``local``, ``web``.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from extend_pipeline.sources.addresses import SourceItem
from extend_pipeline.sources.objects import (
    Absent,
    Forbidden,
    Found,
    Located,
    ObjectChangedError,
    Seen,
    Store,
    Unusable,
    canonical,
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

    def listing_of(self, place: Located) -> Located | None:
        """Return the prefix of the source whose listing has the object; None if it was named itself."""
        for item in self._source:
            if item.is_prefix and item.covers(*place):
                return item.place
        return None

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
