"""The endpoints under ``/_sandbox``, which need no key."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.extend_api.emulator import Emulator
from sandbox.extend_api.errors import ApiError
from sandbox.extend_api.routes.gate import json_response
from sandbox.extend_api.routes.reviews import Review, decide
from sandbox.extend_api.shapes import NEWEST, SHAPES


class Admin:
    """The admin endpoints of one emulator, one method each."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/_sandbox/health", self.health, methods=["GET"]),
            Route("/_sandbox/stats", self.stats, methods=["GET"]),
            Route("/_sandbox/journal", self.journal, methods=["GET"]),
            Route("/_sandbox/settings", self.settings, methods=["GET"]),
            Route("/_sandbox/settings", self.configure, methods=["PATCH"]),
            Route("/_sandbox/reset", self.reset, methods=["POST"]),
            Route("/_sandbox/runs", self.start_run, methods=["POST"]),
            Route("/_sandbox/runs/{id}/review", self.review, methods=["POST"]),
            Route("/_sandbox/deliveries", self.deliveries, methods=["GET"]),
        ]

    async def health(self, request: Request) -> Response:
        """Answer that the emulator is ready."""
        return json_response({"status": "ok"})

    async def stats(self, request: Request) -> Response:
        """Return the counts of requests, answers, and runs by input and status."""
        return json_response(self._emulator.stats())

    async def journal(self, request: Request) -> Response:
        """Return the last requests, oldest first."""
        return json_response(list(self._emulator.accounting.journal))

    async def settings(self, request: Request) -> Response:
        """Return all settings."""
        return json_response(self._emulator.settings)

    async def configure(self, request: Request) -> Response:
        """Change settings by name; 422 for an unknown name or a wrong value."""
        try:
            changes = msgspec.json.decode(await request.body(), type=dict[str, Any])
            self._emulator.configure(changes)
        except msgspec.MsgspecError as error:
            return _refused(422, str(error))
        return json_response(self._emulator.settings)

    async def reset(self, request: Request) -> Response:
        """Return to the state at start."""
        await self._emulator.reset()
        return json_response({"status": "ok"})

    async def start_run(self, request: Request) -> Response:
        """Start a run as the dashboard does, from a body of ``POST /workflow_runs``; it has no events."""
        try:
            orders = SHAPES[NEWEST].read_run_request(await request.body())
            [run] = self._emulator.create_runs(orders, through_api=False)
        except ApiError as error:
            return _refused(error.status, error.message)
        return json_response(SHAPES[NEWEST].run(run))

    async def deliveries(self, request: Request) -> Response:
        """Return the last requests that delivered events, oldest first."""
        return json_response(list(self._emulator.webhooks.deliveries.tally.journal))

    async def review(self, request: Request) -> Response:
        """Decide on a run in NEEDS_REVIEW; returns the run in the newest shape."""
        try:
            run = self._emulator.run(str(request.path_params["id"]))
            decide(self._emulator, run, msgspec.json.decode(await request.body(), type=Review))
        except msgspec.MsgspecError as error:
            return _refused(422, str(error))
        except ApiError as error:
            return _refused(error.status, error.message)
        return json_response(SHAPES[NEWEST].run(run))


def _refused(status: int, message: str) -> Response:
    return json_response({"error": message}, status)
