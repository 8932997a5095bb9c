"""The environment of the stack's processes: their whole configuration, without the caller's Airflow."""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from sandbox.stack.home import HOME_VARIABLE, Home
from sandbox.stack.processes.network import HOST

#: Variables of the caller's Airflow and cloud accounts, which must not reach the sandbox.
FOREIGN_PREFIXES = ("AIRFLOW", "_AIRFLOW", "AWS_", "EXTEND_")


#: What tasks would import anew: Airflow's part in a task, the clients of HTTP and S3, and DuckDB. Where this
#: project's modules do not change while the scheduler runs, ``extend_pipeline.preload`` has all of this.
PRELOADED = (
    "airflow.executors.local_executor",
    "airflow.sdk.execution_time.task_runner",
    "airflow.dag_processing.dagbag",
    "airflow.providers.standard.decorators.python",
    "airflow.providers.http.hooks.http",
    "airflow.providers.amazon.aws.hooks.s3",
    "duckdb",
)
#: A supervisor that looks while its task is just ending looks again at the next heartbeat, and keeps the slot
#: until then: by default five seconds, of four tasks in ten (seen on 3.3.2). The failures are as many seconds
#: without an API server as by default.
HEARTBEATS: dict[str, object] = {"min_heartbeat_interval": 1, "max_failed_heartbeats": 15}

#: Airflow's options by section and name.
AirflowOptions = Mapping[str, Mapping[str, object]]


class Login(NamedTuple):
    """The only user of the stack's Airflow, an administrator."""

    username: str
    password: str

    @classmethod
    def generate(cls) -> Login:
        """Return a login with a new random password."""
        return cls("admin", secrets.token_urlsafe(9))


def base_environment(home: Path, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment of every process of the stack.

    :param home: the stack's home; processes of the stack are recognised by it.
    :param inherited: the caller's environment.
    """
    own = {name: value for name, value in inherited.items() if not name.startswith(FOREIGN_PREFIXES)}
    # Without byte code each start of a component or task compiles Airflow again: 2.8 s instead of 1.4 s.
    own.pop("PYTHONDONTWRITEBYTECODE", None)
    proxyless = ",".join(filter(None, (own.get("no_proxy") or own.get("NO_PROXY"), HOST, "localhost")))
    own |= {
        HOME_VARIABLE: str(home),
        "SPT_NOENV": "1",  # otherwise setproctitle overwrites the environment, including HOME_VARIABLE
        "PYTHONUNBUFFERED": "1",
        "PYTHONSAFEPATH": "1",
        "NO_PROXY": proxyless,
        "no_proxy": proxyless,
    }
    if sys.platform == "darwin":  # without these, forked task processes die in macOS's network libraries
        own |= {"OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES", "no_proxy": "*"}
    return own


def airflow_environment(
    home: Home,
    *,
    database_url: str,
    port: int,
    dags: Sequence[Path],
    plugins: Path,
    login: Login,
    overrides: AirflowOptions = MappingProxyType({}),
) -> dict[str, str]:
    """Return the environment of Airflow's components, and write the passwords file.

    Intervals are short because a person waits. Thresholds are short enough for tests with killed components,
    and long enough for two busy cores.

    :param dags: folders of DAG files; the first one is also Airflow's ``dags_folder``.
    :param overrides: further options of Airflow, by section and name.
    """
    folder = home.path / "airflow"
    folder.mkdir()
    passwords = folder / "passwords.json"
    passwords.touch(mode=0o600)
    passwords.write_text(json.dumps({login.username: login.password}))
    url = f"http://{HOST}:{port}"
    options: dict[str, dict[str, object]] = {
        "core": {
            "dags_folder": dags[0],
            "plugins_folder": plugins,
            "load_examples": False,
            "executor": "LocalExecutor",
            "parallelism": max(4, 2 * (os.cpu_count() or 2)),
            "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "execution_api_server_url": f"{url}/execution/",
            "simple_auth_manager_users": f"{login.username}:admin",
            "simple_auth_manager_passwords_file": passwords,
            "test_connection": "Enabled",
        },
        "database": {
            "sql_alchemy_conn": database_url,
            "sql_alchemy_conn_async": database_url,
            # The API server waits for a connection on its event loop and then blocks those that would return
            # one (seen on 3.3.2), so there must be more connections than its 40 threads need.
            "sql_alchemy_max_overflow": 40,
        },
        "api": {
            "host": HOST,
            "port": port,
            "base_url": url,
            "workers": 1,
            "secret_key": secrets.token_hex(32),
        },
        "api_auth": {"jwt_secret": secrets.token_hex(64)},
        "scheduler": {
            "scheduler_idle_sleep_time": 0.5,
            "trigger_timeout_check_interval": 3,
            "orphaned_tasks_check_interval": 20,
            "task_instance_heartbeat_timeout": 45,
        },
        "workers": HEARTBEATS,
        "triggerer": {"job_heartbeat_sec": 2, "triggerer_health_check_threshold": 15},
        "dag_processor": {
            "refresh_interval": 5,
            "bundle_refresh_check_interval": 2,
            "dag_bundle_storage_path": folder / "bundles",
            "dag_bundle_config_list": json.dumps([_bundle(index, path) for index, path in enumerate(dags)]),
        },
        "logging": {
            "base_log_folder": home.logs / "tasks",
            "dag_processor_child_process_log_directory": home.logs / "dag-processor",
            "colored_console_log": False,
        },
        "usage_data_collection": {"enabled": False},
    }
    if sys.platform != "darwin":  # there, Airflow starts a new Python for each task
        options["scheduler"] |= {
            "mp_start_method": "forkserver",
            "mp_forkserver_preload": ",".join(PRELOADED),
        }
    return base_environment(home.path) | {
        "AIRFLOW_HOME": str(folder),
        **{
            f"AIRFLOW__{section}__{option}".upper(): str(value)
            for section, values in (*options.items(), *overrides.items())
            for option, value in values.items()
        },
    }


def combined(options: AirflowOptions, over: AirflowOptions) -> AirflowOptions:
    """Return the options of both; where both say one, the second."""
    return {name: {**options.get(name, {}), **over.get(name, {})} for name in (*options, *over)}


def airflow_argv(*arguments: str) -> list[str]:
    """Return the command line of an Airflow command."""
    return [sys.executable, "-m", "airflow", *arguments]


def _bundle(index: int, folder: Path) -> dict[str, object]:
    return {
        "name": f"dags-folder-{index}" if index else "dags-folder",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(folder)},
    }
