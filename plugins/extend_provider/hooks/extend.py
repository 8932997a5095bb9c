"""The synchronous hook, and the place both hooks are imported from."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar

import requests
import tenacity
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.providers.http.hooks.http import HttpHook

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
from extend_provider.hooks.diagnosis import diagnose
from extend_provider.hooks.extend_async import ExtendAsyncHook
from extend_provider.hooks.multipart import Form, content_headers
from extend_provider.hooks.network import Route, route_of
from extend_provider.hooks.requests_transport import TellingAdapter, lead, observed, tunnel_refusal

__all__ = ["ExtendAsyncHook", "ExtendHook"]

T = TypeVar("T")


class ExtendHook(HttpHook):
    """Talk to Extend over one kept-alive session.

    Every method raises :class:`~extend_provider.exceptions.ExtendError`. Rate limiting, server faults and
    broken connections are waited out, except where a request may have created something: see
    :mod:`extend_provider.client.retries`. When Extend does not know the API key, the connection is read once
    more: it may have been rotated. Use it as a context manager, or call :meth:`close`.

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
        super().__init__(method="GET", http_conn_id=extend_conn_id)
        self.keep_alive_adapter = TellingAdapter()
        self.extend_conn_id = extend_conn_id
        self.max_attempts = max_attempts
        self.backoff = backoff or Backoff()
        self._settings: ExtendSettings | None = None
        self._route: Route | None = None
        self._session: requests.Session | None = None
        self._has_turn = False

    # ------------------------------------------------------------------ connection

    @property
    def settings(self) -> ExtendSettings:
        """What the connection says; looked up on first use.

        :raises ExtendConnectionError: it cannot be looked up at this moment.
        """
        if self._settings is None:
            self._settings = self._look_up()
        return self._settings

    def _look_up(self) -> ExtendSettings:
        try:
            connection = self.get_connection(self.extend_conn_id)
        except (AirflowNotFoundException, PermissionError):
            raise
        except Exception as error:  # noqa: BLE001  # of whatever secrets backend there is
            raise not_read(self.extend_conn_id, error) from None
        return ExtendSettings.from_connection(connection, connection.extra_dejson)

    def _has_changed(self, used: ExtendSettings) -> bool:
        """Whether the connection is not what it was; it is read again, unless somebody has done so."""
        if self._settings is used:
            self._settings = self._look_up()
            if self._session is not None:
                self._set_up(self._session)
        return self.settings != used

    @property
    def wire(self) -> Wire:
        """The wire shapes of the connection's API version."""
        return wire_for(self.settings.api_version)

    @property
    def api_version(self) -> str:
        """The connection's API version."""
        return self.settings.api_version

    def get_conn(
        self, headers: dict[Any, Any] | None = None, extra_options: dict[str, Any] | None = None
    ) -> requests.Session:
        """Return the hook's one session, made on first use with the http provider's keep-alive adapter.

        The connection's extra gives transport options only; the http provider's own way would send the rest
        of it as headers.
        """
        if self._session is None:
            settings = self.settings
            self.base_url = settings.base_url
            self._base_url_initialized = True
            # What the inherited ``run`` goes by.
            self.merged_extra = {"timeout": settings.timeouts(brief=False), "allow_redirects": False}
            session = requests.Session()
            self._set_up(session)
            self._session = self._configure_session_from_mount_adapters(session)
        return self._session

    def _set_up(self, session: requests.Session) -> None:
        self._route = route_of(self.settings)
        lead(session, self._route)
        session.headers.update(self.settings.headers)

    def close(self) -> None:
        """Close the session's connections; the next request opens new ones."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def test_connection(self) -> tuple[bool, str]:
        """Ask for one run, once, and tell what is wrong with the connection if there is no good answer."""
        try:
            settings = self.settings
        except ExtendError as error:
            return False, str(error)
        try:
            self._send_once(endpoints.list_runs(self.wire, page_size=1))
        except ExtendError as error:
            return False, diagnose(error, settings)
        return True, f"Connected to {settings.base_url}, API version {settings.api_version}."

    # ------------------------------------------------------------------ requests

    def send(self, call: ApiCall[T]) -> T:
        """Send a call, again where that is safe, and return its result."""
        options = retrying(call, max_attempts=self.max_attempts, backoff=self.backoff, log=self.log)
        result: T = tenacity.Retrying(**options)(self._send_once, call)
        return result

    def wait_for_turn(self) -> None:
        """Wait until ``requests_per_second`` allow a request; the next one is then sent without a wait.

        :raises ExtendError: the connection cannot be read.
        """
        self._wait(self.settings)
        self._has_turn = True

    @staticmethod
    def _wait(settings: ExtendSettings) -> None:
        if settings.requests_per_second is not None:
            time.sleep(limiter_for(settings.conn_id, settings.requests_per_second).reserve())

    def _send_once(self, call: ApiCall[T]) -> T:
        """Send a call; with another key once more, as a key that Extend does not know has done nothing."""
        settings = self.settings
        try:
            return self._exchange(call, settings)
        except ExtendError as error:
            if not is_unauthorized(error) or not self._has_changed(settings):
                raise
            self.log.warning("Connection %s has changed; it was read again.", self.extend_conn_id)
        return self._exchange(call, self.settings)

    def _exchange(self, call: ApiCall[T], settings: ExtendSettings) -> T:
        session = self.get_conn()
        via = self._route.via if self._route else None
        if not self._has_turn:
            self._wait(settings)
        self._has_turn = False
        body = Form(call.upload) if call.upload else call.body
        departure = Departure(call.leave_by)
        try:
            with observed(departure):
                response = session.request(
                    call.method,
                    settings.base_url + call.path,
                    params=call.params,
                    data=body,
                    headers=content_headers(body),
                    timeout=settings.timeouts(brief=call.is_brief),
                    allow_redirects=False,
                )
        except requests.RequestException as error:
            refused = tunnel_refusal(error)
            if refused is not None:
                raise proxy_refusal(call, refused, via) from None
            raise no_answer(call, error, settings.base_url, sent=departure.begun, via=via) from None
        return result_of(call, Answer(response.status_code, response.headers, response.content, via))

    # ------------------------------------------------------------------ workflow runs

    def create_run(
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
        (run,) = self.create_runs(
            workflow_id,
            [RunInput(file, outputs)],
            version=version,
            priority=priority,
            metadata=metadata,
            secrets=secrets,
            name=name,
        )
        return run

    def create_runs(
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
                created = self.send(call)
            except ExtendError as error:
                error.created_run_ids = tuple(run.id for run in runs)
                raise
            runs.extend(created)
        if name is not None and not self.wire.names_runs_at_creation:
            for run in runs:
                self._name_run(run, name)
        return runs

    def _name_run(self, run: WorkflowRun, name: str) -> None:
        """Name a run that exists already; its name is not worth losing its id over."""
        try:
            self.update_run(run.id, name=name)
        except ExtendError as error:
            self.log.warning("Run %s was created but not named %r: %s", run.id, name, error)

    def create_batch(
        self,
        workflow_id: str,
        inputs: Sequence[BatchInput],
        *,
        version: str | int | None = None,
        priority: int | None = None,
        leave_by: dt.datetime | None = None,
    ) -> str:
        """Submit up to 1,000 inputs in one request and return the batch's id.

        :param leave_by: when the request must have left, or not at all; timezone-aware.
        :raises ExtendUnclearSubmissionError: if it is unknown whether the batch exists.
        """
        if priority is not None and not self.wire.batch_has_priority:
            self.log.warning(
                "API version %s fixes the priority of batches; %d is ignored.", self.api_version, priority
            )
        return self.send(
            endpoints.create_batch(
                self.wire, workflow_id, inputs, version=version, priority=priority, leave_by=leave_by
            )
        )

    def iter_run_pages(
        self,
        *,
        batch_id: str | None = None,
        workflow_id: str | None = None,
        status: str | None = None,
        file_name_contains: str | None = None,
        sort_by: str = "createdAt",
        sort_dir: str = "asc",
        page_size: int = endpoints.MAX_PAGE_SIZE,
    ) -> Iterator[list[RunSummary]]:
        """List runs page by page. While runs are at work, pages may overlap or miss some: count by id."""
        cursor, more = Cursor(), True
        while more:
            page = self.send(
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

    def get_run(self, run_id: str) -> WorkflowRun:
        """Return a run with its results."""
        return self.send(endpoints.get_run(self.wire, run_id))

    def update_run(
        self, run_id: str, name: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> WorkflowRun:
        """Set a run's name or metadata."""
        return self.send(endpoints.update_run(self.wire, run_id, name=name, metadata=metadata))

    def cancel_run(self, run_id: str) -> WorkflowRun:
        """Cancel a pending or processing run; Extend refuses others (ExtendBadRequestError)."""
        return self.send(endpoints.cancel_run(self.wire, run_id))

    def delete_run(self, run_id: str) -> None:
        """Delete a run."""
        self.send(endpoints.delete_run(self.wire, run_id))

    def check_workflow(self, workflow_id: str) -> None:
        """See that the connection's workspace has a workflow, where the API version can tell.

        :raises ExtendNotFoundError: it has not.
        """
        if self.wire.has_workflows:
            self.send(endpoints.get_workflow(self.wire, workflow_id))

    # ------------------------------------------------------------------ files

    def upload_file(
        self,
        name: str,
        content: BinaryIO | bytes,
        *,
        password: str | None = None,
        convert_to_pdf: bool = False,
    ) -> StoredFile:
        """Upload a file, streamed from a binary file that can seek; its type is told by name and content."""
        return self.send(
            endpoints.upload_file(self.wire, name, content, password=password, convert_to_pdf=convert_to_pdf)
        )

    def iter_file_pages(
        self,
        *,
        name_contains: str | None = None,
        sort_dir: str = "asc",
        page_size: int = endpoints.MAX_PAGE_SIZE,
    ) -> Iterator[list[StoredFile]]:
        """List files page by page."""
        cursor, more = Cursor(), True
        while more:
            page = self.send(
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

    def get_file(self, file_id: str) -> StoredFile:
        """Return a file with a presigned URL of its content, good for 15 minutes."""
        return self.send(endpoints.get_file(self.wire, file_id))

    def delete_file(self, file_id: str) -> None:
        """Delete a file."""
        self.send(endpoints.delete_file(self.wire, file_id))
