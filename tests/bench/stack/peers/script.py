"""An asyncio script with aiohttp and bare DuckDB: the limit of what is possible, with nothing checked.

``python -m bench.stack.peers.script --extend URL --key KEY --s3 URL --bucket B --prefix P --warehouse FILE``

Nothing is recorded before it is sent: a script that dies sends and pays again when it is started again.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import aiohttp

BATCH = 1000
REQUESTS_AT_A_TIME = 32
POLL_SECONDS = 1.0
WORKFLOW = "workflow_invoices"
DONE = {"PROCESSED", "FAILED", "NEEDS_REVIEW", "CANCELLED", "REJECTED"}


def batches(s3_url: str, bucket: str, prefix: str) -> Iterator[list[dict[str, Any]]]:
    """List the documents and yield the inputs of each batch, with presigned URLs."""
    import boto3

    s3 = boto3.client(
        "s3",
        endpoint_url=s3_url,
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox-secret",
        region_name="us-east-1",
    )
    inputs: list[dict[str, Any]] = []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for found in page.get("Contents", ()):
            place = {"Bucket": bucket, "Key": found["Key"]}
            url = s3.generate_presigned_url("get_object", Params=place, ExpiresIn=1800)
            inputs.append({"file": {"url": url}, "metadata": {"key": found["Key"]}})
            if len(inputs) == BATCH:
                yield inputs
                inputs = []
    if inputs:
        yield inputs


async def process(
    http: aiohttp.ClientSession, inputs: list[dict[str, Any]], free: asyncio.Semaphore, lines: IO[bytes]
) -> None:
    """Send a batch, wait until its runs are done, and write them as lines."""
    body = {"workflow": {"id": WORKFLOW}, "inputs": inputs}
    async with http.post("/workflow_runs/batch", json=body) as answer:
        batch_id = (await answer.json())["batchId"]
    query = {"batchId": batch_id, "maxPageSize": BATCH}
    while True:
        await asyncio.sleep(POLL_SECONDS)
        async with http.get("/workflow_runs", params=query) as answer:
            runs = (await answer.json())["data"]
        if len(runs) == len(inputs) and all(run["status"] in DONE for run in runs):
            break

    async def write(run_id: str) -> None:
        async with free, http.get(f"/workflow_runs/{run_id}") as answer:
            lines.write(await answer.read() + b"\n")

    await asyncio.gather(*(write(run["id"]) for run in runs))


async def work(asked: argparse.Namespace, lines: IO[bytes]) -> None:
    """Process all batches at a time; the next one is prepared while the others are at work."""
    headers = {"Authorization": f"Bearer {asked.key}", "x-extend-api-version": "2026-02-09"}
    free = asyncio.Semaphore(REQUESTS_AT_A_TIME)
    async with (
        aiohttp.ClientSession(asked.extend, headers=headers, raise_for_status=True) as http,
        asyncio.TaskGroup() as group,
    ):
        # In a thread: of a hundred batches, the first would wait until the last one is signed.
        prepared = batches(asked.s3, asked.bucket, asked.prefix)
        while inputs := await asyncio.to_thread(next, prepared, None):
            group.create_task(process(http, inputs, free, lines))


def load(file: Path, warehouse: str) -> None:
    """Load the lines into DuckDB."""
    import duckdb

    with duckdb.connect(warehouse) as connection:
        connection.execute(
            "CREATE TABLE documents AS"
            " SELECT id AS run_id, metadata ->> 'key' AS key, status,"
            " stepRuns[1] -> '$.result.extractRun.output.value' AS value"
            f" FROM read_json('{file}', format = 'newline_delimited',"
            " columns = {id: 'VARCHAR', metadata: 'JSON', status: 'VARCHAR', stepRuns: 'JSON[]'})"
        )


def arguments() -> argparse.Namespace:
    """Read the command line; the other script has the same."""
    parser = argparse.ArgumentParser()
    for name in ("extend", "key", "s3", "bucket", "prefix", "warehouse"):
        parser.add_argument(f"--{name}", required=True)
    return parser.parse_args()


def main() -> None:
    """Process everything under the prefix."""
    asked = arguments()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "runs.jsonl"
        with file.open("wb") as lines:
            asyncio.run(work(asked, lines))
        load(file, asked.warehouse)


if __name__ == "__main__":
    main()
