"""moto's S3 behind a door it lacks and real S3 has: presigned URLs expire, buckets refuse.

Of a bucket's policy, what it denies for objects holds here, whoever asks; what it allows is allowed anyway.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

#: What a request for an object does, in the words of policies.
ACTIONS = {
    "GET": "s3:GetObject",
    "HEAD": "s3:GetObject",
    "PUT": "s3:PutObject",
    "POST": "s3:PutObject",
    "DELETE": "s3:DeleteObject",
}

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def presigned_expiry(query: str) -> float | None:
    """Return when a presigned URL ends, in seconds since 1970; None for a request that is not presigned.

    Both signature versions are understood: 2 names the moment, 4 the moment of signing and a duration.
    """
    fields = {name: values[0] for name, values in parse_qs(query).items()}
    if "X-Amz-Date" in fields and "X-Amz-Expires" in fields:
        signed_at = dt.datetime.strptime(fields["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
        return signed_at.timestamp() + int(fields["X-Amz-Expires"])
    if "Signature" in fields and "Expires" in fields:
        return float(fields["Expires"])
    return None


def denies(policy: bytes | str | None, method: str, bucket: str, key: str) -> bool:
    """Return whether a bucket's policy denies a request for an object."""
    action, resource = ACTIONS.get(method, ""), f"arn:aws:s3:::{bucket}/{key}"
    return any(
        statement.get("Effect") == "Deny"
        and any(fnmatch.fnmatchcase(action, denied) for denied in _listed(statement.get("Action")))
        and any(fnmatch.fnmatchcase(resource, denied) for denied in _listed(statement.get("Resource")))
        for statement in _listed(json.loads(policy or "{}").get("Statement"))
    )


def _listed(value: Any) -> list[Any]:
    """Return a list; a policy may have one value without a list around it."""
    return value if isinstance(value, list) else [] if value is None else [value]


class AccessChecks:
    """WSGI middleware that answers 403 ``AccessDenied`` where S3 would."""

    def __init__(
        self,
        app: WsgiApp,
        forbidden_buckets: Collection[str] = (),
        policy_of: Callable[[str], bytes | None] = lambda _: None,
    ) -> None:
        self._app = app
        self._forbidden = frozenset(forbidden_buckets)
        self._policy_of = policy_of

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        bucket, _, key = environ.get("PATH_INFO", "").lstrip("/").partition("/")
        expiry = presigned_expiry(environ.get("QUERY_STRING", ""))
        if bucket in self._forbidden:
            return _denied(start_response, "Access Denied")
        if expiry is not None and expiry < time.time():
            return _denied(start_response, "Request has expired")
        if key and denies(self._policy_of(bucket), environ["REQUEST_METHOD"], bucket, key):
            return _denied(start_response, "User is not authorized, with an explicit deny in a policy")
        return self._app(environ, start_response)


def _denied(start_response: Callable[..., Any], message: str) -> Iterable[bytes]:
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>AccessDenied</Code><Message>{escape(message)}</Message></Error>"
    ).encode()
    start_response("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


def _policy_of(bucket: str) -> bytes | None:
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    found = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets.get(bucket)
    return None if found is None else found.policy


def serve(
    host: str, port: int, *, forbidden_buckets: Collection[str] = (), on_ready: Callable[[str], None] = print
) -> None:
    """Serve S3 until SIGTERM or SIGINT, then return. Call it in the main thread.

    :param port: 0 for any free one.
    :param on_ready: told the server's URL as soon as requests are accepted.
    """
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    # The access log would hold presigned URLs.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = AccessChecks(DomainDispatcherApplication(create_backend_app), forbidden_buckets, _policy_of)
    server = make_server(host, port, app, threaded=True, request_handler=MotoRequestHandler)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    thread = threading.Thread(target=server.serve_forever, name="s3", daemon=True)
    thread.start()
    on_ready(f"http://{host}:{server.server_port}")
    stop.wait()
    server.shutdown()
    server.server_close()
