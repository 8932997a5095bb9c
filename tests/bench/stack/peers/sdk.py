"""The same script with Extend's official SDK in the place of aiohttp; see :mod:`bench.stack.peers.script`.

The SDK repeats a POST on a 5xx: what Extend had accepted before is paid twice.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import IO, Any

from extend_ai import AsyncExtend

from bench.stack.peers.script import (
    BATCH,
    DONE,
    POLL_SECONDS,
    REQUESTS_AT_A_TIME,
    WORKFLOW,
    arguments,
    batches,
    load,
)


async def process(
    client: AsyncExtend, inputs: list[dict[str, Any]], free: asyncio.Semaphore, lines: IO[str]
) -> None:
    """Send a batch, wait until its runs are done, and write them as lines."""
    sent: Any = inputs
    batch = await client.workflow_runs.create_batch(workflow={"id": WORKFLOW}, inputs=sent)
    while True:
        await asyncio.sleep(POLL_SECONDS)
        runs = (await client.workflow_runs.list(batch_id=batch.batch_id, max_page_size=BATCH)).data
        if len(runs) == len(inputs) and all(run.status in DONE for run in runs):
            break

    async def write(run_id: str) -> None:
        async with free:
            run = await client.workflow_runs.retrieve(run_id)
        lines.write(run.json(by_alias=True) + "\n")

    await asyncio.gather(*(write(run.id) for run in runs))


async def main() -> None:
    """Process everything under the prefix."""
    asked = arguments()
    free = asyncio.Semaphore(REQUESTS_AT_A_TIME)
    client = AsyncExtend(token=asked.key, base_url=asked.extend)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "runs.jsonl"
        with file.open("w") as lines:
            async with asyncio.TaskGroup() as group:
                for inputs in batches(asked.s3, asked.bucket, asked.prefix):
                    group.create_task(process(client, inputs, free, lines))
                    await asyncio.sleep(0)
        load(file, asked.warehouse)


if __name__ == "__main__":
    asyncio.run(main())
