"""A store lists what cannot be, or refuses one object: only that document is affected."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from botocore.stub import Stubber

from extend_pipeline.documents import (
    OBJECT_DELETED,
    OBJECT_UNIDENTIFIED,
    OBJECT_UNREADABLE,
    SIZE_UNKNOWN,
    SYSTEM_FILE,
)
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.planning.discovery import documents_on
from extend_pipeline.sources import Found, Located, Unusable
from extend_pipeline.sources.object_storage import PathStore
from extend_pipeline.sources.objects import plausible_size, plausible_time
from extend_pipeline.sources.s3.store import S3Store
from fixtures.sources.azure import refusing_azure
from fixtures.sources.discovered import discovered, settings
from fixtures.sources.outcomes import FAILED, GOOD, SKIPPED, ends
from fixtures.sources.s3 import S3


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0, "1970-01-01T00:00:00+00:00"),
        (-1.5, "1969-12-31T23:59:58.500000+00:00"),
        ("2026-11-21T02:03:04+02:00", "2026-11-21T00:03:04+00:00"),
        (dt.datetime.fromisoformat("2026-11-21"), "2026-11-21T00:00:00+00:00"),
        *((value, None) for value in (None, "", "-1", "yesterday", 1e20, -1e20, float("nan"), b"2026")),
        *((f"{year}-01-01T00:00:00Z", None) for year in ("0001", "9999", "10000")),
        (dt.datetime(2, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))), "0001-12-31T23:00:00+00:00"),
        (dt.datetime.max.replace(tzinfo=dt.timezone(dt.timedelta(hours=-1))), None),
    ],
)
def test_an_impossible_time_is_none(value: object, told: str | None) -> None:
    moment = plausible_time(value)
    assert (moment and moment.isoformat()) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (7, 7),
        ("7", 7),
        (2**63 - 1, 2**63 - 1),
        *((value, None) for value in (None, "", "-7", -7, 2**63, "9" * 5000, "seven", "7, 7", "\u0667", 7.5)),
    ],
)
def test_an_impossible_size_is_none(value: object, told: int | None) -> None:
    assert plausible_size(value) == told


@pytest.mark.parametrize(
    ("found", "end"),
    [
        (Found("a.pdf", "tag", 4, None), GOOD),
        (Found("a.pdf", "tag", None, None), (FAILED, SIZE_UNKNOWN)),
        (Found("a.pdf", "", 4, None), (FAILED, OBJECT_UNIDENTIFIED)),
        (Unusable("a.pdf", "REASON", "Why."), (FAILED, "REASON")),
        (Unusable("._a.pdf", "REASON", "Why."), (SKIPPED, SYSTEM_FILE)),
    ],
)
def test_an_unusable_listing_entry_stops_no_other(found: Found | Unusable, end: Any) -> None:
    wanted = settings("s3://bbb/", modified_from="2026-11-20", modified_to="2026-11-21")
    good = Found("b.pdf", "tag", 4, dt.datetime(2026, 11, 20, tzinfo=dt.UTC))
    documents = list(documents_on([[found, found], [found, good]], 0, wanted))
    assert ends(documents, "s3://bbb/") == {found.key: end, "b.pdf": GOOD}
    assert len(documents) == 2  # of what is listed twice, one


@pytest.mark.parametrize(
    ("told", "end"),
    [
        ({"LastModified": dt.datetime.min.replace(tzinfo=dt.UTC)}, GOOD),
        ({"LastModified": None}, GOOD),
        *(({"ETag": told}, (FAILED, OBJECT_UNIDENTIFIED)) for told in ('""', None)),
        *(({"Size": told}, (FAILED, SIZE_UNKNOWN)) for told in (-4, None)),
    ],
)
def test_an_impossible_value_in_a_listing_of_s3_ends_only_its_document(
    told: dict[str, Any], end: Any, s3: S3
) -> None:
    moment = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
    good = {"Key": "good.pdf", "Size": 4, "ETag": '"e"', "LastModified": moment}
    with Stubber(s3.client) as stub:
        bad = {name: value for name, value in {**good, "Key": "bad.pdf", **told}.items() if value is not None}
        stub.add_response("list_objects_v2", {"Contents": [bad, good]})
        pages = S3Store(s3.client, "aws_default").pages(Located("s3://acme-inbox", ""))
        documents = list(documents_on(pages, 0, settings("s3://acme-inbox/")))
    assert ends(documents, "s3://acme-inbox/") == {"bad.pdf": end, "good.pdf": GOOD}


@pytest.mark.parametrize(
    ("told", "end"),
    [
        ({"size": 4, "ETag": "e", "LastModified": "0001-01-01T00:00:00Z"}, GOOD),
        ({"size": "4", "updated": "2026-11-21T02:03:04Z"}, GOOD),
        ({"size": 4, "LastModified": "yesterday"}, (FAILED, OBJECT_UNIDENTIFIED)),
        ({"size": 4, "ETag": '""'}, (FAILED, OBJECT_UNIDENTIFIED)),
        ({"size": -4, "ETag": "e"}, (FAILED, SIZE_UNKNOWN)),
        ({"ETag": "e"}, (FAILED, SIZE_UNKNOWN)),
        ({"size": 2**70, "ETag": "e"}, (FAILED, SIZE_UNKNOWN)),
    ],
)
def test_an_impossible_value_in_a_listing_of_a_bucket_ends_only_its_document(
    told: dict[str, Any], end: Any, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_INBOX", s3.connection_json())
    store = PathStore.connect("s3://acme-inbox", "inbox")
    good = {"name": "acme-inbox/good.pdf", "type": "file", "size": 4, "ETag": "e"}
    bad = {"name": "acme-inbox/bad.pdf", "type": "file", **told}
    monkeypatch.setattr(store.fs, "ls", lambda path, **options: [good, bad, bad])
    documents = list(
        documents_on(store.pages(Located("s3://acme-inbox", "")), 0, settings("s3://acme-inbox/"))
    )
    assert ends(documents, "s3://acme-inbox/") == {"bad.pdf": end, "good.pdf": GOOD}
    assert len(documents) == 2


def test_a_folder_of_a_bucket_that_may_not_be_listed_has_a_row(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_INBOX", s3.connection_json())
    root = f"s3://{s3.bucket()}"
    for key in ("a.pdf", "closed/b.pdf", "open/c.pdf"):
        s3.put("acme-inbox", f"in/{key}", b"text")
    store = PathStore.connect(root, "inbox")
    listing, refused = store.fs.ls, {"/in/closed"}

    def ls(path: str, **options: Any) -> Any:
        if path.endswith(tuple(refused)):
            raise PermissionError
        return listing(path, **options)

    monkeypatch.setattr(store.fs, "ls", ls)
    seen = [each for page in store.pages(Located(root, "in/")) for each in page]
    assert [each.key for each in seen] == ["in/a.pdf", "in/closed/", "in/open/c.pdf"]
    assert [isinstance(each, Unusable) for each in seen] == [False, True, False]
    pages = store.pages(Located(root, "in/"))
    next(pages)
    refused.add("/in")  # it is the credentials that have ended
    with pytest.raises(PipelineInputError, match="may not be listed"):
        list(pages)


def test_a_refusal_of_one_object_ends_only_its_document(monkeypatch: pytest.MonkeyPatch) -> None:
    named = [f"abfs://acme-inbox/{name}.pdf" for name in ("archived", "gone")]
    with refusing_azure() as connection:
        monkeypatch.setenv("AIRFLOW_CONN_INBOX", connection)
        documents = discovered(settings(named, source_conn_id="inbox"))
    assert [document.reason for document in documents] == [OBJECT_UNREADABLE, OBJECT_DELETED]
