"""The ASGI application with all routes."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.extend_api.emulator import Emulator
from sandbox.extend_api.errors import ApiError
from sandbox.extend_api.routes import files as file_routes
from sandbox.extend_api.routes import runs as run_routes
from sandbox.extend_api.routes import workflows as workflow_routes
from sandbox.extend_api.routes.admin import Admin
from sandbox.extend_api.routes.gate import Call, Handler, api_route, json_response
from sandbox.extend_api.shapes import NEWEST, SHAPES


def create_app(emulator: Emulator) -> Starlette:
    """Return the application; its lifespan starts and stops the engine."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await emulator.engine.start()
        try:
            yield
        finally:
            await emulator.engine.stop()
            emulator.store.close()

    return Starlette(routes=_routes(emulator), lifespan=lifespan)


def _routes(emulator: Emulator) -> list[Route]:
    route = functools.partial(api_route, emulator)
    return [
        route("POST", "/workflow_runs", run_routes.create_run),
        route("GET", "/workflow_runs", run_routes.list_runs),
        route("POST", "/workflow_runs/batch", run_routes.create_batch),
        route("GET", "/workflow_runs/{id}", run_routes.get_run),
        route("POST", "/workflow_runs/{id}", run_routes.update_run),
        route("DELETE", "/workflow_runs/{id}", run_routes.delete_run),
        route("POST", "/workflow_runs/{id}/cancel", run_routes.cancel_run),
        route("POST", "/workflow_runs/{id}/outputs/{output_id}", run_routes.correct_output),
        route("GET", "/batch_runs/{id}", _newest_only(run_routes.get_batch_run)),
        route("POST", "/files/upload", file_routes.upload_file),
        route("GET", "/files", file_routes.list_files),
        route("GET", "/files/{id}", file_routes.get_file),
        route("DELETE", "/files/{id}", file_routes.delete_file),
        route("GET", "/workflows", _newest_only(workflow_routes.list_workflows)),
        route("GET", "/workflows/{id}", _newest_only(workflow_routes.get_workflow)),
        route("GET", "/workflows/{id}/versions", _newest_only(workflow_routes.list_versions)),
        *Admin(emulator).routes(),
        Route("/_content/{id}", functools.partial(_content, emulator), name="file_content", methods=["GET"]),
        *(route(method, "/{path:path}", _unknown) for method in ("GET", "POST", "PUT", "PATCH", "DELETE")),
    ]


def _newest_only(handler: Handler) -> Handler:
    """Return a handler that answers 404 to older API versions."""

    async def handle(call: Call) -> Any:
        return await (handler if call.shapes is SHAPES[NEWEST] else _unknown)(call)

    return handle


async def _unknown(call: Call) -> Response:
    raise ApiError(404, "NOT_FOUND", f"No route {call.request.method} {call.request.url.path}.")


async def _content(emulator: Emulator, request: Request) -> Response:
    """Serve the bytes of a file at the address that ``GET /files/{id}`` returns."""
    try:
        return file_routes.file_content(emulator, request)
    except ApiError as error:
        return json_response(SHAPES[NEWEST].error(error, ""), error.status)
