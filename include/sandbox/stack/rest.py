"""HTTP to Airflow's REST API: the login, the errors, the pages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar

import httpx
import msgspec

from sandbox.stack.interruption import pause

PAGE_SIZE = 100

T = TypeVar("T")


class AirflowApiError(Exception):
    """Airflow refused a request; the text has the method, the path, the status and Airflow's reason."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class RestClient:
    """Speaks to one Airflow as one user; a context manager.

    :param url: Airflow's address, e.g. ``http://127.0.0.1:8080``.
    :param username: a user of its SimpleAuthManager.
    :param password: that user's password; it is sent once, for a token.
    :param timeout: seconds for one answer; a busy machine has taken more than 30.
    """

    def __init__(self, url: str, username: str, password: str, *, timeout: float = 60) -> None:
        self.url = url
        self._credentials = {"username": username, "password": password}
        # trust_env=False: a proxy of the user's has nothing to do with the loopback interface
        self._http = httpx.Client(base_url=url, timeout=timeout, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, **params: Any) -> Any:
        """Return the JSON of any other resource, e.g. ``get("pools/extend")``."""
        return self._json("GET", path, params=params)

    def _typed(self, kind: type[T], method: str, path: str, **arguments: Any) -> T:
        return msgspec.convert(self._json(method, path, **arguments), kind)

    def _pages(self, kind: type[T], path: str, field: str, **params: str) -> Iterator[T]:
        offset = 0
        while True:
            page = self._json("GET", path, params={**params, "limit": PAGE_SIZE, "offset": offset})
            yield from (msgspec.convert(item, kind) for item in page[field])
            offset += len(page[field])
            if offset >= page["total_entries"] or not page[field]:
                return

    def _json(self, method: str, path: str, **arguments: Any) -> Any:
        if "Authorization" not in self._http.headers:
            self._log_in()
        response = self._http.request(method, f"/api/v2/{path}", **arguments)
        if response.is_error:
            raise AirflowApiError(
                f"{method} {path}: {response.status_code}: {_detail(response)}", response.status_code
            )
        return response.json() if response.content else None

    def _log_in(self) -> None:
        response = self._http.post("/auth/token", json=self._credentials)
        if response.is_error:
            raise AirflowApiError(f"login at {self.url} failed: {_detail(response)}", response.status_code)
        self._http.headers["Authorization"] = f"Bearer {response.json()['access_token']}"

    @staticmethod
    def _poll(look: Callable[[], T | None], timeout: float, interval: float) -> T | None:
        deadline = time.monotonic() + timeout
        while (found := look()) is None and time.monotonic() < deadline:
            pause(interval)
        return found


def found_or_none(look: Callable[[], T]) -> T | None:
    """Return what ``look`` returns; None when Airflow knows no such thing."""
    try:
        return look()
    except AirflowApiError as error:
        if error.status == httpx.codes.NOT_FOUND:
            return None
        raise


def _detail(response: httpx.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return response.text[:500]
