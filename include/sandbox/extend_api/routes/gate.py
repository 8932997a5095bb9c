"""Checks of every API request: rate limit, faults, key, workspace, version; accounting and error bodies."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import hmac
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sandbox.extend_api.emulator import Emulator
from sandbox.extend_api.errors import ApiError, InvalidRequest
from sandbox.extend_api.settings import Fault
from sandbox.extend_api.shapes import NEWEST, SHAPES, Shapes
from sandbox.extend_api.state.faults import rate_limited
from sandbox.extend_api.state.model import new_id

logger = logging.getLogger(__name__)

VERSION_HEADER = "x-extend-api-version"
WORKSPACE_HEADER = "x-extend-workspace-id"
REQUEST_ID_HEADER = "x-extend-request-id"
#: Key of the connection's transport in the scope of a request.
TRANSPORT = "sandbox.transport"
#: Extend's codes of some statuses; others have the code of their class.
_CODES = {401: "UNAUTHORIZED", 402: "USAGE_BLOCKED", 404: "NOT_FOUND", 410: "ENDPOINT_REMOVED"}
_encoder = msgspec.json.Encoder()


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """An accepted request, with the shapes of its API version."""

    emulator: Emulator
    request: Request
    shapes: Shapes

    @property
    def id(self) -> str:
        """The ``{id}`` of the path."""
        return str(self.request.path_params["id"])


Handler = Callable[[Call], Awaitable[Any]]


class Dropped(Response):
    """No answer: the connection is aborted."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Abort the connection."""
        scope["extensions"][TRANSPORT].abort()
        # The server treats a missing answer as an error unless the client is gone by then.
        while (await receive())["type"] != "http.disconnect":
            pass


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return ``content`` as JSON; it may contain ``msgspec.Raw``."""
    return Response(_encoder.encode(content), status, headers, media_type="application/json")


def api_route(emulator: Emulator, method: str, path: str, handler: Handler) -> Route:
    """Return a route of the API that makes the checks of this module before ``handler``."""
    endpoint = functools.partial(_answer, emulator, f"{method} {path}", handler)
    return Route(path, endpoint, methods=[method])


async def _answer(emulator: Emulator, endpoint: str, handler: Handler, request: Request) -> Response:
    request_id = new_id("req")
    accounting = emulator.accounting  # a reset during the request replaces it
    accounting.count_request(endpoint)
    version = request.headers.get(VERSION_HEADER, "")
    shapes = SHAPES.get(version, SHAPES[NEWEST])
    try:
        response = await _limited(emulator, endpoint, handler, request)
    except ApiError as error:
        if isinstance(error, InvalidRequest):
            error.status = emulator.settings.validation_status
        response = json_response(shapes.error(error, request_id), error.status, error.headers)
    except ClientDisconnect:
        response = Response(status_code=499)  # only for the journal; the client is gone
    except Exception:
        logger.exception("%s failed", endpoint)
        failure = ApiError(500, "INTERNAL_ERROR", "The emulator failed; see its log.")
        response = json_response(shapes.error(failure, request_id), failure.status)
    status = None if isinstance(response, Dropped) else response.status_code
    accounting.record_answer(endpoint, request.method, request.url.path, status)
    response.headers[REQUEST_ID_HEADER] = request_id
    if version in SHAPES:
        response.headers[VERSION_HEADER] = version
    return response


async def _limited(emulator: Emulator, endpoint: str, handler: Handler, request: Request) -> Response:
    """Answer the request unless the rate limit or a fault prevents it; raises ApiError."""
    _check_rate(emulator, request)
    fault = emulator.faults.strike(endpoint)
    if fault is None:
        return await _checked(emulator, handler, request)
    if fault.kind == "late":
        await request.body()  # the request keeps its body, so the client is not needed any more
    if fault.accepted:
        response = await _checked(emulator, handler, request)
        return await _apply_fault(fault, response) or response
    return await _apply_fault(fault, None) or await _checked(emulator, handler, request)


async def _apply_fault(fault: Fault, response: Response | None) -> Response | None:
    """Carry out the fault; return None if the normal answer still follows.

    :param response: the normal answer, if the request has already taken effect.
    """
    headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
    if fault.kind in {"slow", "late"}:
        with contextlib.suppress(asyncio.CancelledError):  # a server that is stopping does not wait
            await asyncio.sleep(fault.seconds)
        return None
    if fault.kind == "drop":
        return Dropped()
    if fault.kind == "malformed":
        whole = bytes(response.body) if response else b'{"object": "list"}'
        return Response(whole[: len(whole) // 2], media_type="application/json")
    if fault.kind == "rate_limit":
        raise ApiError(429, "RATE_LIMIT_EXCEEDED", "Rate limit exceeded.", headers=headers)
    code = _CODES.get(fault.status, "INTERNAL_ERROR" if fault.status >= 500 else "INVALID_REQUEST")
    raise ApiError(fault.status, code, "An unexpected error occurred.", headers=headers)


def _check_rate(emulator: Emulator, request: Request) -> None:
    settings = emulator.settings
    limit = settings.requests_per_second
    category = "read" if request.method == "GET" else "write"
    how: dict[str, Any] = {"window": settings.rate_window, "burst": settings.rate_burst}
    if limit is not None and not emulator.limiters[category].admit(limit, **how):
        message = f"Rate limit of {limit:g} {category} requests a second exceeded."
        raise rate_limited(settings, message)


async def _checked(emulator: Emulator, handler: Handler, request: Request) -> Response:
    """Check key, workspace and version, then answer; raises ApiError."""
    _check_key(emulator, request)
    _check_workspace(emulator, request)
    version = request.headers.get(VERSION_HEADER)
    if version is None:
        raise InvalidRequest(f"The {VERSION_HEADER} header is required.")
    if version not in SHAPES:
        raise InvalidRequest(f"Invalid API version {version!r}; known are {', '.join(SHAPES)}.")
    answer = await handler(Call(emulator, request, SHAPES[version]))
    return answer if isinstance(answer, Response) else json_response(answer)


def _check_key(emulator: Emulator, request: Request) -> None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(key.encode(), emulator.key.encode()):
        raise ApiError(401, "UNAUTHORIZED", "Invalid API key.")


def _check_workspace(emulator: Emulator, request: Request) -> None:
    given = request.headers.get(WORKSPACE_HEADER)
    if given is None and emulator.settings.organization_key:
        raise InvalidRequest(f"The {WORKSPACE_HEADER} header is required for organization-scoped API keys.")
    if given is not None and given != emulator.settings.workspace_id:
        raise ApiError(403, "FORBIDDEN", "The API key has no access to this workspace.")
