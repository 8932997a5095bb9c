"""The asynchronous hook, for triggers and for many requests at once."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar

import aiohttp
import tenacity
from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.providers.http.hooks.http import HttpAsyncHook, SessionConfig

from extend_provider.client import endpoints
from extend_provider.client.endpoints import ApiCall
from extend_provider.client.models import BatchInput, FileInput, RunInput, RunSummary, StoredFile, WorkflowRun
from extend_provider.client.paging import Cursor
from extend_provider.client.rate_limit import limiter_for
from extend_provider.client.retries import (
    Answer,
    Backoff,
    Departure,
    is_unauthorized,
    no_answer,
    proxy_refusal,
    result_of,
    retrying,
)
from extend_provider.client.settings import ExtendSettings, not_read
from extend_provider.client.wire import Wire, wire_for
from extend_provider.exceptions import ExtendError
from extend_provider.hooks.aiohttp_transport import (
    chunks,
    request_options,
    request_timeout,
    telling,
    tunnel_refusal,
)
from extend_provider.hooks.diagnosis import diagnose
from extend_provider.hooks.multipart import Form, content_headers
from extend_provider.hooks.network import Route, route_of

T = TypeVar("T")

#: Seconds for which a connection may be missing: Airflow says so, too, while its secrets backend or its API
#: does not answer (task-sdk 1.3.2).
MISSING_SECONDS = 60.0


class ExtendAsyncHook(HttpAsyncHook):
    """The twin of :class:`~extend_provider.hooks.extend.ExtendHook` for an event loop.

    Methods are the same, as coroutines and asynchronous iterators. Enter it as an asynchronous context
    manager: that reads the connection and opens the one session, which belongs to the running loop.

    :param extend_conn_id: connection of type ``extend``.
    :param max_attempts: tries per request, the first included.
    :param backoff: how long to wait between them.
    """

    conn_name_attr = "extend_conn_id"
    default_conn_name = "extend_default"
    conn_type = "extend"
    hook_name = "Extend"

    def __init__(
        self,
        extend_conn_id: str = default_conn_name,
        max_attempts: int = 5,
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

        :raises ExtendConnectionError: it cannot be looked up at this moment.
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
            raise not_read(self.extend_conn_id, error) from None
        except Exception as error:  # noqa: BLE001  # of whatever secrets backend there is
            raise not_read(self.extend_conn_id, error) from None
        self._missing_since = None
        extra = await get_async_extra_dejson(connection)
        return ExtendSettings.from_connection(connection, extra)

    async def _has_changed(self, used: ExtendSettings) -> bool:
        """Whether the connection is not what it was; it is read again, unless somebody has done so."""
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

    @property
    def wire(self) -> Wire:
        """The wire shapes of the connection's API version."""
        return wire_for(self.settings.api_version)

    @property
    def api_version(self) -> str:
        """The connection's API version."""
        return self.settings.api_version

    async def config(self) -> SessionConfig:
        """Return what the http provider's session makes its requests with.

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
        """Return the way of every request; a thread reads certificates, which takes its time."""
        if self._route is None:
            self._route = await asyncio.to_thread(route_of, await self.get_settings())
        return self._route

    async def get_session(self) -> aiohttp.ClientSession:
        """Return the hook's one session, opened on first use."""
        await self.get_settings()
        if self._session is None:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(), trace_configs=[telling()]
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
        """Ask for one run, once, and tell what is wrong with the connection if there is no good answer."""
        try:
            settings = await self.get_settings()
        except ExtendError as error:
            return False, str(error)
        try:
            await self._send_once(endpoints.list_runs(self.wire, page_size=1))
        except ExtendError as error:
            return False, diagnose(error, settings)
        return True, f"Connected to {settings.base_url}, API version {settings.api_version}."

    # ------------------------------------------------------------------ requests

    async def send(self, call: ApiCall[T]) -> T:
        """Send a call, again where that is safe, and return its result."""
        options = retrying(call, max_attempts=self.max_attempts, backoff=self.backoff, log=self.log)
        return await tenacity.AsyncRetrying(**options)(self._send_once, call)

    async def _send_once(self, call: ApiCall[T]) -> T:
        """Send a call; with another key once more, as a key that Extend does not know has done nothing."""
        settings = await self.get_settings()
        try:
            return await self._exchange(call, settings)
        except ExtendError as error:
            if not is_unauthorized(error) or not await self._has_changed(settings):
                raise
            self.log.warning("Connection %s has changed; it was read again.", self.extend_conn_id)
        return await self._exchange(call, self.settings)

    async def _exchange(self, call: ApiCall[T], settings: ExtendSettings) -> T:
        session, route = await self.get_session(), await self._get_route()
        if settings.requests_per_second is not None:
            await asyncio.sleep(limiter_for(settings.conn_id, settings.requests_per_second).reserve())
        body = Form(call.upload) if call.upload else call.body
        departure = Departure(call.leave_by)
        try:
            async with session.request(
                call.method,
                settings.base_url + call.path,
                params=call.params,
                data=chunks(body) if isinstance(body, Form) else body,
                headers={**settings.headers, **content_headers(body)},
                timeout=request_timeout(settings, brief=call.is_brief),
                allow_redirects=False,
                trace_request_ctx=departure,
                **request_options(route),
            ) as response:
                answer = Answer(response.status, response.headers, await response.read(), route.via)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            refused = tunnel_refusal(error)
            if refused is not None:
                raise proxy_refusal(call, refused, route.via) from None
            raise no_answer(call, error, settings.base_url, sent=departure.begun, via=route.via) from None
        return result_of(call, answer)

    # ------------------------------------------------------------------ workflow runs

    async def create_run(
        self,
        workflow_id: str,
        file: FileInput,
        *,
        version: str | int | None = None,
        outputs: Sequence[Mapping[str, Any]] | None = None,
        priority: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        secrets: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> WorkflowRun:
        """Run a workflow on one file; see :meth:`create_runs`."""
        (run,) = await self.create_runs(
            workflow_id,
            [RunInput(file, outputs)],
            version=version,
            priority=priority,
            metadata=metadata,
            secrets=secrets,
            name=name,
        )
        return run

    async def create_runs(
        self,
        workflow_id: str,
        inputs: Sequence[RunInput],
        *,
        version: str | int | None = None,
        priority: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        secrets: Mapping[str, Any] | None = None,
        name: str | None = None,
        leave_by: dt.datetime | None = None,
    ) -> list[WorkflowRun]:
        """Run a workflow on each file: one request on 2025-04-21, one request per file on 2026-02-09.

        :param version: a version's number or ``draft``; None for the deployed one.
        :param priority: 1 to 100, lower first.
        :param metadata: comes back with each run.
        :param name: of each run.
        :param leave_by: when the request must have left, or not at all; timezone-aware.
        :raises ExtendError: with ``created_run_ids`` if some of several requests had succeeded.
        """
        calls = endpoints.create_runs(
            self.wire,
            workflow_id,
            inputs,
            version=version,
            priority=priority,
            metadata=metadata,
            secrets=secrets,
            name=name,
            leave_by=leave_by,
        )
        runs: list[WorkflowRun] = []
        for call in calls:
            try:
                created = await self.send(call)
            except ExtendError as error:
                error.created_run_ids = tuple(run.id for run in runs)
                raise
            runs.extend(created)
        if name is not None and not self.wire.names_runs_at_creation:
            for run in runs:
                await self._name_run(run, name)
        return runs

    async def _name_run(self, run: WorkflowRun, name: str) -> None:
        """Name a run that exists already; its name is not worth losing its id over."""
        try:
            await self.update_run(run.id, name=name)
        except ExtendError as error:
            self.log.warning("Run %s was created but not named %r: %s", run.id, name, error)

    async def create_batch(
        self,
        workflow_id: str,
        inputs: Sequence[BatchInput],
        *,
        version: str | int | None = None,
        priority: int | None = None,
    ) -> str:
        """Submit up to 1,000 inputs in one request and return the batch's id.

        :raises ExtendUnclearSubmissionError: if it is unknown whether the batch exists.
        """
        if priority is not None and not self.wire.batch_has_priority:
            self.log.warning(
                "API version %s fixes the priority of batches; %d is ignored.", self.api_version, priority
            )
        return await self.send(
            endpoints.create_batch(self.wire, workflow_id, inputs, version=version, priority=priority)
        )

    async def iter_run_pages(
        self,
        *,
        batch_id: str | None = None,
        workflow_id: str | None = None,
        status: str | None = None,
        file_name_contains: str | None = None,
        sort_by: str = "createdAt",
        sort_dir: str = "asc",
        page_size: int = endpoints.MAX_PAGE_SIZE,
    ) -> AsyncGenerator[list[RunSummary], None]:
        """List runs page by page. While runs are at work, pages may overlap or miss some: count by id."""
        cursor, more = Cursor(), True
        while more:
            page = await self.send(
                endpoints.list_runs(
                    self.wire,
                    batch_id=batch_id,
                    workflow_id=workflow_id,
                    status=status,
                    file_name_contains=file_name_contains,
                    sort_by=sort_by,
                    sort_dir=sort_dir,
                    page_size=page_size,
                    page_token=cursor.token,
                )
            )
            yield list(page.items)
            more = cursor.advance(page)

    async def get_run(self, run_id: str) -> WorkflowRun:
        """Return a run with its results."""
        return await self.send(endpoints.get_run(self.wire, run_id))

    async def update_run(
        self, run_id: str, name: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> WorkflowRun:
        """Set a run's name or metadata."""
        return await self.send(endpoints.update_run(self.wire, run_id, name=name, metadata=metadata))

    async def cancel_run(self, run_id: str) -> WorkflowRun:
        """Cancel a pending or processing run; Extend refuses others (ExtendBadRequestError)."""
        return await self.send(endpoints.cancel_run(self.wire, run_id))

    async def delete_run(self, run_id: str) -> None:
        """Delete a run."""
        await self.send(endpoints.delete_run(self.wire, run_id))

    async def check_workflow(self, workflow_id: str) -> None:
        """See that the connection's workspace has a workflow, where the API version can tell.

        :raises ExtendNotFoundError: it has not.
        """
        if self.wire.has_workflows:
            await self.send(endpoints.get_workflow(self.wire, workflow_id))

    # ------------------------------------------------------------------ files

    async def upload_file(
        self,
        name: str,
        content: BinaryIO | bytes,
        *,
        password: str | None = None,
        convert_to_pdf: bool = False,
    ) -> StoredFile:
        """Upload a file, streamed from a binary file that can seek; its type is told by name and content."""
        return await self.send(
            endpoints.upload_file(self.wire, name, content, password=password, convert_to_pdf=convert_to_pdf)
        )

    async def iter_file_pages(
        self,
        *,
        name_contains: str | None = None,
        sort_dir: str = "asc",
        page_size: int = endpoints.MAX_PAGE_SIZE,
    ) -> AsyncGenerator[list[StoredFile], None]:
        """List files page by page."""
        cursor, more = Cursor(), True
        while more:
            page = await self.send(
                endpoints.list_files(
                    self.wire,
                    name_contains=name_contains,
                    sort_dir=sort_dir,
                    page_size=page_size,
                    page_token=cursor.token,
                )
            )
            yield list(page.items)
            more = cursor.advance(page)

    async def get_file(self, file_id: str) -> StoredFile:
        """Return a file with a presigned URL of its content, good for 15 minutes."""
        return await self.send(endpoints.get_file(self.wire, file_id))

    async def delete_file(self, file_id: str) -> None:
        """Delete a file."""
        await self.send(endpoints.delete_file(self.wire, file_id))
