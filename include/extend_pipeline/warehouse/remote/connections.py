"""Reading an Airflow connection, for all destinations."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from extend_pipeline.warehouse.records import WarehouseError

if TYPE_CHECKING:
    from airflow.sdk import Connection

#: Extra fields that are numbers. The first two are those of the DuckDB that prepares rows.
_NUMBERS: Final[Mapping[str, Callable[[Any], float]]] = {
    "memory_limit_mb": int,
    "threads": int,
    "lock_timeout": float,
}
DUCKDB: Final = ("memory_limit_mb", "threads")


def require(connection: Connection, extra: str, *modules: str) -> None:
    """Check that the modules of an extra of this package are installed.

    :raises WarehouseError: if one is missing.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError:
            raise WarehouseError(
                f"Connection {connection.conn_id!r} is of type {connection.conn_type!r}, and {module} is not "
                f"installed: install the extra '{extra}'."
            ) from None


def numbers(connection: Connection, *names: str) -> dict[str, Any]:
    """Return those of these extra fields that the connection has.

    :raises WarehouseError: if one is no number.
    """
    found: dict[str, Any] = {}
    for name in names:
        value = connection.extra_dejson.get(name)
        if value is None:
            continue
        try:
            found[name] = _NUMBERS[name](value)
        except (TypeError, ValueError):
            raise WarehouseError(
                f"Connection {connection.conn_id!r}: extra field {name}={value!r} is not a number."
            ) from None
    return found
