"""Where a pipeline's documents are: a class for each kind of store."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from extend_pipeline.config.arrivals import Arrivals
from extend_pipeline.config.checked import Checked, Templated
from extend_pipeline.exceptions import PipelineInputError


@dataclasses.dataclass(frozen=True)
class Source(Checked):
    """What the kinds of sources have in common; see :class:`S3`."""

    address: Templated[str | Sequence[str]]
    _: dataclasses.KW_ONLY
    glob: Templated[str] | None = None
    modified_from: Templated[dt.date] | None = None
    modified_to: Templated[dt.date] | None = None
    conn_id: Templated[str] | None = None

    _settings: ClassVar[Mapping[str, str]] = {"address": "source", "conn_id": "source_conn_id"}
    #: Which addresses the object takes; any, if there are none.
    _schemes: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        written = [self.address] if isinstance(self.address, str) else self.address
        for address in written if self._schemes and isinstance(written, Sequence) else ():
            begin = re.match(r"\s*([a-z][a-z0-9+.-]*)://", address) if isinstance(address, str) else None
            if begin and begin[1] not in self._schemes:
                raise PipelineInputError(
                    f"{type(self).__name__}.address: must begin with {self._schemes[0]}://, is {address!r}"
                )
        super().__post_init__()


@dataclasses.dataclass(frozen=True)
class S3(Source):
    """Documents in S3.

    :param address: a prefix to list, ``s3://bucket/folder/``; or several addresses, a list or a line each, of
        which those that end in ``/`` are prefixes and the others single objects. It may be empty only where
        ``reprocess="failed"`` looks the documents up in the warehouse.
    :param glob: only objects whose key, after the prefix, matches; see :mod:`extend_pipeline.sources.globs`.
    :param modified_from: only objects last modified at this time or later, UTC without a zone.
    :param modified_to: only objects last modified before this time.
    :param conn_id: the AWS connection that reads them.
    """

    conn_id: Templated[str] | None = "aws_default"

    _settings: ClassVar[Mapping[str, str]] = {"address": "source", "conn_id": "aws_conn_id"}
    _schemes: ClassVar[tuple[str, ...]] = ("s3", "s3a", "s3n")


@dataclasses.dataclass(frozen=True)
class GCS(Source):
    """Documents in Google Cloud Storage, ``gs://bucket/folder/``; see :class:`S3` for the other fields.

    :param conn_id: the connection that reads them; without it, what Google's library finds.
    """

    _schemes: ClassVar[tuple[str, ...]] = ("gs", "gcs")


@dataclasses.dataclass(frozen=True)
class Azure(Source):
    """Documents in Azure Blob Storage, ``abfs://container/folder/``; see :class:`S3` for the other fields.

    :param conn_id: the connection that reads them; without it, what Azure's library finds.
    """

    _schemes: ClassVar[tuple[str, ...]] = ("abfs", "abfss", "adl")


@dataclasses.dataclass(frozen=True)
class Files(Source):
    """Documents at any addresses, of one store or of several; see :class:`S3` for the other fields.

    It takes ``file:///folder/`` (all workers must see the same), ``https://host/a.pdf`` (single documents),
    whatever else Airflow's object storage knows, and the addresses of the other classes. An address that is
    given as plain text, without any of these objects, is read like this.

    :param conn_id: the connection that reads what is not in S3; S3 is read through ``aws_default``.
    """


def source_settings(source: Any) -> dict[str, Any]:
    """Return what the first task renders of a source; plain addresses are read like :class:`Files`."""
    return source.to_settings() if isinstance(source, Source | Arrivals) else {"source": source}
