"""The document: what is discovered, sent, paid for and landed, and what makes two of them the same.

Invariant: the identity never depends on a run, a chunk or an attempt. It is the address of the object and the
tag of its content, so that the same content at the same place is always the same document.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Final, Literal

import msgspec

#: The final status of a document. All but the last are Extend's words for a settled run; a ``SKIPPED``
#: document was never sent.
DocumentStatus = Literal["PROCESSED", "NEEDS_REVIEW", "REJECTED", "FAILED", "CANCELLED", "SKIPPED"]

# The pipeline's own reasons; a failed run has Extend's failure reason instead.
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

#: The message of a row with ``OBJECT_ARCHIVED``.
ARCHIVED_MESSAGE = "The object lies in an archive. Restore it, and the next run over this address sends it."


def document_id(uri: str, content_tag: str) -> str:
    """Return the identity of the content found at ``uri``: 32 lower-case hexadecimal digits.

    :param uri: the object's address, e.g. ``s3://bucket/key``.
    :param content_tag: the object's version or ETag, without quotes.
    """
    return hashlib.sha256(f"{uri}\0{content_tag}".encode()).hexdigest()[:32]


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    """One discovered object; if it will not be sent, with the reason.

    :param uri: the address of the object, e.g. ``s3://bucket/key``, in a form that can be stored everywhere.
    :param etag: the ETag of the object as listed, without quotes.
    :param size_bytes: size in bytes; 0 if it is unknown.
    :param last_modified: RFC 3339, UTC; empty if it is unknown.
    :param status: None while the document is to be sent; otherwise its final status.
    :param reason: one of the reasons of this module, together with ``status``.
    :param message: the reason, explained to a person.
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
        """The identity of the document, see :func:`document_id`."""
        return document_id(self.uri, self.etag)

    @property
    def name(self) -> str:
        """The name of the file, or of the folder: the last segment of the address."""
        return self.uri.rstrip("/").rsplit("/", 1)[-1]

    def to_json(self) -> bytes:
        """Return the document as one line of JSON, with its identity."""
        return b'{"document_id":"' + self.id.encode() + b'",' + _ENCODER.encode(self)[1:]

    @classmethod
    def from_json(cls, line: bytes) -> Document:
        """Read what :meth:`to_json` wrote; other fields of the line are ignored."""
        return _DECODER.decode(line)


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Document)
