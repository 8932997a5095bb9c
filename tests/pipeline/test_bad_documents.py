"""One document stops no other: for each way to be bad, a row with its reason, and the good ones go on."""

from __future__ import annotations

import contextlib
import os
import socket
import stat as stat_module
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from extend_pipeline.batches.sending.inputs import check_objects, check_readable
from extend_pipeline.documents import (
    EMPTY_FILE,
    NAME_UNUSABLE,
    NOT_A_FILE,
    OBJECT_DELETED,
    OBJECT_FORBIDDEN,
    OBJECT_UNREACHABLE,
    SYSTEM_FILE,
    UNSUPPORTED_FILE_TYPE,
    Document,
)
from extend_pipeline.exceptions import PipelineInputError, PipelineSourceError
from extend_pipeline.planning.discovery import documents_on, is_wanted, screen
from extend_pipeline.settings import SourceItem
from extend_pipeline.sources import Found, Located, Stores, Unusable
from extend_pipeline.sources.contents import UnreadableError
from extend_pipeline.sources.local import LocalStore
from extend_pipeline.sources.object_storage import PathStore
from fixtures.sources.discovered import discovered, settings
from fixtures.sources.gcs import GCS
from fixtures.sources.outcomes import FAILED, GOOD, SKIPPED, ends, spelt
from fixtures.sources.s3 import S3
from fixtures.sources.web import TAGGED, Page, Web

_NOBODY = 65534
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
    checked = check_objects(stores, documents)
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


@pytest.mark.parametrize("name", ["caf\udce9.txt", "nul\0.txt"])
def test_a_source_that_is_no_unicode_text_is_a_wrong_setting(name: str) -> None:
    with pytest.raises(PipelineInputError, match="a NUL or a broken character"):
        settings([f"file:///in/{name}"])


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
