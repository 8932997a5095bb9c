"""A real HTTP proxy: it forwards plain requests, makes tunnels (CONNECT), and fails where it is told to."""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import socketserver
import ssl
import struct
import threading
from typing import Any, Literal, Self
from urllib.parse import urlsplit

#: What it does with a request, or with a tunnel:
#: ``works``; ``drops`` or ``resets`` the client's connection when the server has answered; answers ``502`` of
#: its own then (a plain request only); ``refuses`` it, ``dies``, or ``hangs``, before anything has got to the
#: server.
Mode = Literal["works", "drops", "resets", "502", "refuses", "dies", "hangs"]


class Proxy:
    """Runs in threads of the test's process.

    :param refusal: the status with which it refuses.
    :param login: ``user:password`` that it wants; it answers 407 to everybody else.
    :param tls: it is spoken to by TLS.
    :ivar asked: how many requests and tunnels it was asked for.
    """

    def __init__(
        self,
        mode: Mode = "works",
        refusal: int = 407,
        login: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.mode: Mode = mode
        self.refusal = refusal
        self.asked = 0
        self._login = login and base64.b64encode(login.encode("latin-1"))
        self._ended = threading.Event()
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while outer._serve(self.connection, self.rfile):
                    pass

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """A connection that breaks is part of the tests."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{'https' if tls else 'http'}://{self.address}"
        if tls:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, client: socket.socket, stream: Any) -> bool:
        """Serve one request or tunnel; return whether another may follow."""
        line = stream.readline()
        if not line.strip():
            return False
        method, target, _ = line.decode().split(" ", 2)
        head = b"".join(iter(stream.readline, b"\r\n"))
        self.asked += 1
        if self.mode == "hangs":
            self._ended.wait()
        if self.mode in ("dies", "hangs"):
            return False
        unknown = self._login and b"Proxy-Authorization: Basic %b\r\n" % self._login not in head
        if self.mode == "refuses" or unknown:
            status = 407 if unknown else self.refusal
            client.sendall(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
            return False
        head = b"".join(line for line in head.splitlines(True) if not line.lower().startswith(b"proxy-"))
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            with socket.create_connection((host, int(port))) as server:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                self._tunnel(client, server)
            return False
        return self._forward(client, stream, f"{method} {target}", head)

    def _forward(self, client: socket.socket, stream: Any, request: str, head: bytes) -> bool:
        method, target = request.split(" ")
        parts = urlsplit(target)
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = stream.read(int(lengths[0].split(b":")[1]) if lengths else 0)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        with socket.create_connection((str(parts.hostname), int(parts.port or 80))) as server:
            server.sendall(f"{method} {path} HTTP/1.1\r\n".encode() + head + b"\r\n" + body)
            answer = server.recv(65536)
        if self.mode == "502":
            client.sendall(
                b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
            )
            return True
        return self._pass_on(client, answer)

    def _pass_on(self, client: socket.socket, answer: bytes) -> bool:
        if self.mode == "resets":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if self.mode == "works":
            client.sendall(answer)
        return bool(answer) and self.mode == "works"

    def _tunnel(self, client: socket.socket, server: socket.socket) -> None:
        """Carry bytes; what the server sends after the handshake is its answer, which may not get through."""
        spoken = 0
        with contextlib.suppress(OSError):
            while True:
                pending = isinstance(client, ssl.SSLSocket) and client.pending()
                for ready in [client] if pending else select.select([client, server], [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    if ready is client:
                        spoken += _is_data(data)
                        server.sendall(data)
                    elif not spoken or self.mode == "works":
                        client.sendall(data)
                    else:
                        self._pass_on(client, data)
                        return


def _is_data(data: bytes) -> bool:
    """Whether a client's TLS records are long enough to hold a request; those of a handshake are shorter."""
    lengths = []
    while len(data) >= 5:
        length = int.from_bytes(data[3:5], "big")
        lengths += [length] if data[0] == 23 else []
        data = data[5 + length :]
    return any(length > 120 for length in lengths)
