"""The synchronous hook, and the place both hooks are imported from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import requests
import tenacity
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.providers.http.hooks.http import HttpHook

from extend_provider.client import endpoints, webhook_endpoints
from extend_provider.client.calls import ApiCall, Cursor, Steps
from extend_provider.client.errors import Answer, Transmission, is_unauthorized
from extend_provider.client.models import Page
from extend_provider.client.pacing.limits import Category, Turn, limits_of
from extend_provider.client.pacing.retries import Backoff, retrying
from extend_provider.client.settings import ExtendSettings, unreadable_connection
from extend_provider.client.wire import Wire
from extend_provider.exceptions import ExtendError
from extend_provider.hooks.diagnosis import connection_report
from extend_provider.hooks.extend_async import ExtendAsyncHook
from extend_provider.hooks.methods import (
    DEFAULT_CONN_ID,
    DEFAULT_MAX_ATTEMPTS,
    ExtendHookMixin,
    documented_by,
)
from extend_provider.hooks.multipart import Form, content_headers
from extend_provider.hooks.network import Route, route_of
from extend_provider.hooks.requests_transport import (
    TransmissionAdapter,
    route_session,
    transmitting,
    tunnel_refusal,
)

__all__ = ["ExtendAsyncHook", "ExtendHook"]

P = ParamSpec("P")
T = TypeVar("T")


def _method(endpoint: Callable[Concatenate[Wire, P], Steps[T]]) -> Callable[Concatenate[ExtendHook, P], T]:
    """Return an endpoint as a method."""

    @documented_by(endpoint)
    def method(self: ExtendHook, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.carry_out(endpoint(self.wire, *args, **kwargs))

    return method


def _listing(
    endpoint: Callable[Concatenate[Wire, P], ApiCall[Page[T]]],
) -> Callable[Concatenate[ExtendHook, P], Iterator[list[T]]]:
    """Return an endpoint with pages as a method that yields the items of each."""

    @documented_by(endpoint)
    def method(self: ExtendHook, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[list[T]]:
        first = endpoint(self.wire, *args, **kwargs)
        cursor = Cursor(first)
        call: ApiCall[Page[T]] | None = first
        while call is not None:
            page = self.send(call)
            yield list(page.items)
            call = cursor.after(page)

    return method


class ExtendHook(ExtendHookMixin, HttpHook):
    """Talk to Extend over one kept-alive session.

    Every method raises :class:`~extend_provider.exceptions.ExtendError`. Rate limiting, server faults and
    broken connections are waited out, except where a request may have created something: see
    :mod:`extend_provider.client.errors`. When Extend does not know the API key, the connection is read again,
    because the key may have been rotated. Use the hook as a context manager, or call :meth:`close`.

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
        super().__init__(method="GET", http_conn_id=extend_conn_id)
        self.keep_alive_adapter = TransmissionAdapter()
        self.extend_conn_id = extend_conn_id
        self.max_attempts = max_attempts
        self.backoff = backoff or Backoff()
        self._settings: ExtendSettings | None = None
        self._route: Route | None = None
        self._session: requests.Session | None = None
        self._turn: Turn | None = None

    # ------------------------------------------------------------------ connection

    @property
    def settings(self) -> ExtendSettings:
        """What the connection says; looked up on first use.

        :raises ExtendConnectionError: it cannot be looked up at the moment.
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
            raise unreadable_connection(self.extend_conn_id, error) from None
        return ExtendSettings.from_connection(connection, connection.extra_dejson)

    def _has_changed(self, used: ExtendSettings) -> bool:
        """Read the connection again, unless another request has; return whether it differs from ``used``."""
        if self._settings is used:
            self._settings = self._look_up()
            if self._session is not None:
                self._set_up(self._session)
        return self.settings != used

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
            # Read by the inherited ``run``.
            self.merged_extra = {"timeout": settings.timeouts(brief=False), "allow_redirects": False}
            session = requests.Session()
            self._set_up(session)
            self._session = self._configure_session_from_mount_adapters(session)
        return self._session

    def _set_up(self, session: requests.Session) -> None:
        self._route = route_of(self.settings)
        route_session(session, self._route)
        session.headers.update(self.settings.headers)

    def close(self) -> None:
        """Close the session's connections; the next request opens new ones."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def test_connection(self) -> tuple[bool, str]:
        """Ask for one run, once, and say what is wrong with the connection if there is no good answer."""
        settings = None
        try:
            settings = self.settings
            self._send_once(endpoints.iter_run_pages(self.wire, page_size=1))
        except ExtendError as error:
            return connection_report(settings, error)
        return connection_report(settings)

    # ------------------------------------------------------------------ requests

    def send(self, call: ApiCall[T]) -> T:
        """Send a call, again where that is safe, and return its result."""
        options = retrying(call, max_attempts=self.max_attempts, backoff=self.backoff, log=self.log)
        result: T = tenacity.Retrying(**options)(self._send_once, call)
        return result

    def carry_out(self, steps: Steps[T]) -> T:
        """Send the calls of an endpoint and return its result."""
        generator = iter(steps)
        try:
            call = next(generator)
            while True:
                try:
                    result = self.send(call)
                except ExtendError as error:
                    call = generator.throw(error)
                else:
                    call = generator.send(result)
        except StopIteration as end:
            value: T = end.value
            return value

    def wait_for_turn(self, category: Category = "run") -> None:
        """Wait until the rate limit allows a request; the next one is then sent without a wait.

        :param category: of that request; by default it is one that creates runs.
        :raises ExtendRateLimitError: Extend has asked to send none for longer than tries are repeated.
        :raises ExtendError: the connection cannot be read.
        """
        self._turn = self._wait(self.settings, category)

    def _wait(self, settings: ExtendSettings, wanted: ApiCall[Any] | Category) -> Turn:
        turn = limits_of(settings).turn(wanted)
        try:
            while (seconds := turn.wait(self.backoff.total)) > 0:
                time.sleep(seconds)
        except BaseException:
            turn.give_back()
            raise
        return turn

    def _send_once(self, call: ApiCall[T]) -> T:
        """Send a call; after a 401, which proves that nothing was done, once more if the key has changed."""
        settings = self.settings
        try:
            return self._exchange(call, settings)
        except ExtendError as error:
            if not is_unauthorized(error) or not self._has_changed(settings):
                raise
            self.log.warning("Connection %s has changed and was read again", self.extend_conn_id)
        return self._exchange(call, self.settings)

    def _exchange(self, call: ApiCall[T], settings: ExtendSettings) -> T:
        session = self.get_conn()
        turn, self._turn = self._turn or self._wait(settings, call), None
        body = Form(call.upload) if call.upload else call.body
        transmission = Transmission(call, settings.base_url, self._route.via if self._route else None)
        try:
            with transmitting(transmission):
                response = session.request(
                    call.method,
                    settings.base_url + call.path,
                    params=call.params,
                    data=body,
                    headers={**content_headers(body), **call.headers},
                    timeout=settings.timeouts(brief=call.is_brief),
                    allow_redirects=False,
                )
        except requests.RequestException as error:
            raise transmission.failure(error, tunnel_refusal(error)) from None
        answer = Answer(response.status_code, response.headers, response.content)
        turn.end(answer.status, answer.retry_after)
        return transmission.result(answer)

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
