"""The asynchronous hook, for triggers and for many requests at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import aiohttp
import tenacity
from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.providers.http.hooks.http import HttpAsyncHook, SessionConfig

from extend_provider.client import endpoints, webhook_endpoints
from extend_provider.client.calls import ApiCall, Cursor, Steps
from extend_provider.client.errors import Answer, Transmission, is_unauthorized
from extend_provider.client.models import Page
from extend_provider.client.pacing.limits import Turn, limits_of
from extend_provider.client.pacing.retries import Backoff, retrying
from extend_provider.client.settings import ExtendSettings, unreadable_connection
from extend_provider.client.wire import Wire
from extend_provider.exceptions import ExtendError
from extend_provider.hooks.aiohttp_transport import (
    chunks,
    request_options,
    request_timeout,
    transmission_tracing,
    tunnel_refusal,
)
from extend_provider.hooks.diagnosis import connection_report
from extend_provider.hooks.methods import (
    DEFAULT_CONN_ID,
    DEFAULT_MAX_ATTEMPTS,
    ExtendHookMixin,
    documented_by,
)
from extend_provider.hooks.multipart import Form, content_headers
from extend_provider.hooks.network import Route, route_of

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds for which a connection may be missing. Airflow reports a connection as missing also while its
#: secrets backend or its API does not answer (task-sdk 1.3.2).
MISSING_SECONDS = 60.0


def _method(
    endpoint: Callable[Concatenate[Wire, P], Steps[T]],
) -> Callable[Concatenate[ExtendAsyncHook, P], Coroutine[Any, Any, T]]:
    """Return an endpoint as a coroutine method."""

    @documented_by(endpoint)
    async def method(self: ExtendAsyncHook, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.carry_out(endpoint(self.wire, *args, **kwargs))

    return method


def _listing(
    endpoint: Callable[Concatenate[Wire, P], ApiCall[Page[T]]],
) -> Callable[Concatenate[ExtendAsyncHook, P], AsyncGenerator[list[T], None]]:
    """Return an endpoint with pages as an asynchronous generator of the items of each."""

    @documented_by(endpoint)
    async def method(
        self: ExtendAsyncHook, /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncGenerator[list[T], None]:
        first = endpoint(self.wire, *args, **kwargs)
        cursor = Cursor(first)
        call: ApiCall[Page[T]] | None = first
        while call is not None:
            page = await self.send(call)
            yield list(page.items)
            call = cursor.after(page)

    return method


class ExtendAsyncHook(ExtendHookMixin, HttpAsyncHook):
    """:class:`~extend_provider.hooks.extend.ExtendHook` for an event loop.

    Methods are the same, as coroutines and asynchronous generators. Enter the hook as an asynchronous context
    manager: that reads the connection and opens the one session, which belongs to the running loop.

    :param extend_conn_id: connection of type ``extend``.
    :param max_attempts: tries per request, the first included.
    :param backoff: how long to wait between them.
    """

    def __init__(
        self,
        extend_conn_id: str = DEFAULT_CONN_ID,
        max_attempts: int = DEFAULT_MAX_ATTEMPTS,
        *,
        backoff: Backoff | None = None,
    ) -> None:
        super().__init__(method="GET", http_conn_id=extend_conn_id, retry_limit=1)
        self.extend_conn_id = extend_conn_id
        self.max_attempts = max_attempts
        self.backoff = backoff or Backoff()
        self._settings: ExtendSettings | None = None
        self._missing_since: float | None = None
        self._route: Route | None = None
        self._session: aiohttp.ClientSession | None = None

    # ------------------------------------------------------------------ connection

    async def get_settings(self) -> ExtendSettings:
        """Return what the connection says; looked up on first use, without blocking the loop.

        :raises ExtendConnectionError: it cannot be looked up at the moment.
        """
        if self._settings is None:
            self._settings = await self._look_up()
        return self._settings

    async def _look_up(self) -> ExtendSettings:
        try:
            connection = await get_async_connection(self.extend_conn_id, hook=self)
        except PermissionError:
            raise
        except AirflowNotFoundException as error:
            now = time.monotonic()
            self._missing_since = self._missing_since or now
            if now - self._missing_since >= MISSING_SECONDS:
                raise
            raise unreadable_connection(self.extend_conn_id, error) from None
        except Exception as error:  # noqa: BLE001  # of whatever secrets backend there is
            raise unreadable_connection(self.extend_conn_id, error) from None
        self._missing_since = None
        extra = await get_async_extra_dejson(connection)
        return ExtendSettings.from_connection(connection, extra)

    async def _has_changed(self, used: ExtendSettings) -> bool:
        """Read the connection again, unless another request has; return whether it differs from ``used``."""
        if self._settings is used:
            settings = await self._look_up()
            if self._settings is used:
                self._settings, self._route = settings, None
        return self.settings != used

    @property
    def settings(self) -> ExtendSettings:
        """What the connection says, once the hook is entered or has sent something."""
        if self._settings is None:
            raise RuntimeError("Enter the hook first: async with ExtendAsyncHook(…) as hook.")
        return self._settings

    async def config(self) -> SessionConfig:
        """Return the configuration of the http provider's own session.

        The connection's extra gives transport options only; the http provider's own way would send the rest
        of it as headers, and would decode it in a way that blocks the loop.
        """
        if self._config is None:
            settings = await self.get_settings()
            self._config = SessionConfig(
                base_url=settings.base_url,
                headers=settings.headers,
                extra_options={
                    "timeout": request_timeout(settings, brief=False),
                    "allow_redirects": False,
                    **request_options(await self._get_route()),
                },
            )
        return self._config

    async def _get_route(self) -> Route:
        """Return the route of every request; certificates are read in a thread, because that is slow."""
        if self._route is None:
            self._route = await asyncio.to_thread(route_of, await self.get_settings())
        return self._route

    async def get_session(self) -> aiohttp.ClientSession:
        """Return the hook's one session, opened on first use."""
        await self.get_settings()
        if self._session is None:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(), trace_configs=[transmission_tracing()]
            )
        return self._session

    async def close(self) -> None:
        """Close the session's connections; the next request opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __aenter__(self) -> Self:
        await self.get_session()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def test_connection(self) -> tuple[bool, str]:
        """Ask for one run, once, and say what is wrong with the connection if there is no good answer."""
        settings = None
        try:
            settings = await self.get_settings()
            await self._send_once(endpoints.iter_run_pages(self.wire, page_size=1))
        except ExtendError as error:
            return connection_report(settings, error)
        return connection_report(settings)

    # ------------------------------------------------------------------ requests

    async def send(self, call: ApiCall[T]) -> T:
        """Send a call, again where that is safe, and return its result."""
        options = retrying(call, max_attempts=self.max_attempts, backoff=self.backoff, log=self.log)
        return await tenacity.AsyncRetrying(**options)(self._send_once, call)

    async def carry_out(self, steps: Steps[T]) -> T:
        """Send the calls of an endpoint and return its result."""
        generator = iter(steps)
        try:
            call = next(generator)
            while True:
                try:
                    result = await self.send(call)
                except ExtendError as error:
                    call = generator.throw(error)
                else:
                    call = generator.send(result)
        except StopIteration as end:
            value: T = end.value
            return value

    async def _send_once(self, call: ApiCall[T]) -> T:
        """Send a call; after a 401, which proves that nothing was done, once more if the key has changed."""
        settings = await self.get_settings()
        try:
            return await self._exchange(call, settings)
        except ExtendError as error:
            if not is_unauthorized(error) or not await self._has_changed(settings):
                raise
            self.log.warning("Connection %s has changed and was read again", self.extend_conn_id)
        return await self._exchange(call, self.settings)

    async def _exchange(self, call: ApiCall[T], settings: ExtendSettings) -> T:
        session, route = await self.get_session(), await self._get_route()
        turn = await self._wait(settings, call)
        body = Form(call.upload) if call.upload else call.body
        transmission = Transmission(call, settings.base_url, route.via)
        try:
            async with session.request(
                call.method,
                settings.base_url + call.path,
                params=call.params,
                data=chunks(body) if isinstance(body, Form) else body,
                headers={**settings.headers, **content_headers(body), **call.headers},
                timeout=request_timeout(settings, brief=call.is_brief),
                allow_redirects=False,
                trace_request_ctx=transmission,
                **request_options(route),
            ) as response:
                answer = Answer(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise transmission.failure(error, tunnel_refusal(error)) from None
        turn.end(answer.status, answer.retry_after)
        return transmission.result(answer)

    async def _wait(self, settings: ExtendSettings, call: ApiCall[Any]) -> Turn:
        turn = limits_of(settings).turn(call)
        try:
            while (seconds := turn.wait(self.backoff.total)) > 0:
                await asyncio.sleep(seconds)
        except BaseException:
            turn.give_back()
            raise
        return turn

    # ------------------------------------------------------------------ endpoints

    create_run = _method(endpoints.create_run)
    create_runs = _method(endpoints.create_runs)
    create_batch = _method(endpoints.create_batch)
    iter_run_pages = _listing(endpoints.iter_run_pages)
    get_run = _method(endpoints.get_run)
    update_run = _method(endpoints.update_run)
    cancel_run = _method(endpoints.cancel_run)
    delete_run = _method(endpoints.delete_run)
    check_workflow = _method(endpoints.check_workflow)
    upload_file = _method(endpoints.upload_file)
    iter_file_pages = _listing(endpoints.iter_file_pages)
    get_file = _method(endpoints.get_file)
    delete_file = _method(endpoints.delete_file)

    create_webhook_endpoint = _method(webhook_endpoints.create_webhook_endpoint)
    iter_webhook_endpoint_pages = _listing(webhook_endpoints.iter_webhook_endpoint_pages)
    update_webhook_endpoint = _method(webhook_endpoints.update_webhook_endpoint)
    delete_webhook_endpoint = _method(webhook_endpoints.delete_webhook_endpoint)
    create_webhook_subscription = _method(webhook_endpoints.create_webhook_subscription)
    iter_webhook_subscription_pages = _listing(webhook_endpoints.iter_webhook_subscription_pages)
    delete_webhook_subscription = _method(webhook_endpoints.delete_webhook_subscription)
