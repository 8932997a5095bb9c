"""The API of Databricks: authenticating, running a statement, reading its rows, naming a fault."""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from extend_pipeline.warehouse.records import WarehouseError
from extend_pipeline.warehouse.session import PAGE_ROWS, WITHHELD, Page

if TYPE_CHECKING:
    from airflow.sdk import Connection
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.sql import StatementResponse

_WAIT: Final = "30s"
_POLL_SECONDS: Final = 2.0
_CONDITION: Final = re.compile(r"\[([A-Z][A-Z0-9_]*(?:\.[A-Z0-9_]+)?)\]")
#: Conditions whose messages name rights and objects, and never contain a value.
_OF_THE_SERVER: Final = re.compile(
    r"INSUFFICIENT_PERMISSIONS|PERMISSION_DENIED|UC_|UNAUTHORIZED|TABLE_OR_VIEW_|SCHEMA_|CATALOG_"
    r"|NO_SUCH_CATALOG|TRANSACTION_|MULTI_STATEMENT_TRANSACTION_|DELTA_CATALOG_MANAGED|PATH_NOT_FOUND"
)
_AGAIN: Final = "Clear the task to try again."
_REMEDIES: Final = (
    (
        re.compile("CONCURREN|CONFLICT|DELTA_METADATA_CHANGED|DELTA_PROTOCOL_CHANGED"),
        f"Another transaction wrote to the same tables, so this one was rolled back. {_AGAIN}",
    ),
    (
        re.compile("TRANSACTION_|CATALOG_MANAGED"),
        "A part lands in one transaction, so the dataset's tables must be Delta tables managed by Unity "
        "Catalog, with catalog commits and without row filters or column masks.",
    ),
    (
        re.compile("PERMISSION|UNAUTHORIZED"),
        "Grant it to the connection's user or service principal.",
    ),
)


def credentials(connection: Connection) -> dict[str, Any]:
    """Return the SDK's settings for one way to authenticate, so that it ignores the environment.

    :raises WarehouseError: if the connection has no token and no secret.
    """
    extra = connection.extra_dejson
    token = extra.get("token") or connection.password
    if not token:
        raise WarehouseError(
            f"Connection {connection.conn_id!r} needs a personal access token, or a service principal's "
            "secret, as its password."
        )
    if extra.get("azure_tenant_id"):
        return {
            "auth_type": "azure-client-secret",
            "azure_client_id": connection.login,
            "azure_client_secret": connection.password,
            "azure_tenant_id": extra["azure_tenant_id"],
            "azure_workspace_resource_id": extra.get("azure_resource_id"),
        }
    if extra.get("service_principal_oauth"):
        return {
            "auth_type": "oauth-m2m",
            "client_id": connection.login,
            "client_secret": connection.password,
        }
    return {"auth_type": "pat", "token": token}


class _StatementFailedError(Exception):
    """The warehouse has refused a statement. Its message may contain a value, so it is an attribute."""

    def __init__(self, state: str, message: str) -> None:
        super().__init__(state)
        found = _CONDITION.search(message)
        self.condition = found[1] if found else state
        self.message = message


class SqlWarehouse:
    """A SQL warehouse. It runs single statements; there is no session between them.

    :param workspace: the workspace of the warehouse.
    :param catalog: the catalog of the schemas.
    :param seconds: after which a statement that has not ended is cancelled; None: never.
    """

    def __init__(
        self, workspace: WorkspaceClient, warehouse_id: str, catalog: str, seconds: float | None = None
    ) -> None:
        self._seconds = seconds
        self._workspace = workspace
        self._warehouse_id = warehouse_id
        self._catalog = catalog

    def execute(self, sql: str, **options: Any) -> StatementResponse:
        """Run a statement and wait for its end. Cancel it if the wait is interrupted."""
        from databricks.sdk.service.sql import StatementState

        statements = self._workspace.statement_execution
        end = math.inf if self._seconds is None else time.monotonic() + self._seconds
        answer = statements.execute_statement(
            sql, self._warehouse_id, catalog=self._catalog, wait_timeout=self._wait(), **options
        )
        number = answer.statement_id or ""
        try:
            while answer.status and answer.status.state in (StatementState.PENDING, StatementState.RUNNING):
                _pause(end)
                answer = statements.get_statement(number)
        except BaseException:
            with contextlib.suppress(Exception):
                statements.cancel_execution(number)
            raise
        state = answer.status.state if answer.status else None
        if state is not StatementState.SUCCEEDED:
            error = answer.status.error if answer.status else None
            raise _StatementFailedError(state.value if state else "UNKNOWN", (error and error.message) or "")
        return answer

    def _wait(self) -> str:
        """Return how long the first request may wait for the end: 5 to 50 seconds, says the API."""
        return _WAIT if self._seconds is None else f"{min(30, max(5, math.ceil(self._seconds)))}s"

    def fetched(self, sql: str) -> Iterator[Page]:
        """Run a query; yield its rows as they arrive, from Arrow, which keeps every type."""
        from databricks.sdk.service.sql import Disposition, Format

        answer = self.execute(sql, disposition=Disposition.EXTERNAL_LINKS, format=Format.ARROW_STREAM)
        links = answer.result.external_links if answer.result else None
        while links:
            for link in links:
                yield from _rows(link.external_link or "")
            following = links[-1].next_chunk_index
            if not following:
                return
            chunk = self._workspace.statement_execution.get_statement_result_chunk_n(
                answer.statement_id or "", following
            )
            links = chunk.external_links


def _pause(end: float) -> None:
    """Wait for a moment, but not beyond a time of the monotonic clock."""
    left = end - time.monotonic()
    if left <= 0:
        raise _StatementFailedError("STATEMENT_TIMEOUT", "")
    time.sleep(min(_POLL_SECONDS, left))


def fault(error: Exception) -> tuple[str, str] | None:
    """See :meth:`extend_pipeline.warehouse.remote.destination.Destination.fault`."""
    import requests
    import urllib3
    from databricks.sdk import errors
    from databricks.sdk.errors.base import DatabricksError

    if isinstance(error, _StatementFailedError):
        says = error.message.partition("\n")[0] if _OF_THE_SERVER.match(error.condition) else ""
        return error.condition, f"{_remedy(error.condition)} {says}".strip()
    if isinstance(error, DatabricksError):
        # Errors of the service itself: token, rights, a missing warehouse or volume.
        known = isinstance(error, errors.Unauthenticated | errors.PermissionDenied | errors.NotFound)
        says = f" {error}" if known else ""
        return f"{type(error).__name__} ({error.error_code})", f"{WITHHELD}{says}"
    if isinstance(error, requests.RequestException | urllib3.exceptions.HTTPError | TimeoutError):
        return type(error).__name__, f"The workspace may be unreachable from here. {_AGAIN}"
    return None


def _remedy(condition: str) -> str:
    return next((remedy for pattern, remedy in _REMEDIES if pattern.search(condition)), WITHHELD)


def _rows(link: str) -> Iterator[Page]:
    """Yield the rows behind a presigned link; no token is sent to it."""
    import pyarrow.ipc
    import requests

    with requests.get(link, stream=True, timeout=60) as response:
        response.raise_for_status()
        response.raw.decode_content = True
        with pyarrow.ipc.open_stream(response.raw) as batches:
            for batch in batches:
                for start in range(0, batch.num_rows, PAGE_ROWS):
                    columns = batch.slice(start, PAGE_ROWS).columns
                    yield list(zip(*(column.to_pylist() for column in columns), strict=True))
