"""From addresses in S3 to documents, against a real S3 server."""

from __future__ import annotations

import datetime as dt
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from extend_pipeline.documents import (
    EMPTY_FILE,
    OBJECT_DELETED,
    OBJECT_FORBIDDEN,
    UNSUPPORTED_FILE_TYPE,
    Document,
)
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.planning.discovery import is_wanted, screen
from extend_pipeline.settings import Settings, SourceItem
from extend_pipeline.sources import Found
from fixtures.sources.discovered import discovered, settings
from fixtures.sources.s3 import S3

AWKWARD = [
    "documents/with space.pdf",
    "documents/Übergröße 请求.pdf",
    "documents/50% off.pdf",
    "documents/a+b.pdf",
    "documents/no #1.pdf",
    "documents/what?.pdf",
]


@pytest.fixture
def inbox(s3: S3) -> str:
    return s3.bucket("inbox")


@pytest.fixture(autouse=True)
def connection(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", s3.connection_json())


def found(s3: S3, wanted: Settings) -> list[Document]:
    return discovered(wanted)


def test_every_object_below_a_prefix_is_found_with_its_facts(s3: S3, inbox: str) -> None:
    for key in [*AWKWARD, "other/elsewhere.pdf"]:
        s3.client.put_object(Bucket=inbox, Key=key, Body=b"some text")
    documents = found(s3, settings(f"s3://{inbox}/documents/"))
    assert {document.uri for document in documents} == {f"s3://{inbox}/{key}" for key in AWKWARD}
    assert len({document.id for document in documents}) == len(AWKWARD)
    assert all(document.size_bytes == 9 and document.status is None for document in documents)
    assert all(dt.datetime.fromisoformat(document.last_modified).tzinfo for document in documents)


def test_the_listing_goes_on_after_a_page(s3: S3, inbox: str) -> None:
    keys = [f"ü/{'abc'[number % 3]} {number:04}.txt" for number in range(1001)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.put(inbox, key, b"x"), keys))
    listed = [document.uri for document in found(s3, settings(f"s3://{inbox}/ü/"))]
    assert listed == [f"s3://{inbox}/{key}" for key in sorted(keys)]


def test_an_object_that_cannot_be_sent_has_a_reason_and_a_folder_is_no_document(s3: S3, inbox: str) -> None:
    s3.client.put_object(Bucket=inbox, Key="d/", Body=b"")
    s3.client.put_object(Bucket=inbox, Key="d/empty.pdf", Body=b"")
    s3.client.put_object(Bucket=inbox, Key="d/data.parquet", Body=b"PAR1")
    s3.client.put_object(Bucket=inbox, Key="d/no_extension", Body=b"x")
    s3.client.put_object(Bucket=inbox, Key="d/UPPER.PDF", Body=b"x")
    ended = {
        document.name: (document.status, document.reason)
        for document in found(s3, settings(f"s3://{inbox}/d/"))
    }
    assert ended == {
        "empty.pdf": ("SKIPPED", EMPTY_FILE),
        "data.parquet": ("SKIPPED", UNSUPPORTED_FILE_TYPE),
        "no_extension": ("SKIPPED", UNSUPPORTED_FILE_TYPE),
        "UPPER.PDF": (None, None),
    }


def test_a_document_is_one_content_at_one_address(s3: S3, inbox: str) -> None:
    for key in ("twin/a.pdf", "twin/b.pdf"):
        s3.client.put_object(Bucket=inbox, Key=key, Body=b"same")
    before = {document.uri: document.id for document in found(s3, settings(f"s3://{inbox}/twin/"))}
    assert len(set(before.values())) == 2
    s3.client.put_object(Bucket=inbox, Key="twin/a.pdf", Body=b"other")
    after = {document.uri: document.id for document in found(s3, settings(f"s3://{inbox}/twin/"))}
    assert after[f"s3://{inbox}/twin/a.pdf"] != before[f"s3://{inbox}/twin/a.pdf"]
    assert after[f"s3://{inbox}/twin/b.pdf"] == before[f"s3://{inbox}/twin/b.pdf"]


@pytest.mark.parametrize("prefix", ["", "nothing/here/"], ids=["empty bucket", "absent prefix"])
def test_an_empty_listing_is_no_error(s3: S3, inbox: str, prefix: str) -> None:
    assert found(s3, settings(f"s3://{inbox}/{prefix}")) == []


def test_a_bucket_that_does_not_exist_is_named_together_with_the_connection(s3: S3) -> None:
    with pytest.raises(PipelineInputError, match=r"'no-such-bucket-here' does not exist.*'aws_default'"):
        found(s3, settings("s3://no-such-bucket-here/p/"))


def test_a_bucket_that_may_not_be_read_is_named_together_with_the_connection(s3: S3) -> None:
    with pytest.raises(PipelineInputError, match=r"'forbidden-inbox' may not be listed.*'aws_default'"):
        found(s3, settings(f"s3://{s3.forbidden_bucket}/p/"))


def test_a_named_object_that_may_not_be_read_keeps_its_row(s3: S3) -> None:
    (document,) = found(s3, settings([f"s3://{s3.forbidden_bucket}/a.pdf"]))
    assert (document.status, document.reason) == ("FAILED", OBJECT_FORBIDDEN)


def test_named_objects_are_looked_up_and_an_absent_one_keeps_its_row(s3: S3, inbox: str) -> None:
    s3.client.put_object(Bucket=inbox, Key="one.pdf", Body=b"x")
    s3.client.put_object(Bucket=inbox, Key="one.pdf.bak", Body=b"x")
    one, gone = found(s3, settings([f"s3://{inbox}/one.pdf", f"s3://{inbox}/gone.pdf"]))
    assert (one.uri, one.status) == (f"s3://{inbox}/one.pdf", None)
    assert (gone.status, gone.reason) == ("FAILED", OBJECT_DELETED)
    listed = {document.uri: document for document in found(s3, settings(f"s3://{inbox}/one.pdf"))}
    assert listed[one.uri].id == one.id


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(["p/a.pdf", "p/a.pdf"], id="an object twice"),
        pytest.param(["p/", "p/a.pdf"], id="a prefix and an object below it"),
        pytest.param(["p/a.pdf", "p/"], id="an object and the prefix above it"),
        pytest.param(["p/", "p/"], id="a prefix twice"),
        pytest.param(["", "p/"], id="the bucket and a prefix"),
    ],
)
def test_an_object_that_two_addresses_cover_is_one_document(s3: S3, inbox: str, source: list[str]) -> None:
    s3.put(inbox, "p/a.pdf", b"x")
    assert len(found(s3, settings([f"s3://{inbox}/{key}" for key in source]))) == 1


@pytest.mark.parametrize(
    ("key", "glob", "wanted"),
    [
        ("p/a.pdf", None, True),
        ("p/a.pdf", "*.pdf", True),
        ("p/a.txt", "*.pdf", False),
        ("p/acme/a.pdf", "acme/*", True),
        ("p/acme/deep/a.pdf", "*.pdf", True),
        ("p/folder/", "*", False),
    ],
)
def test_a_glob_is_matched_after_the_prefix(key: str, glob: str | None, wanted: bool) -> None:
    moment = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
    assert (
        is_wanted(key, moment, SourceItem("s3://bbb", "p/", True), settings("s3://bbb/p/", glob=glob))
        is wanted
    )


@pytest.mark.parametrize(
    ("modified", "wanted"),
    [
        ("2026-11-19T23:59:59", False),
        ("2026-11-20T00:00:00", True),
        ("2026-11-20T23:59:59", True),
        ("2026-11-21T00:00:00", False),
    ],
)
def test_adjoining_windows_share_no_object(modified: str, wanted: bool) -> None:
    window = settings("s3://bbb/p/", modified_from="2026-11-20", modified_to="2026-11-21T00:00:00Z")
    moment = dt.datetime.fromisoformat(modified).replace(tzinfo=dt.UTC)
    assert is_wanted("p/a.pdf", moment, SourceItem("s3://bbb", "p/", True), window) is wanted


def test_a_document_is_its_address_and_content_alone() -> None:
    found = Found("a.pdf", "abc", 3, dt.datetime(2026, 11, 21, tzinfo=dt.UTC))
    later = found._replace(modified=dt.datetime(2026, 11, 22, tzinfo=dt.UTC))
    assert screen("s3://b/a.pdf", found).id == screen("s3://b/a.pdf", later).id
    document = screen("s3://b/a.pdf", found)
    assert Document.from_json(document.to_json()) == document
    assert json.loads(document.to_json())["document_id"] == document.id
