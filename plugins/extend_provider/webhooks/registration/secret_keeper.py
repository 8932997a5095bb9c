"""Where a new signing secret goes: into the connection's extra, into a file, or both.

Extend shows a secret once. So whether there is a place for it is known before it is asked for, and a place
that could not take it leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from extend_provider.client.webhook_settings import webhook_secrets
from extend_provider.exceptions import ExtendInputError

#: Fields of the connection's extra.
SECRETS, INBOX = "webhook_secrets", "webhook_inbox"


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """Where Airflow has a connection from.

    :param name: in words that continue "the connection comes from …".
    :param is_database: whether that is Airflow's own database, the one place that can be changed from here.
    """

    name: str
    is_database: bool

    @classmethod
    def of(cls, conn_id: str) -> Origin:
        """Ask Airflow's secrets backends in the order in which it asks them itself.

        :raises ExtendInputError: none of them has the connection.
        """
        from airflow.configuration import ensure_secrets_loaded
        from airflow.secrets.environment_variables import EnvironmentVariablesBackend
        from airflow.secrets.metastore import MetastoreBackend

        for backend in ensure_secrets_loaded():
            if not _has(backend, conn_id):
                continue
            if isinstance(backend, MetastoreBackend):
                return cls("Airflow's database", is_database=True)
            if isinstance(backend, EnvironmentVariablesBackend):
                return cls(f"the environment (AIRFLOW_CONN_{conn_id.upper()})", is_database=False)
            return cls(f"the secrets backend {type(backend).__name__}", is_database=False)
        raise ExtendInputError(f"Connection {conn_id!r} is not defined.")


def _has(backend: Any, conn_id: str) -> bool:
    """Return whether a backend has a connection; one that fails is passed over, as Airflow does."""
    with contextlib.suppress(Exception):
        return backend.get_connection(conn_id=conn_id) is not None
    return False


@dataclasses.dataclass(frozen=True, slots=True)
class SecretKeeper:
    """Keeps the secrets of a connection.

    :param origin: where the connection comes from.
    :param file: where a new secret is written to; it must not exist yet.
    :param inbox: the connection's new ``webhook_inbox``; None leaves it as it is.
    """

    conn_id: str
    origin: Origin
    file: Path | None = None
    inbox: str | None = None

    @contextlib.contextmanager
    def ready(self) -> Iterator[Callable[[str], None]]:
        """Yield what keeps a secret. If the block fails, nothing is kept of it.

        :raises ExtendInputError: there is no place for a secret.
        """
        if self.file is None and not self.origin.is_database:
            raise ExtendInputError(
                f"Connection {self.conn_id!r} comes from {self.origin.name}, so its new secret cannot be "
                "stored there from here. Say with --secret-file PATH where to write it."
            )
        kept: list[str] = []
        with contextlib.ExitStack() as stack:
            write = stack.enter_context(_new_file(self.file)) if self.file else None

            def keep(secret: str) -> None:
                kept.append(secret)
                if self.origin.is_database:
                    self._change(lambda extra: _add(extra, self.conn_id, secret, self.inbox))
                if write is not None:
                    write(secret)

            try:
                yield keep
            except BaseException:
                if kept and self.origin.is_database:
                    with contextlib.suppress(Exception):
                        self.drop(kept)
                raise

    def set_inbox(self) -> bool:
        """Write the inbox into the connection; return False if it must be written by hand."""
        if self.inbox is None:
            return True
        if self.origin.is_database:
            self._change(lambda extra: extra.update({INBOX: self.inbox}))
        return self.origin.is_database

    def drop(self, secrets: Collection[str]) -> bool:
        """Take secrets out of the connection; return False if that must be done by hand."""
        if self.origin.is_database:
            self._change(lambda extra: _drop(extra, self.conn_id, secrets))
        return self.origin.is_database

    def _change(self, change: Callable[[dict[str, Any]], None]) -> None:
        from airflow.models import Connection
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            stored = select(Connection).where(Connection.conn_id == self.conn_id)
            # Locked, so that two commands do not lose each other's secret.
            connection = session.scalars(stored.with_for_update()).one()
            extra = json.loads(connection.extra or "{}")
            change(extra)
            connection.set_extra(json.dumps(extra))


def _add(extra: dict[str, Any], conn_id: str, secret: str, inbox: str | None) -> None:
    # As text, because the connection's form has a text field for it.
    known = webhook_secrets(conn_id, extra.get(SECRETS))
    extra[SECRETS] = ", ".join([*known, secret])
    if inbox is not None:
        extra[INBOX] = inbox


def _drop(extra: dict[str, Any], conn_id: str, secrets: Collection[str]) -> None:
    known = webhook_secrets(conn_id, extra.get(SECRETS))
    extra[SECRETS] = ", ".join(each for each in known if each not in secrets)
    if not extra[SECRETS]:
        del extra[SECRETS]


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[Callable[[str], None]]:
    """Make a file that only its owner may read, yield what writes it, and remove it if the block fails."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ExtendInputError(
            f"The secret cannot be written to {path}: {error.strerror}. Name a file that does not exist yet, "
            "in a folder that does."
        ) from None
    written = False

    def write(secret: str) -> None:
        nonlocal written
        os.write(descriptor, f"{secret}\n".encode())
        os.fsync(descriptor)
        written = True

    try:
        yield write
    except BaseException:
        written = False
        raise
    finally:
        os.close(descriptor)
        if not written:
            path.unlink(missing_ok=True)
