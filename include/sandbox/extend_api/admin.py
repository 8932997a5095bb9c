"""The endpoints under ``/_sandbox``: no key, for tests and for the curious."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.extend_api.emulator import Emulator
from sandbox.extend_api.errors import ApiError
from sandbox.extend_api.gate import json_response
from sandbox.extend_api.reviews import Review, decide
from sandbox.extend_api.settings import patched
from sandbox.extend_api.shapes import NEWEST, SHAPES


def admin_routes(emulator: Emulator) -> list[Route]:
    """Return the routes of the admin endpoints."""

    async def health(request: Request) -> Response:
        return json_response({"status": "ok"})

    async def stats(request: Request) -> Response:
        return json_response(emulator.stats())

    async def journal(request: Request) -> Response:
        return json_response([entry.to_builtins() for entry in emulator.accounting.journal])

    async def read_settings(request: Request) -> Response:
        return json_response(emulator.settings)

    async def change_settings(request: Request) -> Response:
        changes = _decoded(await request.body(), dict[str, Any])
        if isinstance(changes, Response):
            return changes
        try:
            emulator.configure(patched(emulator.settings, changes))
        except msgspec.ValidationError as error:
            return _refused(422, str(error))
        return json_response(emulator.settings)

    async def reset(request: Request) -> Response:
        await emulator.reset()
        return json_response({"status": "ok"})

    async def review(request: Request) -> Response:
        decision = _decoded(await request.body(), Review)
        if isinstance(decision, Response):
            return decision
        try:
            run = emulator.run(str(request.path_params["id"]))
            decide(emulator, run, decision)
        except ApiError as error:
            return _refused(error.status, error.message)
        return json_response(SHAPES[NEWEST].run(run))

    return [
        Route("/_sandbox/health", health, methods=["GET"]),
        Route("/_sandbox/stats", stats, methods=["GET"]),
        Route("/_sandbox/journal", journal, methods=["GET"]),
        Route("/_sandbox/settings", read_settings, methods=["GET"]),
        Route("/_sandbox/settings", change_settings, methods=["PATCH"]),
        Route("/_sandbox/reset", reset, methods=["POST"]),
        Route("/_sandbox/runs/{id}/review", review, methods=["POST"]),
    ]


def _decoded(body: bytes, kind: Any) -> Any:
    """Return the body as ``kind``, or the 422 that says what is wrong with it."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        return _refused(422, str(error))


def _refused(status: int, message: str) -> Response:
    return json_response({"error": message}, status)
