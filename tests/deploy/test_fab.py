"""Airflow with the FAB auth manager, as the Helm chart sets it: who sees the page, what needs no login."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import requests

from fixtures.environments import uv
from fixtures.guides import ROOT, copy_project
from sandbox.stack.processes.network import free_ports
from sandbox.stack.processes.process import Command, Component

pytestmark = [pytest.mark.network, pytest.mark.timeout(600)]

ROLES: Final = ("Admin", "Op", "User", "Viewer")
PASSWORD: Final = "pw"
MANAGER: Final = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
SECONDS_TO_START: Final = 120
#: A server remembers for a while what a user may.
SECONDS_TO_FORGET: Final = 60


class Fab:
    """An API server with a user of each role, in an environment of its own."""

    def __init__(self, folder: Path) -> None:
        self._environment = folder / "environment"
        self._log = folder / "api-server.log"
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self._variables = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("AIRFLOW", "PYTHON"))
            },
            "AIRFLOW_HOME": str(folder / "home"),
            "AIRFLOW__CORE__AUTH_MANAGER": MANAGER,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__WORKERS": "1",
        }
        python = str(self._environment / "bin" / "python")
        uv("venv", "--quiet", str(self._environment))
        uv(
            *("pip", "install", "--quiet", "--python", python, "--constraint", str(ROOT / "constraints.txt")),
            *("apache-airflow", "apache-airflow-providers-fab"),
            f"airflow-provider-extend[pipeline] @ {copy_project(folder / 'project').as_uri()}",
        )
        self.run("db migrate")
        for role in ROLES:
            who = f"--role {role} --username {role} --password {PASSWORD} --email {role}@acme.example"
            self.run(f"users create {who} --firstname a --lastname b")

    def run(self, command: str) -> None:
        """Run a command of Airflow."""
        subprocess.run(
            [self._environment / "bin" / "airflow", *command.split()], env=self._variables, check=True
        )

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Have the API server run as long as the block."""
        argv = [str(self._environment / "bin" / "airflow"), "api-server"]
        server = Component("api-server", Command(argv=argv, environment=self._variables), self._log)
        server.start()
        try:
            deadline = time.monotonic() + SECONDS_TO_START
            while not self._is_up():
                server.check_alive()
                assert time.monotonic() < deadline
                time.sleep(0.5)
            yield
        finally:
            server.kill()

    def _is_up(self) -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"{self.url}/api/v2/version", timeout=5).ok
        return False

    def page(self, role: str) -> int:
        """Return the status that the page answers a user of a role with."""
        login = {"username": role, "password": PASSWORD}
        token = requests.post(f"{self.url}/auth/token", json=login, timeout=10).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        answers = {
            requests.get(f"{self.url}/extend/page/{path}", headers=headers, timeout=10).status_code
            for path in ("", "api/pipelines")
        }
        (status,) = answers
        return status


@pytest.fixture(scope="module")
def fab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fab]:
    made = Fab(tmp_path_factory.mktemp("fab"))
    with made.serving():
        yield made


def test_the_page_is_for_roles_that_may_see_plugins_and_the_guide_says_how_others_may(fab: Fab) -> None:
    assert {role: fab.page(role) for role in ROLES} == {"Admin": 200, "Op": 200, "User": 403, "Viewer": 403}
    (command,) = re.findall(r"`airflow (roles add-perms [^`]+)`", (ROOT / "docs" / "page.md").read_text())
    fab.run(command)
    deadline = time.monotonic() + SECONDS_TO_FORGET
    while {fab.page(role) for role in ROLES} != {200}:
        assert time.monotonic() < deadline
        time.sleep(1)


def test_without_a_login_there_is_no_page_and_a_webhook_is_judged_by_its_signature(fab: Fab) -> None:
    assert requests.get(f"{fab.url}/extend/page/api/pipelines", timeout=10).status_code == 401
    answer = requests.post(f"{fab.url}/extend/webhooks/extend_default", data=b"{}", timeout=10)
    assert answer.status_code == 401
    assert answer.json() == {"result": "unauthorized"}
