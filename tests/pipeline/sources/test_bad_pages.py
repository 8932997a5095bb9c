"""Each way in which an address on the web can be bad has its row, and the other documents go on."""

from __future__ import annotations

import datetime as dt
import email.utils
from pathlib import Path

import pytest
from airflow.sdk import ObjectStoragePath

from extend_pipeline.documents import (
    EMPTY_FILE,
    NAME_UNUSABLE,
    OBJECT_DELETED,
    OBJECT_FORBIDDEN,
    OBJECT_UNIDENTIFIED,
    OBJECT_UNREACHABLE,
    OBJECT_UNREADABLE,
)
from extend_pipeline.exceptions import PipelineSourceError
from extend_pipeline.planning.listing import read_listing, write_listing
from extend_pipeline.sources import Found, Located
from extend_pipeline.sources.web import WebStore
from fixtures.sources.discovered import discovered, settings
from fixtures.sources.outcomes import FAILED, GOOD, SKIPPED, ends, spelt
from fixtures.sources.web import TAGGED, Page, Web

UNIDENTIFIED = (FAILED, OBJECT_UNIDENTIFIED)
OLD = {"Last-Modified": "Fri, 21 Nov 2025 02:03:04 GMT"}
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
