"""Objects of a listing are looked at again by listing them; what that does not tell, their heads do."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_pipeline.batches.sending.inputs import check_objects
from extend_pipeline.batches.sending.probing import probed
from extend_pipeline.documents import OBJECT_DELETED, OBJECT_REPLACED, Document
from extend_pipeline.exceptions import PipelineSourceError
from extend_pipeline.sources import Absent, Found, Located, Stores
from extend_pipeline.sources.objects import LOOK_UPS, ListedPage, just_before, relist
from extend_pipeline.sources.s3.store import S3Store
from fixtures.sources.discovered import discovered, settings
from fixtures.sources.s3 import S3

READS = {"HeadBucket", "HeadObject", "GetObject", "ListObjectsV2", "ListObjectVersions"}


def fill(s3: S3, count: int, *, versioned: bool = False) -> list[Document]:
    bucket = s3.bucket("inbox")
    if versioned:
        s3.client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: s3.put(bucket, f"in/{number:04}.pdf", b"content"), range(count)))
    return discovered(settings("s3://inbox/in/"))


@pytest.fixture(autouse=True)
def connection(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", s3.connection_json())


def sent_after(s3: S3, documents: list[Document], **others: Any) -> tuple[dict[str, str | None], int]:
    """Look at documents again, sign their URLs; return their reasons by name, and the requests it took."""
    stores = settings("s3://inbox/in/", **others).stores()
    s3.requests()
    checked = probed(stores, check_objects(stores, documents), "aws_default")
    assert [item.document.uri for item in checked] == [document.uri for document in documents]
    for item in checked:
        stores.of("s3://inbox").signed_url(place_of(item.document), item.version_id, 300)
    counts = s3.requests()
    assert counts.keys() <= READS
    return {item.document.name: item.document.reason for item in checked}, sum(counts.values())


def place_of(document: Document) -> Located:
    return Located.of(document.uri)


@pytest.mark.parametrize(
    "deny",
    [
        pytest.param([], id="with their versions"),
        pytest.param(["s3:ListBucketVersions"], id="without their versions"),
    ],
)
def test_many_listed_documents_take_five_requests(s3: S3, deny: list[str]) -> None:
    documents = fill(s3, count := 200)
    s3.rule("inbox", deny=deny)
    reasons, requests = sent_after(s3, documents)
    assert set(reasons.values()) == {None}
    assert len(reasons) == count
    assert requests <= 5


@pytest.mark.parametrize("versioned", [False, True])
def test_a_listing_tells_what_was_deleted_or_replaced(s3: S3, versioned: bool) -> None:
    documents = fill(s3, 20)
    if versioned:
        s3.client.put_bucket_versioning(Bucket="inbox", VersioningConfiguration={"Status": "Enabled"})
    s3.client.delete_object(Bucket="inbox", Key="in/0000.pdf")
    s3.client.delete_object(Bucket="inbox", Key="in/0019.pdf")
    s3.put("inbox", "in/0007.pdf", b"another")
    reasons, requests = sent_after(s3, documents)
    assert {name: reason for name, reason in reasons.items() if reason} == {
        "0000.pdf": OBJECT_DELETED,
        "0007.pdf": OBJECT_REPLACED,
        "0019.pdf": OBJECT_DELETED,
    }
    # One head, the region, the listing, one byte: no head of the others that are gone.
    assert requests <= 4


@pytest.mark.parametrize(
    ("deny", "operations"),
    [
        pytest.param([], {"HeadObject": 1, "ListObjectVersions": 1}, id="by the listing"),
        pytest.param(["s3:ListBucketVersions"], {"HeadObject": 21, "ListObjectVersions": 1}, id="by heads"),
    ],
)
def test_of_a_bucket_with_versions_each_url_has_its_version(
    s3: S3, deny: list[str], operations: dict[str, int]
) -> None:
    bucket = s3.bucket("inbox")
    s3.put(bucket, "in/0000.pdf", b"before versions were kept")
    s3.client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    versions = {
        key: s3.client.put_object(Bucket=bucket, Key=key, Body=b"content")["VersionId"]
        for key in (f"in/{number:04}.pdf" for number in range(1, 20))
    }
    before, *after = discovered(settings("s3://inbox/in/"))
    # Times are in whole seconds; the first object is older by more than that.
    documents = [dataclasses.replace(before, last_modified="2020-01-01T00:00:00+00:00"), *after]
    s3.rule(bucket, deny=deny)
    stores = settings("s3://inbox/in/").stores()
    s3.requests()
    checked = check_objects(stores, documents)
    assert {place_of(item.document).key: item.version_id for item in checked} == {
        "in/0000.pdf": None,
        **versions,
    }
    assert s3.requests() == operations


def test_versions_are_not_listed_where_a_bucket_keeps_none(s3: S3) -> None:
    documents = fill(s3, 20)
    stores = settings("s3://inbox/in/").stores()
    s3.requests()
    for _ in range(2):
        assert len(check_objects(stores, documents)) == 20
    assert s3.requests() == {"HeadObject": 1, "ListObjectsV2": 2}


@pytest.mark.parametrize("deny", [[], ["s3:ListBucketVersions"]])
@pytest.mark.parametrize("versioned", [False, True])
def test_a_newest_object_that_is_gone_tells_nothing_of_the_others(
    s3: S3, versioned: bool, deny: list[str]
) -> None:
    documents = fill(s3, 20, versioned=versioned)
    documents[3] = dataclasses.replace(documents[3], last_modified="2099-01-01T00:00:00+00:00")
    s3.client.delete_object(Bucket="inbox", Key="in/0003.pdf")
    s3.put("inbox", "in/0007.pdf", b"another")
    s3.rule("inbox", deny=deny)
    checked = check_objects(settings("s3://inbox/in/").stores(), documents)
    assert {item.document.name: item.document.reason for item in checked if item.document.reason} == {
        "0003.pdf": OBJECT_DELETED,
        "0007.pdf": OBJECT_REPLACED,
    }
    assert {item.version_id is not None for item in checked if not item.document.reason} == {versioned}


def test_while_s3_is_too_busy_for_one_head_nothing_else_is_requested(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = fill(s3, 20)
    once = {"retries": {"mode": "standard", "total_max_attempts": 1}}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", s3.connection_json(config_kwargs=once))
    stores = settings("s3://inbox/in/").stores()
    s3.rule("inbox", slow_down=1000)
    s3.requests()
    with pytest.raises(PipelineSourceError, match="The next attempt of this task asks again") as caught:
        check_objects(stores, documents)
    assert caught.value.retryable
    assert s3.requests().keys() == {"HeadObject"}


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param({"ignores_start_after": True}, id="lists from the beginning"),
        pytest.param({"deny": ["s3:ListBucket", "s3:ListBucketVersions"]}, id="may not list any more"),
    ],
)
def test_objects_that_a_listing_does_not_tell_of_are_looked_up(s3: S3, rule: dict[str, Any]) -> None:
    documents = fill(s3, 40)[20:]
    s3.put("inbox", "in/0030.pdf", b"another")
    s3.rule("inbox", **rule)
    reasons, _ = sent_after(s3, documents)
    assert {name: reason for name, reason in reasons.items() if reason} == {"0030.pdf": OBJECT_REPLACED}


def test_few_objects_are_looked_up_one_by_one(s3: S3) -> None:
    documents = fill(s3, 40)
    s3.requests()
    assert len(check_objects(settings("s3://inbox/in/").stores(), documents[:5])) == 5
    assert s3.requests() == {"HeadObject": 5}


@pytest.mark.parametrize("versioned", [False, True])
@pytest.mark.parametrize(
    "source",
    [
        pytest.param([f"s3://inbox/in/{number:04}.pdf" for number in range(60)], id="named"),
        pytest.param((), id="failed before"),
    ],
)
def test_named_objects_are_checked_by_a_listing_of_their_folder(s3: S3, source: Any, versioned: bool) -> None:
    documents = fill(s3, 60, versioned=versioned)
    s3.put("inbox", "in/0007.pdf", b"another")
    s3.client.delete_object(Bucket="inbox", Key="in/0059.pdf")
    stores = Stores(settings(source).source if source else (), aws_conn_id="aws_default")
    s3.requests()
    checked = check_objects(stores, documents[1:])
    # The newest one tells whether versions are kept; the one that is gone is looked up by itself.
    assert s3.requests() == {"HeadObject": 2, "ListObjectVersions" if versioned else "ListObjectsV2": 1}
    assert [item.document.uri for item in checked] == [document.uri for document in documents[1:]]
    assert {item.document.name: item.document.reason for item in checked if item.document.reason} == {
        "0007.pdf": OBJECT_REPLACED,
        "0059.pdf": OBJECT_DELETED,
    }
    assert {item.version_id is not None for item in checked if not item.document.reason} == {versioned}


@pytest.mark.parametrize("versioned", [False, True])
def test_named_objects_are_discovered_by_a_listing_of_their_folder(s3: S3, versioned: bool) -> None:
    by_prefix = fill(s3, 60, versioned=versioned)
    s3.client.delete_object(Bucket="inbox", Key="in/0013.pdf")
    named = [f"s3://inbox/in/{number:04}.pdf" for number in reversed(range(60))]
    s3.requests()
    documents = discovered(settings(named))
    assert s3.requests() == {"ListObjectsV2": 1, "HeadObject": 1}  # of the one that is gone
    assert [document.uri for document in documents] == named
    gone = documents.pop(-14)
    assert (gone.name, gone.status, gone.reason) == ("0013.pdf", "FAILED", OBJECT_DELETED)
    assert documents == [each for each in reversed(by_prefix) if each.name != "0013.pdf"]


def test_whatever_a_key_looks_like_a_listing_tells_the_same_as_its_head(s3: S3) -> None:
    s3.bucket("inbox")
    odd = [
        "a b",
        "a+b",
        "a%20b",
        "ä",
        "a\u0308",
        "日本",
        "🎉",
        "\uffee",
        "&amp;",
        "<x>",
        "'",
        '"',
        "a//b",
        "~",
        "!",
        "=",
    ]
    keys = [f"in/{name}-{number}.pdf" for name in odd for number in range(2)]
    for number, key in enumerate(keys):
        s3.put("inbox", key, f"content {number}".encode())
    named = [f"s3://inbox/{key}" for key in keys]
    s3.requests()
    documents = discovered(settings(named))
    assert s3.requests() == {"ListObjectsV2": 1}
    assert [document.uri for document in documents] == named
    assert documents == [document for uri in named for document in discovered(settings([uri]))]


@pytest.mark.parametrize("count", [1, 2])
def test_objects_of_several_buckets_and_folders_are_told_apart(s3: S3, count: int) -> None:
    for number in range(count):
        s3.bucket(f"inbox-{number}")
        for folder in ("a", "b"):
            for name in range(20):
                s3.put(f"inbox-{number}", f"{folder}/{name:02}.pdf", f"{number} {folder}".encode())
    named = [
        f"s3://inbox-{number}/{folder}/{name:02}.pdf"
        for name in range(20)
        for folder in ("b", "a")
        for number in range(count)
    ]
    s3.requests()
    documents = discovered(settings(named))
    assert s3.requests() == {"ListObjectsV2": count}
    assert [document.uri for document in documents] == named
    assert len({document.etag for document in documents}) == 2 * count


@pytest.mark.parametrize("deny", [["s3:ListBucket"], ["s3:ListBucket", "s3:ListBucketVersions"]])
def test_named_objects_need_no_right_to_list(s3: S3, deny: list[str]) -> None:
    documents = fill(s3, 40)
    s3.rule("inbox", deny=deny)
    wanted = settings([document.uri for document in documents])
    s3.requests()
    assert discovered(wanted) == documents
    assert s3.requests() == {"HeadObject": 40, "ListObjectsV2": 1}
    assert {item.document.status for item in check_objects(wanted.stores(), documents)} == {None}


class Pages:
    """A store with every number as a key, a hundred on a page, and how many pages were asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def page_from(self, prefix: Located, key: str, newest: str | None) -> ListedPage:
        self.asked += 1
        first = int(key)
        found = {f"{n:09}": Found(f"{n:09}", "tag", 1, None) for n in range(first, first + 100)}
        return ListedPage(found, max(found))


@pytest.mark.parametrize(
    ("numbers", "looked_up", "pages"),
    [
        pytest.param(range(1000), 0, 10, id="close together"),
        pytest.param([*range(0, 8000, 1000), *range(9000, 9992)], 0, 18, id="a few that came late"),
        pytest.param(range(0, 1_000_000, 1000), 990, 10, id="scattered"),
        pytest.param(range(0, 20_000, 1000), 19, 1, id="a few, scattered"),
    ],
)
def test_scattered_objects_are_looked_up_after_a_few_pages(
    numbers: Sequence[int], looked_up: int, pages: int
) -> None:
    store, keys = Pages(), [f"{number:09}" for number in numbers]
    seen = relist(store, Located("s3://inbox", ""), keys, keys[-1])
    assert len(keys) - len(seen) == looked_up
    assert store.asked == pages
    assert list(seen) == keys[: len(seen)]


def test_a_listing_that_does_not_get_ahead_ends() -> None:
    class Stuck(Pages):
        def page_from(self, prefix: Located, key: str, newest: str | None) -> ListedPage:
            self.asked += 1
            return ListedPage({}, "0")

    store = Stuck()
    keys = [f"1{number:04}" for number in range(1000)]
    assert relist(store, Located("s3://inbox", ""), keys, keys[-1]) == {}
    assert store.asked == 1


class Late:
    """A store whose listings show nothing yet."""

    def __init__(self) -> None:
        self.listed: list[str] = []

    def page_from(self, prefix: Located, key: str, newest: str | None) -> ListedPage:
        self.listed.append(f"{prefix.uri} from {key}")
        return ListedPage({}, None)

    def look_up(self, place: Located) -> Found:
        return Found(place.key, "tag", 1, None)


def test_the_prefix_of_the_source_is_listed_or_the_folder_of_what_was_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Late()
    monkeypatch.setattr(Stores, "of", lambda _, root: store)
    stores = settings(["s3://inbox/out/", "s3://inbox/in/a/0.pdf"]).stores()
    keys = [f"{folder}/{number}.pdf" for folder in ("in/b", "in/a", "out/x") for number in range(20)]
    seen = stores.look_up([Located("s3://inbox", key) for key in keys])
    assert sorted(store.listed) == ["s3://inbox/in/ from in/a/0.pdf", "s3://inbox/out/ from out/x/0.pdf"]
    # A listing has shown those of the source before; what has just arrived may be listed late.
    assert seen == [*(store.look_up(Located("s3://inbox", key)) for key in keys[:40]), *[Absent()] * 20]


def test_as_many_connections_are_kept_open_as_objects_are_looked_up_at_a_time() -> None:
    store = settings("s3://inbox/in/").stores().of("s3://inbox")
    assert isinstance(store, S3Store)
    assert getattr(store.client.meta.config, "max_pool_connections", None) == LOOK_UPS


def test_a_directory_bucket_is_not_listed_again_because_it_lists_in_no_order() -> None:
    bucket = Located("s3://inbox--use1-az4--x-s3", "in/")
    assert S3Store(None, "aws_default").page_from(bucket, "in/a.pdf", "in/a.pdf") is None  # type: ignore[arg-type]


@given(st.text(min_size=1, max_size=6), st.text(max_size=6))
def test_a_listing_begins_with_the_key_itself(key: str, other: str) -> None:
    before = just_before(key)
    before.encode()
    assert before < key
    assert not before < other < key or other.startswith(before) or "\U0010ffff" in other
