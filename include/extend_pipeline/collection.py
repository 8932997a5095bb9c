"""Collect: a batch's settled runs, exactly as Extend answers them, into the raw zone.

What is in the raw zone can be landed again at any time without asking Extend, so it comes before any table.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from airflow.sdk import ObjectStoragePath

from extend_pipeline.workspace import compressed_writer

if TYPE_CHECKING:
    from extend_provider.hooks.extend import ExtendAsyncHook

#: Runs fetched at the same time; the connection's rate limit holds besides.
PARALLEL = 8


def collect(hook: ExtendAsyncHook, batch_id: str, destination: ObjectStoragePath) -> int:
    """Write every run of a batch, one JSON line each, to a gzip file; return how many there are.

    A line holds ``api_version`` and ``run``, the run as it was received. The file appears when it is whole.
    """
    with compressed_writer(destination) as file:
        return asyncio.run(_fetch_all(hook, batch_id, file.write))


async def _fetch_all(hook: ExtendAsyncHook, batch_id: str, write: Callable[[bytes], object]) -> int:
    slots = asyncio.Semaphore(PARALLEL)
    seen: set[str] = set()

    async def fetch(run_id: str) -> None:
        async with slots:
            run = await hook.get_run(run_id)
        line = {"api_version": hook.api_version, "run": run.raw}
        write(json.dumps(line, ensure_ascii=False).encode() + b"\n")

    async with hook:
        async for page in hook.iter_run_pages(batch_id=batch_id):
            fresh = {run.id for run in page} - seen
            seen |= fresh
            async with asyncio.TaskGroup() as fetches:
                for run_id in fresh:
                    fetches.create_task(fetch(run_id))
    return len(seen)
