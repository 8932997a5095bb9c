"""What the configured faults do to the delivery of one event."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from sandbox.extend_api.settings import WebhookFault
from sandbox.extend_api.state.faults import Armed
from sandbox.extend_api.state.model import share


@dataclasses.dataclass(slots=True)
class Treatment:
    """How one event is delivered to one endpoint.

    :param lost: it is not delivered.
    :param delay: seconds before the first attempt.
    :param hold: seconds for which it waits that a later event overtakes it; None: it does not wait.
    :param repeats: deliveries after the accepted one.
    :param forged: a delivery with other content and a wrong signature comes before it.
    :param age: seconds by which its timestamp is old.
    :param as_url: its payload is a signed URL, whatever the endpoint's options say.
    """

    lost: bool = False
    delay: float = 0.0
    hold: float | None = None
    repeats: int = 0
    forged: bool = False
    age: float = 0.0
    as_url: bool = False


class WebhookFaults:
    """The configured faults with their remaining counts. All that match an event apply to it together."""

    def __init__(self, faults: Iterable[WebhookFault] = ()) -> None:
        self._armed = [Armed(fault, fault.skip, fault.count) for fault in faults]

    def treat(self, event_type: str, key: str) -> Treatment:
        """Return what happens to an event, and count it.

        :param key: identity of the run's input; a fraction is always of the same inputs.
        """
        treatment = Treatment()
        for armed in self._armed:
            fault = armed.fault
            if fault.event not in ("*", event_type) or (fault.fraction < 1 and share(key) >= fault.fraction):
                continue
            if armed.strikes():
                _apply(fault, treatment)
        return treatment


def _apply(fault: WebhookFault, treatment: Treatment) -> None:
    match fault.kind:
        case "lose":
            treatment.lost = True
        case "delay":
            treatment.delay += fault.seconds
        case "reorder":
            treatment.hold = fault.seconds
        case "repeat":
            treatment.repeats += 1
        case "forge":
            treatment.forged = True
        case "old":
            treatment.age = fault.seconds
        case "url":
            treatment.as_url = True
