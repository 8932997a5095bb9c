"""Listings as AWS has them where moto has them otherwise: what is restored, and where versions begin."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode

from sandbox.s3 import kept
from sandbox.s3.answers import WsgiApp
from sandbox.s3.asked import Asked
from sandbox.s3.rules import Rules

_ENTRY = re.compile(rb"<(Contents|Version)>.*?<Key>(.*?)</Key>.*?(?=</\1>)", re.DOTALL)
_RESTORING = b"<RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus>"


class Listings:
    """WSGI middleware around moto."""

    def __init__(self, app: WsgiApp, rules: Rules) -> None:
        self._app, self._rules = app, rules

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        asked = Asked.of(environ)
        if not asked.lists:
            return self._app(environ, start_response)
        rules = self._rules.holding(asked.bucket, asked.covered)
        if any(rule.ignores_start_after for rule in rules):
            _replace(environ, **{"start-after": None, "key-marker": None})
        elif asked.versions and asked.query.get("key-marker") and "version-id-marker" not in asked.query:
            _begin_after(environ, asked)
        if environ.get("HTTP_X_AMZ_OPTIONAL_OBJECT_ATTRIBUTES") != "RestoreStatus":
            return self._app(environ, start_response)
        return self._with_restore_status(environ, start_response, asked)

    def _with_restore_status(
        self, environ: dict[str, Any], start_response: Callable[..., Any], asked: Asked
    ) -> Iterable[bytes]:
        told: list[Any] = []
        body = b"".join(self._app(environ, lambda *answer: told.extend(answer)))
        status, headers, *rest = told
        body = _ENTRY.sub(lambda entry: entry[0] + self._restore_status(asked, entry[2].decode()), body)
        length = ("Content-Length", str(len(body)))
        kept_headers = [pair for pair in headers if pair[0].lower() != "content-length"]
        start_response(status, [*kept_headers, length], *rest)
        return [body]

    def _restore_status(self, asked: Asked, text: str) -> bytes:
        """Return what follows in an entry; nothing where nothing was restored."""
        key = unquote_plus(text) if asked.query.get("encoding-type") == "url" else text
        if any(rule.restoring for rule in self._rules.holding(asked.bucket, key)):
            return _RESTORING
        found = kept.object_of(asked.bucket, key)
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


def _begin_after(environ: dict[str, Any], asked: Asked) -> None:
    """Have versions listed from the first key after the marker, whether that is a key or not.

    moto leaves out what comes first after a marker that it does not hold.
    """
    bucket = kept.bucket_of(asked.bucket)
    if bucket is None:
        return
    names = sorted(bucket.keys)
    place = bisect.bisect_right(names, asked.query["key-marker"])
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
