"""How the synchronous hook uses requests: its route, and connections that note when a request leaves."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import requests
from requests_toolbelt.adapters.socket_options import (  # type: ignore[import-untyped]  # ships no types
    TCPKeepAliveAdapter,
)

from extend_provider.client.errors import Transmission, chain_of
from extend_provider.hooks.network import Route

#: The error of http.client when a proxy made no tunnel.
_NO_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")

_current: ContextVar[Transmission[Any] | None] = ContextVar("transmission", default=None)


def route_session(session: requests.Session, route: Route) -> None:
    """Send a session's requests by this route alone: neither the environment nor ~/.netrc is read."""
    session.trust_env = False
    session.proxies = {"all": route.proxy} if route.proxy else {}
    session.verify, session.cert = route.verify, route.cert


def tunnel_refusal(error: BaseException) -> int | None:
    """Return the status with which a proxy refused to make a tunnel, if that is what an error came from."""
    said = (_NO_TUNNEL.search(str(each)) for each in chain_of(error) if isinstance(each, OSError))
    return next((int(match[1]) for match in said if match), None)


@contextlib.contextmanager
def transmitting(transmission: Transmission[Any]) -> Iterator[None]:
    """Have the request of the block note in ``transmission`` that it leaves."""
    token = _current.set(transmission)
    try:
        yield
    finally:
        _current.reset(token)


class _NotingConnection:
    """A connection of urllib3's, of any kind: connects first, then notes it, then writes the request."""

    def request(self, *args: Any, **options: Any) -> None:
        connection: Any = self
        # http.client connects as it writes. What fails up to here (name, address, proxy, tunnel, certificate)
        # has sent nothing.
        if connection.is_closed:
            connection.connect()
        transmission = _current.get()
        if transmission is not None:
            transmission.begin()
        super().request(*args, **options)  # type: ignore[misc]  # urllib3's, further down the bases


class TransmissionAdapter(TCPKeepAliveAdapter):  # type: ignore[misc]  # has no types
    """The http provider's own adapter, over connections that note when a request leaves."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **options)
        _let_note(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Return the pools of a proxy, made when it is first asked for."""
        known = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **options)
        if not known:
            _let_note(manager)
        return manager


def _let_note(manager: Any) -> None:
    def noting(pool: Any) -> Any:
        connection = type(pool.ConnectionCls.__name__, (_NotingConnection, pool.ConnectionCls), {})
        return type(pool.__name__, (pool,), {"ConnectionCls": connection})

    classes = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: noting(pool) for scheme, pool in classes.items()}
