"""What the asynchronous hook asks of aiohttp: proxies, TLS, streamed bodies, and when a request leaves."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from extend_provider.connection import ExtendSettings
from extend_provider.multipart import Form

UPLOAD_CHUNK = 256 * 1024


def request_options(settings: ExtendSettings) -> dict[str, Any]:
    """Return the options of aiohttp's requests that the connection sets.

    The environment's proxies are looked up here: aiohttp's own ``trust_env`` would also read ~/.netrc and
    then refuse to send our Authorization.
    """
    parts = urlsplit(settings.base_url)
    proxies = {**settings.proxies}
    if settings.trust_env and not proxy_bypass(parts.hostname or ""):
        proxies = {**getproxies(), **proxies}
    return {"proxy": proxies.get(parts.scheme) or proxies.get("all"), "ssl": _tls(settings)}


def request_timeout(settings: ExtendSettings, *, repeatable: bool) -> aiohttp.ClientTimeout:
    """Return the timeouts of a request, without one for all of it: a large upload takes its time."""
    connect, read = settings.timeouts(repeatable=repeatable)
    return aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=read)


def _tls(settings: ExtendSettings) -> ssl.SSLContext | bool:
    if settings.cert is None and isinstance(settings.verify, bool):
        return settings.verify
    context = ssl.create_default_context(cafile=settings.verify if isinstance(settings.verify, str) else None)
    if settings.verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.cert is not None:
        context.load_cert_chain(*([settings.cert] if isinstance(settings.cert, str) else settings.cert))
    return context


async def chunks(body: Form) -> AsyncIterator[bytes]:
    """Read a form piece by piece in a thread: its file may be remote."""
    while chunk := await asyncio.to_thread(body.read, UPLOAD_CHUNK):
        yield chunk


def telling() -> aiohttp.TraceConfig:
    """Return what tells the :class:`~extend_provider.policy.Departure` of each request that it leaves.

    A request names it as its ``trace_request_ctx``. By then there is a connection to write to: a proxy has
    made its tunnel, and the certificate is checked.
    """

    async def leave(session: Any, context: Any, params: Any) -> None:
        context.trace_request_ctx.leave()

    config = aiohttp.TraceConfig()
    config.on_connection_create_end.append(leave)
    config.on_connection_reuseconn.append(leave)
    return config
