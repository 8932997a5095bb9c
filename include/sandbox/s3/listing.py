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
        return _with_restore_status(self._app, environ, start_response, asked)


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


def _with_restore_status(
    app: WsgiApp, environ: dict[str, Any], start_response: Callable[..., Any], asked: Asked
) -> Iterable[bytes]:
    told: list[Any] = []
    body = b"".join(app(environ, lambda *answer: told.extend(answer)))
    status, headers, *rest = told

    def restored(entry: re.Match[bytes]) -> bytes:
        text = entry[2].decode()
        key = unquote_plus(text) if asked.query.get("encoding-type") == "url" else text
        header = _restore_header(asked.bucket, key)
        if not header:
            return entry[0]
        ongoing = "true" if 'ongoing-request="true"' in header else "false"
        expiry = kept.object_of(asked.bucket, key)._expiry
        until = (
            ""
            if ongoing == "true"
            else f"<RestoreExpiryDate>{expiry:%Y-%m-%dT%H:%M:%S.000Z}</RestoreExpiryDate>"
        )
        element = (
            f"<RestoreStatus><IsRestoreInProgress>{ongoing}</IsRestoreInProgress>{until}</RestoreStatus>"
        )
        return entry[0] + element.encode()

    body = _ENTRY.sub(restored, body)
    length = ("Content-Length", str(len(body)))
    start_response(
        status, [*(pair for pair in headers if pair[0].lower() != "content-length"), length], *rest
    )
    return [body]


def _restore_header(bucket: str, key: str) -> str:
    found = kept.object_of(bucket, key)
    return "" if found is None else str(found.response_dict.get("x-amz-restore", ""))
