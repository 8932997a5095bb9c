"""Files as multipart forms that are read piece by piece, for both hooks."""

from __future__ import annotations

from requests_toolbelt import MultipartEncoder  # type: ignore[import-untyped]  # ships no types

from extend_provider.client.calls import Upload


class _Rest:
    """What is left to read of an upload; the encoder asks for the bytes left under the name ``len``."""

    def __init__(self, upload: Upload) -> None:
        upload.content.seek(upload.start)
        self._content = upload.content
        self.len = upload.size

    def read(self, size: int = -1) -> bytes:
        data = self._content.read(size)
        self.len -= len(data)
        return data


class Form:
    """An upload as a form, from the file's start: ``len`` bytes to read.

    Extend infers the type of the file from its name and content and ignores the part's own.
    """

    def __init__(self, upload: Upload) -> None:
        file = (upload.name, _Rest(upload), "application/octet-stream")
        self._encoder = MultipartEncoder({**upload.fields, "file": file})
        self.content_type: str = self._encoder.content_type
        self.len: int = self._encoder.len

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes, none at the end."""
        data: bytes = self._encoder.read(size)
        return data


def content_headers(body: Form | bytes | None) -> dict[str, str]:
    """Return the headers that describe a body; the length makes streaming do without chunked encoding."""
    if body is None:
        return {}
    if isinstance(body, bytes):
        return {"Content-Type": "application/json"}
    return {"Content-Type": body.content_type, "Content-Length": str(body.len)}
