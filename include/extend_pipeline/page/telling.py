"""From rows of the warehouse to the shapes of the answers. Pure."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final
from urllib.parse import quote

from extend_pipeline.page import answers
from extend_pipeline.page.pipelines import KnownPipeline, PastRun
from extend_pipeline.warehouse.queries.story import MOST_FIELDS
from extend_pipeline.warehouse.schema.views import DEFAULT_MIN_CONFIDENCE

#: The DAG that sends dead letters again.
ON_DEMAND: Final = "extend_on_demand"
#: The last step of each kind of time that is equal.
_ORDER: Final = ("found", "sent", "attempt", "landed", "reviewed", "approval")


def iso(moment: dt.datetime | None) -> str | None:
    """Return a time as the page reads it."""
    return None if moment is None else moment.astimezone(dt.UTC).isoformat(timespec="seconds")


def run_path(dag_id: str | None, run_id: str | None) -> str | None:
    """Return the page of a run below Airflow's base URL."""
    if not dag_id or not run_id:
        return None
    return f"dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


def next_page(offset: int, rows: int, total: int) -> str | None:
    """Return where the next page begins."""
    return str(offset + rows) if rows and offset + rows < total else None


def finished(run: PastRun) -> answers.RunFigures:
    """Return what a run has landed."""
    landed = run.landed
    return {
        "run_id": run.run_id,
        "at": landed.at,
        "by_status": dict(landed.by_status),
        "credits": landed.credits,
    }


def described(pipeline: KnownPipeline, condition: answers.Condition) -> answers.Pipeline:
    """Return a pipeline."""
    record, group = pipeline.record, pipeline.group_id
    return {
        **condition,
        "dag_id": pipeline.dag_id,
        "task_group": group,
        "warehouse": {"kind": record.kind, "conn_id": record.warehouse_conn_id, "dataset": record.dataset},
        "workflow_id": record.workflow_id,
        "version": record.version,
        "last_run_id": pipeline.run_id,
        "last_planned_at": record.planned_at,
        "tasks": {
            "plan": f"{group}.plan",
            "submit": f"{group}.chunk.submit",
            "wait": f"{group}.chunk.wait",
            "load": f"{group}.chunk.load",
            "finish": f"{group}.finish",
            "approve": f"{group}.approve" if record.approves else None,
        },
    }


def send_again(
    pipeline: KnownPipeline, reason: str | None, workflow_id: str, version: str, count: int
) -> answers.SendAgain:
    """Return the run that sends the dead letters of a workflow and version again."""
    conf: dict[str, Any] = {
        "reprocess": "failed",
        "workflow_id": workflow_id,
        "version": version or None,
        "warehouse_conn_id": pipeline.record.warehouse_conn_id,
        "dataset": pipeline.record.dataset,
    }
    if reason is not None:
        conf["reasons"] = reason
    return {
        "dag_id": ON_DEMAND,
        "workflow_id": workflow_id,
        "version": version or None,
        "documents": count,
        "conf": conf,
    }


def dead_letter(row: tuple[Any, ...]) -> answers.DeadLetterRow:
    """Return a dead letter."""
    (document_id, uri, name, workflow_id, version, status, reason, message, at, attempts, *rest) = row
    credits, resending, dashboard_url, dag_id, run_id = rest
    return {
        "document_id": document_id,
        "address": uri,
        "name": name,
        "workflow_id": workflow_id,
        "version": version or None,
        "status": status,
        "reason": reason,
        "message": message,
        "at": iso(at) or "",
        "attempts": attempts or 0,
        "credits": credits,
        "resending": bool(resending),
        "dashboard_url": dashboard_url,
        "run_path": run_path(dag_id, run_id),
    }


def review(row: tuple[Any, ...]) -> answers.ReviewRow:
    """Return a document that waits for a person."""
    document_id, uri, name, waits, since, low, lowest, credits, dashboard_url, dag_id, run_id = row
    run = run_path(dag_id, run_id)
    return {
        "document_id": document_id,
        "address": uri,
        "name": name,
        "waits_for": waits,
        "since": iso(since),
        "low_confidence": low,
        "lowest_confidence": lowest,
        "credits": credits,
        "dashboard_url": dashboard_url,
        "actions_path": f"{run}/required_actions" if run and waits == "approval" else None,
    }


def found(row: tuple[Any, ...]) -> answers.FoundDocument:
    """Return a document that a search has found."""
    document_id, uri, name, workflow_id, version, status, reason, landed_at = row
    return {
        "document_id": document_id,
        "address": uri,
        "name": name,
        "workflow_id": workflow_id,
        "version": version or None,
        "status": status,
        "reason": reason,
        "landed_at": iso(landed_at) or "",
    }


def told(
    condition: answers.Condition,
    documents: list[dict[str, Any]],
    runs: list[tuple[Any, ...]],
    fields: list[tuple[Any, ...]],
) -> answers.Story:
    """Return the story of a document.

    :param documents: its rows, one at least.
    """
    first = documents[0]
    return {
        **condition,
        "document_id": first["document_id"],
        "address": first["uri"],
        "name": first["name"],
        "size_bytes": first["size_bytes"],
        "etag": first["etag"],
        "last_modified": iso(first["last_modified"]),
        "landed": [_landed(document, runs, fields) for document in documents],
    }


def _landed(
    document: dict[str, Any], runs: list[tuple[Any, ...]], fields: list[tuple[Any, ...]]
) -> answers.Landed:
    key = (document["workflow_id"], document["workflow_version_requested"])
    threshold = document["min_confidence"]
    its_fields = [
        _field(row[2:], DEFAULT_MIN_CONFIDENCE if threshold is None else threshold)
        for row in fields
        if row[:2] == key
    ]
    return {
        "workflow_id": document["workflow_id"],
        "workflow_name": document["workflow_name"],
        "version": document["workflow_version_requested"] or None,
        "version_used": document["workflow_version"],
        "status": document["status"],
        "reason": document["reason"],
        "message": document["message"],
        "attempts": document["attempts"] or 0,
        "credits": document["credits"],
        "approval": document["approval"],
        "run_id": document["run_id"],
        "batch_id": document["batch_id"],
        "dashboard_url": document["dashboard_url"],
        "run_path": run_path(document["dag_id"], document["dag_run_id"]),
        "timeline": _timeline(document, [row[2:] for row in runs if row[:2] == key]),
        "fields": its_fields[:MOST_FIELDS],
        "fields_total": len(its_fields),
    }


def _timeline(document: dict[str, Any], runs: list[tuple[Any, ...]]) -> list[answers.Moment]:
    moments = [_moment("found", document["last_modified"])]
    for run_id, status, reason, message, sent, ended, credits, url, reviewed_at, reviewed_by in runs:
        of_run = {"run_id": run_id, "dashboard_url": url}
        moments.append(_moment("sent", sent, **of_run))
        outcome = {"status": status, "reason": reason, "message": message}
        moments.append(_moment("attempt", ended, **outcome, credits=credits, **of_run))
        if reviewed_at is not None:
            moments.append(_moment("reviewed", reviewed_at, status=status, by=reviewed_by, **of_run))
    moments.append(_moment("landed", document["landed_at"], status=document["status"]))
    if document["approval"]:
        by = document["approval_by"]
        moments.append(_moment("approval", document["approval_at"], status=document["approval"], by=by))
    return sorted(moments, key=lambda each: (each["at"] or "~", _ORDER.index(each["what"])))


def _moment(what: answers.What, at: dt.datetime | None, **facts: Any) -> answers.Moment:
    return {
        "what": what,
        "at": iso(at),
        "status": facts.get("status"),
        "reason": facts.get("reason"),
        "message": facts.get("message"),
        "by": facts.get("by"),
        "credits": facts.get("credits"),
        "run_id": facts.get("run_id"),
        "dashboard_url": facts.get("dashboard_url"),
    }


def _field(row: tuple[Any, ...], threshold: float) -> answers.Field:
    extractor, path, value, ocr, logprobs, page, cells, text, citations, edited, machine = row
    confidence = min((each for each in (ocr, logprobs) if each is not None), default=None)
    return {
        "extractor": extractor,
        "path": path,
        "value": value,
        "confidence": confidence,
        "ocr_confidence": ocr,
        "logprobs_confidence": logprobs,
        "low": confidence is not None and confidence < threshold,
        "page": page,
        "cell_range": cells,
        "reference_text": text,
        "citations": citations,
        "edited": bool(edited),
        "machine_value": machine,
    }
