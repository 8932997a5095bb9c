"""Chunks as a plan makes them, for tests of what comes after it."""

from __future__ import annotations

from collections.abc import Sequence

from airflow.sdk import ObjectStoragePath

from extend_pipeline.batch_ledger import batch_key
from extend_pipeline.documents import Document
from extend_pipeline.reservations import ChunkReference, Planner, chunk_path
from extend_pipeline.settings import Settings
from extend_pipeline.workspace import write_documents


def planner(run_id: str = "run", plan: str = "plan", **more: str) -> Planner:
    """Return who plans in these tests."""
    return Planner(
        plan=plan, run_id=run_id, **{"airflow": "here", "dag_id": "dag", "group_id": "group", **more}
    )


def reference(
    folder: ObjectStoragePath | str, key: str, documents: int, *, repetition: str = "", plan: str = "plan"
) -> ChunkReference:
    """Return what a task is given of a chunk."""
    return ChunkReference(folder=str(folder), key=key, documents=documents, repetition=repetition, plan=plan)


def planned(
    settings: Settings, folder: ObjectStoragePath, documents: Sequence[Document], plan: str = "plan"
) -> ChunkReference:
    """Write the documents down as one chunk, as a plan does; return its reference."""
    key = batch_key(documents, **settings.asked_for)
    write_documents(chunk_path(settings, key), documents)
    return reference(folder, key, len(documents), repetition=settings.repetition, plan=plan)
