"""An HTTP server on a raw socket that treats each request as a script says and remembers what it was sent."""

from __future__ import annotations

import dataclasses
import json
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, Self
from urllib.parse import parse_qs, urlsplit

Fault = Literal["drop", "reset", "truncate"]


@dataclasses.dataclass(frozen=True)
class Reply:
    """What happens to one request once it has been read completely.

    :param body: bytes, or what is written as JSON.
    :param fault: ``drop`` closes without a byte, ``reset`` does so by RST, ``truncate`` breaks off.
    :param close: close after answering without announcing it.
    """

    status: int = 200
    body: Any = dataclasses.field(default_factory=dict)
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    delay: float = 0.0
    fault: Fault | None = None
    close: bool = False


@dataclasses.dataclass(frozen=True)
class Received:
    """A request that arrived completely; headers are as sent, names in lower case."""

    method: str
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ScriptedServer:
    """Serves the script, then its last reply for ever."""

    def __init__(self, *script: Reply, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.script = list(script) or [Reply()]
        self.requests: list[Received] = []
        self.connections = 0
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                outer.connections += 1
                number = outer.connections
                while request := _read(self.rfile, number):
                    reply = outer.script[min(len(outer.requests), len(outer.script) - 1)]
                    outer.requests.append(request)
                    if not _serve(self.connection, self.wfile, reply):
                        return

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that hung up early is part of the tests."""

        self._server = Server(("127.0.0.1", port), Handler)
        self.port: int = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        if tls:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _read(stream: Any, connection: int) -> Received | None:
    line = stream.readline()
    if not line.strip():
        return None
    method, target, _ = line.decode().split(" ", 2)
    headers = {}
    while (header := stream.readline().strip()) != b"":
        name, value = header.decode("latin-1").split(":", 1)
        headers[name.strip().lower()] = value.strip()
    parts = urlsplit(target)
    query = parse_qs(parts.query, keep_blank_values=True)
    params = {name: values[0] for name, values in query.items()}
    body = stream.read(int(headers.get("content-length", 0)))
    return Received(method, parts.path, params, headers, body, connection)


def _serve(connection: socket.socket, stream: Any, reply: Reply) -> bool:
    """Answer; return whether the connection lives on."""
    time.sleep(reply.delay)
    if reply.fault == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if reply.fault in {"drop", "reset"}:
        return False
    body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
    kind = "text/html" if isinstance(reply.body, bytes) else "application/json"
    headers = {"Content-Type": kind, "Content-Length": str(len(body)), **reply.headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    payload = f"HTTP/1.1 {reply.status} Scripted\r\n{head}\r\n".encode() + body
    if reply.fault == "truncate":
        stream.write(payload[:-1])
        return False
    stream.write(payload)
    return not reply.close


@contextmanager
def unreachable_port() -> Iterator[int]:
    """Yield a local port that answers no connection attempt: its queue is full and never emptied."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        try:
            for _ in range(8):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
                fillers.append(filler)
            time.sleep(0.05)
            yield listener.getsockname()[1]
        finally:
            for filler in fillers:
                filler.close()


def closed_port() -> int:
    """Return a local port that refuses connections."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
