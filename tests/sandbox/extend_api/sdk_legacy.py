"""Drives the emulator with the last SDK that speaks 2025-04-21 and prints what it understood, as JSON.

Run in a process of its own with that SDK's folder first on the path: both generations share a package name.
Usage: ``python sdk_legacy.py <base URL> <key> <text of an invoice>``.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from extend_ai import Extend
from extend_ai.core.api_error import ApiError
from extend_ai.version import __version__


def settled(client: Any, run_id: str) -> Any:
    """Return a run when it is done."""
    for _ in range(400):
        run = client.workflow_run.get(run_id).workflow_run
        if run.status not in ("PENDING", "PROCESSING", "CANCELLING"):
            return run
        time.sleep(0.02)
    raise TimeoutError(run_id)


def refused(call: Callable[[], Any]) -> dict[str, Any]:
    """Return the error that a call raises."""
    try:
        call()
    except ApiError as error:
        body = error.body if isinstance(error.body, dict) else error.body.dict()
        return {"type": type(error).__name__, "status": error.status_code, "body": body}
    return {"type": None}


def main(url: str, key: str, invoice: str) -> dict[str, Any]:
    """Go through every endpoint and return what came of it."""
    client: Any = Extend(token=key, base_url=url)
    seen: dict[str, Any] = {"sdk": __version__}

    created = client.workflow_run.create(
        workflow_id="workflow_mixed", raw_texts=[invoice, invoice], metadata={"a": 1, "b": 1}, priority=7
    )
    seen["created"] = [(run.object, run.workflow.version) for run in created.workflow_runs]
    run = settled(client, created.workflow_runs[0].id)
    seen["run"] = {
        "status": run.status,
        "name": run.name,
        "url": run.url,
        "outputs": [(output.type, output.status, output.object) for output in run.outputs],
        "class": run.outputs[0].output.type,
        "number": run.outputs[1].output.value["invoice_number"],
        "citation": run.outputs[1].output.metadata["invoice_number"].citations[0].dict(),
        "schema": "invoice_number" in run.outputs[1].config.schema_["properties"],
        "credits": run.usage.credits,
        "step_runs": run.step_runs,
    }
    corrected = client.workflow_run_output.update(
        run.id, run.outputs[1].id, reviewed_output={"value": {"total": 1.5}}
    ).workflow_run.outputs[1]
    seen["corrected"] = (corrected.output.value["total"], corrected.initial_output.value["total"])

    uploaded = client.file.upload(file=("seven.txt", io.BytesIO(invoice.encode()))).file
    fetched = client.file.get(uploaded.id).file
    seen["file"] = (uploaded.name, uploaded.type, fetched.presigned_url is not None)
    seen["files"] = [file.id for file in client.file.list(name_contains="seven").files] == [uploaded.id]

    batch = client.batch_workflow_run.create(
        workflow_id="workflow_invoices",
        version="1",
        inputs=[
            {"file": {"fileName": "one.txt", "fileId": uploaded.id}, "metadata": {"n": 1}},
            {"rawText": invoice, "metadata": {"n": 2}},
        ],
    )
    listed = client.workflow_run.list(batch_id=batch.batch_id, sort_by="createdAt", sort_dir="asc")
    seen["listed"] = [
        (item.workflow_id, item.workflow_name, item.workflow_version_id) for item in listed.workflow_runs
    ]
    seen["batch"] = [settled(client, item.id).metadata for item in listed.workflow_runs]
    page = client.workflow_run.list(batch_id=batch.batch_id, max_page_size=1)
    token = page.next_page_token
    rest = client.workflow_run.list(batch_id=batch.batch_id, max_page_size=1, next_page_token=token)
    seen["pages"] = [len(page.workflow_runs), len(rest.workflow_runs), rest.next_page_token]

    updated = client.workflow_run.update(run.id, name="Renamed", metadata={"b": 2}).workflow_run
    seen["updated"] = (updated.name, updated.metadata)
    seen["deleted"] = client.workflow_run.delete(run.id).workflow_run_id == run.id
    seen["file_deleted"] = client.file.delete(uploaded.id).file_id == uploaded.id

    mailed = client.workflow_run.create(workflow_id="workflow_mailroom", raw_texts=[invoice])
    run = settled(client, mailed.workflow_runs[0].id)
    seen["mailroom"] = {
        "outputs": [(output.type, output.processor_name) for output in run.outputs],
        "merged": [merged.processor_id for merged in run.outputs[-1].merged_processors],
        "steps": [(step.step.type, step.step.name, step.status) for step in run.step_runs],
        "rules": [(rule.valid, rule.failure_reason, rule.error) for rule in run.step_runs[0].output.rules],
    }

    settled(client, created.workflow_runs[1].id)
    wrong: Any = Extend(token="sk_wrong", base_url=url)
    seen["errors"] = {
        "not_cancellable": refused(lambda: client.workflow_run.cancel(created.workflow_runs[1].id)),
        "not_found": refused(lambda: client.workflow_run.get("workflow_run_nothing")),
        "bad_file": refused(lambda: client.file.upload(file=("a.exe", b"x"))),
        "no_input": refused(lambda: client.workflow_run.create(workflow_id="workflow_mixed")),
        "unauthorized": refused(lambda: wrong.workflow_run.list()),
    }
    return seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:]), default=str))
