"""How the asynchronous hook uses aiohttp: its route, streamed bodies, and when a request leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from extend_provider.client.settings import ExtendSettings
from extend_provider.hooks.multipart import Form
from extend_provider.hooks.network import Route

UPLOAD_CHUNK = 256 * 1024


def request_options(route: Route) -> dict[str, Any]:
    """Return the options of aiohttp's requests that take this route.

    Its own ``trust_env`` stays off: it knows fewer rules of NO_PROXY, and would read ~/.netrc and then refuse
    to send our Authorization.
    """
    return {"proxy": route.proxy, "ssl": route.tls}


def request_timeout(settings: ExtendSettings, *, brief: bool) -> aiohttp.ClientTimeout:
    """Return the timeouts of a request, without one for all of it: a large upload takes its time."""
    connect, read = settings.timeouts(brief=brief)
    # ``connect`` is for the whole way to a connection: a proxy may never answer for its tunnel.
    return aiohttp.ClientTimeout(total=None, connect=2 * connect, sock_connect=connect, sock_read=read)


def tunnel_refusal(error: BaseException) -> int | None:
    """Return the status with which a proxy refused to make a tunnel, if that is what an error is."""
    return error.status if isinstance(error, aiohttp.ClientHttpProxyError) else None


async def chunks(body: Form) -> AsyncIterator[bytes]:
    """Read a form piece by piece in a thread: its file may be remote."""
    while chunk := await asyncio.to_thread(body.read, UPLOAD_CHUNK):
        yield chunk


def transmission_tracing() -> aiohttp.TraceConfig:
    """Return what notes in a request's :class:`~extend_provider.client.errors.Transmission` that it leaves.

    The transmission is the request's ``trace_request_ctx``. By then there is a connection to write to: a
    proxy has made its tunnel, and the certificate is checked.
    """

    async def begin(session: Any, context: Any, params: Any) -> None:
        context.trace_request_ctx.begin()

    config = aiohttp.TraceConfig()
    config.on_connection_create_end.append(begin)
    config.on_connection_reuseconn.append(begin)
    return config
