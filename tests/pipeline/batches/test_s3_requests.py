"""How many requests of S3 it takes to submit a chunk."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from fixtures.pipeline.chunk_tasks import BATCH, Chunk
from fixtures.sources.discovered import discovered, settings


def _fill(chunk: Chunk, count: int) -> None:
    for document in chunk.documents:
        chunk.s3.client.delete_object(Bucket=chunk.bucket, Key=document.uri.split("/", 3)[3])
    with ThreadPoolExecutor(8) as pool:
        keys = [f"in/{number:05}.pdf" for number in range(count)]
        list(pool.map(lambda key: chunk.s3.put(chunk.bucket, key, key.encode()), keys))


def _requests(chunk: Chunk) -> dict[str, int]:
    """Return the requests since the last call without ``GetObject``: Extend has begun to read by then."""
    return {name: count for name, count in chunk.s3.requests().items() if name != "GetObject"}


@pytest.mark.parametrize(
    ("count", "versioned", "listing"),
    [
        pytest.param(100, False, "ListObjectsV2", id="a hundred"),
        pytest.param(1000, False, "ListObjectsV2", id="without versions", marks=pytest.mark.full),
        pytest.param(1000, True, "ListObjectVersions", id="with versions", marks=pytest.mark.full),
    ],
)
def test_a_thousand_listed_documents_are_submitted_with_four_requests(
    chunk: Chunk, count: int, versioned: bool, listing: str
) -> None:
    if versioned:
        status = {"Status": "Enabled"}
        chunk.s3.client.put_bucket_versioning(Bucket=chunk.bucket, VersioningConfiguration=status)
    _fill(chunk, count + 10)
    chunk.documents = discovered(settings(f"s3://{chunk.bucket}/in/"))[5:-5]
    chunk.s3.requests()
    assert chunk.submit() is not None
    # The head tells whether the bucket keeps versions. One more reads a byte, see the tests of probing.
    assert _requests(chunk) == {listing: 1, "HeadObject": 1, "HeadBucket": 1}
    assert chunk.api.requests_to(BATCH) == 1
    assert chunk.ends() == [(None, None)] * count


def test_documents_that_were_named_are_looked_up_one_by_one(chunk: Chunk) -> None:
    named = [document.uri for document in chunk.documents]
    chunk.s3.requests()
    assert chunk.submit(source=named) is not None
    assert _requests(chunk) == {"HeadObject": len(named), "HeadBucket": 1}
