"""Where this Airflow reads, works and writes; DAGs share one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from extend_pipeline.config.checked import Checked, Templated, check_type
from extend_pipeline.settings.machines import Disk


@dataclasses.dataclass(frozen=True)
class Warehouse(Checked):
    """Where documents land.

    :param conn_id: the connection; of type ``duckdb``, its host is the file.
    :param dataset: the schema that holds the tables.
    :param pool: the Airflow pool of the tasks that write: two slots, or one if the warehouse has no lock.
    """

    conn_id: Templated[str] = "warehouse_default"
    _: dataclasses.KW_ONLY
    dataset: Templated[str] = "extend"
    pool: str = "extend_warehouse"

    _settings: ClassVar[Mapping[str, str]] = {"conn_id": "warehouse_conn_id"}


@dataclasses.dataclass(frozen=True)
class Deployment(Checked):
    """Where a pipeline reads, works and writes; the DAGs of one Airflow share it.

    :param workspace: where files between tasks and the raw answers live, ``file:///…`` or
        ``s3://<connection id>@bucket/…``; neither in a source nor around it.
    :param extend_conn_id: the connection of type ``extend``.
    :param pool: the Airflow pool that bounds the batches in flight; its slots must include deferred tasks.
    :param disk: which disk tasks see, for a workspace, source or inbox that is a folder, and for a DuckDB
        file. ``by_executor``: their own machine's, so these are refused with an executor that has workers
        elsewhere (Celery, Kubernetes). ``shared``: all machines mount the same disk at the same path; a
        DuckDB file stays refused. ``one_machine``: all tasks, the triggerer and the API server run on one
        machine, whatever the executor.
    """

    workspace: Templated[str]
    _: dataclasses.KW_ONLY
    extend_conn_id: Templated[str] = "extend_default"
    warehouse: Warehouse = Warehouse()
    pool: str = "extend"
    disk: Templated[Disk] = "by_executor"

    def __post_init__(self) -> None:
        check_type("Deployment.warehouse", self.warehouse, Warehouse)
        super().__post_init__()

    def to_settings(self) -> dict[str, Any]:
        """Return what the first task renders."""
        return {**super().to_settings(), **self.warehouse.to_settings()}
