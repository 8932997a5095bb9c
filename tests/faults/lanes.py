"""Lanes: places for scenarios on one Airflow, each with its own Extend, DAGs, workspace and warehouse.

A scenario mostly waits, and what it disturbs is its own. So scenarios run side by side: each process of
pytest-xdist has a lane. Tests that hold tasks in the executor's queue share one more lane, ``held``, whose
tasks run in an executor of their own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from fixtures.airflow_stack import RunningAirflow
from fixtures.extend_api import ExtendApi
from fixtures.s3 import S3
from fixtures.timing import ANSWER_SECONDS, LISTING_GRACE_SECONDS, LOCK_SECONDS, SEEN_SECONDS
from sandbox.airflow_settings import AirflowSettings, ConnectionSettings, PoolSettings, VariableSettings
from sandbox.stack.client import AirflowClient

#: As many as tests/faults/dags make DAGs for; what two cores carry.
LANES = 4
HELD_LANE = "held"
PIPELINE, NIGHTLY = "faulty", "faulty_nightly"
OPERATORS = {how: f"faulty_operators_{how}" for how in ("running", "deferred")}
BATCHES = {how: f"faulty_batches_{how}" for how in ("running", "deferred")}
DAGS = (PIPELINE, NIGHTLY, *OPERATORS.values(), *BATCHES.values())

PREFIX = "documents"


@dataclasses.dataclass(frozen=True, slots=True)
class Lane:
    """One of the places in which a scenario runs.

    :param name: what the names of its DAGs, connections, pools and variables end in.
    :param airflow: shared with the other lanes.
    :param extend: an emulator of its own.
    :param s3: shared, with a bucket for each scenario.
    """

    name: str
    airflow: RunningAirflow
    extend: ExtendApi
    s3: S3

    @property
    def client(self) -> AirflowClient:
        """Airflow's REST API."""
        return self.airflow.client

    @property
    def home(self) -> Path:
        """The folder of its files, emptied for each scenario."""
        return self.airflow.home.path / "lanes" / self.name

    @property
    def workspace(self) -> Path:
        """The pipeline's workspace, unless a scenario has put it elsewhere."""
        return self.home / "workspace"

    @property
    def warehouse(self) -> Path:
        """The DuckDB file."""
        return self.home / "warehouse.duckdb"

    @property
    def failpoints(self) -> Path:
        """The folder in which failpoints are armed."""
        return self.home / "failpoints"

    def dag_id(self, dag: str) -> str:
        """Return the id of the lane's own DAG of a kind."""
        return f"{dag}_{self.name}"

    def dag_ids(self) -> list[str]:
        """Return the ids of all DAGs of the lane."""
        return [self.dag_id(dag) for dag in DAGS]

    def clean(self, bucket: str) -> None:
        """Make everything as new for a scenario whose documents are in a bucket."""
        self.extend.reset()
        shutil.rmtree(self.home, ignore_errors=True)
        for folder in (self.workspace, self.failpoints):
            folder.mkdir(parents=True)
        self.s3.bucket(bucket)
        self.connect()
        self.put_workspace(f"file://{self.workspace}")
        source = VariableSettings(
            variable_name=f"extend_source_{self.name}", variable_value=f"s3://{bucket}/{PREFIX}"
        )
        self.client.apply(AirflowSettings(variables=[source]))
        self.open_pools()

    def open_pools(self, *, batches: int = 16, writers: int = 1) -> None:
        """Say how many batches may be in flight, and how many tasks may write the warehouse."""
        pools = [
            PoolSettings(pool_name=f"extend_{self.name}", pool_slot=batches, pool_include_deferred=True),
            PoolSettings(pool_name=f"extend_warehouse_{self.name}", pool_slot=writers),
        ]
        self.client.apply(AirflowSettings(pools=pools))

    @contextlib.contextmanager
    def queued(self, *tasks: str) -> Iterator[None]:
        """Keep tasks in the executor's queue for the block, by the last part of their ids.

        Only the executor of the lane ``held`` looks for this.
        """
        assert self.name == HELD_LANE, "a test that holds tasks is marked held"
        file = self.home / "held"
        file.write_text(" ".join(tasks))
        try:
            yield
        finally:
            file.unlink()

    def connect(
        self,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        grace_seconds: float = LISTING_GRACE_SECONDS,
        lock_seconds: float = LOCK_SECONDS,
        s3_url: str | None = None,
    ) -> None:
        """Write the connections: as impatient as can be, to the lane's own stand-ins.

        :param answer_seconds: how long a request waits for its answer, and Extend may accept it.
        :param grace_seconds: how late Extend may list what it has accepted.
        :param lock_seconds: how long a task waits for the warehouse's file.
        :param s3_url: another S3.
        """
        extend = self._connection("extend_default", host=self.extend.url)
        patience = {
            "timeout": [2, answer_seconds],
            "acceptance_window": answer_seconds,
            "listing_grace": grace_seconds,
        }
        warehouse = self._connection("warehouse_default", host=str(self.warehouse))
        aws = self._connection("aws_default")
        endpoint = {} if s3_url is None else {"endpoint_url": s3_url}
        connections = [
            _with_extra(extend, patience),
            _with_extra(warehouse, {"lock_timeout": lock_seconds}),
            _with_extra(aws, endpoint),
        ]
        self.client.apply(AirflowSettings(connections=connections))

    def finish_by_hand(self, command: str) -> None:
        """Run the provider's own command, as a log has told it."""
        connection = {f"AIRFLOW_CONN_EXTEND_{self.name.upper()}": self.extend.connection_json()}
        subprocess.run(
            [sys.executable, "-m", "airflow", "extend", *shlex.split(command)],
            env={**os.environ, **connection},
            check=True,
            timeout=SEEN_SECONDS,
        )

    def put_workspace(self, address: str) -> None:
        """Have the runs that start from now on keep their files somewhere."""
        workspace = VariableSettings(variable_name=f"extend_workspace_{self.name}", variable_value=address)
        self.client.apply(AirflowSettings(variables=[workspace]))

    def _connection(self, conn_id: str, host: str | None = None) -> ConnectionSettings:
        (found,) = (one for one in self.airflow.settings.connections or () if one.conn_id == conn_id)
        own = conn_id.replace("default", self.name)
        return msgspec.structs.replace(found, conn_id=own, conn_host=host or found.conn_host)


def _with_extra(connection: ConnectionSettings, extra: Mapping[str, Any]) -> ConnectionSettings:
    given = connection.conn_extra or {}
    assert isinstance(given, dict)
    return msgspec.structs.replace(connection, conn_extra={**given, **extra})
