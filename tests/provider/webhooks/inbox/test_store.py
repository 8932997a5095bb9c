"""The inbox: stored whole and once, found by one listing, removed by name; on a disk and in S3."""

from __future__ import annotations

import dataclasses
import datetime as dt
import gzip
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from extend_provider.client.settings import ExtendSettings, Secret
from extend_provider.exceptions import ExtendError
from extend_provider.webhooks.inbox.events import RunEvent, UnknownEvent, read_event
from extend_provider.webhooks.inbox.store import Arrived, Inbox, UnreadableEventError
from fixtures.sources.s3 import S3
from fixtures.webhooks import deliveries

DAY = dt.timedelta(days=1)


def event(
    run_id: str = "run_1", status: str = "PROCESSED", event_id: str = "event_1", **fields: Any
) -> RunEvent:
    read = read_event(deliveries.body(deliveries.run(run_id, status, **fields), event_id), "2026-02-09")
    assert isinstance(read, RunEvent)
    return read


@pytest.fixture
def disk(tmp_path: Path) -> Inbox:
    return Inbox(f"file://{tmp_path}/inbox")


@pytest.fixture(params=["disk", "s3"])
def inbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Inbox:
    if request.param == "disk":
        disk: Inbox = request.getfixturevalue("disk")
        return disk
    s3: S3 = request.getfixturevalue("s3")
    bucket = s3.bucket("acme-workspace")
    monkeypatch.setenv("AIRFLOW_CONN_AWS_INBOX", s3.connection_json())
    return Inbox(f"s3://aws_inbox@{bucket}/extend/inbox/")


def files(inbox: Inbox) -> list[str]:
    root = Path(inbox.address.removeprefix("file://"))
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_connection_without_an_inbox_has_none() -> None:
    settings = ExtendSettings("c", "https://api.extend.ai", Secret("sk_1"))
    assert Inbox.of(settings) is None
    with_inbox = Inbox.of(dataclasses.replace(settings, webhook_inbox="file:///shared/inbox"))
    assert repr(with_inbox) == "Inbox('file:///shared/inbox')"


def test_a_run_is_found_and_read_as_it_was_received(inbox: Inbox) -> None:
    assert inbox.arrived("batch_1") == {}
    stored = event()
    assert inbox.put(stored)
    arrived = inbox.arrived("batch_1")
    name = "run_1~PROCESSED~20261127T050000000000Z~event_1.json.gz"
    assert arrived == {"run_1": Arrived("run_1", "PROCESSED", "20261127T050000000000Z", (name,))}
    assert arrived["run_1"].settled
    delivered = inbox.read("batch_1", arrived["run_1"])
    assert (delivered.event_id, delivered.event_type) == ("event_1", "workflow_run.completed")
    assert (delivered.received, delivered.api_version) == (stored.received, "2026-02-09")
    assert (delivered.run.id, delivered.run.status, delivered.run.metadata) == (
        "run_1",
        "PROCESSED",
        {"key": "k1"},
    )
    assert delivered.run.received == stored.received
    assert inbox.arrived("batch_2") == {}


def test_the_same_event_again_is_kept_once(inbox: Inbox) -> None:
    assert [inbox.put(event()) for _ in range(3)] == [True, False, False]
    (arrived,) = inbox.arrived("batch_1").values()
    assert len(arrived.names) == 1


def test_of_many_deliveries_at_once_one_is_the_first(inbox: Inbox) -> None:
    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(lambda _: inbox.put(event()), range(16))) == 1


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_decision_beats_a_review_in_any_order(disk: Inbox, order: tuple[int, ...]) -> None:
    sent = [
        event(status="NEEDS_REVIEW", event_id="event_1", updatedAt="2026-11-27T01:00:00Z"),
        event(status="NEEDS_REVIEW", event_id="event_2", updatedAt="2026-11-27T03:00:00Z"),
        event(status="REJECTED", event_id="event_3", updatedAt="2026-11-27T02:00:00Z"),
    ]
    for index in order:
        disk.put(sent[index])
    (arrived,) = disk.arrived("batch_1").values()
    assert arrived.status == "REJECTED"
    assert [name.split("~")[1] for name in arrived.names] == ["REJECTED", "NEEDS_REVIEW", "NEEDS_REVIEW"]
    assert disk.read("batch_1", arrived).run.status == "REJECTED"


def test_of_two_decisions_the_later_one_counts(disk: Inbox) -> None:
    for event_id, status, updated in (
        ("event_1", "PROCESSED", "2026-11-27T03:00:00.002Z"),
        ("event_2", "FAILED", "2026-11-27T03:00:00.001Z"),
        ("event_3", "CANCELLED", None),
    ):
        disk.put(event(status=status, event_id=event_id, updatedAt=updated))
    assert disk.arrived("batch_1")["run_1"].status == "PROCESSED"


@pytest.mark.parametrize("status", ["PROCESSING", "ARCHIVED"])
def test_a_run_at_work_has_not_settled(disk: Inbox, status: str) -> None:
    disk.put(event(status=status, updatedAt="2026-11-27T09:00:00Z"))
    assert not disk.arrived("batch_1")["run_1"].settled
    disk.put(event(event_id="event_2"))
    assert disk.arrived("batch_1")["run_1"].status == "PROCESSED"


def test_runs_without_a_batch_have_a_place_of_their_own(inbox: Inbox) -> None:
    inbox.put(event(batchId=None))
    assert set(inbox.arrived(None)) == {"run_1"}
    assert list(inbox.batches()) == []


def test_the_longest_names_fit(inbox: Inbox) -> None:
    longest = event("r" * 128, "A" * 24, "e" * 128, batchId="b" * 128)
    assert inbox.put(longest)
    assert not inbox.put(longest)
    (arrived,) = inbox.arrived("b" * 128).values()
    assert inbox.read("b" * 128, arrived).event_id == "e" * 128


def test_only_what_is_named_is_removed(inbox: Inbox) -> None:
    inbox.put(event("run_1"))
    inbox.put(event("run_2", event_id="event_2"))
    seen = inbox.arrived("batch_1")
    inbox.put(event("run_1", "NEEDS_REVIEW", event_id="event_3"))  # while the batch lands
    inbox.remove("batch_1", [name for arrived in seen.values() for name in arrived.names])
    assert {run_id: each.status for run_id, each in inbox.arrived("batch_1").items()} == {
        "run_1": "NEEDS_REVIEW"
    }
    inbox.remove("batch_1", seen["run_1"].names)  # a load that runs again
    inbox.remove("batch_1", [])
    inbox.remove("batch_1", inbox.arrived("batch_1")["run_1"].names)
    assert list(inbox.batches()) == []
    with pytest.raises(FileNotFoundError):
        inbox.read("batch_1", seen["run_1"])


def test_a_batch_that_has_landed_leaves_nothing(disk: Inbox) -> None:
    disk.put(event())
    disk.remove("batch_1", disk.arrived("batch_1")["run_1"].names)
    assert sorted(path.name for path in Path(disk.address.removeprefix("file://")).rglob("*")) == [
        "partial",
        "runs",
    ]
    assert disk.put(event())


def test_no_event_is_lost_while_the_empty_folder_is_removed(disk: Inbox) -> None:
    disk.put(event())
    folder = Path(disk.address.removeprefix("file://")) / "runs" / "batch_1"
    done = threading.Event()

    def land() -> None:
        while not done.is_set():
            disk.remove("batch_1", [])

    disk.remove("batch_1", disk.arrived("batch_1")["run_1"].names)
    assert not folder.exists()
    landing = threading.Thread(target=land)
    landing.start()
    try:
        for number in range(50):
            assert disk.put(event(f"run_{number}", event_id=f"event_{number}"))
            disk.remove("batch_1", disk.arrived("batch_1")[f"run_{number}"].names)
    finally:
        done.set()
        landing.join()


def test_the_batches_come_with_the_time_of_their_newest_event(inbox: Inbox) -> None:
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=2)
    inbox.put(event(batchId="batch_2"))
    inbox.put(event())
    inbox.put(event("run_2", event_id="event_2"))
    found = dict(inbox.batches())
    assert set(found) == {"batch_1", "batch_2"}
    assert all(before < moment <= dt.datetime.now(dt.UTC) + DAY for moment in found.values())


def test_what_is_old_and_of_no_batch_at_work_is_swept(inbox: Inbox) -> None:
    for batch_id in ("batch_1", "batch_2", None):
        inbox.put(event(batchId=batch_id))
    inbox.put(UnknownEvent("event_9", "agent_run.processed", b"{}"))
    asked: list[str] = []

    def at_work(batch_id: str) -> bool:
        asked.append(batch_id)
        return batch_id == "batch_2"

    now = dt.datetime.now(dt.UTC)
    assert inbox.sweep(now - DAY, at_work) == 0
    assert asked == []
    assert inbox.sweep(now + DAY, at_work) == 3
    assert sorted(asked) == ["batch_1", "batch_2"]
    assert [batch_id for batch_id, _ in inbox.batches()] == ["batch_2"]
    assert inbox.arrived(None) == {}


def test_an_unknown_event_is_kept_apart_and_once(disk: Inbox) -> None:
    unknown = UnknownEvent("event_9", "agent_run.processed", b'{"eventId": "event_9"}')
    assert [disk.put(unknown), disk.put(unknown)] == [True, False]
    assert files(disk) == ["unknown/event_9.json.gz"]
    stored = gzip.decompress(
        (Path(disk.address.removeprefix("file://")) / "unknown/event_9.json.gz").read_bytes()
    )
    assert stored.endswith(b'\n{"eventId": "event_9"}')


def test_foreign_files_are_neither_runs_nor_swept(disk: Inbox) -> None:
    disk.put(event())
    runs = Path(disk.address.removeprefix("file://")) / "runs"
    for name in ("batch_1/notes.txt", "batch_1/.run_1~PROCESSED~0~e.json.gz.part", "notes.txt"):
        (runs / name).write_text("x")
    assert set(disk.arrived("batch_1")) == {"run_1"}
    assert [batch_id for batch_id, _ in disk.batches()] == ["batch_1"]
    assert disk.sweep(dt.datetime.now(dt.UTC) + DAY, lambda _: False) == 1
    assert (runs / "batch_1/notes.txt").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no gzip",
        gzip.compress(b"no json\n{}"),
        gzip.compress(b"{}\n{}"),
        gzip.compress(b'{"version":1}\n{}'),
    ],
    ids=["empty", "no gzip", "no json", "no version", "no event"],
)
def test_an_object_that_cannot_be_read_is_an_error_and_not_absent(disk: Inbox, content: bytes) -> None:
    disk.put(event())
    arrived = disk.arrived("batch_1")["run_1"]
    (Path(disk.address.removeprefix("file://")) / "runs/batch_1" / arrived.names[0]).write_bytes(content)
    with pytest.raises(UnreadableEventError, match="asked for instead"):
        disk.read("batch_1", arrived)


def test_a_newer_format_says_that_a_newer_release_is_needed(disk: Inbox) -> None:
    disk.put(event())
    arrived = disk.arrived("batch_1")["run_1"]
    path = Path(disk.address.removeprefix("file://")) / "runs/batch_1" / arrived.names[0]
    path.write_bytes(gzip.compress(b'{"version": 2}\n{}'))
    with pytest.raises(ExtendError, match="newer release"):
        disk.read("batch_1", arrived)


def test_an_id_that_is_none_is_refused(disk: Inbox) -> None:
    with pytest.raises(ValueError, match=r"'\.\./batch_1'"):
        disk.arrived("../batch_1")


def test_a_place_that_cannot_be_written_to_shows_nothing(tmp_path: Path) -> None:
    (tmp_path / "inbox").write_text("a file where the folder should be")
    with pytest.raises(OSError):
        Inbox(f"file://{tmp_path}/inbox").put(event())


WRITER = """
import sys
from extend_provider.webhooks.inbox.events import RunEvent
from extend_provider.webhooks.inbox.store import Inbox
inbox = Inbox(sys.argv[1])
text = b'{"id": "r", "status": "PROCESSED", "text": "' + b"x" * 2_000_000 + b'"}'
print("ready", flush=True)
for number in range(100_000):
    run = (f"r{number}", "PROCESSED", None, {}, text)
    inbox.put(RunEvent(f"e{number}", "workflow_run.completed", "2026-02-09", "b", *run))
"""


def test_a_writer_that_is_killed_leaves_whole_events_only(disk: Inbox) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, disk.address], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        deadline = time.monotonic() + 60
        while len(disk.arrived("b")) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        writer.kill()
    arrived = disk.arrived("b")
    assert len(arrived) >= 5
    for each in arrived.values():
        assert len(disk.read("b", each).received) > 2_000_000
    disk.sweep(dt.datetime.now(dt.UTC) + DAY, lambda _: False)
    assert files(disk) == []


def test_one_listing_tells_how_far_a_batch_in_s3_is(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = s3.bucket("acme-workspace")
    monkeypatch.setenv("AIRFLOW_CONN_AWS_INBOX", s3.connection_json())
    inbox = Inbox(f"s3://aws_inbox@{bucket}/inbox")
    for number in range(12):
        inbox.put(event(f"run_{number}", event_id=f"event_{number}"))
    s3.requests()
    assert len(inbox.arrived("batch_1")) == 12
    assert sum(s3.requests().values()) == 1
    # Another process has stored one meanwhile: no listing is remembered.
    s3.put(bucket, "inbox/runs/batch_1/run_99~FAILED~0~event_99.json.gz", b"")
    assert inbox.arrived("batch_1")["run_99"].status == "FAILED"
