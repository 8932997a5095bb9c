"""The connections that webhooks are for, remembered for half a minute.

A rotated secret counts within that time, without a restart, and a flood of requests reads the connection
twice a minute. Reading blocks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from airflow.sdk.log import mask_secret

from extend_provider.client.settings import ExtendSettings, unreadable_connection
from extend_provider.exceptions import ExtendError

#: How long a connection is remembered, and how long the error of one that cannot be read, in seconds.
REMEMBERED: Final = 30.0
ERROR_REMEMBERED: Final = 5.0

_SECTION: Final = "extend"
_OPTION: Final = "webhook_conn_ids"
DEFAULT_CONN_IDS: Final = "extend_default"
_masked: Final[set[str]] = set()


def webhook_conn_ids() -> frozenset[str]:
    """Return the connections that webhooks are taken for: ``[extend] webhook_conn_ids``."""
    from airflow.providers.common.compat.sdk import conf

    names = conf.get(_SECTION, _OPTION, fallback=DEFAULT_CONN_IDS)
    return frozenset(name for each in names.split(",") if (name := each.strip()))


def read_settings(conn_id: str) -> ExtendSettings:
    """Read a connection; its webhook secrets are masked in logs from then on.

    :raises ExtendError: naming what is wrong with it.
    """
    from airflow.sdk import Connection

    try:
        connection = Connection.get(conn_id)
        extra = connection.extra_dejson
    except Exception as error:  # noqa: BLE001  # of whatever secrets backend there is
        raise unreadable_connection(conn_id, error) from None
    settings = ExtendSettings.from_connection(connection, extra)
    mask_secrets(settings)
    return settings


def mask_secrets(settings: ExtendSettings) -> None:
    """Hide each webhook secret in logs; Airflow itself hides only the field with all of them.

    In a trigger it is called in a thread, because it tells the trigger's supervisor.
    """
    for secret in settings.webhook_secrets:
        if secret not in _masked:
            _masked.add(secret)
            mask_secret(str(secret))


class Connections:
    """Connections by their id, each read again when it was remembered long enough."""

    def __init__(
        self,
        read: Callable[[str], ExtendSettings] = read_settings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._clock = clock
        self._known: dict[str, tuple[float, ExtendSettings | ExtendError]] = {}
        self._reading: dict[str, threading.Lock] = {}

    def remembered(self, conn_id: str) -> ExtendSettings | None:
        """Return what is remembered, without reading; None if that is nothing, or an error."""
        until, known = self._known.get(conn_id, (0.0, None))
        return known if isinstance(known, ExtendSettings) and self._clock() < until else None

    def get(self, conn_id: str) -> ExtendSettings:
        """Return a connection; one thread reads it, the others wait for that.

        :raises ExtendError: it cannot be read, or something in it is wrong.
        """
        with self._reading.setdefault(conn_id, threading.Lock()):
            until, known = self._known.get(conn_id, (0.0, None))
            if known is None or self._clock() >= until:
                known = self._read_now(conn_id)
        if isinstance(known, ExtendError):
            raise known
        return known

    def _read_now(self, conn_id: str) -> ExtendSettings | ExtendError:
        found: ExtendSettings | ExtendError
        try:
            found, seconds = self._read(conn_id), REMEMBERED
        except ExtendError as error:
            found, seconds = error, ERROR_REMEMBERED
        self._known[conn_id] = (self._clock() + seconds, found)
        return found
