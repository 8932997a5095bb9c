"""### Documents on demand, by hand

Press **Trigger** and fill in the form: a prefix in S3 (or another store) or a list of addresses, and how to
process them. Documents that have landed before are left out, unless *Reprocess* is chosen; *Dry run* only
shows what would be sent. To send **failed documents** again, leave the source empty and choose that under
*Reprocess*.

| Variable | Meaning |
|---|---|
| `extend_workflow_id` | the Extend workflow, if the form names none |
| `extend_workspace` | the one that the other DAGs use: files between tasks, and the raw zone |
"""

from __future__ import annotations

import dataclasses
import datetime as dt

from airflow.sdk import DAG, Param

from extend_deployment import DEPLOYMENT
from extend_pipeline import (
    Budget,
    Execution,
    Files,
    Reprocess,
    Workflow,
    documents_to_warehouse,
)

SOURCE = {
    "source": Param(
        default=None,
        type=["null", "string"],
        minLength=6,
        pattern=r"^\s*[a-z][a-z0-9+.-]*://\S+",
        format="multiline",
        section="Source",
        title="Source",
        description="A prefix such as s3://acme-inbox/documents/2026-11-21/, or several addresses, one "
        "per line: those that end in / are prefixes, the others single files. gs:// and file:/// work, too.",
    ),
    "glob": Param(
        default=None,
        type=["null", "string"],
        section="Source",
        title="File name pattern",
        description="A pattern for what follows the prefix, e.g. acme/* or **/*.{pdf,PDF}.",
    ),
    "reprocess": Param(
        default="none",
        type="string",
        enum=["none", "failed", "all"],
        values_display={
            "none": "Nothing that has landed before",
            "failed": "What failed before, from the warehouse; the source may be empty",
            "all": "All documents of the source",
        },
        section="Source",
        title="Reprocess",
        description="Documents to send again, and pay for again, although they have landed before.",
    ),
}
WORKFLOW = {
    "workflow_id": Param(
        default=None,
        type=["null", "string"],
        section="Workflow",
        title="Workflow",
        description="Id of the Extend workflow. Left empty: the value of the Variable extend_workflow_id.",
    ),
    "version": Param(
        default=None,
        type=["null", "string"],
        pattern=r"^(\d+|draft)$",
        section="Workflow",
        title="Version",
        description="A published version's number, or draft. Left empty: the latest published version.",
    ),
    "priority": Param(
        default=None,
        type=["null", "integer"],
        minimum=1,
        maximum=100,
        section="Workflow",
        title="Priority",
        description="1 is first, 100 is last. Left empty: Extend's default for batches, 90.",
    ),
}
BOUNDS = {
    "dry_run": Param(
        default=False,
        type="boolean",
        section="Bounds",
        title="Dry run",
        description="List and plan, show what would be sent, and send nothing.",
    ),
    "limit": Param(
        default=None,
        type=["null", "integer"],
        minimum=1,
        section="Bounds",
        title="Limit",
        description="Send no more documents than this; the rest is left for a later run.",
    ),
    "max_documents": Param(
        default=None,
        type=["null", "integer"],
        minimum=1,
        section="Bounds",
        title="Maximum documents",
        description="Send nothing at all if there are more documents than this to send.",
    ),
    "max_credits": Param(
        default=None,
        type=["null", "number"],
        exclusiveMinimum=0,
        section="Bounds",
        title="Maximum credits",
        description="Send nothing at all if the estimated credits, based on earlier charges, are higher; or "
        "if nothing was charged before, because the cost is unknown then.",
    ),
}
ADVANCED = {
    "reasons": Param(
        default=None,
        type=["null", "string"],
        format="multiline",
        section="Advanced",
        title="Reasons",
        description="Of what failed before, only documents with one of these reasons, one per line.",
    ),
    "documents": Param(
        default=None,
        type=["null", "string"],
        pattern=r"^\s*[0-9a-f]{32}(\s+[0-9a-f]{32})*\s*$",
        format="multiline",
        section="Advanced",
        title="Documents",
        description="Of what failed before, only documents with one of these ids, one per line.",
    ),
    "repetition": Param(
        default=None,
        type=["null", "string"],
        maxLength=200,
        section="Advanced",
        title="Repetition",
        description="Only if all documents are reprocessed: a name of your choice. Each document is sent "
        "once in a repetition, and a later run continues it. Left empty: the open repetition of this source "
        "(the log of plan names it), or else a new one.",
    ),
    "chunk_size": Param(
        default=1000,
        type="integer",
        minimum=1,
        maximum=1000,
        section="Advanced",
        title="Documents per batch",
        description="Each batch is one request to Extend and one group of mapped tasks here.",
    ),
    "warehouse_conn_id": Param(
        default=DEPLOYMENT.warehouse.conn_id,
        type="string",
        minLength=1,
        section="Advanced",
        title="Warehouse connection",
        description="The connection of the warehouse that the documents land in.",
    ),
    "dataset": Param(
        default=DEPLOYMENT.warehouse.dataset,
        type="string",
        pattern=r"^[a-z_][a-z0-9_]{0,62}$",
        section="Advanced",
        title="Dataset",
        description="The schema there. What landed in another one counts as new, and is paid for again.",
    ),
}

with DAG(
    "extend_on_demand",
    description="Chosen documents: S3, through Extend, into the warehouse, started by hand.",
    schedule=None,
    catchup=False,
    default_args={"owner": "data-platform", "retries": 3, "retry_delay": dt.timedelta(minutes=1)},
    tags=["extend", "documents"],
    doc_md=__doc__,
    params={**SOURCE, **WORKFLOW, **BOUNDS, **ADVANCED},
):
    chosen = dataclasses.replace(
        DEPLOYMENT.warehouse, conn_id="{{ params.warehouse_conn_id }}", dataset="{{ params.dataset }}"
    )
    documents_to_warehouse(
        dataclasses.replace(DEPLOYMENT, warehouse=chosen),
        source=Files("{{ params.source or '' }}", glob="{{ params.glob or '' }}"),
        workflow=Workflow(
            "{{ params.workflow_id or var.value.extend_workflow_id }}",
            version="{{ params.version or '' }}",
            priority="{{ params.priority or '' }}",
        ),
        budget=Budget(
            limit="{{ params.limit or '' }}",
            max_documents="{{ params.max_documents or '' }}",
            max_credits="{{ params.max_credits or '' }}",
        ),
        execution=Execution(chunk_size="{{ params.chunk_size }}"),
        reprocess=Reprocess(
            "{{ params.reprocess }}",
            reasons="{{ params.reasons or '' }}",
            documents="{{ params.documents or '' }}",
            repetition="{{ params.repetition or '' }}",
        ),
        dry_run="{{ params.dry_run }}",
    )
