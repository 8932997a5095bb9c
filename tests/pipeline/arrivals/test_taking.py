"""What a run takes of the arrivals: the same in each attempt, each document once, and when it ends."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from extend_pipeline.arrivals import taking
from extend_pipeline.arrivals.manifests import Bundles
from extend_pipeline.arrivals.taking import release_arrivals, take_arrivals
from extend_pipeline.batches.reservations import Planner
from extend_pipeline.planning.plan import Plan
from extend_pipeline.settings import Settings
from extend_pipeline.sources.objects import Located

RUN = Planner(plan="1", airflow="here", dag_id="extend_arrivals", run_id="a", group_id="g")


@dataclasses.dataclass
class Run:
    """A run of the DAG, with files as the documents."""

    folder: ObjectStoragePath
    settings: Settings
    bundles: Bundles
    files: Path

    def arrive(self, *names: str) -> None:
        self.files.mkdir(exist_ok=True)
        for name in names:
            (self.files / name).write_bytes(b"a document")
        places = [Located("file://", f"{self.files}/{name}".lstrip("/")) for name in names]
        self.bundles.write(places, 1.0)

    def take(self) -> list[str]:
        pieces = take_arrivals(self.folder, self.settings, RUN, lambda *_: True)
        return [Path(document.uri).name for piece in pieces for document in piece()]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    workspace = f"file://{tmp_path}/workspace"
    settings = Settings.from_rendered({"arrivals": "inbox", "workspace": workspace, "workflow_id": "w"})
    return Run(
        ObjectStoragePath(f"{workspace}/run"), settings, Bundles(workspace, "inbox"), tmp_path / "files"
    )


def test_each_document_is_taken_once_and_a_retry_takes_the_same(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "_IN_A_PIECE", 2)
    run.arrive("a.txt", "b.txt")
    run.arrive("b.txt", "c.txt")
    assert run.take() == ["a.txt", "b.txt", "c.txt"]
    run.arrive("d.txt")
    assert run.take() == ["a.txt", "b.txt", "c.txt"]
    assert sum(bundle.documents for bundle in run.bundles.waiting()) == 1


def test_a_run_takes_no_more_than_it_can_list(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "MOST_DOCUMENTS", 3)
    for number in range(4):
        run.arrive(f"{number}.txt", f"{number}+.txt")
    assert len(run.take()) == 2
    assert len(run.bundles.waiting()) == 3


def test_what_is_gone_is_left_out_and_no_line_of_the_log_is_forged(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    run.arrive("a.txt", "gone.txt")
    (run.files / "gone.txt").unlink()
    with caplog.at_level("INFO"):
        assert run.take() == ["a.txt"]
    assert "left out: file:///" in caplog.text
    assert "gone.txt." in caplog.text


@pytest.mark.parametrize(
    ("plan", "released"),
    [
        ({}, True),
        ({"already_landed": 1, "held": 2, "to_send": 3}, True),
        ({"unsent": Counter(EMPTY_FILE=1)}, True),
        ({"dry_run": True}, False),
        ({"refused": "too many"}, False),
        ({"beyond_limit": 1}, False),
        ({"beyond_map": 1}, False),
        ({"theirs": Counter({"run b": 1})}, False),
    ],
)
def test_bundles_end_when_every_document_of_theirs_has_landed(
    run: Run, plan: dict[str, Any], released: bool
) -> None:
    run.arrive("a.txt")
    assert run.take() == ["a.txt"]
    run.arrive("b.txt")
    release_arrivals(run.folder, run.settings, Plan(**plan))
    assert len(run.bundles._list()[0]) == (1 if released else 2)
    assert len(run.bundles.waiting()) == 1
