"""### Tables once more, from the raw zone

Everything that Extend has answered is kept in the raw zone. This DAG lands it again, **without asking Extend
and without paying**: into the same dataset after tables were lost, or beside it into another one.

Leave the form as it is to land what is missing; tick *Land everything again* after a single table was dropped
or rows were changed. A part that the schema contract *freeze* refuses stops no other: it is counted, and
`problems` names it (`SCHEMA_CONTRACT`).

It goes on where it stopped when its task is cleared. Other loads wait meanwhile.

| Variable | Meaning |
|---|---|
| `extend_workspace` | the one that the other DAGs use: it holds the raw zone |
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, Param

from extend_pipeline import replay_to_warehouse

NAME = r"^[a-z_][a-z0-9_]{0,62}$"

with DAG(
    "extend_replay",
    description="The tables once more, from the raw zone alone, started by hand.",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args={"owner": "data-platform", "retries": 3, "retry_delay": dt.timedelta(minutes=1)},
    tags=["extend", "documents"],
    doc_md=__doc__,
    params={
        "dataset": Param(
            default="extend",
            type="string",
            pattern=NAME,
            title="Dataset",
            description="The dataset that the documents landed in.",
        ),
        "warehouse_conn_id": Param(
            default="warehouse_default",
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
            description="Where they are to land now. Left empty: the same dataset.",
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
            description="Also what the load ledger knows: brings back a table that was dropped alone, and "
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
    replay_to_warehouse(
        workspace="{{ var.value.extend_workspace }}",
        dataset="{{ params.dataset }}",
        warehouse_conn_id="{{ params.warehouse_conn_id }}",
        into_dataset="{{ params.into_dataset or '' }}",
        into_warehouse_conn_id="{{ params.into_warehouse_conn_id or '' }}",
        again="{{ params.again }}",
        schema_contract="{{ params.schema_contract or '' }}",
    )
