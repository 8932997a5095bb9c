"""Queues beside the buckets: moto's SQS, to which a bucket sends its event notifications.

Requests for SQS come to the same address as those for S3, and are told apart by the service that they are
signed for. A request for SQS needs a correct signature; there are no other checks.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from sandbox.s3.answers import WsgiApp
from sandbox.s3.signatures import Signatures

_SIGNED_FOR_SQS = re.compile(r"Credential=[^,]*/sqs/aws4_request")


class Queues:
    """WSGI middleware that passes requests for SQS to moto, and all others to the checks of S3."""

    def __init__(self, s3: WsgiApp, moto: WsgiApp, signatures: Signatures) -> None:
        self._s3, self._moto, self._signatures = s3, moto, signatures

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        if not _SIGNED_FOR_SQS.search(environ.get("HTTP_AUTHORIZATION", "")):
            return self._s3(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        if not self._signatures.signs(environ, body):
            refusal = {"__type": "InvalidSignatureException", "message": "The signature does not match."}
            start_response("403 Forbidden", [("Content-Type", "application/x-amz-json-1.0")])
            return [json.dumps(refusal).encode()]
        return self._moto(environ, start_response)
