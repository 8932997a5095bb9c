"""The raw zone: what Extend answered byte for byte, whole or not there, with all that it takes to land it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from extend_pipeline.batches.collection import collect
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.storage.raw_index import Entry, enter, land, note_deleted, read_index
from extend_pipeline.storage.raw_zone import RawPart, part_path, run_line, with_decision, write_part
from extend_pipeline.warehouse.records import LandingPolicy, Provenance
from extend_provider.hooks.extend import ExtendAsyncHook
from fixtures.extend.scripted_server import Reply, ScriptedServer
from fixtures.sources.s3 import S3
from fixtures.warehouse.files import query, warehouse
from fixtures.warehouse.runs import WORKFLOW, document, raw_lines, run

#: A run as nobody would write it, and as somebody may: every byte counts.
AWKWARD = (
    b'{"status": "PROCESSED", "id":"run_1", "zero":-0.0, "total":1.10, "large":1e400, "total":2.50,\r\n'
    b'\t"iban":123456789012345678901234567890, "path":"a\\/b\\u00e9\\ud83d \xff", "batchId":"batch_1",'
    b' "metadata":{"document_id":"%s"}}'
) % document(1).id.encode()


@pytest.fixture(params=["disk", "s3"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "disk":
        return f"file://{tmp_path}/workspace"
    s3: S3 = request.getfixturevalue("s3")
    monkeypatch.setenv("AIRFLOW_CONN_WORKSPACE_S3", s3.connection_json())
    return f"s3://workspace_s3@{s3.bucket('workspace')}/extend"


def path(workspace: str, name: str = "part-00000", **place: Any) -> ObjectStoragePath:
    usual = {"pipeline": "dag.group", "workflow_id": WORKFLOW, "version": None, "batch": "batch_1"}
    return part_path(workspace, name=name, **{**usual, **place})


def entry(part: RawPart, **changes: Any) -> Entry:
    origin = Provenance(workflow_id=WORKFLOW, batch_id=part.batch_id, dag_id="dag", extend_conn_id="extend")
    given = {"dataset": "extend", "warehouse_conn_id": "warehouse", "provenance": origin, **changes}
    return Entry(part=part, **given)


def content(part: RawPart) -> bytes:
    return gzip.decompress(Path(part.uri.removeprefix("file://")).read_bytes())


@pytest.mark.parametrize("api_version", ["2026-02-09", "2025-04-21"])
def test_a_run_is_collected_byte_for_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_version: str
) -> None:
    old = api_version == "2025-04-21"
    listed = [{"id": "run_1", "status": "PROCESSED", "batchId": "batch_1"}]
    listing = {"success": True, "workflowRuns": listed} if old else {"data": listed}
    body = b'{"success":true, "workflowRun" :%s }' % AWKWARD if old else AWKWARD
    destination = path(f"file://{tmp_path}")
    with ScriptedServer(Reply(body=listing), Reply(body=body)) as server:
        connection = {"conn_type": "extend", "host": server.url, "password": "k"}
        extra = {"api_version": api_version}
        monkeypatch.setenv("AIRFLOW_CONN_EXTEND_RAW", json.dumps({**connection, "extra": extra}))
        part = collect(ExtendAsyncHook("extend_raw"), "batch_1", [document(1)], destination, expected=1)

    line = content(part)
    # A line of the file is a line: between values, a line's end is a space like any other.
    received = AWKWARD.replace(b"\r\n", b"  ")
    assert line == b'{"api_version":"%s","run":%s}\n' % (api_version.encode(), received)
    assert (part.documents, part.runs, part.batch_id) == (1, 1, "batch_1")
    assert part.size_bytes == Path(part.uri.removeprefix("file://")).stat().st_size

    file = tmp_path / "warehouse.duckdb"
    with warehouse(file) as opened:
        landing = land(opened, enter(entry(part)))
    assert landing.by_status == {"PROCESSED": 1}


def test_a_decision_leaves_the_bytes_of_the_run_alone() -> None:
    line = run_line("2026-02-09", AWKWARD)
    decided = with_decision(line, "APPROVED", {"by": "jäne", "at": "2026-11-22T09:00:00+00:00"})
    assert decided.startswith(line[:-2])
    assert decided.count(b"\n") == 1
    record = json.loads(decided.decode("utf-8", "replace"))
    assert record["approval"] == "APPROVED"
    assert record["decided"] == {"by": "jäne", "at": "2026-11-22T09:00:00+00:00"}


def test_an_entry_has_everything_needed_to_land_its_part(workspace: str, tmp_path: Path) -> None:
    documents = [document(1), document(2, status="SKIPPED", reason="EMPTY_FILE", message="It is empty.")]
    part = write_part(path(workspace, version="7"), "batch_1", documents, raw_lines(run(document(1))))
    origin = Provenance(
        workflow_id=WORKFLOW, version="7", batch_id="batch_1", repetition="again", dag_id="dag",
        run_id="manual", task_id="group.chunk.load", map_index=3, extend_conn_id="extend", counted=False,
    )  # fmt: skip
    policy = LandingPolicy(0.8, hold=True, schema_contract="discard")
    entered = enter(entry(part, provenance=origin, policy=policy))

    (found,) = read_index(workspace)
    assert found == entered
    assert found.provenance == dataclasses.replace(
        origin, raw_uri=part.uri, landed_at=entered.provenance.landed_at
    )
    assert list(found.part.read_documents()) == documents
    assert list(found.part.read_lines()) == raw_lines(run(document(1)))
    assert part.uri.endswith(f"/raw/dag.group/{WORKFLOW}/7/batch_1/part-00000.jsonl.gz")


def test_the_same_part_is_the_same_file_and_keeps_its_place_in_the_order(workspace: str) -> None:
    first = write_part(path(workspace, "one"), "batch_1", [document(1)], raw_lines(run(document(1))))
    second = write_part(path(workspace, "two"), "batch_1", [document(1)], raw_lines(run(document(1))))
    before = enter(entry(first))
    enter(entry(second))
    bytes_before = ObjectStoragePath(first.uri).read_bytes()
    assert write_part(path(workspace, "one"), "batch_1", [document(1)], raw_lines(run(document(1)))) == first
    assert ObjectStoragePath(first.uri).read_bytes() == bytes_before
    again = enter(entry(first))

    found = read_index(workspace)
    assert [each.part for each in found] == [first, second]
    assert again.first_landed_at == before.first_landed_at
    assert isinstance(again.provenance.landed_at, dt.datetime)
    assert isinstance(before.provenance.landed_at, dt.datetime)
    assert again.provenance.landed_at > before.provenance.landed_at


def test_a_part_that_failed_half_way_is_not_there(workspace: str) -> None:
    def lines() -> Iterator[bytes]:
        yield from raw_lines(run(document(1)))
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        write_part(path(workspace), "batch_1", [document(1)], lines())
    home = ObjectStoragePath(workspace)
    assert [file for file in home.rglob("*") if file.is_file()] == []
    assert read_index(workspace) == []


def test_a_killed_writer_leaves_no_part_and_the_one_before_whole(tmp_path: Path) -> None:
    """The writer is killed after thousands of lines: what was there stays, what was begun is never read."""
    workspace = f"file://{tmp_path}/workspace"
    before = write_part(path(workspace), "batch_1", [document(1)], raw_lines(run(document(1))))
    enter(entry(before))
    kept = content(before)
    script = """
        import os, signal, sys
        from airflow.sdk import ObjectStoragePath
        from fixtures.warehouse.runs import document, many_lines
        from extend_pipeline.storage.raw_zone import PartWriter

        for uri in sys.argv[1:]:
            writer = PartWriter(ObjectStoragePath(uri), "batch_1").__enter__()
            for line in many_lines(300):
                writer.add_document(document(1))
                writer.add_run(line)
            writer._run_file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    files = [str(path(workspace, name)) for name in ("part-00000", "part-00001")]
    command = [sys.executable, "-c", textwrap.dedent(script), *files]
    assert subprocess.run(command, env=environment, timeout=300, check=False).returncode == -signal.SIGKILL

    left = [file.name for file in Path(tmp_path).rglob("*") if file.is_file() and file.stat().st_size]
    assert any(name.startswith(".part-00001") for name in left), "the writer had written something"
    assert content(before) == kept
    assert [each.part for each in read_index(workspace)] == [before]
    assert not ObjectStoragePath(str(path(workspace, "part-00001"))).exists()


def test_the_index_is_read_in_the_order_of_landing_whatever_the_names(workspace: str) -> None:
    names = [f"part-{number}" for number in range(6)]
    random.Random(3).shuffle(names)
    for name in names:
        enter(entry(write_part(path(workspace, name), None, [document(1)])))
    assert [Path(each.part.uri).name for each in read_index(workspace)] == [f"{n}.jsonl.gz" for n in names]


def test_an_unreadable_entry_is_named(workspace: str) -> None:
    part = write_part(path(workspace), None, [document(1)])
    enter(entry(part))
    broken = ObjectStoragePath(part.uri.replace(".jsonl.gz", ".json"))
    broken.write_bytes(b'{"part": {}')
    with pytest.raises(PipelineInputError, match=r"part-00000.json cannot be read .*JSONDecodeError"):
        read_index(workspace)


def test_deleted_runs_land_as_a_part(tmp_path: Path) -> None:
    workspace, file = f"file://{tmp_path}/workspace", tmp_path / "warehouse.duckdb"
    waiting = run(document(1), status="NEEDS_REVIEW")
    part = write_part(path(workspace), "batch_1", [document(1)], raw_lines(waiting))
    line = json.dumps({"run_id": waiting["id"]}).encode() + b"\n"
    gone = write_part(path(workspace, "gone"), "batch_1", [document(1)], [line])
    with warehouse(file) as opened:
        land(opened, enter(entry(part)))
        assert note_deleted(opened, enter(entry(gone, deleted="It is gone."))) == 1
    assert query(file, "SELECT status, reason, message FROM documents") == [
        ("NEEDS_REVIEW", "RUN_DELETED", "It is gone.")
    ]
    assert [each.deleted for each in read_index(workspace)] == [None, "It is gone."]


def test_entries_are_in_the_order_in_which_parts_land(tmp_path: Path) -> None:
    workspace, file = f"file://{tmp_path}/workspace", tmp_path / "warehouse.duckdb"
    first, second = (
        write_part(path(workspace, name), "batch_1", [document(1)], raw_lines(run(document(1))))
        for name in ("first", "second")
    )

    def land_second() -> None:
        with warehouse(file) as opened:
            land(opened, entry(second), is_new=True)

    with ThreadPoolExecutor(1) as other:
        with warehouse(file) as opened:
            opened.counts()  # has the file
            waiting = other.submit(land_second)
            with pytest.raises(TimeoutError):
                waiting.result(1)
            land(opened, entry(first), is_new=True)
        waiting.result(60)
    assert [each.part for each in read_index(workspace)] == [first, second]
