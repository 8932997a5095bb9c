"""Documents that lie elsewhere than in S3: folders, whatever Airflow's object storage reaches, the web."""

from __future__ import annotations

import base64
import datetime as dt
import functools
import http.server
import json
import os
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from extend_pipeline.batches.sending.inputs import check_objects, file_inputs
from extend_pipeline.batches.sending.uploads import Uploads
from extend_pipeline.documents import (
    EMPTY_FILE,
    OBJECT_DELETED,
    OBJECT_FORBIDDEN,
    OBJECT_REPLACED,
    OBJECT_UNREACHABLE,
    OBJECT_UNREADABLE,
    Document,
)
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.sources import Absent, Forbidden, Found, Located, ObjectChangedError, Unusable
from extend_pipeline.sources.contents import UnreadableError
from extend_pipeline.sources.object_storage import PathStore, content_tag, modified_at
from extend_pipeline.sources.web import WebStore
from extend_provider.client.models import FileInput
from extend_provider.hooks.extend import ExtendHook
from fixtures.extend.api import ExtendApi
from fixtures.sources.discovered import discovered, settings
from fixtures.sources.gcs import GCS
from fixtures.sources.s3 import S3
from fixtures.sources.web import Page, Web, serving

NAMES = ["a.pdf", "deep/er/b.pdf", "deep/c #1?.txt", "deep-er.pdf", "empty.pdf", "请求 50%.pdf"]


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"" if "empty" in name else b"some text")
    return folder


def found(source: Any, **others: Any) -> list[Document]:
    wanted = settings(source, **others)
    return discovered(wanted)


def test_all_files_below_a_folder_are_found_in_order(inbox: Path) -> None:
    documents = found(f"file://{inbox}/")
    assert [document.uri for document in documents] == sorted(
        (f"file://{inbox}/{name}" for name in NAMES),
        key=lambda uri: (uri.count("/") > str(inbox).count("/") + 3, uri),
    )
    assert {document.reason for document in documents} == {None, EMPTY_FILE}
    assert all(dt.datetime.fromisoformat(document.last_modified).tzinfo for document in documents)
    assert found(f"file://{inbox}/") == documents


def test_a_prefix_need_not_be_a_folder_and_a_glob_holds(inbox: Path) -> None:
    assert {document.name for document in found(f"file://{inbox}/dee")} == {
        "b.pdf",
        "c #1?.txt",
        "deep-er.pdf",
    }
    assert [document.name for document in found(f"file://{inbox}/", glob="deep/*.pdf")] == ["b.pdf"]


def test_a_link_to_a_folder_is_not_followed_round_and_round(inbox: Path) -> None:
    (inbox / "deep" / "back").symlink_to(inbox)
    assert len(found(f"file://{inbox}/")) == len(NAMES)


def test_a_link_to_a_file_is_what_it_leads_to(inbox: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.pdf").write_bytes(b"some text")
    (inbox / "link.pdf").symlink_to(tmp_path / "elsewhere.pdf")
    (before,) = found(f"file://{inbox}/", glob="link.pdf")
    assert found([f"file://{inbox}/link.pdf"]) == [before]
    (tmp_path / "elsewhere.pdf").write_bytes(b"some other text")
    (after,) = found(f"file://{inbox}/", glob="link.pdf")
    assert after.id != before.id


def test_a_file_is_another_document_when_its_content_is(inbox: Path) -> None:
    (before,) = found([f"file://{inbox}/a.pdf"])
    os.utime(inbox / "a.pdf", (1, 1))
    (touched,) = found([f"file://{inbox}/a.pdf"])
    (inbox / "a.pdf").write_bytes(b"other text")
    os.utime(inbox / "a.pdf", (1, 1))
    (longer,) = found([f"file://{inbox}/a.pdf"])
    assert len({before.id, touched.id, longer.id}) == 3


def test_named_files_that_are_not_there_keep_their_rows(inbox: Path) -> None:
    gone, folder = found([f"file://{inbox}/gone.pdf", f"file://{inbox}/deep"])
    assert gone.reason == folder.reason == OBJECT_DELETED


def test_a_folder_that_does_not_exist_is_an_error(inbox: Path) -> None:
    with pytest.raises(PipelineInputError, match=r"folder of 'file:///.*/nowhere/' does not exist"):
        found(f"file://{inbox}/nowhere/")


@pytest.mark.parametrize(
    ("address", "library", "remedy"),
    [
        ("gs://acme-inbox/p/", "gcsfs", "the extra 'gcs'"),
        ("abfs://acme-inbox/p/", "adlfs", "the extra 'azure'"),
        ("strange://acme-inbox/p/", "strange", "the provider package"),
    ],
)
def test_a_store_that_nothing_reads_says_what_to_install(
    address: str, library: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)  # as if it were not installed
    with pytest.raises(PipelineInputError, match=rf"{address.split('/')[0]}//.*Install {remedy}"):
        found(address)


def test_files_are_uploaded_because_they_have_no_url(
    inbox: Path, extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", extend_api.connection_json())
    wanted = settings(f"file://{inbox}/", glob="*.txt")
    stores = wanted.stores()
    checked = check_objects(stores, discovered(wanted, stores))
    with ExtendHook() as hook:
        uploads = Uploads(ObjectStoragePath(f"file://{inbox}/uploads"), hook.settings)
        (file,) = file_inputs(stores, checked, hook, uploads, transfer="presign", expires_in=300)
    assert isinstance(file, FileInput)
    assert (file.url, file.name) == (None, "c #1?.txt")
    assert file.file_id
    assert extend_api.requests_to("POST /files/upload") == 1


def test_a_file_that_was_replaced_or_deleted_is_not_sent(inbox: Path) -> None:
    wanted = settings([f"file://{inbox}/a.pdf", f"file://{inbox}/deep-er.pdf"])
    stores = wanted.stores()
    documents = discovered(wanted, stores)
    (inbox / "a.pdf").write_bytes(b"another content")
    (inbox / "deep-er.pdf").unlink()
    ended = [item.document.reason for item in check_objects(stores, documents)]
    assert ended == [OBJECT_REPLACED, OBJECT_DELETED]
    for document in documents:
        place = Located.of(document.uri)
        with pytest.raises(ObjectChangedError, match="replaced or deleted"):
            stores.of(place.root).read(place, document.etag, None)


Put = Callable[[str, bytes], object]


@pytest.fixture(params=["gs", "s3"])
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Put]:
    """The root of an empty bucket, and what puts an object there.

    S3's is read through fsspec here, for Azure's sake: both are listed by the folder.
    """
    server: GCS | S3 = request.getfixturevalue("gcs" if request.param == "gs" else "s3")
    monkeypatch.setenv("AIRFLOW_CONN_INBOX", server.connection_json())
    return f"{request.param}://{server.bucket()}", functools.partial(server.put, "acme-inbox")


def test_a_bucket_is_listed_looked_up_read_and_signed(bucket: tuple[str, Put]) -> None:
    root, put = bucket
    for name in NAMES:
        put(f"in/{name}", b"some text")
    store = PathStore.connect(root, "inbox")
    listed = [each for page in store.pages(Located(root, "in/")) for each in page if isinstance(each, Found)]
    assert sorted(each.key for each in listed) == sorted(f"in/{name}" for name in NAMES)
    assert len({each.tag for each in listed}) == 1  # of the content, which is the same in all
    assert not store.fs.dircache  # or a listing would stay in memory folder after folder
    assert {each.key for page in store.pages(Located(root, "in/dee")) for each in page} == {
        f"in/{name}" for name in NAMES if name.startswith("dee")
    }
    for each in listed:
        place = Located(root, each.key)
        seen = store.look_up(place)
        assert isinstance(seen, Found)
        assert seen[:3] == each[:3]
        assert store.read(place, each.tag, None).read() == b"some text"
        url = store.signed_url(place, None, 300)
        assert urllib.request.urlopen(str(url)).read() == b"some text"
    put("in/a.pdf", b"other text")
    with pytest.raises(ObjectChangedError):
        store.read(Located(root, "in/a.pdf"), listed[0].tag, None)
    assert store.look_up(Located(root, "in/none.pdf")) == Absent()
    assert list(store.pages(Located(root, "nothing/"))) == []


def test_a_bucket_that_does_not_exist_is_an_error(bucket: tuple[str, Put]) -> None:
    root = bucket[0].replace("inbox", "inbx")
    with pytest.raises(PipelineInputError, match=rf"bucket of '{root}/in/' does not exist"):
        list(PathStore.connect(root, "inbox").pages(Located(root, "in/")))


class _Refusing(http.server.BaseHTTPRequestHandler):
    """A store whose credentials have no rights."""

    def do_GET(self) -> None:
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *args: Any) -> None:
        """Keep quiet."""


@pytest.mark.parametrize("scheme", ["gs", "abfs"])
def test_a_store_that_refuses_is_named(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(_Refusing) as port:
        url = f"http://127.0.0.1:{port}"
        access = (
            f"DefaultEndpointsProtocol=http;AccountName=acme;AccountKey={AZURE_KEY};BlobEndpoint={url}/acme;"
        )
        extras = {
            "gs": {"gcs.endpoint": url, "is_anonymous": True},
            "abfs": {"connection_string": access},
        }
        monkeypatch.setenv("AIRFLOW_CONN_INBOX", json.dumps({"conn_type": "any", "extra": extras[scheme]}))
        with pytest.raises(PipelineInputError, match="may not be listed"):
            found(f"{scheme}://acme-inbox/in/", source_conn_id="inbox")
        (named,) = found([f"{scheme}://acme-inbox/in/a.pdf"], source_conn_id="inbox")
    assert named.reason == OBJECT_FORBIDDEN


AZURE_KEY = base64.b64encode(b"a key of an account").decode()


@pytest.mark.parametrize(
    ("connection", "is_signed"),
    [
        pytest.param({"login": "acme", "password": AZURE_KEY}, True, id="account and key"),
        pytest.param({"host": "acme.blob.core.windows.net", "password": AZURE_KEY}, True, id="host and key"),
        pytest.param(
            {"extra": {"connection_string": f"AccountName=acme;AccountKey={AZURE_KEY}"}},
            True,
            id="in one string",
        ),
        pytest.param(
            {"host": "acme.blob.core.windows.net", "extra": {"sas_token": "?sv=1&sig=x"}},
            False,
            id="SAS token",
        ),
        pytest.param(
            {"login": "id", "password": "secret", "extra": {"tenant_id": "t", "account_name": "acme"}},
            False,
            id="service principal",
        ),
    ],
)
def test_azure_is_opened_by_the_fields_of_its_form_and_signs_where_it_has_a_key(
    connection: dict[str, Any], is_signed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_INBOX", json.dumps({"conn_type": "wasb", **connection}))
    store = PathStore.connect("abfs://acme-inbox", "inbox")
    url = store.signed_url(Located("abfs://acme-inbox", "in/c #1.pdf"), None, 300)
    if is_signed:
        assert str(url).startswith("https://acme.blob.core.windows.net/acme-inbox/in/c%20%231.pdf?")
    else:
        assert url is None


MOMENT = dt.datetime(2026, 11, 21, 2, 3, 4, 500000, tzinfo=dt.UTC)


GOOGLE = {"generation": "17", "etag": "CAE=", "updated": "2026-11-21T02:03:04.5Z"}
AZURE = {"etag": "0x8D", "last_modified": MOMENT}


@pytest.mark.parametrize(
    ("info", "tag"),
    [
        pytest.param({**GOOGLE, "md5Hash": "9T0w=="}, "9T0w==", id="Google Cloud Storage"),
        pytest.param(GOOGLE, "17", id="a composite object there"),
        pytest.param(
            {**AZURE, "content_settings": {"content_md5": bytearray(b"\x01\xff")}}, "01ff", id="Azure"
        ),
        pytest.param({**AZURE, "content_settings": {"content_md5": None}}, "0x8D", id="a large blob there"),
        pytest.param({"ETag": '"abc-2"', "LastModified": MOMENT}, "abc-2", id="S3 and its kin"),
        pytest.param({"mtime": MOMENT.timestamp()}, "20261121T020304.500000-7", id="files"),
        pytest.param({}, None, id="nothing"),
    ],
)
def test_a_tag_is_the_content_where_the_store_tells_of_it(info: dict[str, Any], tag: str | None) -> None:
    modified = modified_at(info)
    assert content_tag({"size": 7, **info}, modified) == tag
    assert modified in (None, MOMENT)


RECENT = {"Last-Modified": "Sat, 21 Nov 2026 02:03:04 GMT"}


@pytest.fixture
def trusted(web: Web, monkeypatch: pytest.MonkeyPatch) -> Web:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(web.authority))
    return web


@pytest.mark.parametrize(
    ("page", "tag", "size"),
    [
        pytest.param(Page(b"text", {"ETag": 'W/"v1"'}), "v1", 4, id="tagged"),
        pytest.param(Page(b"text", RECENT), "20261121T020304-4", 4, id="dated"),
        pytest.param(Page(b"text", {"ETag": '"v1"'}, length=None), "v1", 4, id="no length"),
        pytest.param(Page(b"text", RECENT, length=None), "20261121T020304-4", 4, id="dated, no length"),
        pytest.param(Page(b"text", {"ETag": '"v1"'}, head=405), "v1", 4, id="no HEAD"),
    ],
)
def test_a_document_on_the_web_is_known_by_what_its_host_tells(
    trusted: Web, page: Page, tag: str, size: int
) -> None:
    trusted.pages["/in/a.pdf"] = page
    trusted.pages["/moved.pdf"] = Page(status=302, headers={"Location": "/in/a.pdf"})
    for name in ("in/a.pdf", "moved.pdf"):
        place = Located(trusted.url, name)
        seen = WebStore().look_up(place)
        assert isinstance(seen, Found)
        assert (seen.key, seen.tag, seen.size_bytes) == (name, tag, size)
        assert WebStore().read(place, tag, None).read() == b"text"
        assert WebStore().signed_url(place, None, 300) == place.uri
        with pytest.raises(ObjectChangedError):
            WebStore().read(place, "v2", None)


@pytest.mark.parametrize(
    ("status", "seen"), [(404, Absent()), (410, Absent()), (401, Forbidden()), (403, Forbidden())]
)
def test_a_web_document_that_is_gone_or_closed_affects_no_other(
    trusted: Web, status: int, seen: Absent | Forbidden
) -> None:
    trusted.pages["/a.pdf"] = Page(status=status)
    assert WebStore().look_up(Located(trusted.url, "a.pdf")) == seen
    with pytest.raises(ObjectChangedError):
        WebStore().read(Located(trusted.url, "a.pdf"), "v1", None)


_ELSEWHERE = "https://localhost:1/b.pdf?signature=s3cr3t"


@pytest.mark.parametrize(
    ("page", "reason", "says"),
    [
        pytest.param(Page(status=503), OBJECT_UNREACHABLE, "answers HTTP 503", id="busy"),
        pytest.param(Page(status=520), OBJECT_UNREACHABLE, "answers HTTP 520", id="broken"),
        pytest.param(Page(status=400), OBJECT_UNREADABLE, "answers HTTP 400", id="refused"),
        pytest.param(
            Page(headers={"ETag": "v"}, length=None, stalls=True),
            OBJECT_UNREACHABLE,
            "(ConnectionError)",
            id="slow",
        ),
        pytest.param(
            Page(status=302, headers={"Location": _ELSEWHERE}),
            OBJECT_UNREACHABLE,
            "(ConnectionError)",
            id="leads nowhere",
        ),
        pytest.param(
            Page(status=302, headers={"Location": "/a.pdf"}),
            OBJECT_UNREADABLE,
            "never to a document",
            id="leads in a circle",
        ),
        pytest.param(
            Page(status=302, headers={"Location": "https://localhost:99999999/caf\xe9"}),
            OBJECT_UNREADABLE,
            "redirects to one that is not",
            id="leads to no address",
        ),
    ],
)
def test_a_failing_host_affects_its_document_alone_and_no_secret_is_shown(
    trusted: Web, page: Page, reason: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    trusted.pages["/a.pdf"] = page
    seen = WebStore(timeout=0.5).look_up(Located(trusted.url, "a.pdf"))
    assert isinstance(seen, Unusable)
    assert (seen.status, seen.reason) == ("FAILED", reason)
    assert says in seen.message
    assert "s3cr3t" not in f"{seen} {caplog.text}"


def test_a_truncated_document_is_an_error(trusted: Web) -> None:
    trusted.pages["/a.pdf"] = Page(b"te", {"ETag": "v"}, length=4)
    place = Located(trusted.url, "a.pdf")
    assert isinstance(WebStore().look_up(place), Found)
    with pytest.raises(UnreadableError, match="ChunkedEncodingError") as raised:
        WebStore().read(place, "v", None)
    assert raised.value.reason == OBJECT_UNREACHABLE


def test_a_document_is_not_read_from_where_anybody_could_change_it(trusted: Web) -> None:
    with serving(_Refusing) as port:
        leads = {"Location": f"http://127.0.0.1:{port}/a.pdf"}
        trusted.pages["/a.pdf"] = Page(status=302, headers=leads)
        seen = WebStore().look_up(Located(trusted.url, "a.pdf"))
    assert isinstance(seen, Unusable)
    assert seen.reason == OBJECT_UNREADABLE
    assert "not https://" in seen.message


@pytest.mark.parametrize(
    ("host", "is_trusted", "says"),
    [("localhost", False, "unable to get local issuer"), ("127.0.0.1", True, "mismatch")],
)
def test_a_certificate_that_is_refused_is_named(
    web: Web, host: str, is_trusted: bool, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_trusted:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(web.authority))
    address = web.url.replace("localhost", host)
    seen = WebStore().look_up(Located(address, "a.pdf"))
    assert isinstance(seen, Unusable)
    assert seen.reason == OBJECT_UNREACHABLE
    assert f"certificate of {address} is refused: " in seen.message
    assert says in seen.message
