"""Repetitions: documents that have landed are sent again on request, once per repetition.

    <workspace>/repetitions/<workflow>/<version>/<selection>.json    the repetition that is open

``reprocess="all"`` may select more documents than one run sends. As long as a repetition of the
same selection is open, later runs continue it, even if earlier runs failed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

from airflow.sdk import ObjectStoragePath

from extend_pipeline.settings import Settings
from extend_pipeline.storage.formats import Stored, read, write

if TYPE_CHECKING:
    from extend_pipeline.batches.reservations import Planner
    from extend_pipeline.planning.plan import Plan


class Kept(Stored, frozen=True):
    """The file of an open repetition."""

    name: str
    has_left: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Repetition:
    """The repetition that a run works for; it separates its documents from the same documents sent before.

    :param name: empty for the first time that a document is sent.
    :param path: the file that keeps it while it is open; None if it is not kept.
    :param is_open: True if an earlier run has begun it.
    :param has_left: True if an earlier run has left documents of it for a later run.
    :param claims_of: the repetition whose chunks reserve documents; None for all. A document in flight is not
        sent a second time, unless everything is to be sent again.
    """

    name: str = ""
    path: ObjectStoragePath | None = None
    is_open: bool = False
    has_left: bool = False
    claims_of: str | None = None

    @classmethod
    def of(cls, settings: Settings, planner: Planner) -> Repetition:
        """Return the repetition that a run works for: the open one of its selection, or a new one."""
        if settings.reprocess == "none":
            return cls()
        own = f"{planner.dag_id}/{planner.run_id}/{planner.group_id}"
        if settings.reprocess == "failed":
            return cls(own)
        if settings.repetition:
            return cls(settings.repetition, is_open=True, has_left=True, claims_of=settings.repetition)
        path = _path(settings)
        kept = read(path, Kept)
        if kept is None:
            return cls(own, path, claims_of=own)
        return cls(kept.name, path, is_open=True, has_left=kept.has_left, claims_of=kept.name)

    def is_complete(self, plan: Plan) -> bool:
        """Return True if it is open and everything that this run selects has landed in it."""
        return self.is_open and not (plan.to_send or plan.held or plan.theirs or plan.left)

    def following(self, planner: Planner) -> Repetition:
        """Return the next repetition, which the run of the planner begins."""
        own = f"{planner.dag_id}/{planner.run_id}/{planner.group_id}"
        return Repetition(own, self.path, claims_of=own)

    def keep(self, plan: Plan) -> None:
        """Keep it open for later runs after a plan of it is carried out; close it when it is complete."""
        if self.path is None:
            return
        if plan.nothing_left:
            self.path.unlink(missing_ok=True)
        elif plan.chunks:
            write(self.path, Kept(name=self.name, has_left=self.has_left or plan.left > 0))


def _path(settings: Settings) -> ObjectStoragePath:
    """Return the file of the open repetition of what the settings select."""
    selection = {"source", "glob", "modified_from", "modified_to", "dataset", "warehouse_conn_id"}
    selected: dict[str, Any] = settings.model_dump(mode="json", include=selection)
    name = hashlib.sha256(json.dumps(selected, sort_keys=True).encode()).hexdigest()[:16]
    home = ObjectStoragePath(settings.workspace) / "repetitions" / settings.workflow_id
    return home / (settings.version or "latest") / f"{name}.json"
