"""Endpoints for tests, under a name that no bucket can have. They need no signature.

GET    /_sandbox/health      answer 200
POST   /_sandbox/rules       add a rule, see ``sandbox.s3.checks.rules.Rule`` for its fields
DELETE /_sandbox/rules       remove all rules
POST   /_sandbox/requests    return the number of requests by operation since the last call
POST   /moto-api/reset       remove all rules, counts and buckets
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from sandbox.s3.checks.answers import WsgiApp
from sandbox.s3.checks.rules import Rules


class Admin:
    """WSGI middleware for the endpoints of this module."""

    def __init__(self, app: WsgiApp, rules: Rules) -> None:
        self._app, self._rules = app, rules

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        request = f"{environ['REQUEST_METHOD']} {environ.get('PATH_INFO', '')}"
        if request == "POST /moto-api/reset":
            self._rules.clear()
        if "/_sandbox/" not in request:
            return self._app(environ, start_response)
        answer: Any = {}
        if request == "POST /_sandbox/rules":
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            try:
                self._rules.add(json.loads(body))
            except TypeError as error:
                return _json(start_response, "400 Bad Request", {"error": str(error)})
        elif request == "DELETE /_sandbox/rules":
            self._rules.clear()
        elif request == "POST /_sandbox/requests":
            answer = dict(self._rules.counts())
        elif request != "GET /_sandbox/health":
            return _json(start_response, "404 Not Found", {"error": request})
        return _json(start_response, "200 OK", answer)


def _json(start_response: Callable[..., Any], status: str, value: Any) -> Iterable[bytes]:
    body = json.dumps(value).encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
