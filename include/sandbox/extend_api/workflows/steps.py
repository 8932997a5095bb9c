"""Workflows and their steps."""

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
    """One step of a workflow and its processor, if it has one.

    :param kind: the kind of document that the step extracts or validates.
    :param fields: the fields of the extractor; empty for all fields of the kind.
    :param classes: the classes of a classifier or splitter.
    :param only: the class of the documents that the step applies to; None for all.
    :param typed: the extractor's schema has Extend's types, see
        :mod:`sandbox.extend_api.workflows.typed_fields`.
    :param merges: the steps whose extractions this step merges.
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
        """The kind of its processor run; None for a step without a processor."""
        return _PROCESSOR_KINDS.get(self.type)

    @property
    def processor_version_id(self) -> str:
        """Id of the only version of the processor."""
        prefix, name = self.processor_id.split("_", 1)
        return f"{prefix}v_{name}_1"


@dataclasses.dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow and its steps in order; after a split each document passes the steps alone."""

    id: str
    name: str
    steps: tuple[Step, ...]

    def version_id(self, version: str) -> str:
        """Return the id of a version, e.g. ``workflow_version_invoices_2``."""
        return f"workflow_version_{self.id.removeprefix('workflow_')}_{version}"

    @property
    def classifier(self) -> Step | None:
        """The classification step, if there is one."""
        return next((step for step in self.steps if step.type == "CLASSIFY"), None)
