"""What a workflow is made of: steps in order, each with the processor that it calls, if it calls one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final, Literal

from sandbox.reading.model import Kind

StepType = Literal[
    "PARSE",
    "CLASSIFY",
    "SPLIT",
    "EXTRACT",
    "CONDITIONAL_EXTRACT",
    "MERGE_EXTRACT",
    "RULE_VALIDATION",
    "ROUTER",
    "HUMAN_REVIEW",
]
ProcessorKind = Literal["parse", "classify", "split", "extract"]

_PROCESSOR_KINDS: Final[Mapping[StepType, ProcessorKind]] = {
    "PARSE": "parse",
    "CLASSIFY": "classify",
    "SPLIT": "split",
    "EXTRACT": "extract",
    "CONDITIONAL_EXTRACT": "extract",
    "MERGE_EXTRACT": "extract",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One step of a workflow and the processor it calls, if it calls one.

    :param kind: what an extracting step looks for, and what a validating one knows the rules of.
    :param fields: those of the kind's fields that its extractor has; none means all.
    :param classes: what a classifier or a splitter tells apart.
    :param only: the class of the documents it is for; None means all.
    :param typed: whether its extractor's schema has Extend's own types, see
        :mod:`sandbox.extend_api.workflows.typed_fields`.
    :param merges: the steps whose extractions it makes one of.
    """

    id: str
    name: str
    type: StepType
    processor_id: str = ""
    processor_name: str = ""
    kind: Kind | None = None
    fields: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    only: str | None = None
    typed: bool = False
    merges: tuple[Step, ...] = ()

    @property
    def processor_kind(self) -> ProcessorKind | None:
        """What its result is a run of; None where it calls no processor."""
        return _PROCESSOR_KINDS.get(self.type)

    @property
    def processor_version_id(self) -> str:
        """Id of the processor's version; the emulator has one of each."""
        prefix, name = self.processor_id.split("_", 1)
        return f"{prefix}v_{name}_1"


@dataclasses.dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow: steps in order, each for the documents of its class; what was split goes on by itself."""

    id: str
    name: str
    steps: tuple[Step, ...]

    def version_id(self, version: str) -> str:
        """Return the id of a version, e.g. ``workflow_version_invoices_2``."""
        return f"workflow_version_{self.id.removeprefix('workflow_')}_{version}"

    @property
    def classifier(self) -> Step | None:
        """The step that classifies, if there is one."""
        return next((step for step in self.steps if step.type == "CLASSIFY"), None)
