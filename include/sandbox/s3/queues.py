"""Queues beside the buckets: moto's SQS, to which a bucket sends its event notifications.

Requests for SQS come to the same address as those for S3, and are told apart by the service that they are
signed for. A request for SQS needs a correct signature; there are no other checks.
"""

from __future__ import annotations

import functools
import io
import json
import re
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from sandbox.s3.checks.answers import WsgiApp
from sandbox.s3.checks.signatures import Signatures

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


def make_queues_thread_safe() -> None:
    """Correct moto, whose threads lose each other's messages and deletions. Call it once in a process."""
    from moto.sqs.models import Queue, SQSBackend

    lock = threading.RLock()

    def locked(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any) -> Any:
            with lock:
                return method(*args)

        return call

    receive = locked(SQSBackend.receive_message)

    def receive_message(self: Any, name: str, count: int, wait: float, *args: Any) -> Any:
        end = time.monotonic() + wait
        while not (messages := receive(self, name, count, 0, *args)) and time.monotonic() < end:
            self.get_queue(name).wait_for_messages(min(1.0, wait))
        return messages

    Queue.add_message = locked(Queue.add_message)  # type: ignore[method-assign]
    Queue.delete_message = locked(Queue.delete_message)  # type: ignore[method-assign]
    SQSBackend.receive_message = receive_message  # type: ignore[method-assign, assignment]
