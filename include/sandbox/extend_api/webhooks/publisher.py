"""Makes events of what happens to runs, and hands them over for delivery."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from sandbox.extend_api.settings import Settings
from sandbox.extend_api.shapes import SHAPES, Shapes
from sandbox.extend_api.state import model
from sandbox.extend_api.state.model import Run, StepRun, new_id
from sandbox.extend_api.webhooks.deliveries import Deliveries, Delivery
from sandbox.extend_api.webhooks.events import OF_STATUS, STEP_PROCESSED
from sandbox.extend_api.webhooks.registry import Registry


class Webhooks:
    """The webhooks of the workspace.

    :param settings: called for each delivery.
    """

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self.registry = Registry()
        self.deliveries = Deliveries(settings, self._is_registered)

    async def reset(self) -> None:
        """Stop all deliveries; remove endpoints, subscriptions and counts."""
        await self.deliveries.reset()
        self.registry = Registry()

    def publish(self, run: Run) -> None:
        """Deliver the events of a run that has got a new status. Only runs of the API have events."""
        if (event_type := OF_STATUS.get(run.status)) is None or not run.through_api:
            return
        for step in run.steps:
            if step.status == model.PROCESSED and not step.announced:
                step.announced = True
                self._send(STEP_PROCESSED, run, step)
        self._send(event_type, run)

    def _send(self, event_type: str, run: Run, step: StepRun | None = None) -> None:
        event_id = new_id("event")  # the same for all endpoints
        for endpoint in self.registry.listeners(run.workflow.id, event_type):
            payload = _payload(SHAPES[endpoint.api_version], run, step)
            if payload is None:
                continue
            delivery = Delivery(
                endpoint=endpoint,
                event_id=event_id,
                event_type=event_type,
                run_id=run.id,
                subject_id=run.id if step is None else step.id,
                key=run.key,
                payload=msgspec.json.encode(payload),  # as it is now, whenever it arrives
                metadata=run.metadata if step is None else None,
            )
            self.deliveries.send(delivery)

    def _is_registered(self, endpoint_id: str) -> bool:
        endpoint = self.registry.endpoints.get(endpoint_id)
        return endpoint is not None and endpoint.status == "enabled"


def _payload(shapes: Shapes, run: Run, step: StepRun | None) -> Any:
    """Return the payload of an event; None if the version has none for such a step."""
    return shapes.webhook_run(run) if step is None else shapes.webhook_step(run, step)
