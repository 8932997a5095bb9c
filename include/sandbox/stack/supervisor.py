"""The stack: its components, their start order, health checks and shutdown."""

from __future__ import annotations

import datetime as dt
import functools
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Literal

import httpx
from psycopg.conninfo import make_conninfo

from sandbox.airflow_settings import AirflowSettings, load_settings
from sandbox.s3 import client as s3_client
from sandbox.stack.client import AirflowApiError, AirflowClient
from sandbox.stack.environment import (
    AirflowOptions,
    Login,
    airflow_argv,
    airflow_environment,
    base_environment,
    combined,
)
from sandbox.stack.home import Home, State
from sandbox.stack.places import BUCKET, DATABASE, apart, located
from sandbox.stack.postgres import Postgres
from sandbox.stack.processes.interruption import pause
from sandbox.stack.processes.network import HOST, answers, free_ports, is_free, require_free
from sandbox.stack.processes.process import Command, Component, StackError, run_once, tail
from sandbox.stack.samples import announce_arrivals
from sandbox.stack.webhooks import connected
from sandbox.stack.workers import BROKER, WORKERS, CeleryMachines

#: Airflow's usual port; another one is used if it is not free.
PREFERRED_UI_PORT = 8080

#: Airflow's components by the names of their commands, and the jobs whose heartbeats show their health.
AIRFLOW_JOBS = {"scheduler": "SchedulerJob", "dag-processor": "DagProcessorJob", "triggerer": "TriggererJob"}
AIRFLOW_PARTS = ("api-server", *AIRFLOW_JOBS)

#: The API server reads the logs of these from a shared folder.
WITHOUT_LOG_SERVER = ("scheduler", "triggerer")

#: Components that stop after Airflow, because it uses them until it ends.
FOUNDATION = ("s3", "extend-api", "postgres", BROKER)

START_SECONDS = 120

#: Seconds until components are killed when the whole stack stops; a triggerer alone would need ten or more.
STOP_SECONDS = 4


#: Where tasks run: beside the scheduler, or in Celery workers with disks of their own.
Executor = Literal["local", "celery"]


class Stack:
    """Airflow, Extend's emulator and S3 on this machine; a context manager that starts and stops them.

    :param home: folder for all files of the stack; files of an earlier stack are removed.
    :param project: folder with ``dags/``, ``plugins/`` and ``airflow_settings.yaml``.
    :param dags: folders of DAG files instead of the project's ``dags/``.
    :param settings: settings file instead of the project's.
    :param executor: where tasks run; with ``celery``, the workspace is in S3 and the warehouse in Postgres.
    :param ui_port: Airflow's port; None is 8080, or any free one if that is taken.
    :param extend_arguments: further arguments for ``python -m sandbox.extend_api``.
    :param airflow_options: further options of Airflow, by section and name.
    :param webhooks: True if the emulator delivers events to the receiver in Airflow.
    :param on_step: called with a message after each step of the start.
    """

    def __init__(
        self,
        home: Path,
        *,
        project: Path | None = None,
        dags: Sequence[Path] | None = None,
        settings: Path | None = None,
        executor: Executor = "local",
        ui_port: int | None = None,
        extend_arguments: Sequence[str] = (),
        airflow_options: AirflowOptions = MappingProxyType({}),
        webhooks: bool = False,
        on_step: Callable[[str], None] = lambda _: None,
    ) -> None:
        project = (project or Path.cwd()).resolve()
        self.home = Home(home)
        self._dags = [folder.resolve() for folder in dags or [project / "dags"]]
        self._plugins = project / "plugins"
        self._settings_file = settings or project / "airflow_settings.yaml"
        self._executor = executor
        self._ui_port = ui_port
        self._extend_arguments = tuple(extend_arguments)
        self._airflow_options = airflow_options
        self._webhooks = webhooks
        self._on_step = on_step
        self._components: dict[str, Component] = {}
        self._postgres = Postgres(self.home.path / "postgres")
        self._airflow_environment: dict[str, str] = {}
        self._celery: CeleryMachines | None = None
        self.login = Login.generate()
        self.airflow_url = self.extend_url = self.s3_url = ""
        self.settings = AirflowSettings()

    @functools.cached_property
    def client(self) -> AirflowClient:
        """Client of Airflow's REST API as administrator; usable after :meth:`up`."""
        return AirflowClient(self.airflow_url, *self.login)

    @property
    def warehouse(self) -> Path | str:
        """Where documents land: a DuckDB file, or a Postgres database as libpq's connection string."""
        if self._executor == "local":
            return self.home.warehouse
        return make_conninfo(**self._postgres.parameters(DATABASE))

    def __enter__(self) -> Stack:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    # The whole

    def up(self) -> None:
        """Start all components, wait until they are healthy, and apply the settings.

        :raises StackError: the home is in use, a port is taken, or a component died or did not become
            healthy; no process is left.
        :raises SettingsError: ``airflow_settings.yaml`` is wrong; nothing was started.
        """
        settings = load_settings(self._settings_file)
        ui_port, extend_port, s3_port = self._choose_ports()
        self.home.take()
        try:
            self._start_everything(settings, ui_port, extend_port, s3_port)
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """Stop all processes of the stack. Logs, warehouse and workspace stay."""
        if self._components:
            self._on_step("stopping")
        if "client" in self.__dict__:
            self.client.close()
        first = [component for component in self._components.values() if component.name not in FOUNDATION]
        last = [component for component in self._components.values() if component.name in FOUNDATION]
        for group in (first, last):  # Airflow writes to its database until it ends
            for component in group:
                component.ask_to_stop()
            deadline = time.monotonic() + STOP_SECONDS
            for component in group:
                component.stop(patience=max(0, deadline - time.monotonic()))
        self._components.clear()
        self._postgres.dispose()
        self.home.release()

    def check_alive(self) -> None:
        """Raise ComponentDied, with the end of its log, if a component ended by itself."""
        for component in self._components.values():
            component.check_alive()

    # Single components

    def start(self, name: str) -> None:
        """Start a killed or stopped component on its old port, and return when it is healthy."""
        self.component(name).start()
        self._wait_until_healthy([name])

    def replace_machine(self, name: str) -> None:
        """Start a killed worker anew on an empty disk, as a machine that has taken its place."""
        assert self._celery is not None, "only Celery's workers have machines of their own"
        self._celery.renew_disk(name)
        self.start(name)

    def start_ended(self) -> list[str]:
        """Start the components that ended by themselves, and return their names."""
        ended = [name for name, component in self._components.items() if component.exit_code is not None]
        for name in ended:
            self.component(name).start()
        self._wait_until_healthy(ended)
        return ended

    def stop(self, name: str) -> None:
        """Stop a component."""
        self.component(name).stop()

    def kill(self, name: str) -> None:
        """SIGKILL all processes of a component, as if its machine were lost."""
        self.component(name).kill()

    def restart(self, name: str) -> None:
        """Stop a component and start it again."""
        self.stop(name)
        self.start(name)

    def add_triggerer(self) -> str:
        """Start one more triggerer and return its name."""
        count = sum(name.startswith("triggerer") for name in self._components)
        name = f"triggerer-{count + 1}"
        self._add(name, self._airflow_command("triggerer"))
        self._wait_until_healthy([name])
        return name

    def component(self, name: str) -> Component:
        """Return a component; raises StackError with the known names for an unknown one."""
        if name not in self._components:
            raise StackError(f"unknown component {name!r}; known are {', '.join(self._components)}")
        return self._components[name]

    def airflow(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run an Airflow command in the stack's environment, e.g. ``airflow("backfill", "create", …)``."""
        return subprocess.run(
            airflow_argv(*arguments),
            env=self._airflow_environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    # Starting

    def _choose_ports(self) -> tuple[int, int, int]:
        extend, s3, spare = free_ports(3)
        if self._ui_port is not None:
            return require_free(self._ui_port, "the Airflow UI"), extend, s3
        return (PREFERRED_UI_PORT if is_free(PREFERRED_UI_PORT) else spare), extend, s3

    def _start_everything(
        self, settings: AirflowSettings, ui_port: int, extend_port: int, s3_port: int
    ) -> None:
        self.airflow_url, self.extend_url, self.s3_url = (
            f"http://{HOST}:{port}" for port in (ui_port, extend_port, s3_port)
        )
        environment = base_environment(self.home.path)
        self._add("s3", self._module("sandbox.s3", "--host", HOST, "--port", str(s3_port)))
        arguments = ("--host", HOST, "--port", str(extend_port), *self._extend_arguments)
        self._add("extend-api", self._module("sandbox.extend_api", *arguments))
        self._add("postgres", self._postgres.initialise(environment))
        if self._executor == "celery":
            self._celery = CeleryMachines(self.home, *free_ports(1))
            self._add(BROKER, self._celery.broker(environment))
        self._wait_until_healthy(self._components)
        if self._celery is not None:
            self._postgres.create_database(DATABASE)
            s3_client(self.s3_url).create_bucket(Bucket=BUCKET)
        self._airflow_environment = airflow_environment(
            self.home,
            database_url=self._postgres.sqlalchemy_url,
            port=ui_port,
            dags=self._dags,
            plugins=self._plugins,
            login=self.login,
            overrides=self._options(),
        )
        migrate = Command(argv=airflow_argv("db", "migrate"), environment=self._airflow_environment)
        run_once("airflow db migrate", migrate, self.home.logs / "db-migrate.log", timeout=START_SECONDS)
        self._on_step("Airflow's database is ready")
        for part in AIRFLOW_PARTS:
            self._add(part, self._airflow_command(part))
        if self._celery is not None:
            for name in WORKERS:
                self._add(name, self._celery.worker(name, self._airflow_environment))
        self._wait_until_healthy(self._components)
        self._on_step("Airflow, Extend's emulator and S3 are healthy")
        self._finish(settings)

    def _finish(self, settings: AirflowSettings) -> None:
        self.home.workspace.mkdir(exist_ok=True)
        self.settings = located(settings, self.home.path, extend_url=self.extend_url, s3_url=self.s3_url)
        if self._celery is not None:
            self.settings = apart(self.settings, self._postgres)
        if self._webhooks:
            self.settings = connected(
                self.settings, self._on_step, extend_url=self.extend_url, airflow_url=self.airflow_url
            )
        self.client.apply(self.settings)
        announce_arrivals(self.s3_url, self.settings)
        state = State(
            started_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            airflow_url=self.airflow_url,
            username=self.login.username,
            password=self.login.password,
            extend_url=self.extend_url,
            s3_url=self.s3_url,
            warehouse=str(self.warehouse),
        )
        self.home.write_state(state)

    def _options(self) -> AirflowOptions:
        """Return Airflow's options beside those of every stack; the caller's win."""
        own = {} if self._celery is None else self._celery.options(self._postgres.sqlalchemy_url)
        return combined(own, self._airflow_options)

    def _add(self, name: str, command: Command) -> None:
        component = Component(name, command, self.home.logs / f"{name}.log")
        component.start()
        self._components[name] = component

    def _module(self, module: str, *arguments: str) -> Command:
        argv = [sys.executable, "-m", module, *arguments]
        return Command(argv=argv, environment=base_environment(self.home.path))

    def _airflow_command(self, part: str) -> Command:
        options = ["--skip-serve-logs"] if part in WITHOUT_LOG_SERVER else []
        return Command(argv=airflow_argv(part, *options), environment=self._airflow_environment)

    # Health

    def _wait_until_healthy(self, names: Collection[str]) -> None:
        pending = list(names)
        deadline = time.monotonic() + START_SECONDS
        while pending := [name for name in pending if not self._is_healthy(name)]:
            self.check_alive()
            if time.monotonic() > deadline:
                logs = "\n".join(
                    f"The end of {self.component(name).log}:\n{tail(self.component(name).log)}"
                    for name in pending
                )
                raise StackError(f"{', '.join(pending)} not healthy after {START_SECONDS} s.\n{logs}")
            pause(0.2)

    def _is_healthy(self, name: str) -> bool:
        if name == "postgres":
            return self._postgres.is_ready()
        if self._celery is not None and name in (BROKER, *WORKERS):
            return self._celery.is_ready(name)
        if name == "s3":
            return answers(f"{self.s3_url}/_sandbox/health")
        if name == "extend-api":
            return answers(f"{self.extend_url}/_sandbox/health")
        if name == "api-server":
            # The first request to the execution API builds it while all others wait; on a busy machine this
            # takes so long that the first task gives up.
            return bool(self.client.health()) and answers(f"{self.airflow_url}/execution/health")
        component = self.component(name)
        part = "triggerer" if name.startswith("triggerer") else name
        try:
            return self.client.live_jobs(AIRFLOW_JOBS[part], since=component.started_at) > 0
        except (httpx.HTTPError, AirflowApiError):
            return False  # the API server is not ready
