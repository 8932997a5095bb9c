"""Finds free ports on the loopback interface."""

from __future__ import annotations

import contextlib
import socket

import httpx
import psutil

from sandbox.stack.processes.process import StackError

HOST = "127.0.0.1"


def is_free(port: int) -> bool:
    """Return True if a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Return ``count`` different free ports."""
    with contextlib.ExitStack() as sockets:
        probes = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]


def answers(url: str) -> bool:
    """Return True if a server answers, and with success."""
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def require_free(port: int, purpose: str) -> int:
    """Return the port if it is free.

    :raises StackError: the port is taken; the text names the process if the system allows it.
    """
    if not is_free(port):
        raise StackError(
            f"port {port} for {purpose} is taken{_holder(port)}. "
            "Stop that program or choose another port; without --ui-port a free one is used."
        )
    return port


def _holder(port: int) -> str:
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("inet"):
            address = connection.laddr
            if connection.status != psutil.CONN_LISTEN or not address or not connection.pid:
                continue
            if address.port == port:
                process = psutil.Process(connection.pid)
                return f" by {process.name()} (pid {connection.pid})"
    return ""
