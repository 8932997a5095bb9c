"""The emulator's HTTP server: uvicorn, with connections that the application can abort."""

from __future__ import annotations

import socket

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sandbox.extend_api.emulator import Emulator
from sandbox.extend_api.routes.app import create_app
from sandbox.extend_api.routes.gate import TRANSPORT


class CuttableProtocol(HttpToolsProtocol):
    """Puts the transport of the connection into the scope, so that the fault ``drop`` can abort it."""

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: self.transport}  # type: ignore[dict-item]


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            host, port = listener.getsockname()[:2]
            print(f"Extend emulator ready on http://{host}:{port}", flush=True)


async def serve(emulator: Emulator, listener: socket.socket) -> None:
    """Serve on ``listener`` until SIGINT or SIGTERM; print one line when ready."""
    config = uvicorn.Config(
        create_app(emulator),
        http=CuttableProtocol,
        lifespan="on",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    await _Server(config).serve(sockets=[listener])
