"""One document stops no other: for each way to be bad, a row with its reason, and the good ones go on."""

from __future__ import annotations

import contextlib
import datetime as dt
import email.utils
import http.server
import json
import os
import socket
import stat as stat_module
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath
from botocore.stub import Stubber

from extend_pipeline.batches.inputs import check_objects, check_readable
from extend_pipeline.documents import (
    EMPTY_FILE,
    NAME_UNUSABLE,
    NOT_A_FILE,
    OBJECT_DELETED,
    OBJECT_FORBIDDEN,
    OBJECT_UNIDENTIFIED,
    OBJECT_UNREACHABLE,
    OBJECT_UNREADABLE,
    SIZE_UNKNOWN,
    SYSTEM_FILE,
    UNSUPPORTED_FILE_TYPE,
    Document,
)
from extend_pipeline.exceptions import PipelineInputError, PipelineSourceError
from extend_pipeline.planning.discovery import documents_on, is_wanted, screen
from extend_pipeline.planning.listing import read_listing, write_listing
from extend_pipeline.settings import SourceItem
from extend_pipeline.sources import Found, Located, Stores, Unusable
from extend_pipeline.sources.contents import UnreadableError
from extend_pipeline.sources.document_names import written
from extend_pipeline.sources.local import LocalStore
from extend_pipeline.sources.object_storage import PathStore
from extend_pipeline.sources.objects import plausible_size, plausible_time
from extend_pipeline.sources.s3.store import S3Store
from extend_pipeline.sources.web import WebStore
from fixtures.sources.discovered import discovered, settings
from fixtures.sources.gcs import GCS
from fixtures.sources.s3 import S3
from fixtures.sources.web import Page, Web, serving

_NOBODY = 65534
GOOD = (None, None)
SKIPPED, FAILED = "SKIPPED", "FAILED"
#: Keys that any object store can have, and what becomes of each.
KEYS = {
    "a.pdf": GOOD,
    " .pdf": GOOD,
    "trailing space.pdf ": (SKIPPED, UNSUPPORTED_FILE_TYPE),
    "   ": (SKIPPED, UNSUPPORTED_FILE_TYPE),
    "..a..pdf": GOOD,
    "dot at the end.pdf.": (SKIPPED, UNSUPPORTED_FILE_TYPE),
    ".hidden.pdf": GOOD,
    "50%25 + #1?.pdf": GOOD,
    "%00.pdf": GOOD,
    "caf\u00e9.pdf": GOOD,
    "cafe\u0301.pdf": GOOD,
    "back\\slash 'quoted' \"twice\".pdf": GOOD,
    "line \u2028 separator.pdf": GOOD,
    "\U0001f600.pdf": GOOD,
    "empty.pdf": (SKIPPED, EMPTY_FILE),
    "._a.pdf": (SKIPPED, SYSTEM_FILE),
    "~$letter.docx": (SKIPPED, SYSTEM_FILE),
    ".~lock.letter.odt#": (SKIPPED, SYSTEM_FILE),
    "Thumbs.db": (SKIPPED, SYSTEM_FILE),
    ".DS_Store": (SKIPPED, SYSTEM_FILE),
    "desktop.ini": (SKIPPED, SYSTEM_FILE),
    ".pdf": (SKIPPED, SYSTEM_FILE),
    "__MACOSX/a.pdf": (SKIPPED, SYSTEM_FILE),
    "deep/@eaDir/a.pdf/SYNOPHOTO.jpg": (SKIPPED, SYSTEM_FILE),
}
#: Those that only S3 and folders have.
CONTROLLED = {
    "line\nfeed.pdf": (FAILED, NAME_UNUSABLE),
    "tab\t.pdf": (FAILED, NAME_UNUSABLE),
    "escape\x1b[31m.pdf": (FAILED, NAME_UNUSABLE),
    "line\nfeed.parquet": (SKIPPED, UNSUPPORTED_FILE_TYPE),
    "folder\r\n/a.pdf": (FAILED, NAME_UNUSABLE),
    "icon\r": (SKIPPED, SYSTEM_FILE),
}


def ends(documents: list[Document], root: str) -> dict[str, tuple[str | None, str | None]]:
    """Return what becomes of each by the rest of its address; each can be written, and said why."""
    for document in documents:
        assert Document.from_json(document.to_json()) == document
        assert (document.status is None) is (document.message is None)
    return {document.uri.removeprefix(root): (document.status, document.reason) for document in documents}


def spelt(expected: dict[str, Any]) -> dict[str, Any]:
    return {written(key): end for key, end in expected.items()}


@pytest.fixture(params=["gs", "s3", "s3 through fsspec"])
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Callable[..., Any]]:
    """The root of an empty bucket, and what puts an object there."""
    kind = request.param[:2]
    server: GCS | S3 = request.getfixturevalue("gcs" if kind == "gs" else "s3")
    for name in ("INBOX", "AWS_DEFAULT"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", server.connection_json())
    root = f"{kind}://{server.bucket()}"
    if "fsspec" in request.param:
        opened = PathStore.connect(root, "inbox")
        monkeypatch.setattr(Stores, "of", lambda self, root: opened)
    return root, server.put


def test_every_name_in_a_bucket_has_its_row(
    bucket: tuple[str, Callable[..., Any]], request: pytest.FixtureRequest
) -> None:
    root, put = bucket
    longest = "long " + "x" * (1024 - len("in/long .pdf")) + ".pdf"
    expected = {**KEYS, longest: GOOD}
    if root.startswith("s3"):  # but not with a line feed: moto takes no such key, as S3 does
        expected |= {key: end for key, end in CONTROLLED.items() if "\n" not in key}
        expected |= dict.fromkeys(("nul\0.pdf", "a/../b.pdf", "a/./b.pdf"), (FAILED, NAME_UNUSABLE))
    for key in expected:
        put("acme-inbox", f"in/{key}", b"" if key == "empty.pdf" else b"text")
    put("acme-inbox", "in/folder/", b"")
    documents = discovered(settings(f"{root}/in/", source_conn_id="inbox"))
    assert ends(documents, f"{root}/in/") == spelt(expected)
    assert len({document.id for document in documents}) == len(expected)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which each thing is bad in its own way, among good ones."""
    inbox = tmp_path / "inbox"
    raw = {b"caf\xe9.txt": (FAILED, NAME_UNUSABLE), b"caf\xe9/a.txt": (FAILED, NAME_UNUSABLE)}
    for name in [*KEYS, *CONTROLLED, *map(os.fsdecode, raw)]:
        path = inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if name == "empty.pdf" else b"text")
    return inbox


def test_every_name_in_a_folder_has_its_row(folder: Path) -> None:
    documents = discovered(settings(f"file://{folder}/"))
    assert ends(documents, f"file://{folder}/") == {
        **spelt({**KEYS, **CONTROLLED}),
        r"caf\xe9.txt": (FAILED, NAME_UNUSABLE),
        r"caf\xe9/a.txt": (FAILED, NAME_UNUSABLE),
    }
    assert len({document.id for document in documents}) == len(documents)
    assert discovered(settings(f"file://{folder}/")) == documents


def test_every_object_that_is_no_file_has_its_row(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "good.pdf").write_bytes(b"text")
    (inbox / "link.pdf").symlink_to(inbox / "good.pdf")
    (inbox / "broken.pdf").symlink_to(inbox / "gone.pdf")
    (inbox / "circle.pdf").symlink_to(inbox / "circle.pdf")
    (inbox / "to a folder.pdf").symlink_to(tmp_path)
    (inbox / "folder.pdf").mkdir()
    os.mkfifo(inbox / "pipe.pdf")
    (inbox / "device.pdf").symlink_to("/dev/zero")
    for name, when in [("old.pdf", -(2**31)), ("far.pdf", 2**33)]:
        (inbox / name).write_bytes(b"text")
        os.utime(inbox / name, (when, when))
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(inbox)  # the path of a socket is short
        listening.bind("socket.pdf")
        os.chdir("/")
        expected = {
            **dict.fromkeys(("good.pdf", "link.pdf", "old.pdf", "far.pdf"), GOOD),
            **dict.fromkeys(("broken.pdf", "circle.pdf"), (FAILED, OBJECT_DELETED)),
            **dict.fromkeys(("pipe.pdf", "device.pdf", "socket.pdf"), (SKIPPED, NOT_A_FILE)),
        }
        assert ends(discovered(settings(f"file://{inbox}/")), f"file://{inbox}/") == expected
        named = [f"file://{inbox}/{name}" for name in expected]
        assert ends(discovered(settings(named)), f"file://{inbox}/") == expected


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Let this process have the rights of a user who owns nothing; root may read everything."""
    os.setegid(_NOBODY)
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
def closed() -> Iterator[Path]:
    """Files and folders among which some may not be read by others than their owner."""
    with tempfile.TemporaryDirectory() as home:  # pytest's own is closed to others
        Path(home).chmod(0o755)
        for name in ("good.pdf", "closed.pdf", "closed/a.pdf", "listed/a.pdf", "open/a.pdf"):
            (Path(home) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(home) / name).write_bytes(b"text")
        for name, mode in [("closed.pdf", 0o000), ("closed", 0o000), ("listed", 0o744)]:
            (Path(home) / name).chmod(mode)
        yield Path(home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_an_unreadable_file_has_its_row_and_an_unlistable_folder_has_one(closed: Path) -> None:
    root, names = f"file://{closed}/", ("good.pdf", "closed.pdf", "closed/a.pdf", "listed/a.pdf")
    kept_away = (FAILED, OBJECT_FORBIDDEN)
    with as_nobody():
        listed = discovered(settings(root))
        named = discovered(settings([root + name for name in names]))
        with pytest.raises(PipelineInputError, match=r"may not be listed \(Permission denied\)"):
            discovered(settings(f"{root}closed/"))
    assert ends(listed, root) == {
        "good.pdf": GOOD,
        "closed.pdf": kept_away,
        "closed/": kept_away,
        "listed/a.pdf": kept_away,
        "open/a.pdf": GOOD,
    }
    assert ends(named, root) == {name: GOOD if name == "good.pdf" else kept_away for name in names}


def test_a_file_that_vanishes_during_the_listing_stops_no_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = Path.stat

    def vanishing(path: Path, **options: Any) -> os.stat_result:
        if path.name == "a.pdf" and stat_module.S_ISREG(stat(path).st_mode):
            path.unlink()
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", vanishing)
    names = {document.name for document in discovered(settings(f"file://{folder}/"))}
    assert "a.pdf" not in names
    assert {"50%25 + #1?.pdf", "..a..pdf", "SYNOPHOTO.jpg"} <= names


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


def test_an_object_without_a_time_is_in_every_window_and_a_folder_in_every_glob() -> None:
    window = settings("s3://bbb/", modified_from="2026-11-20", modified_to="2026-11-21", glob="*.pdf")
    item = SourceItem("s3://bbb", "", True)
    assert is_wanted("a.pdf", None, item, window)
    assert not is_wanted("a.txt", None, item, window)
    unlisted = Unusable("closed/", OBJECT_FORBIDDEN, "Why.")
    (row,) = documents_on([[unlisted]], 0, window)
    assert (row.uri, row.name, row.reason) == ("s3://bbb/closed/", "closed", OBJECT_FORBIDDEN)


def test_system_files_are_recognised_only_below_the_source() -> None:
    wanted = settings("file:///data/.snapshot/nightly/")
    found = [
        Found(f"data/.snapshot/nightly/{name}", "tag", 4, None) for name in ("a.pdf", "lost+found/b.pdf")
    ]
    statuses = [document.status for document in documents_on([found], 0, wanted)]
    assert statuses == [None, SKIPPED]
    assert screen("file:///data/.snapshot/a.pdf", found[0]).status is None


UNIDENTIFIED = (FAILED, OBJECT_UNIDENTIFIED)
OLD = {"Last-Modified": "Fri, 21 Nov 2025 02:03:04 GMT"}
TAGGED = {"ETag": '"v1"'}
PAGES = {
    "/good.pdf": (Page(b"text", TAGGED), GOOD),
    "/no-head-405.pdf": (Page(b"text", TAGGED, head=405), GOOD),
    "/no-head-403.pdf": (Page(b"text", TAGGED, head=403), GOOD),
    "/no-head-400.pdf": (Page(b"text", TAGGED, head=400), GOOD),
    "/no-head-500.pdf": (Page(b"text", TAGGED, head=500), GOOD),
    "/no-length.pdf": (Page(b"text", TAGGED, length=None), GOOD),
    "/never.pdf": (Page(b"text", {**TAGGED, "Last-Modified": "-1"}), GOOD),
    "/year-1.pdf": (Page(b"text", {**TAGGED, "Last-Modified": "Mon, 01 Jan 0001 00:00:00 GMT"}), GOOD),
    "/no-zone.pdf": (Page(b"text", {"Last-Modified": "Fri, 21 Nov 2025 02:03:04 -0000"}), GOOD),
    "/garbage.pdf": (
        Page(b"text", {"Last-Modified": "caf\xe9", "ETag": '""'}),
        (FAILED, OBJECT_UNIDENTIFIED),
    ),
    "/epoch.pdf": (Page(b"text", {"Last-Modified": "-1"}), (FAILED, OBJECT_UNIDENTIFIED)),
    "/untold.pdf": (Page(b"text"), (FAILED, OBJECT_UNIDENTIFIED)),
    # A host that dates each answer anew would make it a new document each time.
    "/anew.pdf": (Page(b"text", {"Last-Modified": "now"}), UNIDENTIFIED),
    "/head-is-empty.pdf": (Page(b"text", TAGGED, head_length=0), GOOD),
    "/empty.pdf": (Page(b"", OLD), (SKIPPED, EMPTY_FILE)),
    "/closed.pdf": (Page(status=403), (FAILED, OBJECT_FORBIDDEN)),
    "/law.pdf": (Page(status=451), (FAILED, OBJECT_FORBIDDEN)),
    "/busy.pdf": (Page(status=503), (FAILED, OBJECT_UNREACHABLE)),
    "/circle.pdf": (Page(status=302, headers={"Location": "/circle.pdf"}), (FAILED, OBJECT_UNREADABLE)),
    "/weird.pdf": (Page(status=302, headers={"Location": "/caf\xe9\x80"}), (FAILED, OBJECT_UNREADABLE)),
    "/negative.pdf": (Page(b"text", {**TAGGED, "Content-Length": "-4"}, length=None), GOOD),
    "/words.pdf": (Page(b"text", {**TAGGED, "Content-Length": "four"}, length=None), GOOD),
}


@pytest.fixture
def trusted(web: Web, monkeypatch: pytest.MonkeyPatch) -> Web:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(web.authority))
    return web


def test_every_address_on_the_web_has_its_row(trusted: Web) -> None:
    trusted.pages.update({path: page for path, (page, _) in PAGES.items()})
    port = trusted.url.rpartition(":")[2]
    others = {
        f"https://127.0.0.1:{port}/other-name.pdf": (FAILED, OBJECT_UNREACHABLE),  # not in its certificate
        "https://localhost:1/nobody.pdf": (FAILED, OBJECT_UNREACHABLE),
        "https://no-such-host.invalid/a.pdf": (FAILED, OBJECT_UNREACHABLE),
        f"https://{'x' * 70}.invalid/a.pdf": (FAILED, OBJECT_UNREADABLE),
        f"{trusted.url}/gone.pdf": (FAILED, OBJECT_DELETED),
        f"{trusted.url}/a\tb.pdf": (FAILED, NAME_UNUSABLE),
    }
    expected = {f"{trusted.url}{path}": end for path, (_, end) in PAGES.items()} | others
    assert ends(discovered(settings(list(expected))), "") == spelt(expected)


@pytest.mark.parametrize("seconds", [-60, 60])
def test_a_document_changed_within_a_minute_is_identified(trusted: Web, seconds: int) -> None:
    moment = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
    headers = {"Last-Modified": email.utils.format_datetime(moment, usegmt=True)}
    trusted.pages["/a.pdf"] = Page(b"text", headers)
    seen = WebStore().look_up(Located(trusted.url, "a.pdf"))
    assert isinstance(seen, Found)
    assert seen.tag == f"{moment:%Y%m%dT%H%M%S}-4"


def test_a_run_without_any_reachable_document_stops_and_is_retried(trusted: Web, tmp_path: Path) -> None:
    home = ObjectStoragePath(f"file://{tmp_path}/run")
    bad = ["https://no-such-host.invalid/a.pdf", f"{trusted.url}/busy.pdf"]
    trusted.pages["/busy.pdf"] = Page(status=503)
    wanted = settings(bad)
    for _ in range(2):
        with pytest.raises(PipelineSourceError, match=r"None of 2 documents .*Nothing was sent") as raised:
            write_listing(home, wanted)
        assert raised.value.retryable
    trusted.pages["/busy.pdf"] = Page(b"text", TAGGED)
    assert write_listing(home, wanted) == 2
    assert list(ends(list(read_listing(home)), "").values()) == [(FAILED, OBJECT_UNREACHABLE), GOOD]


class _Azure(http.server.BaseHTTPRequestHandler):
    """A store whose answer to one object is no answer to the others."""

    def do_HEAD(self) -> None:
        self.send_response(409 if "archived" in self.path else 404)
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()

    def log_message(self, *args: Any) -> None:
        """Keep quiet."""


def test_a_refusal_of_one_object_ends_only_its_document(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(_Azure) as port:
        access = (
            "DefaultEndpointsProtocol=http;AccountName=acme;AccountKey=YWNtZQ==;"
            f"BlobEndpoint=http://127.0.0.1:{port}/acme;"
        )
        connection = {"conn_type": "wasb", "extra": {"connection_string": access}}
        monkeypatch.setenv("AIRFLOW_CONN_INBOX", json.dumps(connection))
        named = [f"abfs://acme-inbox/{name}.pdf" for name in ("archived", "gone")]
        documents = discovered(settings(named, source_conn_id="inbox"))
    assert [document.reason for document in documents] == [OBJECT_UNREADABLE, OBJECT_DELETED]


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


def test_an_object_that_is_bad_when_it_is_sent_has_its_row(folder: Path, trusted: Web) -> None:
    trusted.pages.update({f"/{name}.pdf": Page(b"text", TAGGED) for name in "abcd"})
    named = [f"{trusted.url}/{name}.pdf" for name in "abcd"]
    wanted = settings([f"file://{folder}/a.pdf", f"file://{folder}/.hidden.pdf", *named])
    stores = wanted.stores()
    documents = discovered(wanted, stores)
    assert {document.status for document in documents} == {None}
    (folder / "a.pdf").unlink()
    os.mkfifo(folder / "a.pdf")
    for name, status in {"a": 503, "b": 403, "c": 404}.items():
        trusted.pages[f"/{name}.pdf"] = Page(status=status)
    checked = list(check_objects(stores, documents))
    assert [item.document.reason for item in checked] == [
        NOT_A_FILE,
        None,
        OBJECT_UNREACHABLE,
        OBJECT_FORBIDDEN,
        OBJECT_DELETED,
        None,
    ]
    check_readable(checked, "any")
    check_readable([checked[4], checked[0]], "any")
    for kept_away in (checked[2:3], checked[2:5]):
        with pytest.raises(PipelineSourceError, match=r"Not one of .* may be read") as raised:
            check_readable(kept_away, "any")
        assert raised.value.retryable


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


@pytest.mark.parametrize("name", ["caf\udce9.txt", "nul\0.txt"])
def test_a_source_that_is_no_unicode_text_is_a_wrong_setting(name: str) -> None:
    with pytest.raises(PipelineInputError, match="a NUL or a broken character"):
        settings([f"file:///in/{name}"])


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


def test_the_identity_of_a_file_is_the_same_in_every_release(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"text")
    os.utime(tmp_path / "a.pdf", (1, 1.5))
    seen = LocalStore().look_up(Located("file://", f"{tmp_path}/a.pdf".lstrip("/")))
    assert isinstance(seen, Found)
    assert seen.tag == "19700101T000001.500000-4"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_an_object_that_is_bad_when_it_is_read_raises_its_reason(closed: Path, trusted: Web) -> None:
    trusted.pages["/a.pdf"] = Page(b"text", TAGGED)
    wanted = settings(
        [f"file://{closed}/{name}.pdf" for name in ("good", "closed")] + [f"{trusted.url}/a.pdf"]
    )
    stores = wanted.stores()
    documents = discovered(wanted, stores)
    (closed / "good.pdf").unlink()
    os.mkfifo(closed / "good.pdf")
    trusted.pages["/a.pdf"] = Page(status=503)

    def why(document: Document) -> tuple[str, str]:
        place = Located.of(document.uri)
        rights = as_nobody() if place.root == "file://" else contextlib.nullcontext()
        with rights, pytest.raises(UnreadableError) as raised:
            stores.of(place.root).read(place, document.etag, None)
        return raised.value.status, raised.value.reason

    assert [why(document) for document in documents] == [
        (SKIPPED, NOT_A_FILE),  # and nobody waits for one who writes into it
        (FAILED, OBJECT_FORBIDDEN),
        (FAILED, OBJECT_UNREACHABLE),
    ]
