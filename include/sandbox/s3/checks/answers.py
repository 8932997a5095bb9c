"""Refusals of S3: status, code and text as in AWS; the answer to a HEAD has no body."""

from __future__ import annotations

import http
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Refusal(NamedTuple):
    """An error answer.

    :param details: further elements of the XML body, ``{"Region": "eu-central-1"}``.
    :param headers: further headers.
    """

    status: int
    code: str
    message: str
    details: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}

    def answer(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Send it (PEP 3333)."""
        fields = {"Code": self.code, "Message": self.message, **self.details}
        elements = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in fields.items())
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{elements}</Error>'.encode()
        if environ["REQUEST_METHOD"] == "HEAD":
            body = b""
        phrase = http.HTTPStatus(self.status).phrase
        length = [] if environ["REQUEST_METHOD"] == "HEAD" else [("Content-Length", str(len(body)))]
        headers = [("Content-Type", "application/xml"), *length, *self.headers.items()]
        start_response(f"{self.status} {phrase}", headers)
        return [body]


def denied(message: str = "Access Denied", **headers: str) -> Refusal:
    """Return 403 ``AccessDenied``."""
    return Refusal(403, "AccessDenied", message, headers={k.replace("_", "-"): v for k, v in headers.items()})
