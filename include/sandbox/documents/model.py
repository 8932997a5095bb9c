"""Sample objects and the truth about them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

from sandbox.reading import DocumentType, Kind

Status = Literal["PROCESSED", "FAILED", "SKIPPED"]


@dataclasses.dataclass(frozen=True, slots=True)
class TruthPart:
    """One document of several in a file: its pages there, from 1, and what a perfect extractor returns."""

    type: DocumentType
    first_page: int
    last_page: int
    value: dict[str, Any] | None


@dataclasses.dataclass(frozen=True, slots=True)
class Truth:
    """What has to become of an object on its way to the warehouse.

    :param key: the object's key.
    :param status: how its row ends when every run succeeds that can.
    :param reason: why it is not ``PROCESSED``; a failed run's ``failureReason`` or the pipeline's own reason.
    :param kind: what a classifier calls it; None for a document of no known kind and an unreadable file.
    :param value: what a perfect extractor for ``kind`` returns; None without a kind.
    :param code: for an unreadable file, the precise word within the failed run's ``failureMessage``.
    :param parts: of a file with several documents, what stands where; it has no kind of its own.
    """

    key: str
    status: Status = "PROCESSED"
    reason: str | None = None
    kind: Kind | None = None
    value: dict[str, Any] | None = None
    code: str | None = None
    parts: tuple[TruthPart, ...] = ()

    def to_json(self) -> str:
        """Return the truth as one line of JSON."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)

    @classmethod
    def from_mapping(cls, record: Mapping[str, Any]) -> Truth:
        """Read a truth back from what :meth:`to_json` wrote."""
        return cls(**{**record, "parts": tuple(TruthPart(**part) for part in record.get("parts", ()))})


@dataclasses.dataclass(frozen=True, slots=True)
class SampleObject:
    """An object to be stored in S3, and the truth about it."""

    key: str
    data: bytes = dataclasses.field(repr=False)
    truth: Truth


@dataclasses.dataclass(frozen=True, slots=True)
class SampleFile:
    """The content of a document, before it has a key.

    :param suffix: extension of the file's name, with its dot.
    :param value: what a perfect extractor for ``kind`` returns.
    """

    type: DocumentType
    suffix: str
    data: bytes = dataclasses.field(repr=False)
    value: dict[str, Any] | None = None


def money(amount: Decimal) -> float:
    """An exact amount as the JSON number that extraction returns."""
    return float(amount)
