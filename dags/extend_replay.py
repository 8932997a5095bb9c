"""### Rebuild the tables from the raw zone

All of Extend's results are kept in the raw zone. This DAG lands them again, **without a request to Extend and
without cost**: into the same dataset after tables were lost, or into another one.

Leave the form as it is to land what is missing; tick *Land everything again* after a single table was dropped
or rows were changed. A part that the schema contract *freeze* refuses stops no other: it is counted, and
`problems` names it (`SCHEMA_CONTRACT`).

When its task is cleared, it continues where it stopped. Other loads wait meanwhile.

| Variable | Meaning |
|---|---|
| `extend_workspace` | the one that the other DAGs use: it holds the raw zone |
"""

from __future__ import annotations

import dataclasses
import datetime as dt

from airflow.sdk import DAG, Param

from extend_deployment import DEPLOYMENT
from extend_pipeline import replay_to_warehouse

NAME = r"^[a-z_][a-z0-9_]{0,62}$"

with DAG(
    "extend_replay",
    description="Rebuild the tables from the raw zone alone, started by hand.",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args={"owner": "data-platform", "retries": 3, "retry_delay": dt.timedelta(minutes=1)},
    tags=["extend", "documents"],
    doc_md=__doc__,
    params={
        "dataset": Param(
            default=DEPLOYMENT.warehouse.dataset,
            type="string",
            pattern=NAME,
            title="Dataset",
            description="The dataset that the documents landed in.",
        ),
        "warehouse_conn_id": Param(
            default=DEPLOYMENT.warehouse.conn_id,
            type="string",
            minLength=1,
            title="Warehouse connection",
            description="The connection that they landed through.",
        ),
        "into_dataset": Param(
            default=None,
            type=["null", "string"],
            pattern=NAME,
            title="Into dataset",
            description="The dataset to land in now. Left empty: the same dataset.",
        ),
        "into_warehouse_conn_id": Param(
            default=None,
            type=["null", "string"],
            title="Into warehouse connection",
            description="Left empty: the same connection.",
        ),
        "again": Param(
            default=False,
            type="boolean",
            title="Land everything again",
            description="Also parts that the load ledger has: restores a single table that was dropped, and "
            "rows that were changed.",
        ),
        "schema_contract": Param(
            default=None,
            type=["null", "string"],
            enum=[None, "evolve", "freeze", "discard"],
            title="Schema contract",
            description="What becomes of fields that the tables do not have. Left empty: what it was when "
            "they landed. With evolve or discard, what freeze has refused lands too.",
        ),
    },
):
    origin = dataclasses.replace(
        DEPLOYMENT.warehouse, conn_id="{{ params.warehouse_conn_id }}", dataset="{{ params.dataset }}"
    )
    destination = dataclasses.replace(
        DEPLOYMENT.warehouse,
        conn_id="{{ params.into_warehouse_conn_id or params.warehouse_conn_id }}",
        dataset="{{ params.into_dataset or params.dataset }}",
    )
    replay_to_warehouse(
        dataclasses.replace(DEPLOYMENT, warehouse=origin),
        into=destination,
        again="{{ params.again }}",
        schema_contract="{{ params.schema_contract or '' }}",
    )
