"""The evidence of a round in the workspace: what Extend has told of its runs, kept over looks and releases.

It is ``evidence.json`` in the round's folder. What was there at one look is not forgotten at the next one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import Any, Final

import msgspec
from airflow.sdk import ObjectStoragePath

from extend_pipeline.batches.attempts import Evidence, merged
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.storage.workspace import read_json, write_json

#: Raised when a reader of the version before would read the file wrongly. Version 1 was ``verdict.json``.
SCHEMA_VERSION: Final = 2


def read_evidence(folder: ObjectStoragePath) -> Evidence | None:
    """Return what is known of a round; None while nobody has looked at it.

    :raises PipelineInputError: if the file cannot be read, e.g. because a newer release has written it.
    """
    stored = _stored(folder)
    if stored:
        return _decoded(folder, stored)
    verdict = read_json(folder / "verdict.json")
    if verdict is None:
        return None
    # The release before kept its decision. Whatever it did not send again had a run, or counted as gone.
    missing = verdict.get("missing", 0)
    return Evidence(missing=missing, accepted=missing, without_run=tuple(verdict.get("again", ())))


def note(folder: ObjectStoragePath, found: Evidence, *, fine: Collection[str] = ()) -> Evidence:
    """Add what another look at a round has found; return all that is known now.

    :param fine: see :func:`~extend_pipeline.batches.attempts.merged`.
    """
    known = merged(read_evidence(folder), found, fine=fine)
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    known = msgspec.structs.replace(known, seen_at=now)
    # What a later release has added to the file stays in it.
    plain = {**_stored(folder), **msgspec.to_builtins(known), "schema_version": SCHEMA_VERSION}
    write_json(folder / "evidence.json", plain)
    return known


def _stored(folder: ObjectStoragePath) -> dict[str, Any]:
    return dict(read_json(folder / "evidence.json") or {})


def _decoded(folder: ObjectStoragePath, stored: dict[str, Any]) -> Evidence:
    version = stored.get("schema_version", SCHEMA_VERSION)
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise PipelineInputError(
            f"{folder / 'evidence.json'} has version {version}, and this release reads up to "
            f"{SCHEMA_VERSION}: a newer one has written it. Nothing was sent. Upgrade, and clear this task."
        )
    try:
        return msgspec.convert(stored, Evidence)
    except msgspec.ValidationError as error:
        raise PipelineInputError(
            f"{folder / 'evidence.json'} cannot be read ({error}). Nothing was sent. Bring the file back as "
            "it was, or delete it: its batch is looked at anew."
        ) from None
