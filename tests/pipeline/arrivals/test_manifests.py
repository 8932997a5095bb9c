"""Bundles in the workspace: whole, taken by one run, free again if that run is over, gone when landed."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from extend_pipeline.arrivals.bundling import Bundle
from extend_pipeline.arrivals.manifests import Bundles
from extend_pipeline.batches.reservations import Planner
from extend_pipeline.sources.objects import Located
from fixtures.sources.s3 import S3

NOW = dt.datetime(2026, 11, 27, 5, 6, 7, 891_000, dt.UTC).timestamp()
KEYS = ["a b+c.pdf", "*.pdf", "{x,y}/Ü.pdf", "a//b.pdf", "s3a://x/y.pdf"]
PLACES = [Located("s3://acme-inbox", key) for key in KEYS]


def run(name: str, plan: str = "1") -> Planner:
    return Planner(plan=plan, airflow="here", dag_id="extend_arrivals", run_id=name, group_id="g")


def active(*runs: str) -> Callable[[Planner, dt.datetime], bool]:
    return lambda planner, at: planner.run_id in runs


def names(bundles: list[Bundle]) -> list[str]:
    return [bundle.name for bundle in bundles]


@pytest.fixture(params=["file", "s3"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "file":
        return f"file://{tmp_path}/workspace"
    s3: S3 = request.getfixturevalue("s3")
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", s3.connection_json())
    return f"s3://aws_default@{s3.bucket('acme-data')}/extend"


@pytest.fixture
def bundles(tmp_path: Path) -> Bundles:
    return Bundles(f"file://{tmp_path}/workspace", "inbox")


def folder(tmp_path: Path) -> Path:
    return tmp_path / "workspace" / "arrivals" / "inbox"


def test_a_bundle_keeps_every_address_as_it_is(workspace: str) -> None:
    bundles = Bundles(workspace, "inbox")
    assert bundles.waiting() == []
    bundles.check_writable()
    written = bundles.write(PLACES, NOW)
    assert bundles.waiting() == [written]
    assert written == (written.name, len(KEYS), NOW)
    assert list(bundles.places(written.name)) == PLACES
    assert Bundles(workspace, "other").waiting() == []

    taken = Bundles(workspace, "inbox").take(run("a"), active("a"), most=1000)
    assert taken == [written]
    assert bundles.waiting() == []  # seen by the one that has listed before
    bundles.remove(names(taken))
    assert bundles.take(run("a"), active("a"), most=1000) == []
    assert list(bundles.places(written.name)) == []


def test_of_two_runs_at_once_each_bundle_has_one(bundles: Bundles, monkeypatch: pytest.MonkeyPatch) -> None:
    written = [bundles.write(PLACES, NOW + second) for second in range(4)]
    other = Bundles.__new__(Bundles)
    vars(other).update(vars(bundles))
    listed = bundles._list()
    monkeypatch.setattr(other, "_list", lambda: listed)  # it lists before the first one has taken any
    first = bundles.take(run("a"), active("a", "b"), most=2 * len(KEYS))
    second = other.take(run("b"), active("a", "b"), most=1000)
    assert names(first) == names(written[:2])
    assert names(second) == names(written[2:])


def test_what_an_active_run_has_taken_is_its_own_and_of_a_finished_one_is_free(
    bundles: Bundles,
) -> None:
    written = bundles.write(PLACES, NOW)
    asked: list[str] = []

    def is_active(planner: Planner, at: dt.datetime) -> bool:
        asked.append(planner.run_id)
        return len(asked) == 1

    bundles.write(PLACES, NOW + 1)
    assert len(bundles.take(run("a"), is_active, most=1000)) == 2
    assert bundles.take(run("b"), is_active, most=1000) == []
    assert asked == ["a"]  # once for all of its bundles
    assert written.name in names(bundles.take(run("b"), is_active, most=1000))
    assert bundles.take(run("c"), active("b"), most=1000) == []  # they are of b now


def test_a_cleared_task_takes_its_own_again(bundles: Bundles) -> None:
    written = bundles.write(PLACES, NOW)
    for plan in ("1", "2"):
        assert names(bundles.take(run("a", plan), active("a"), most=1000)) == [written.name]


def test_a_run_takes_the_oldest_up_to_its_bound_and_at_least_one(bundles: Bundles) -> None:
    later = bundles.write(PLACES, NOW + 1)
    first = bundles.write(PLACES, NOW)
    assert names(bundles.take(run("a"), active("a"), most=1)) == [first.name]
    assert names(bundles.waiting()) == [later.name]


@pytest.mark.parametrize("damage", ["", "[", json.dumps({"format": 99, "documents": []}), "{}"])
def test_a_damaged_bundle_or_one_of_a_newer_release_stops_no_other(
    bundles: Bundles, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = bundles.write(PLACES, NOW), bundles.write(PLACES, NOW + 1)
    (folder(tmp_path) / f"{bad.name}.json").write_text(damage)
    assert names(bundles.take(run("a"), active("a"), most=1000)) == [good.name]
    assert bad.name in caplog.text
    assert names(bundles.waiting()) == [bad.name]


def test_a_damaged_mark_stops_no_other(bundles: Bundles, tmp_path: Path) -> None:
    bad, good = bundles.write(PLACES, NOW), bundles.write(PLACES, NOW + 1)
    (folder(tmp_path) / f"{bad.name}.taken.json").write_text("[")
    assert names(bundles.take(run("a"), active("a"), most=1000)) == [good.name]


def test_a_bundle_that_is_removed_while_another_run_takes_is_left(
    bundles: Bundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = bundles.write(PLACES, NOW)
    listed: Any = bundles._list()
    monkeypatch.setattr(bundles, "_list", lambda: listed)
    bundles.remove([written.name])
    assert bundles.take(run("b"), active(), most=1000) == []


def test_other_files_in_the_folder_are_no_bundles(bundles: Bundles, tmp_path: Path) -> None:
    written = bundles.write(PLACES, NOW)
    for name in (".x.json", "readme.json", "20261127T050607891~x~0.json", "a.taken.json", "probe-1.tmp"):
        (folder(tmp_path) / name).write_text("{}")
    assert bundles.waiting() == [written]
