"""Corrects moto's listings where AWS differs: the restore status, and the start of a listing of versions."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode

from sandbox.s3 import moto_state
from sandbox.s3.checks.answers import WsgiApp
from sandbox.s3.checks.request import S3Request
from sandbox.s3.checks.rules import Rules

_ENTRY = re.compile(rb"<(Contents|Version)>.*?<Key>(.*?)</Key>.*?(?=</\1>)", re.DOTALL)
_RESTORING = b"<RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus>"


class Listings:
    """WSGI middleware around moto that corrects listings."""

    def __init__(self, app: WsgiApp, rules: Rules) -> None:
        self._app, self._rules = app, rules

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        request = S3Request.of(environ)
        if not request.lists:
            return self._app(environ, start_response)
        rules = self._rules.holding(request.bucket, request.covered)
        if any(rule.ignores_start_after for rule in rules):
            _replace(environ, **{"start-after": None, "key-marker": None})
        elif (
            request.versions and request.query.get("key-marker") and "version-id-marker" not in request.query
        ):
            _begin_after(environ, request)
        if environ.get("HTTP_X_AMZ_OPTIONAL_OBJECT_ATTRIBUTES") != "RestoreStatus":
            return self._app(environ, start_response)
        return self._with_restore_status(environ, start_response, request)

    def _with_restore_status(
        self, environ: dict[str, Any], start_response: Callable[..., Any], request: S3Request
    ) -> Iterable[bytes]:
        response: list[Any] = []
        body = b"".join(self._app(environ, lambda *answer: response.extend(answer)))
        status, headers, *rest = response
        body = _ENTRY.sub(lambda entry: entry[0] + self._restore_status(request, entry[2].decode()), body)
        length = ("Content-Length", str(len(body)))
        kept_headers = [pair for pair in headers if pair[0].lower() != "content-length"]
        start_response(status, [*kept_headers, length], *rest)
        return [body]

    def _restore_status(self, request: S3Request, text: str) -> bytes:
        """Return the ``RestoreStatus`` of an entry; empty if it was not restored."""
        key = unquote_plus(text) if request.query.get("encoding-type") == "url" else text
        if any(rule.restoring for rule in self._rules.holding(request.bucket, key)):
            return _RESTORING
        found = moto_state.object_of(request.bucket, key)
        header = "" if found is None else str(found.response_dict.get("x-amz-restore", ""))
        if found is None or not header:
            return b""
        if 'ongoing-request="true"' in header:
            return _RESTORING
        until = f"{found._expiry:%Y-%m-%dT%H:%M:%S.000Z}"
        return (
            "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>"
            f"<RestoreExpiryDate>{until}</RestoreExpiryDate></RestoreStatus>"
        ).encode()


def _begin_after(environ: dict[str, Any], request: S3Request) -> None:
    """Make a listing of versions start at the first key after the marker.

    moto omits the first entries after a marker that is not an existing key.
    """
    bucket = moto_state.bucket_of(request.bucket)
    if bucket is None:
        return
    names = sorted(bucket.keys)
    place = bisect.bisect_right(names, request.query["key-marker"])
    if place == 0:
        _replace(environ, **{"key-marker": None})
        return
    last = names[place - 1]
    oldest = min(bucket.keys.getlist(last), key=lambda each: each.last_modified)
    _replace(environ, **{"key-marker": last, "version-id-marker": str(oldest.version_id)})


def _replace(environ: dict[str, Any], **values: str | None) -> None:
    pairs = parse_qsl(environ["QUERY_STRING"], keep_blank_values=True)
    kept_pairs = [pair for pair in pairs if pair[0] not in values]
    kept_pairs += [(name, value) for name, value in values.items() if value is not None]
    environ["QUERY_STRING"] = urlencode(kept_pairs)
    # moto reads the query from here.
    path = environ["RAW_URI"].partition("?")[0]
    environ["RAW_URI"] = environ["REQUEST_URI"] = f"{path}?{environ['QUERY_STRING']}"
