"""The listing of a run: whole, in order, and not repeated by a retry as far as an attempt has come."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.planning.listing import read_listing, write_listing
from extend_pipeline.settings import Settings
from fixtures.sources.s3_listing import BUCKET, S3Listing, running

KEYS, FOLDER = 7_000, 700
PAGES = KEYS // 1000
SOURCE = f"s3://{BUCKET}/documents/"
DAYS = [f"{SOURCE}2020-01-{day:02}/" for day in range(1, KEYS // FOLDER + 1)]


@pytest.fixture(scope="module")
def server() -> Iterator[S3Listing]:
    with running(KEYS, FOLDER) as listing:
        yield listing


@pytest.fixture
def listing(server: S3Listing, monkeypatch: pytest.MonkeyPatch) -> S3Listing:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", server.connection_json())
    server.control()
    return server


def write(folder: Path, source: Any = SOURCE, **others: Any) -> list[str]:
    """Discover into the folder and return the keys that were found."""
    home = ObjectStoragePath(f"file://{folder}")
    settings = Settings.from_rendered(
        {"source": source, "workflow_id": "w", "workspace": "file:///tmp/x", **others}
    )
    count = write_listing(home, settings)
    found = [document.uri.removeprefix(f"s3://{BUCKET}/") for document in read_listing(home)]
    assert count == len(found)
    return found


def test_a_listing_has_every_key_once_in_order_and_costs_its_pages_alone(
    listing: S3Listing, tmp_path: Path
) -> None:
    found = write(tmp_path)
    assert listing.control() == PAGES
    assert found == sorted(set(found))
    assert len(found) == KEYS


def test_glob_and_overlap_hold_on_every_page(listing: S3Listing, tmp_path: Path) -> None:
    assert len(write(tmp_path / "glob", glob="*/invoice 0000001.pdf")) == -(-KEYS // FOLDER)
    found = write(tmp_path / "overlap", [f"{SOURCE}2020-01-02/", SOURCE])
    assert len(found) == len(set(found)) == KEYS


def test_a_retry_lists_only_what_is_missing(listing: S3Listing, tmp_path: Path) -> None:
    listing.control(refuse_after=4)
    with pytest.raises(PipelineInputError, match="may not be listed"):
        write(tmp_path, DAYS)
    listing.control()
    assert len(write(tmp_path, DAYS)) == KEYS
    assert listing.control() == len(DAYS) - 4
    assert len(write(tmp_path, DAYS)) == KEYS
    assert listing.control() == 0


def test_the_first_pages_that_an_earlier_release_has_listed_are_not_taken_for_the_whole(
    listing: S3Listing, tmp_path: Path
) -> None:
    """It divided long listings, and marked the first pages as done together with what was left to list."""
    whole = write(tmp_path / "whole")
    folder = tmp_path / "begun" / "candidates"
    folder.mkdir(parents=True)
    (folder / "00000-00000.jsonl").touch()
    mark = {"documents": 0, "ranges": [["documents/2020-01-05/x", None]], "unreachable": 0}
    (folder / "00000-00000.done.json").write_text(json.dumps(mark))
    assert write(tmp_path / "begun") == whole


def test_a_whole_listing_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    """It had several files for one address."""
    folder = tmp_path / "candidates"
    folder.mkdir()
    names = ["00000-00000", "00000-00001"]
    for name in names:
        line = {"uri": f"s3://inbox/{name}.pdf", "etag": "e", "size_bytes": 1, "last_modified": ""}
        (folder / f"{name}.jsonl").write_text(json.dumps(line) + "\n")
    (folder / "parts.json").write_text(json.dumps(names))
    found = read_listing(ObjectStoragePath(f"file://{tmp_path}"))
    assert [document.name for document in found] == [f"{name}.pdf" for name in names]
