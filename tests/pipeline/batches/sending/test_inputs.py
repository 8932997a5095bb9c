"""How bytes get from S3 to Extend: looked at once more, read as they were identified, by URLs that live."""

from __future__ import annotations

import datetime as dt
import urllib.request
from typing import Any

import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import ObjectStoragePath
from botocore.credentials import Credentials, RefreshableCredentials

from extend_pipeline.batches.sending.inputs import Checked, check_objects, file_inputs
from extend_pipeline.batches.sending.uploads import Uploads
from extend_pipeline.documents import OBJECT_DELETED, OBJECT_REPLACED, Document
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.planning.discovery import screen
from extend_pipeline.settings import Settings
from extend_pipeline.sources import Found, Located, Stores
from extend_pipeline.sources.s3.store import S3Store
from extend_provider.client.models import FileInput
from extend_provider.hooks.extend import ExtendHook
from fixtures.sources.s3 import S3


@pytest.fixture
def inbox(s3: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", s3.connection_json())
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", '{"conn_type": "extend", "password": "sk_test"}')
    return s3.bucket("inbox")


@pytest.fixture
def stores() -> Stores:
    return Settings.from_rendered(
        {"source": "s3://inbox/", "workflow_id": "w", "workspace": "file:///x"}
    ).stores()


def put(s3: S3, bucket: str, key: str, body: bytes) -> Document:
    s3.client.put_object(Bucket=bucket, Key=key, Body=body)
    place = Located(f"s3://{bucket}", key)
    found = S3Store(s3.client, "aws_default").look_up(place)
    assert isinstance(found, Found)
    return screen(place.uri, found)


def presigned(stores: Stores, checked: list[Checked]) -> list[FileInput]:
    hook, nowhere = ExtendHook(), ObjectStoragePath("file:///nowhere")
    uploads = Uploads(nowhere, hook.settings)
    files = file_inputs(stores, checked, hook, uploads, transfer="presign", expires_in=300)
    return [file for file in files if isinstance(file, FileInput)]


def test_an_untouched_object_is_sent_as_it_was_found(s3: S3, inbox: str, stores: Stores) -> None:
    document = put(s3, inbox, "a.pdf", b"content")
    assert check_objects(stores, [document]) == [Checked(document)]


def test_a_deleted_object_keeps_its_row_and_is_not_sent(s3: S3, inbox: str, stores: Stores) -> None:
    document = put(s3, inbox, "a.pdf", b"content")
    s3.client.delete_object(Bucket=inbox, Key="a.pdf")
    (checked,) = check_objects(stores, [document])
    assert (checked.document.id, checked.document.status, checked.document.reason) == (
        document.id,
        "FAILED",
        OBJECT_DELETED,
    )


def test_a_replaced_object_is_left_to_the_next_discovery(s3: S3, inbox: str, stores: Stores) -> None:
    document = put(s3, inbox, "a.pdf", b"content")
    newer = put(s3, inbox, "a.pdf", b"other content")
    (checked,) = check_objects(stores, [document])
    assert (checked.document.id, checked.document.status, checked.document.reason) == (
        document.id,
        "SKIPPED",
        OBJECT_REPLACED,
    )
    assert newer.id in str(checked.document.message)


def test_the_checked_version_is_read_if_s3_keeps_versions(s3: S3, inbox: str, stores: Stores) -> None:
    s3.client.put_bucket_versioning(Bucket=inbox, VersioningConfiguration={"Status": "Enabled"})
    document = put(s3, inbox, "a.pdf", b"the one that was checked")
    checked = check_objects(stores, [document])
    put(s3, inbox, "a.pdf", b"the one that came between")
    (file,) = presigned(stores, checked)
    assert urllib.request.urlopen(str(file.url)).read() == b"the one that was checked"


@pytest.mark.parametrize(
    "key", ["plain.pdf", "with space.pdf", "50% off.pdf", "a+b.pdf", "no #1?.pdf", "请求/é.pdf"]
)
def test_a_presigned_url_reads_a_key_of_any_characters(s3: S3, inbox: str, stores: Stores, key: str) -> None:
    document = put(s3, inbox, key, key.encode())
    (file,) = presigned(stores, [Checked(document)])
    assert urllib.request.urlopen(str(file.url)).read() == key.encode()
    assert file.name == key.rsplit("/", 1)[-1]


def test_the_order_of_documents_is_kept(s3: S3, inbox: str, stores: Stores) -> None:
    documents = [put(s3, inbox, f"{number}.pdf", b"x") for number in range(40)]
    assert [item.document for item in check_objects(stores, documents)] == documents


def temporary(seconds: float) -> RefreshableCredentials:
    expiry = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
    metadata = {
        "access_key": "k",
        "secret_key": "s",
        "token": "t",
        "expiry_time": expiry.isoformat(),
    }
    return RefreshableCredentials.create_from_metadata(
        metadata, refresh_using=lambda: metadata, method="test"
    )


class HookWith(S3Hook):
    """A hook whose session holds the given credentials; everything else is the real one."""

    def __init__(self, credentials: Any) -> None:
        super().__init__(aws_conn_id="aws_temporary")
        self._credentials = credentials

    def get_session(self, *args: Any, **kwargs: Any) -> Any:
        session: Any = super().get_session(*args, **kwargs)
        session._session._credentials = self._credentials  # the one place where botocore keeps them
        return session


@pytest.mark.parametrize(
    ("credentials", "accepted"),
    [
        pytest.param(lambda: Credentials("k", "s"), True, id="static keys"),
        pytest.param(lambda: temporary(7200), True, id="a role that lives longer"),
        pytest.param(lambda: temporary(1200), False, id="a role that ends before the URL"),
    ],
)
def test_a_url_must_not_outlive_its_credentials(
    credentials: Any, accepted: bool, monkeypatch: pytest.MonkeyPatch, s3: S3
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_TEMPORARY", s3.connection_json())
    store = S3Store(s3.client, "aws_temporary", HookWith(credentials()))
    if accepted:
        store.check_signing(1800)
    else:
        with pytest.raises(PipelineInputError, match=r"'aws_temporary'.*1800 seconds.*upload"):
            store.check_signing(1800)
