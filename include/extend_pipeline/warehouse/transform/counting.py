"""The result of landing a part: counted in the tables, checked, and written to the load ledger."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from extend_pipeline.warehouse.records import Landing, Provenance, SchemaContract, WarehouseError
from extend_pipeline.warehouse.schema import tables
from extend_pipeline.warehouse.sql import names, qualified

if TYPE_CHECKING:
    from extend_pipeline.warehouse.session import Session


def counted(
    session: Session, dataset: str, provenance: Provenance, rows: dict[str, int], *, refused: bool
) -> tuple[Landing, int]:
    """Count what has landed; return the counts and the number of runs.

    :param rows: rows inserted, by table.
    :raises WarehouseError: if a document of the part has not exactly one row.
    """
    session.stage(
        "_landed",
        f"""SELECT document_id, status, reason, approval
            FROM {qualified(dataset, "documents")} SEMI JOIN (FROM _submitted CROSS JOIN _load)
            USING ({names(tables.KEY)})""",
    )
    ((submitted, found, distinct, runs, credits, held),) = session.rows(
        "count part",
        """SELECT (SELECT count(*) FROM _submitted), count(*), count(DISTINCT document_id),
                  (SELECT count(*) FROM _attempts),
                  (SELECT coalesce(sum(credits), 0) FROM _attempts WHERE ?),
                  count(*) FILTER (approval = ?)
           FROM _landed""",
        [provenance.counted, tables.WAITING],
    )
    if not submitted == found == distinct:
        raise WarehouseError(
            f"Part {provenance.part}: {submitted} documents were to have one row each in "
            f"{dataset}.documents; there are {found} rows of {distinct}. The load was undone."
        )
    by_status: Counter[str] = Counter()
    by_reason: Counter[str] = Counter()
    for status, reason, count in session.rows(
        "count outcomes", "SELECT status, reason, count(*) FROM _landed GROUP BY ALL ORDER BY ALL"
    ):
        by_status[status] += count
        if reason is not None:
            by_reason[reason] += count
    landing = Landing(
        submitted, dict(by_status), dict(by_reason), float(credits), rows, held, refused=refused
    )
    return landing, runs


def write_load(
    session: Session,
    dataset: str,
    provenance: Provenance,
    landing: Landing,
    runs: int,
    *,
    contract: SchemaContract,
    started: datetime,
) -> None:
    """Write the ledger's row of a part; it replaces an earlier one."""
    loads = qualified(dataset, "loads")
    session.run("delete from loads", f"DELETE FROM {loads} WHERE part = ?", [provenance.part])
    session.insert(
        dataset,
        "loads",
        tables.LOADS,
        f"""SELECT ?, workflow_id, workflow_version_requested, load_batch_id, ?, ?, ?, ?, ?, ?, ?, ?, ?,
                   {names([name for name in tables.LOAD if name != "landed_at"])} FROM _load""",
        [
            provenance.part,
            provenance.extend_conn_id,
            landing.documents,
            runs,
            landing.credits,
            json.dumps(landing.by_status),
            json.dumps(landing.rows),
            contract,
            started,
            datetime.now(UTC),
        ],
    )
