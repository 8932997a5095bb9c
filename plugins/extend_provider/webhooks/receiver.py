"""The ASGI app that Extend sends webhooks to: ``POST /<connection id>``, and nothing else.

Mounted in Airflow's API server by the plugin beside this module, or alone:
``uvicorn extend_provider.webhooks.receiver:app``. It has no login: what counts is the signature. Every other
path, method or connection is answered with the same 404, before anything is read.

What is answered when is decided in :mod:`extend_provider.webhooks.intake`, in threads of its own. Here are
the bounds: of a body in bytes and seconds, of all bodies together, and of the time that an answer takes.
Extend waits 30 seconds for it; a 503 has it deliver again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from extend_provider.exceptions import ExtendError
from extend_provider.webhooks.connections import Connections, webhook_conn_ids
from extend_provider.webhooks.counts import Counts
from extend_provider.webhooks.intake import (
    BAD_REQUEST,
    LARGEST_BODY,
    TOO_LARGE,
    UNAVAILABLE,
    Answer,
    Request,
    take,
)
from extend_provider.webhooks.signature import SIGNATURE, TIMESTAMP, Headers, header

log = logging.getLogger(__name__)

#: Seconds that a body may take to come in.
BODY_SECONDS: Final = 10.0
#: Seconds in which a webhook is stored, or answered with 503.
ANSWER_SECONDS: Final = 15.0
#: Bytes of all bodies together that are held at one moment.
HELD_BYTES: Final = 4 * LARGEST_BODY
#: How many webhooks are stored at the same time, and how many may wait for that. A thread spends its time
#: waiting for the disk or for S3, and a disk that has many writers flushes them together.
THREADS: Final = 32
WAITING: Final = 512

_NOT_FOUND: Final = HTTPStatus.NOT_FOUND.value
_TIMED_OUT: Final = HTTPStatus.REQUEST_TIMEOUT.value


class Receiver:
    """Takes webhooks for the connections that are named in ``[extend] webhook_conn_ids``.

    :param take: verifies and stores a request; it blocks.
    :param conn_ids: returns the connections.
    """

    def __init__(
        self,
        *,
        connections: Connections | None = None,
        counts: Counts | None = None,
        take: Callable[..., Answer] = take,
        conn_ids: Callable[[], frozenset[str]] = webhook_conn_ids,
        answer_seconds: float = ANSWER_SECONDS,
        body_seconds: float = BODY_SECONDS,
        largest_body: int = LARGEST_BODY,
        held_bytes: int = HELD_BYTES,
        waiting: int = WAITING,
    ) -> None:
        self.counts = counts or Counts()
        self._connections = connections or Connections()
        self._take = take
        self._conn_ids = conn_ids
        self._answer_seconds = answer_seconds
        self._body_seconds = body_seconds
        self._largest_body = largest_body
        self._free_bytes = held_bytes
        self._free_places = waiting
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="extend-webhooks")

    async def receive(self, request: HttpRequest) -> Response:
        """Answer one request."""
        conn_id = request.path_params["conn_id"]
        if conn_id not in self._conn_ids():
            return _not_found()
        answer = await self._answer(conn_id, request)
        self.counts.add(conn_id, answer.reason, answer.message)
        return _response(answer)

    async def _answer(self, conn_id: str, request: HttpRequest) -> Answer:
        received_at = time.time()
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
        if (refusal := self._refusal(headers)) is not None:
            return refusal
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_seconds):
                refusal = await self._read(request, body)
            if refusal is not None:
                return refusal
            return await self._stored(conn_id, Request(bytes(body), headers, received_at))
        except TimeoutError:
            return Answer(_TIMED_OUT, "slow_body", f"The body took more than {self._body_seconds:g} seconds.")
        except ClientDisconnect:
            return Answer(
                BAD_REQUEST, "broken_off", "The sender closed the connection before the body was whole."
            )
        finally:
            self._free_bytes += len(body)

    def _refusal(self, headers: Headers) -> Answer | None:
        """Return the answer to a request whose body need not be read; None if it must be."""
        if header(headers, SIGNATURE) is None or header(headers, TIMESTAMP) is None:
            return Answer(HTTPStatus.UNAUTHORIZED.value, "unsigned", "A header of the signature is missing.")
        lengths = [value for name, value in headers if name.lower() == "content-length"]
        if any(not each.isdecimal() or len(each) > 12 for each in lengths) or len(set(lengths)) > 1:
            return Answer(BAD_REQUEST, "shape", "Its length is given in another form than a number.")
        return self._too_large() if lengths and int(lengths[0]) > self._largest_body else None

    async def _read(self, request: HttpRequest, body: bytearray) -> Answer | None:
        """Read the body, within all bounds; return the answer if it does not keep to them."""
        async for chunk in request.stream():
            if len(body) + len(chunk) > self._largest_body:
                return self._too_large()
            if len(chunk) > self._free_bytes:
                return _busy()
            self._free_bytes -= len(chunk)
            body += chunk
        return None

    async def _stored(self, conn_id: str, request: Request) -> Answer:
        """Have a thread verify and store; it may end after its time has passed, and nobody waits for it."""
        if not self._free_places:
            return _busy()
        self._free_places -= 1
        work = asyncio.get_running_loop().run_in_executor(self._threads, self._taken, conn_id, request)
        work.add_done_callback(self._give_place_back)
        done, _ = await asyncio.wait((work,), timeout=self._answer_seconds)
        if done:
            return work.result()
        return Answer(
            UNAVAILABLE,
            "slow",
            f"The inbox took no event within {self._answer_seconds:g} seconds. Extend delivers it again.",
        )

    def _give_place_back(self, work: asyncio.Future[Answer]) -> None:
        self._free_places += 1
        if not work.cancelled():
            work.exception()  # it was answered, or is too late to be

    def _taken(self, conn_id: str, request: Request) -> Answer:
        try:
            settings = self._connections.remembered(conn_id) or self._connections.get(conn_id)
        except ExtendError as error:
            return Answer(UNAVAILABLE, "no_connection", str(error))
        try:
            return self._take(request, settings)
        except Exception:
            log.exception(
                "A webhook for connection %r could not be taken; Extend delivers it again.", conn_id
            )
            return Answer(UNAVAILABLE, "failed", "See the error above.")

    def _too_large(self) -> Answer:
        return Answer(TOO_LARGE, "too_large", f"The body has more than {self._largest_body:,} bytes.")


def _busy() -> Answer:
    return Answer(
        UNAVAILABLE, "busy", "More webhooks came at once than are held. Extend delivers them again."
    )


def _response(answer: Answer) -> Response:
    # What exactly was wrong with a signature is the log's, not the sender's, to know.
    unauthorized = answer.status == HTTPStatus.UNAUTHORIZED
    response = JSONResponse({"result": "unauthorized" if unauthorized else answer.reason}, answer.status)
    if answer.status == UNAVAILABLE:
        response.headers["Retry-After"] = "30"
    if answer.status in (TOO_LARGE, _TIMED_OUT, HTTPStatus.UNAUTHORIZED):
        response.headers["Connection"] = "close"  # its body was not read
    return response


def _not_found() -> Response:
    return JSONResponse({"result": "not_found"}, _NOT_FOUND)


async def _denied(request: HttpRequest, error: Exception) -> Response:
    return _not_found()


def application(receiver: Receiver | None = None) -> Starlette:
    """Return the app; its only route is ``POST /<connection id>``."""
    route = Route("/{conn_id}", (receiver or Receiver()).receive, methods=["POST"])
    denied = dict.fromkeys((HTTPStatus.NOT_FOUND.value, HTTPStatus.METHOD_NOT_ALLOWED.value), _denied)
    made = Starlette(routes=[route], exception_handlers=denied)
    made.router.redirect_slashes = False
    return made


def __getattr__(name: str) -> Starlette:
    """Make ``app`` when a server asks for it, because its process is one of Airflow's servers then."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Connections come from where a server has them: environment, secrets backend, database.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    made = globals()["app"] = application()
    return made
