"""The workflow endpoints (2026-02-09 only)."""

from __future__ import annotations

from typing import Any

from sandbox.extend_api.emulator import workflow
from sandbox.extend_api.routes.gate import Call
from sandbox.extend_api.shapes.v2026_02_09 import workflow_summary, workflow_version
from sandbox.extend_api.workflows.catalogue import VERSIONS, WORKFLOWS


async def list_workflows(call: Call) -> Any:
    """``GET /workflows``: all workflows, on one page."""
    return {"object": "list", "data": [workflow_summary(item) for item in WORKFLOWS.values()]}


async def get_workflow(call: Call) -> Any:
    """``GET /workflows/{id}``: one workflow with the steps of its draft version."""
    found = workflow(call.id)
    steps = [{"type": "TRIGGER", "name": "Trigger", "next": [{"step": found.steps[0].name}]}]
    steps += [{"type": step.type, "name": step.name, "next": []} for step in found.steps]
    return {**workflow_summary(found), "draftVersion": {**workflow_version(found, "draft"), "steps": steps}}


async def list_versions(call: Call) -> Any:
    """``GET /workflows/{id}/versions``: the versions of a workflow, the draft last."""
    found = workflow(call.id)
    return {"object": "list", "data": [workflow_version(found, version) for version in VERSIONS]}
