"""What one page of a listing proves: an object that it omits is gone only where the page covers its key."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from botocore.stub import Stubber

from extend_pipeline.sources import Located
from extend_pipeline.sources.objects import ListedPage
from extend_pipeline.sources.s3.listing import objects_page, versions_page
from fixtures.sources.s3 import S3

PREFIX = Located("s3://inbox", "in/")
WRITTEN = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)


def entry(key: str, **others: Any) -> dict[str, Any]:
    return {"Key": key, "ETag": '"e"', "Size": 4, "LastModified": WRITTEN, **others}


def version(key: str, *, latest: bool = True) -> dict[str, Any]:
    return entry(key, VersionId="v1", IsLatest=latest)


def marker(key: str, *, latest: bool = True) -> dict[str, Any]:
    return {"Key": key, "VersionId": "v2", "IsLatest": latest, "LastModified": WRITTEN}


def covered(page: ListedPage | None) -> tuple[list[str], str | None] | None:
    return None if page is None else (list(page.found), page.through)


@pytest.mark.parametrize(
    ("answer", "page"),
    [
        pytest.param({"Versions": [version("in/b")], "IsTruncated": False}, (["in/b"], None), id="the last"),
        pytest.param(
            {"Versions": [version("in/b")], "IsTruncated": True, "NextKeyMarker": "in/c"},
            (["in/b"], "in/b"),
            id="the marker names the first key that is not shown",
        ),
        pytest.param(
            {"Versions": [version("in/b")], "DeleteMarkers": [marker("in/c")], "IsTruncated": True},
            (["in/b"], "in/c"),
            id="the last one was deleted",
        ),
        pytest.param(
            {"Versions": [version("in/b"), version("in/c", latest=False)], "IsTruncated": True},
            (["in/b"], "in/b"),
            id="the current version of the last key follows",
        ),
        pytest.param(
            {
                "Versions": [version("in/b")],
                "DeleteMarkers": [marker("in/c", latest=False)],
                "IsTruncated": True,
            },
            (["in/b"], "in/b"),
            id="the last one was deleted and written again, which follows",
        ),
        pytest.param({"Versions": [version("in/b", latest=False)], "IsTruncated": True}, None, id="only old"),
        pytest.param({"IsTruncated": True}, None, id="empty, more follows"),
        pytest.param({"Versions": [version("in/c"), version("in/b")]}, None, id="not in order"),
        pytest.param({"Versions": [version("in/a")]}, None, id="from the beginning"),
        pytest.param({"DeleteMarkers": [marker("in/a")]}, None, id="markers from the beginning"),
    ],
)
def test_a_page_of_versions_covers_the_keys_whose_current_state_it_shows(
    s3: S3, answer: dict[str, Any], page: Any
) -> None:
    with Stubber(s3.client) as stub:
        stub.add_response("list_object_versions", answer)
        assert covered(versions_page(s3.client, PREFIX, "in/a")) == page


@pytest.mark.parametrize(
    ("answer", "page"),
    [
        pytest.param({"Contents": [entry("in/b")], "IsTruncated": False}, (["in/b"], None), id="the last"),
        pytest.param({"Contents": [entry("in/b")], "IsTruncated": True}, (["in/b"], "in/b"), id="truncated"),
        pytest.param({"IsTruncated": False}, ([], None), id="nothing is left"),
        pytest.param({"IsTruncated": True}, None, id="empty, more follows"),
        pytest.param({"Contents": [entry("in/c"), entry("in/b")]}, None, id="not in order"),
    ],
)
def test_a_page_of_objects_covers_the_keys_that_it_shows(s3: S3, answer: dict[str, Any], page: Any) -> None:
    with Stubber(s3.client) as stub:
        stub.add_response("list_objects_v2", answer)
        assert covered(objects_page(s3.client, PREFIX, "in/a")) == page
