"""Collect: the runs of all rounds of a chunk into the raw zone, once they have settled."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

from airflow.sdk import ObjectStoragePath

from extend_pipeline.batches.chunk_state import PIPELINE_KEY, SUBMISSION_KEY, Round
from extend_pipeline.batches.reservations import ChunkReference
from extend_pipeline.cli.missing import advice
from extend_pipeline.storage.raw_zone import part_path
from extend_pipeline.storage.workspace import read_documents

log = logging.getLogger(__name__)


def collect_chunk(chunk: ChunkReference, batch_id: str | None) -> list[dict[str, Any]]:
    """Fetch the settled runs of all rounds of a chunk into the raw zone; return the parts, first round first.

    :param batch_id: the first round's batch; None if nothing of the chunk could be sent.
    """
    if batch_id is None:
        log.info("Chunk %s: nothing of it could be sent, so there is nothing to collect.", chunk["key"])
        return []
    from extend_pipeline.batches.collection import collect
    from extend_provider.hooks.extend import ExtendAsyncHook

    parts = []
    for each in Round.all(chunk):
        sent, settings = each.sent(required=each.number == 1), each.settings
        if sent is None or sent.batch_id is None:
            continue
        part = collect(
            ExtendAsyncHook(extend_conn_id=settings.extend_conn_id),
            sent.batch_id,
            read_documents(ObjectStoragePath(sent.details[SUBMISSION_KEY])),
            part_path(
                settings.workspace,
                pipeline=sent.details.get(PIPELINE_KEY, settings.pipeline),
                workflow_id=settings.workflow_id,
                version=settings.version,
                batch=sent.batch_id,
                name="part-00000",
            ),
            expected=each.expected(sent),
            accepting=advice(each.folder, settings.extend_conn_id),
        )
        found = f"{part.runs:,} runs of batch {part.batch_id}"
        log.info("Chunk %s, round %s: %s are in the raw zone.", chunk["key"], each.number, found)
        parts.append(dataclasses.asdict(part))
    return parts
