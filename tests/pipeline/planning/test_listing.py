"""A long listing: divided into ranges, each listed once, taken up by a retry where an attempt has died."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.planning import listing as listing_module
from extend_pipeline.planning.listing import read_candidates, write_candidates
from extend_pipeline.settings import Settings
from extend_pipeline.sources import KeyRange, Located, Stores
from extend_pipeline.sources.s3.store import S3Store
from fixtures.s3 import S3
from fixtures.s3_listing import BUCKET, S3Listing, running

KEYS, FOLDER = 20_000, 700
PAGES = KEYS // 1000
SOURCE = f"s3://{BUCKET}/documents/"


@pytest.fixture(scope="module")
def server() -> Iterator[S3Listing]:
    with running(KEYS, FOLDER) as listing:
        yield listing


@pytest.fixture
def listing(server: S3Listing, monkeypatch: pytest.MonkeyPatch) -> S3Listing:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", server.connection_json())
    monkeypatch.setattr(listing_module, "OPENING_PAGES", 4)
    server.control()
    return server


def write(folder: Path, source: Any = SOURCE, **others: Any) -> list[str]:
    """Discover into the folder and return the keys that were found."""
    home = ObjectStoragePath(f"file://{folder}")
    settings = Settings.from_rendered(
        {"source": source, "workflow_id": "w", "workspace": "file:///tmp/x", **others}
    )
    count = write_candidates(home, Stores(settings), settings)
    found = [document.uri.removeprefix(f"s3://{BUCKET}/") for document in read_candidates(home)]
    assert count == len(found)
    return found


def test_a_divided_listing_is_the_whole_listing_in_its_order(listing: S3Listing, tmp_path: Path) -> None:
    at_once = write(tmp_path / "once", parallel_listings=1)
    assert listing.control() == PAGES
    assert len(at_once) == len(set(at_once)) == KEYS
    assert write(tmp_path / "divided", parallel_listings=4) == at_once
    assert len(list((tmp_path / "divided" / "candidates").glob("*.jsonl"))) > 4


def test_a_short_listing_costs_its_pages_alone(listing: S3Listing, tmp_path: Path) -> None:
    assert len(write(tmp_path, f"{SOURCE}2020-01-01/")) == FOLDER
    assert listing.control() == 1


def test_glob_and_overlap_hold_in_every_range(listing: S3Listing, tmp_path: Path) -> None:
    assert len(write(tmp_path / "glob", glob="*/invoice 0000001.pdf")) == -(-KEYS // FOLDER)
    found = write(tmp_path / "overlap", [f"{SOURCE}2020-01-02/", SOURCE])
    assert len(found) == len(set(found)) == KEYS


def test_a_retry_lists_only_what_is_missing(listing: S3Listing, tmp_path: Path) -> None:
    whole = write(tmp_path / "whole")
    requests = listing.control()
    listing.control(refuse_after=requests - 5)
    with pytest.raises(PipelineInputError, match="may not be listed"):
        write(tmp_path / "retried")
    listing.control()
    finished = len(list((tmp_path / "retried" / "candidates").glob("*.done.json")))
    assert finished > 1
    assert write(tmp_path / "retried") == whole
    assert listing.control() < requests - finished
    assert write(tmp_path / "retried") == whole
    assert listing.control() == 0


def test_a_store_that_lists_in_no_order_is_not_divided(listing: S3Listing) -> None:
    store = S3Store(listing.client, "aws_default")
    assert not store.can_split(Located("s3://inbox--use1-az4--x-s3", ""))
    keys, place = KeyRange(after="documents/2020-01-05"), Located(f"s3://{BUCKET}", "documents/")
    client = _Beginning(listing.client)
    with pytest.raises(PipelineInputError, match="parallel_listings=1"):
        list(S3Store(client, "aws_default").pages(place, keys))  # type: ignore[arg-type]


class _Beginning:
    """A client whose listing begins anywhere but where it was asked to."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def get_paginator(self, name: str) -> Any:
        paginator = self._client.get_paginator(name)

        class Paginator:
            def paginate(self, *, StartAfter: str, **asked: Any) -> Any:  # noqa: N803
                return paginator.paginate(**asked)

        return Paginator()


def test_the_same_holds_for_a_complete_s3(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", s3.connection_json())
    monkeypatch.setattr(listing_module, "OPENING_PAGES", 1)
    bucket = s3.bucket("inbox")
    keys = [f"ü/{'abc'[n % 3]} {n:04}.txt" for n in range(1030)]
    for key in keys:
        s3.put(bucket, key, b"x")
    found = write(tmp_path, f"s3://{bucket}/ü/")
    assert found == [f"s3://{bucket}/{key}" for key in sorted(keys)]
