"""The ASGI application with all routes."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.extend_api.emulator import Emulator
from sandbox.extend_api.errors import ApiError
from sandbox.extend_api.routes import files as file_routes
from sandbox.extend_api.routes import runs as run_routes
from sandbox.extend_api.routes import webhooks as webhook_routes
from sandbox.extend_api.routes import workflows as workflow_routes
from sandbox.extend_api.routes.admin import Admin
from sandbox.extend_api.routes.gate import Call, Handler, api_route, json_response
from sandbox.extend_api.shapes import NEWEST, SHAPES


def create_app(emulator: Emulator) -> Starlette:
    """Return the application; its lifespan starts and stops the emulator."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await emulator.start()
        try:
            yield
        finally:
            await emulator.stop()

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
        *_webhook_routes(emulator),
        *Admin(emulator).routes(),
        _signed(emulator, "/_content/{id}", file_routes.file_content, "file_content"),
        _signed(emulator, "/_payloads/{id}", webhook_routes.payload_content, "payload_content"),
        *(route(method, "/{path:path}", _unknown) for method in ("GET", "POST", "PUT", "PATCH", "DELETE")),
    ]


def _webhook_routes(emulator: Emulator) -> list[Route]:
    endpoints, subscriptions = "/webhook_endpoints", "/webhook_subscriptions"
    handlers = (
        ("POST", endpoints, webhook_routes.create_endpoint),
        ("GET", endpoints, webhook_routes.list_endpoints),
        ("GET", f"{endpoints}/{{id}}", webhook_routes.get_endpoint),
        ("POST", f"{endpoints}/{{id}}", webhook_routes.update_endpoint),
        ("DELETE", f"{endpoints}/{{id}}", webhook_routes.delete_endpoint),
        ("POST", subscriptions, webhook_routes.create_subscription),
        ("GET", subscriptions, webhook_routes.list_subscriptions),
        ("GET", f"{subscriptions}/{{id}}", webhook_routes.get_subscription),
        ("POST", f"{subscriptions}/{{id}}", webhook_routes.update_subscription),
        ("DELETE", f"{subscriptions}/{{id}}", webhook_routes.delete_subscription),
    )
    return [api_route(emulator, method, path, _newest_only(handler)) for method, path, handler in handlers]


def _newest_only(handler: Handler) -> Handler:
    """Return a handler that answers 404 to older API versions."""

    async def handle(call: Call) -> Any:
        return await (handler if call.shapes is SHAPES[NEWEST] else _unknown)(call)

    return handle


async def _unknown(call: Call) -> Response:
    raise ApiError(404, "NOT_FOUND", f"No route {call.request.method} {call.request.url.path}.")


def _signed(
    emulator: Emulator, path: str, content: Callable[[Emulator, Request], Response], name: str
) -> Route:
    """Return the route of a signed address, which needs no key: a file's bytes or an event's payload."""

    async def serve(request: Request) -> Response:
        try:
            return content(emulator, request)
        except ApiError as error:
            return json_response(SHAPES[NEWEST].error(error, ""), error.status)

    return Route(path, serve, name=name, methods=["GET"])
