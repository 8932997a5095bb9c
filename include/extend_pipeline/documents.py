"""The document: what is discovered, sent, paid for and landed, and what makes two of them the same.

Invariant: the identity never depends on a run, a chunk or an attempt. It is the object's address and its
content's tag, so that whoever finds the same content at the same place finds the same document.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Final, Literal

import msgspec

#: How a document can end. All but the last are Extend's own words for a settled run; ``SKIPPED`` documents
#: were never sent.
DocumentStatus = Literal["PROCESSED", "NEEDS_REVIEW", "REJECTED", "FAILED", "CANCELLED", "SKIPPED"]

# Reasons that are ours; a failed run carries Extend's own failure reason instead.
EMPTY_FILE = "EMPTY_FILE"
UNSUPPORTED_FILE_TYPE = "UNSUPPORTED_FILE_TYPE"
SYSTEM_FILE = "SYSTEM_FILE"
NOT_A_FILE = "NOT_A_FILE"
NAME_UNUSABLE = "NAME_UNUSABLE"
SIZE_UNKNOWN = "SIZE_UNKNOWN"
OBJECT_UNIDENTIFIED = "OBJECT_UNIDENTIFIED"
OBJECT_DELETED = "OBJECT_DELETED"
OBJECT_REPLACED = "OBJECT_REPLACED"
OBJECT_FORBIDDEN = "OBJECT_FORBIDDEN"
OBJECT_UNREADABLE = "OBJECT_UNREADABLE"
OBJECT_UNREACHABLE = "OBJECT_UNREACHABLE"
OBJECT_ARCHIVED = "OBJECT_ARCHIVED"
RUN_MISSING = "RUN_MISSING"
RUN_DELETED = "RUN_DELETED"

#: What a row with ``OBJECT_ARCHIVED`` says.
ARCHIVED_MESSAGE = "The object lies in an archive. Restore it, and the next run over this address sends it."


def document_id(uri: str, content_tag: str) -> str:
    """Return the identity of the content found at ``uri``: 32 lower-case hexadecimal digits.

    :param uri: the object's address, e.g. ``s3://bucket/key``.
    :param content_tag: the object's version or ETag, without quotes.
    """
    return hashlib.sha256(f"{uri}\0{content_tag}".encode()).hexdigest()[:32]


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    """One discovered object, and, when it is already known, why it will not be sent.

    :param uri: address of the object, e.g. ``s3://bucket/key``, as it can be written everywhere.
    :param etag: the object's ETag as listed, without quotes.
    :param size_bytes: size in bytes; 0 if it is not known.
    :param last_modified: RFC 3339, UTC; empty if it is not known.
    :param status: None while the document is to be sent; otherwise how it ended without being sent.
    :param reason: one of this module's reasons, together with ``status``.
    :param message: the reason in a sentence for a person.
    """

    uri: str
    etag: str
    size_bytes: int
    last_modified: str
    status: DocumentStatus | None = None
    reason: str | None = None
    message: str | None = None

    @property
    def id(self) -> str:
        """The document's identity, see :func:`document_id`."""
        return document_id(self.uri, self.etag)

    @property
    def name(self) -> str:
        """The file's name: what stands after the last slash of the address, or the folder's."""
        return self.uri.rstrip("/").rsplit("/", 1)[-1]

    def to_json(self) -> bytes:
        """Return the document as one line of JSON, its identity included."""
        return b'{"document_id":"' + self.id.encode() + b'",' + _ENCODER.encode(self)[1:]

    @classmethod
    def from_json(cls, line: bytes) -> Document:
        """Read a document back from what :meth:`to_json` wrote, whatever else the line tells of it."""
        return _DECODER.decode(line)


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Document)
