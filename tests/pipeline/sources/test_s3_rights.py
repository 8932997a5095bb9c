"""What S3 refuses, by the real sandbox process: one object's refusal is its own, a folder's stops the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from extend_pipeline.batches.sending.inputs import check_objects
from extend_pipeline.batches.sending.probing import check_rights, probed
from extend_pipeline.documents import OBJECT_ARCHIVED, OBJECT_FORBIDDEN, Document
from extend_pipeline.exceptions import PipelineInputError, PipelineSourceError
from extend_pipeline.planning.discovery import screen
from extend_pipeline.sources import Found, Located, Stores, Unusable
from extend_pipeline.sources.s3.store import S3Store
from fixtures.sources.discovered import discovered, settings
from fixtures.sources.s3 import S3
from sandbox.s3 import client

KMS = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key-1"}
AWAY = "eu-central-1"


@pytest.fixture
def connect(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Stores]:
    """Return the stores of a bucket's source, with extras of the connection."""

    def stores(bucket: str = "inbox", **extra: Any) -> Stores:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", s3.connection_json(**extra))
        return settings(f"s3://{bucket}/in/").stores()

    return stores


@pytest.fixture
def inbox(s3: S3) -> str:
    return s3.bucket("inbox")


def put(s3: S3, key: str, bucket: str = "inbox", region: str = "us-east-1", **how: Any) -> Document:
    near = client(s3.endpoint_url, region)
    near.put_object(Bucket=bucket, Key=key, Body=b"content", **how)
    place = Located(f"s3://{bucket}", key)
    seen = S3Store(near, "aws_default").look_up(place)
    assert isinstance(seen, Found)
    return screen(place.uri, seen)


def read(url: str | None) -> int:
    return requests.get(str(url), timeout=10).status_code


def test_a_url_is_signed_with_version_4_for_the_buckets_own_region(
    s3: S3, connect: Callable[..., Stores]
) -> None:
    s3.bucket("far", AWAY)
    document = put(s3, "in/a.pdf", "far", AWAY, **KMS)
    store = connect().of("s3://far")
    s3.requests()
    place = Located.of(document.uri)
    urls = [store.signed_url(place, None, 300) for _ in range(3)]
    assert (
        s3.requests()["HeadBucket"] <= 2
    )  # the second one is botocore's, which was sent to the wrong region
    assert [read(url) for url in urls] == [200, 200, 200]
    check_rights(connect(), [document, document], "aws_default")


def test_one_client_reads_and_signs_in_the_region_of_the_connection(
    inbox: str, connect: Callable[..., Stores], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    open_one = S3Hook.get_client_type

    def open_and_note(*args: Any, **how: Any) -> Any:
        opened.append(open_one(*args, **how))
        return opened[-1]

    monkeypatch.setattr(S3Hook, "get_client_type", open_and_note)
    store = connect().of(f"s3://{inbox}")
    assert isinstance(store, S3Store)
    assert store.signed_url(Located(f"s3://{inbox}", "in/a.pdf"), None, 300)
    assert opened == [store.client]
    assert "Caller/extend_pipeline " in opened[0].meta.config.user_agent_extra


def test_an_object_under_a_customers_key_affects_no_other(
    s3: S3, inbox: str, connect: Callable[..., Stores]
) -> None:
    documents = [put(s3, f"in/{number}.pdf") for number in range(3)]
    s3.rule(inbox, "in/1.pdf", sse_c=True)
    seen = connect().of("s3://inbox").look_up(Located.of(documents[1].uri))
    assert isinstance(seen, Unusable)
    assert "SSE-C" in seen.message
    reasons = [item.document.reason for item in check_objects(connect(), documents)]
    assert reasons == [None, OBJECT_FORBIDDEN, None]


def test_expired_credentials_fail_the_task_and_end_no_document(
    s3: S3, inbox: str, connect: Callable[..., Stores]
) -> None:
    document = put(s3, "in/a.pdf")
    s3.rule(inbox, expired=True)
    with pytest.raises(PipelineSourceError, match=r"ExpiredToken.*'aws_default'") as caught:
        connect().of("s3://inbox").look_up(Located.of(document.uri))
    assert caught.value.retryable


@pytest.mark.parametrize("storage", ["GLACIER", "DEEP_ARCHIVE"])
def test_an_archived_object_is_skipped_until_it_is_restored(
    s3: S3, inbox: str, connect: Callable[..., Stores], storage: str
) -> None:
    put(s3, "in/a.pdf")
    s3.client.put_object(Bucket=inbox, Key="in/b.pdf", Body=b"b", StorageClass=storage)

    def reasons() -> list[str | None]:
        listed = [document.reason for document in discovered(settings("s3://inbox/in/"))]
        named = [document.reason for document in discovered(settings(["s3://inbox/in/b.pdf"]))]
        return [*listed, *named]

    connect()
    assert reasons() == [None, OBJECT_ARCHIVED, OBJECT_ARCHIVED]
    s3.client.restore_object(Bucket=inbox, Key="in/b.pdf", RestoreRequest={"Days": 1})
    assert reasons() == [None, None, None]


def test_an_object_archived_after_discovery_is_skipped(
    s3: S3, inbox: str, connect: Callable[..., Stores]
) -> None:
    documents = [put(s3, f"in/{number:02}.pdf") for number in range(20)]
    s3.client.put_object(Bucket=inbox, Key="in/03.pdf", Body=b"content", StorageClass="GLACIER")
    for few in (documents[3:4], documents):  # by its head, and by the listing
        ended = {item.document.name: item.document.reason for item in check_objects(connect(), few)}
        assert {name for name, reason in ended.items() if reason} == {"03.pdf"}
        assert ended["03.pdf"] == OBJECT_ARCHIVED


def test_intelligent_tiering_is_skipped_as_far_as_s3_tells(
    s3: S3, inbox: str, connect: Callable[..., Stores]
) -> None:
    document = put(s3, "in/a.pdf", StorageClass="INTELLIGENT_TIERING")
    named = settings(["s3://inbox/in/a.pdf"])
    connect()
    assert [*discovered(settings("s3://inbox/in/")), *discovered(named)] == [document, document]
    s3.rule(inbox, archive_tier="ARCHIVE_ACCESS")
    assert discovered(settings("s3://inbox/in/")) == [document]
    assert [each.reason for each in discovered(named)] == [OBJECT_ARCHIVED]
    s3.rule(inbox, restoring=True)
    assert [each.reason for each in discovered(settings("s3://inbox/in/"))] == [OBJECT_ARCHIVED]


def test_a_look_alike_that_does_not_know_of_restoring_is_listed_all_the_same(
    s3: S3, inbox: str, connect: Callable[..., Stores]
) -> None:
    put(s3, "in/a.pdf")
    s3.rule(inbox, not_implemented=["x-amz-optional-object-attributes"])
    connect()
    assert len(discovered(settings("s3://inbox/in/"))) == 1


def test_a_requester_pays_where_the_connection_says_so(
    s3: S3, inbox: str, connect: Callable[..., Stores]
) -> None:
    document = put(s3, "in/a.pdf")
    s3.rule(inbox, requester_pays=True)
    connect()
    with pytest.raises(PipelineInputError, match='"requester_pays": true'):
        discovered(settings("s3://inbox/in/"))
    stores = connect(requester_pays=True)
    assert discovered(settings("s3://inbox/in/")) == [document]
    (checked,) = check_objects(stores, [document])
    assert checked.document.status is None
    place = Located.of(document.uri)
    assert read(stores.of("s3://inbox").signed_url(place, None, 300)) == 200
    check_rights(stores, [document, document], "aws_default")


@pytest.mark.parametrize(
    ("rule", "missing"),
    [
        pytest.param({"deny": ["s3:GetObject"]}, "Missing: s3:GetObject.*requester_pays", id="s3:GetObject"),
        pytest.param({"deny": ["s3:GetObject"], "terse": True}, "Missing: s3:GetObject", id="tersely"),
        pytest.param({"deny": ["kms:Decrypt"]}, r"Missing: kms:Decrypt.*key-1", id="kms:Decrypt"),
        pytest.param({"deny": ["kms:Decrypt"], "terse": True}, r"kms:Decrypt.*key-1", id="kms, tersely"),
        pytest.param({"sse_c": True}, "Missing: SSE-C", id="SSE-C"),
    ],
)
def test_a_folder_of_which_nothing_may_be_read_stops_the_run_and_says_what_is_missing(
    s3: S3, inbox: str, connect: Callable[..., Stores], rule: dict[str, Any], missing: str
) -> None:
    good = [put(s3, f"in/good/{number}.pdf", **KMS) for number in range(3)]
    bad = [put(s3, f"in/bad/{number}.pdf", **KMS) for number in range(3)]
    s3.rule(inbox, "in/bad/", **rule)
    with pytest.raises(PipelineInputError, match=missing) as caught:
        check_rights(connect(), [*bad, *good], "aws_default")
    assert "s3://inbox/in/bad/" in str(caught.value)
    assert "'aws_default'" in str(caught.value)
    assert "X-Amz" not in str(caught.value)
    assert "&quot;" not in str(caught.value)
    check_rights(connect(), good, "aws_default")


def test_one_document_that_may_not_be_read_stops_no_other(
    s3: S3, inbox: str, connect: Callable[..., Stores]
) -> None:
    documents = [put(s3, f"in/{number}.pdf", **KMS) for number in range(3)]
    s3.rule(inbox, "in/0.pdf", deny=["kms:Decrypt"])
    check_rights(connect(), documents, "aws_default")
    checked = probed(connect(), check_objects(connect(), documents), "aws_default")
    assert [item.document.reason for item in checked] == [OBJECT_FORBIDDEN, None, None]
    assert "kms:Decrypt" in str(checked[0].document.message)


def test_a_bucket_of_single_documents_in_folders_is_refused_as_a_whole(
    s3: S3, inbox: str, connect: Callable[..., Stores]
) -> None:
    documents = [put(s3, f"in/{number}/a.pdf") for number in range(3)]
    check_rights(connect(), documents, "aws_default")
    s3.rule(inbox, "in/1/", deny=["s3:GetObject"])
    check_rights(connect(), documents, "aws_default")
    s3.rule(inbox, deny=["s3:GetObject"])
    with pytest.raises(PipelineInputError, match="s3:GetObject"):
        check_rights(connect(), documents, "aws_default")


@pytest.mark.parametrize("readable", [True, False])
@pytest.mark.parametrize("count", [3, 20], ids=["by their heads", "by a listing"])
def test_a_version_is_named_only_if_it_may_be_read_so(
    s3: S3, inbox: str, connect: Callable[..., Stores], readable: bool, count: int
) -> None:
    s3.client.put_bucket_versioning(Bucket=inbox, VersioningConfiguration={"Status": "Enabled"})
    documents = [put(s3, f"in/{number:02}.pdf") for number in range(count)]
    if not readable:
        s3.rule(inbox, deny=["s3:GetObjectVersion"])
    stores = connect()
    checked = probed(stores, check_objects(stores, documents), "aws_default")
    assert {item.document.status for item in checked} == {None}
    assert {item.version_id is not None for item in checked} == {readable}
    store = stores.of("s3://inbox")
    places = [(Located.of(item.document.uri), item.version_id) for item in checked]
    assert {read(store.signed_url(*each, 300)) for each in places[:2]} == {200}


def test_a_listing_waits_while_s3_is_throttling(s3: S3, inbox: str, connect: Callable[..., Stores]) -> None:
    document = put(s3, "in/a.pdf")
    s3.rule(inbox, slow_down=2)
    check_rights(connect(), [document], "aws_default")
    s3.rule(inbox, slow_down=2)
    assert isinstance(connect().of("s3://inbox").look_up(Located.of(document.uri)), Found)


def test_two_spellings_of_s3_are_one_document(s3: S3, inbox: str, connect: Callable[..., Stores]) -> None:
    document = put(s3, "in/a.pdf")
    connect()
    for scheme in ("s3", "s3a", "s3n"):
        assert discovered(settings(f"{scheme}://inbox/in/")) == [document]
    both = settings(["s3a://inbox/in/", "s3n://inbox/in/a.pdf"], workspace="s3a://aws_default@work/x/")
    assert discovered(both) == [document]
    assert both.workspace == "s3://aws_default@work/x"
