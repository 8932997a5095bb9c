"""The types of events: which an endpoint or a subscription may ask for, and which one a run's status makes.

The lists are those of the official SDKs (1.20.0: ``webhook_endpoint_event_type`` and
``webhook_subscription_event_type``; 0.2.0: ``webhook_event_event_type``).
The emulator makes the events of workflow runs only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from sandbox.extend_api.errors import InvalidRequest, not_found
from sandbox.extend_api.state import model
from sandbox.extend_api.workflows.catalogue import WORKFLOWS

ResourceType = Literal["extractor", "classifier", "splitter", "workflow"]

STEP_PROCESSED: Final = "workflow_run.step_run.processed"
#: The event that a run makes when it gets a status. An unknown status makes none.
OF_STATUS: Final[Mapping[str, str]] = {
    model.PROCESSED: "workflow_run.completed",
    model.FAILED: "workflow_run.failed",
    model.NEEDS_REVIEW: "workflow_run.needs_review",
    model.REJECTED: "workflow_run.rejected",
    model.CANCELLED: "workflow_run.cancelled",
}

_CHANGES = ("created", "updated", "deleted", "draft.updated", "version.published")
_LIFE_OF_WORKFLOWS = ("workflow.created", "workflow.deployed", "workflow.deleted")
_BATCHES = ("batch_processor_run.processed", "batch_processor_run.failed")


def _ended(*kinds: str) -> tuple[str, ...]:
    return tuple(f"{kind}_run.{outcome}" for kind in kinds for outcome in ("processed", "failed"))


def _changed(*resources: str) -> tuple[str, ...]:
    return tuple(f"{resource}.{change}" for resource in resources for change in _CHANGES)


#: What ``enabledEvents`` of an endpoint may have, by API version. Events of workflow runs are not among them.
GLOBAL: Final[Mapping[str, frozenset[str]]] = {
    "2026-02-09": frozenset(
        (
            *_ended("parse", "edit", "form_detection", "extract", "classify", "split"),
            *_ended("batch_processor", "batch_parse"),
            *_changed("extractor", "classifier", "splitter"),
            *_LIFE_OF_WORKFLOWS,
        )
    ),
    "2025-04-21": frozenset((*_ended("processor", "parser"), *_changed("processor"), *_LIFE_OF_WORKFLOWS)),
}
_OF_WORKFLOW: Final = (*OF_STATUS.values(), STEP_PROCESSED)
#: What ``enabledEvents`` of a subscription may have, by API version of its endpoint and type of resource.
#: The older version has no event for a cancelled run.
SCOPED: Final[Mapping[str, Mapping[ResourceType, frozenset[str]]]] = {
    "2026-02-09": {
        "extractor": frozenset((*_ended("extract"), *_BATCHES)),
        "classifier": frozenset((*_ended("classify"), *_BATCHES)),
        "splitter": frozenset((*_ended("split"), *_BATCHES)),
        "workflow": frozenset(_OF_WORKFLOW),
    },
    "2025-04-21": {
        "extractor": frozenset(_ended("processor")),
        "classifier": frozenset(_ended("processor")),
        "splitter": frozenset(_ended("processor")),
        "workflow": frozenset(_OF_WORKFLOW) - {OF_STATUS[model.CANCELLED]},
    },
}
_PROCESSOR_KINDS: Mapping[ResourceType, str] = {
    "extractor": "extract",
    "classifier": "classify",
    "splitter": "split",
}


def check_events(given: Sequence[str], allowed: frozenset[str]) -> None:
    """Raise InvalidRequest for the first event type that is not allowed."""
    for index, event_type in enumerate(given):
        if event_type not in allowed:
            expected = " | ".join(f"'{name}'" for name in sorted(allowed))
            message = f"Invalid enum value. Expected {expected}, received '{event_type}'"
            raise InvalidRequest(message, f"enabledEvents[{index}]")


def check_resource(resource_type: ResourceType, resource_id: str) -> None:
    """Raise ApiError (404) unless the workspace has the resource."""
    if resource_type == "workflow":
        known = resource_id in WORKFLOWS
    else:
        kind = _PROCESSOR_KINDS[resource_type]
        steps = [step for workflow in WORKFLOWS.values() for step in workflow.steps]
        known = any(step.processor_kind == kind and step.processor_id == resource_id for step in steps)
    if not known:
        raise not_found(resource_type.capitalize(), resource_id)
