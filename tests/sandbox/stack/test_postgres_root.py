"""Root's Postgres: it runs as somebody else, and nothing changes outside of its own folders."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from sandbox.stack.environment import base_environment
from sandbox.stack.home import Home
from sandbox.stack.postgres import Postgres, _installed, unprivileged_user
from sandbox.stack.processes.process import Component, tail

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def postgres(tmp_path: Path) -> Postgres:
    return Postgres(tmp_path / "of-root" / ".sandbox" / "postgres")


def serve(server: Postgres, log: Path, environment: Mapping[str, str] = os.environ) -> Component:
    component = Component("postgres", server.initialise(environment), log)
    component.start()
    deadline = time.monotonic() + 30
    while not server.is_ready():
        component.check_alive()
        assert time.monotonic() < deadline, tail(log)
        time.sleep(0.05)
    return component


def rights() -> dict[Path, tuple[int, int, int]]:
    """Return who may do what with the folders that the wheel lies in, and all of its files."""
    wheel = _installed().parents[1]
    paths = [*wheel.parents, *wheel.rglob("*"), wheel]
    states = {path: path.stat() for path in paths if "__pycache__" not in path.parts}
    return {path: (state.st_mode, state.st_uid, state.st_gid) for path, state in states.items()}


def users_of(program: str, component: Component) -> set[int]:
    """Return who a component's processes of that name run as; Postgres has some that end while one looks."""
    users = set()
    for process in component.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.name() == program:
                users.add(process.uids().real)
    return users


@as_root
def test_root_changes_no_permissions_and_adds_no_user(postgres: Postgres, tmp_path: Path) -> None:
    home = tmp_path / "of-root"
    home.mkdir(mode=0o700)
    before = Path("/etc/passwd").read_bytes(), Path("/etc/group").read_bytes(), rights()
    component = serve(postgres, tmp_path / "postgres.log")
    try:
        users = users_of("postgres", component)
        assert users == {unprivileged_user()}
        assert (Path("/etc/passwd").read_bytes(), Path("/etc/group").read_bytes(), rights()) == before
        for folder in (home, *tmp_path.parents):
            assert folder.stat().st_uid == 0
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        data = (home / ".sandbox" / "postgres").resolve()
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
    finally:
        component.stop()
        postgres.dispose()
    assert not data.parent.exists()
    assert list((home / ".sandbox").iterdir()) == []


@as_root
def test_other_users_have_the_cluster_in_the_given_folder(tmp_path: Path) -> None:
    """Root is left for good by another process, which takes the programs along: they may be root's alone."""
    script = """
        import os, sys
        from pathlib import Path
        from sandbox.stack import postgres
        installed = postgres._copied(postgres._installed(), Path(sys.argv[1]) / "programs")
        postgres._installed = lambda: installed
        os.chown(sys.argv[1], 65534, -1)
        os.setgroups([])
        os.setuid(65534)
        server = postgres.Postgres(Path(sys.argv[1]) / "postgres")
        command = server.initialise(os.environ)
        assert command.user is None
        assert (Path(sys.argv[1]) / "postgres" / "PG_VERSION").is_file()
    """
    folder = Path("/tmp") / f"{tmp_path.name}-{os.getpid()}"
    folder.mkdir()
    try:
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), str(folder)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
        )
    finally:
        shutil.rmtree(folder)


def test_home_finds_a_server_that_was_not_stopped(tmp_path: Path) -> None:
    home = Home(tmp_path / "of-root" / ".sandbox")
    postgres = Postgres(home.path / "postgres")
    component = serve(postgres, tmp_path / "postgres.log", base_environment(home.path))
    try:
        assert component.pid in [each.pid for each in home.strays()]
        assert not Home(tmp_path / "of-root" / ".sandbox2").strays()
    finally:
        component.stop()
        postgres.dispose()
    assert not home.strays()
