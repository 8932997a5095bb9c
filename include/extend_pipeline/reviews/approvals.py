"""Approvals: the question to a person about documents that are held back, and the effect of the answer.

Nothing is requested from Extend: the runs are in the raw zone, and a decision becomes another part of it, the
same runs with ``"approval"`` beside them. So a decision survives when the tables are rebuilt.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from airflow.sdk import ObjectStoragePath

from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.storage.raw_zone import with_decision
from extend_pipeline.storage.workspace import read_compressed_lines
from extend_pipeline.warehouse.records import LandedRun

APPROVE: Final = "Approve"
REJECT: Final = "Reject"
LATER: Final = "Decide later"
#: The value of ``documents.approval`` by answer.
DECISIONS: Final = {APPROVE: "APPROVED", REJECT: "REJECTED"}
#: Documents that are listed in the question.
LISTED: Final = 20


def question(held: Iterable[LandedRun], count: int, *, dataset: str, min_confidence: float | None) -> str:
    """Return the question as Markdown; its size is bounded, however many documents there are.

    :param held: the documents; at most :data:`LISTED` are read.
    :param count: how many there are.
    """
    lines = [
        f"**{count:,} documents** have at least one field with a confidence below {min_confidence}. "
        f"They are in `{dataset}.documents` and `{dataset}.fields`, and in none of the typed tables.",
        "",
        f"* **{APPROVE}**: their rows enter the typed tables.",
        f"* **{REJECT}**: they stay out, and their `approval` says so.",
        f"* **{LATER}**: they stay out; clear this task to be asked again.",
        "",
        *(_line(run) for run in itertools.islice(held, LISTED)),
    ]
    if count > LISTED:
        lines.append(
            f"* … and {count - LISTED:,} more: the rows of `{dataset}.documents` with `approval = 'WAITING'`"
        )
    return "\n".join(lines)


def _line(run: LandedRun) -> str:
    name = " ".join(run.document.uri.replace("`", "'").split())
    link = f", [open at Extend](<{run.dashboard_url}>)" if run.dashboard_url else ""
    return f"* `{name}`: {run.low_confidence or 0} fields, lowest {run.lowest_confidence}{link}"


def decided_lines(
    held: Iterable[LandedRun], decision: str, by: Mapping[str, Any]
) -> Iterator[tuple[LandedRun, bytes]]:
    """Yield the held runs as the raw zone has them, each with the decision beside it.

    :param held: sorted so that the runs of a raw file are adjacent.
    :param by: who has decided, and when, for the record.
    :raises PipelineInputError: if a run is missing from the raw zone.
    """
    for raw_uri, group in itertools.groupby(held, key=lambda run: run.raw_uri):
        wanted = {run.run_id: run for run in group}
        missing = set(wanted)
        for line in read_compressed_lines(ObjectStoragePath(raw_uri or "")):
            run = wanted.get(_run_id(line))
            if run is not None:
                missing.discard(run.run_id)
                yield run, with_decision(line, decision, by)
        if missing:
            raise PipelineInputError(
                f"{raw_uri} of the raw zone lacks {len(missing):,} runs that have landed from it, for "
                f"example {min(missing)}. Nothing has been decided. Restore the file, and clear this task."
            )


def decision_mark(by: Mapping[str, Any]) -> str:
    """Return a name for a decision, unique among those about the same documents and valid in a file name."""
    return "".join(character for character in str(by.get("at")) if character.isalnum())


def _run_id(line: bytes) -> str:
    """Return the id of the run in a line of the raw zone."""
    return str(json.loads(line.decode("utf-8", "replace"))["run"].get("id"))


def decision_of(answer: Mapping[str, Any] | None) -> tuple[str | None, dict[str, Any]]:
    """Return the decision in an answer, None to decide later, and who gave the answer and when."""
    if answer is None:
        return None, {}
    (chosen,) = answer["chosen_options"]
    at = answer.get("responded_at")
    user = answer.get("responded_by_user") or {}
    return DECISIONS.get(chosen), {
        "by": user.get("name"),
        "at": at.isoformat() if isinstance(at, dt.datetime) else at,
    }
