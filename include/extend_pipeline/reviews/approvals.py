"""Low confidence: what a person is asked about the documents that are held back, and what the answer does.

Nothing here asks Extend: the runs are in the raw zone, and a decision becomes a part of it like any other,
the runs once more with ``"approval"`` beside them. So it survives whatever happens to the tables.
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
#: What each answer makes of ``documents.approval``.
DECISIONS: Final = {APPROVE: "APPROVED", REJECT: "REJECTED"}
#: Documents that are listed in the question.
LISTED: Final = 20


def question(held: Iterable[LandedRun], count: int, *, dataset: str, min_confidence: float | None) -> str:
    """Return what a person is asked, as Markdown: of constant size, however many documents there are.

    :param held: the documents; no more than :data:`LISTED` are looked at.
    :param count: how many there are.
    """
    lines = [
        f"Of **{count:,} documents** Extend was less sure than {min_confidence} about at least one field. "
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
    """Yield the held runs, as the raw zone has them, with the decision beside each.

    :param held: runs of one raw file next to each other.
    :param by: who has decided, and when, for the record.
    :raises PipelineInputError: if the raw zone has not kept a run.
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
                f"example {min(missing)}. Nothing has been decided; bring the file back, and clear this task."
            )


def decision_mark(by: Mapping[str, Any]) -> str:
    """Return what tells a decision from the others about the same documents, fit for a file's name."""
    return "".join(character for character in str(by.get("at")) if character.isalnum())


def _run_id(line: bytes) -> str:
    """Return the id of the run in a line of the raw zone, whatever else the line holds."""
    return str(json.loads(line.decode("utf-8", "replace"))["run"].get("id"))


def decision_of(answer: Mapping[str, Any] | None) -> tuple[str | None, dict[str, Any]]:
    """Return what an answer makes of the held documents, None for nothing, and who gave it when."""
    if answer is None:
        return None, {}
    (chosen,) = answer["chosen_options"]
    at = answer.get("responded_at")
    user = answer.get("responded_by_user") or {}
    return DECISIONS.get(chosen), {
        "by": user.get("name"),
        "at": at.isoformat() if isinstance(at, dt.datetime) else at,
    }
