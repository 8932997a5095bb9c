"""A richer raw part is never replaced by a poorer one, and a damaged one is none."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from extend_pipeline.batches.collection import collect
from extend_pipeline.documents import Document
from extend_pipeline.storage.raw_index import Entry, enter
from extend_pipeline.storage.raw_zone import RawPart
from extend_pipeline.warehouse.records import Provenance
from extend_provider.exceptions import ExtendError
from extend_provider.hooks.extend import ExtendAsyncHook
from fixtures.extend.api import ExtendApi, running
from fixtures.extend.scripted_server import Reply, ScriptedServer
from fixtures.warehouse.runs import document

RUNS = 10
RUN = "GET /workflow_runs/{id}"
DOCUMENTS = [document(number) for number in range(RUNS)]


class Batch:
    """A batch of ten, and the place in the raw zone that it is collected into."""

    def __init__(self, api: ExtendApi, folder: Path) -> None:
        self.api = api
        inputs = [
            {"file": {"text": f"text {number}"}, "metadata": {"document_id": each.id}}
            for number, each in enumerate(DOCUMENTS)
        ]
        self.id = api.submit_batch(inputs)
        self.folder = folder / "raw"

    @property
    def file(self) -> Path:
        return self.folder / "part-00000.jsonl.gz"

    @property
    def documents_file(self) -> Path:
        return self.folder / "part-00000.documents.jsonl.gz"

    def collect(self, expected: int = RUNS, documents: list[Document] = DOCUMENTS) -> RawPart:
        destination = ObjectStoragePath(f"file://{self.file}")
        return collect(ExtendAsyncHook(), self.id, documents, destination, expected=expected)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line)["run"] for line in gzip.decompress(self.file.read_bytes()).splitlines()]

    def delete(self, *runs: dict[str, Any]) -> None:
        for run in runs:
            assert self.api.call("DELETE", f"/workflow_runs/{run['id']}").ok


@pytest.fixture
def batch(extend_api: ExtendApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", extend_api.connection_json())
    extend_api.configure(synthetic=True)
    return Batch(extend_api, tmp_path)


def refused(batch: Batch, skip: int = 0, status: int = 404) -> None:
    """All runs are listed, and but for the first ones they are not there."""
    batch.api.configure(
        faults=[{"endpoint": RUN, "kind": "error", "status": status, "skip": skip, "count": None}]
    )


@pytest.mark.parametrize(("status", "left"), [(404, 0), (410, 1)])
def test_listed_runs_that_do_not_exist_remove_nothing_from_a_part(
    batch: Batch, left: int, status: int
) -> None:
    batch.api.runs(batch.id)
    kept = batch.collect()
    before = batch.file.read_bytes()
    refused(batch, skip=left, status=status)
    for expected in (RUNS, 1):
        assert batch.collect(expected) == kept
    assert batch.file.read_bytes() == before


def test_a_connection_of_another_workspace_removes_nothing_from_a_part(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch.api.runs(batch.id)
    kept = batch.collect()
    with running() as elsewhere:
        monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", elsewhere.connection_json())
        assert batch.collect() == kept


@pytest.mark.parametrize("left", [0, 1])
def test_most_of_a_batch_never_lands_as_missing_because_listed_runs_do_not_exist(
    batch: Batch, left: int
) -> None:
    batch.api.runs(batch.id)
    refused(batch, skip=left)
    says = f"{RUNS - left} listed runs of batch .* do not exist, so Extend has {left} of its 10 runs"
    with pytest.raises(ExtendError, match=says) as failure:
        batch.collect()
    assert failure.value.retryable
    assert not batch.file.exists()


def test_a_few_listed_runs_that_do_not_exist_are_left_out(batch: Batch) -> None:
    batch.api.runs(batch.id)
    refused(batch, skip=RUNS - 3)
    assert batch.collect().runs == RUNS - 3


def test_a_part_takes_in_what_is_new_and_keeps_what_is_gone(batch: Batch) -> None:
    runs = batch.api.runs(batch.id)
    batch.api.configure(faults=[{"endpoint": RUN, "kind": "error", "status": 404, "count": 3}])
    assert batch.collect(RUNS - 3).runs == RUNS - 3
    kept = {run["id"] for run in batch.lines()}
    batch.api.configure(faults=[])
    batch.delete(next(run for run in runs if run["id"] in kept))
    part = batch.collect()
    assert part.runs == RUNS
    assert {run["id"] for run in batch.lines()} == {run["id"] for run in runs}
    assert len(batch.lines()) == RUNS
    assert part.size_bytes == batch.file.stat().st_size


def test_documents_that_only_the_kept_part_has_stay(batch: Batch) -> None:
    batch.api.runs(batch.id)
    batch.collect()
    extra = document(99, status="SKIPPED", reason="EMPTY_FILE", message="It is empty.")
    part = batch.collect(documents=[*DOCUMENTS[1:], extra])
    assert part.documents == RUNS + 1
    assert {each.id for each in part.read_documents()} == {each.id for each in (*DOCUMENTS, extra)}


def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *runs: dict[str, Any]) -> list[dict[str, Any]]:
    """Collect the same run as often as given, as it is each time; return what the part has after each."""
    destination = ObjectStoragePath(f"file://{tmp_path}/part-00000.jsonl.gz")
    found = []
    for run in runs:
        whole = {"id": "run_1", "batchId": "batch_1", "metadata": {}, **run}
        listing = {"data": [{"id": "run_1", "status": whole["status"], "batchId": "batch_1"}]}
        with ScriptedServer(Reply(body=listing), Reply(body=whole)) as server:
            connection = {"conn_type": "extend", "host": server.url, "password": "k"}
            monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", json.dumps(connection))
            part = collect(ExtendAsyncHook(), "batch_1", [], destination, expected=1)
        (line,) = part.read_lines()
        found.append(json.loads(line)["run"])
    return found


def extracted(**values: Any) -> dict[str, Any]:
    result = {"extractRun": {"id": "er_1", "status": "PROCESSED", "output": {"value": values}}}
    return {"stepRuns": [{"step": {"type": "EXTRACT"}, "status": "PROCESSED", "result": result}]}


REVIEW, PROCESSED = {"status": "NEEDS_REVIEW"}, {"status": "PROCESSED"}
RICH, POOR = {**PROCESSED, **extracted(total=1)}, {**PROCESSED, "stepRuns": []}
CORRECTED = {**PROCESSED, **extracted(total=2)}


@pytest.mark.parametrize(
    ("first", "second", "stays"),
    [
        pytest.param(REVIEW, PROCESSED, False, id="a reviewer has decided"),
        pytest.param(PROCESSED, REVIEW, True, id="an answer of before the decision"),
        pytest.param(PROCESSED, {"status": "PROCESSING"}, True, id="at work, as it was once"),
        pytest.param(RICH, POOR, True, id="the results have expired"),
        pytest.param(RICH, {"status": "CANCELLED"}, True, id="cancelled"),
        pytest.param(POOR, RICH, False, id="the results are there"),
        pytest.param(RICH, CORRECTED, False, id="corrected"),
        pytest.param({**RICH, "updatedAt": "2026-11-22T02:00:00Z"}, CORRECTED, True, id="older"),
    ],
)
def test_a_run_is_replaced_only_by_a_version_that_is_as_rich(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    first: dict[str, Any],
    second: dict[str, Any],
    stays: bool,
) -> None:
    one, two = scripted(tmp_path, monkeypatch, first, second)
    assert (one == two) == stays
    assert {key: two[key] for key in second} == second or stays


def truncated(batch: Batch) -> None:
    batch.file.write_bytes(batch.file.read_bytes()[:-40])


def no_gzip(batch: Batch) -> None:
    batch.file.write_bytes(b"<html>")


def bit_rot(batch: Batch) -> None:
    data = bytearray(batch.file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    batch.file.write_bytes(bytes(data))


def bad_json(batch: Batch) -> None:
    lines = gzip.decompress(batch.file.read_bytes()).splitlines(keepends=True)
    batch.file.write_bytes(gzip.compress(b"".join([*lines[:-1], lines[-1][:20] + b"\n"])))


def line_lost(batch: Batch) -> None:
    lines = gzip.decompress(batch.file.read_bytes()).splitlines(keepends=True)
    batch.file.write_bytes(gzip.compress(b"".join(lines[1:])))


def line_doubled(batch: Batch) -> None:
    lines = gzip.decompress(batch.file.read_bytes()).splitlines(keepends=True)
    batch.file.write_bytes(gzip.compress(b"".join([*lines, lines[0]])))


def documents_truncated(batch: Batch) -> None:
    batch.documents_file.write_bytes(batch.documents_file.read_bytes()[:-20])


def documents_gone(batch: Batch) -> None:
    batch.documents_file.unlink()


def documents_of_another(batch: Batch) -> None:
    batch.documents_file.write_bytes(gzip.compress(document(99).to_json() + b"\n"))


def documents_are_none(batch: Batch) -> None:
    batch.documents_file.write_bytes(gzip.compress(b'{"uri": 1}\n'))


@pytest.mark.parametrize(
    "damage",
    [
        truncated, no_gzip, bit_rot, bad_json, line_lost, line_doubled,
        documents_truncated, documents_gone, documents_of_another, documents_are_none,
    ],
)  # fmt: skip
def test_a_damaged_part_counts_as_absent_and_is_collected_again(
    batch: Batch, damage: Callable[[Batch], None], caplog: pytest.LogCaptureFixture
) -> None:
    batch.api.runs(batch.id)
    whole = batch.collect()
    origin = Provenance(workflow_id="workflow", batch_id=batch.id, dag_id="dag", extend_conn_id="extend")
    enter(Entry(part=whole, dataset="extend", warehouse_conn_id="warehouse", provenance=origin))
    damage(batch)
    refused(batch)  # nothing of it is taken for the batch, if Extend has no more
    with pytest.raises(ExtendError, match="Nothing of the batch was collected"):
        batch.collect()
    batch.api.configure(faults=[])
    with caplog.at_level(logging.WARNING):
        part = batch.collect()
    assert "is damaged" in caplog.text
    assert (part.runs, part.documents) == (RUNS, RUNS)
    assert len({run["id"] for run in batch.lines()}) == RUNS
    assert len(list(part.read_documents())) == RUNS


def test_a_part_that_was_collected_again_and_has_not_landed_yet_is_not_damaged(batch: Batch) -> None:
    batch.api.runs(batch.id)
    whole = batch.collect()
    origin = Provenance(workflow_id="workflow", batch_id=batch.id, dag_id="dag", extend_conn_id="extend")
    fewer = RawPart(whole.uri, batch.id, documents=RUNS, runs=RUNS - 1, size_bytes=1)
    enter(Entry(part=fewer, dataset="extend", warehouse_conn_id="warehouse", provenance=origin))
    refused(batch)
    assert batch.collect() == whole
    ObjectStoragePath(whole.uri.replace(".jsonl.gz", ".json")).write_bytes(b"{")
    assert batch.collect() == whole
