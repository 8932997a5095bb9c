"""Replay: which parts are left, in which order they land, and what an interruption or a damaged file does."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from extend_pipeline.__main__ import main
from extend_pipeline.exceptions import PipelineInputError, PipelineOutcomeError
from extend_pipeline.planning.replay import (
    check_whole,
    forget,
    not_landed,
    parts_of,
    replay,
    whole_parts,
)
from extend_pipeline.storage import raw_index, raw_zone
from extend_pipeline.storage.raw_index import Entry
from extend_pipeline.storage.raw_zone import RawPart
from extend_pipeline.warehouse.records import LandingPolicy, Provenance, WarehouseError
from fixtures.pipeline.raw_parts import entered, entered_run, place_of, rebuilt, settings
from fixtures.warehouse.files import contents, query, warehouse
from fixtures.warehouse.runs import INVOICE, WORKFLOW, document, extract_step, raw_lines, run

DOUBT = {"invoice_number": {"ocrConfidence": 0.2}}
HOLD = LandingPolicy(0.8, hold=True)


def doubtful(number: int, **changes: Any) -> dict[str, Any]:
    return run(document(number), steps=[extract_step(INVOICE, metadata=DOUBT)], **changes)


def decided(number: int, decision: str, at: str) -> bytes:
    (line,) = raw_lines(doubtful(number))
    return raw_zone.with_decision(line, decision, {"by": "jane", "at": at})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace and a warehouse with parts that build on each other; tests only read them.

    A document is held back, approved, rejected, approved again.
    """
    tmp_path = tmp_path_factory.mktemp("landed")
    land_parts(tmp_path)
    return tmp_path


@pytest.fixture
def landed(home: Path) -> Path:
    return home / "warehouse.duckdb"


def land_parts(tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    skipped = document(9, status="SKIPPED", reason="EMPTY_FILE")
    waiting = run(document(2), status="NEEDS_REVIEW")
    reviewed = run(
        document(2), reviewed=True, reviewedAt="2026-11-22T09:00:00Z", updatedAt="2026-11-22T09:00:00Z"
    )
    part = entered(
        tmp_path, "part-00000", [document(1), document(2), document(3)],
        raw_lines(doubtful(1), waiting, doubtful(3)), policy=HOLD,
    )  # fmt: skip
    with warehouse(file) as opened:
        raw_index.land(opened, part)
        for name, documents, lines in (
            ("unsent", [skipped], []),
            ("approved", [document(1)], [decided(1, "APPROVED", "2026-11-22T10:00:00+00:00")]),
            ("review", [document(2)], raw_lines(reviewed)),
            ("rejected", [document(1)], [decided(1, "REJECTED", "2026-11-22T11:00:00+00:00")]),
            ("approved again", [document(1)], [decided(1, "APPROVED", "2026-11-22T12:00:00+00:00")]),
        ):
            raw_index.land(opened, entered(tmp_path, name, documents, lines, counted=not lines))


def test_rebuilt_tables_equal_the_old_ones_whatever_order_the_parts_are_found_in(
    tmp_path: Path, home: Path, landed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert query(
        landed, "SELECT approval, approval_by, approval_at::DATE::TEXT FROM documents ORDER BY name"
    ) == [
        ("APPROVED", "jane", "2026-11-22"),
        (None, None, None),
        ("WAITING", None, None),
        (None, None, None),
    ]
    before = contents(landed)
    before.pop("loads")
    original = LocalFileSystem.find

    def shuffled(self: Any, path: str, **options: Any) -> Any:
        found = list(original(self, path, **options))
        random.Random(seed).shuffle(found)
        return found

    monkeypatch.setattr(LocalFileSystem, "find", shuffled)
    ledgers = []
    for seed in range(2):
        after = rebuilt(home, tmp_path / f"rebuilt-{seed}.duckdb", parts_of(settings(home)))
        ledgers.append(after.pop("loads"))
        assert after == before
    assert all(ledger == ledgers[0] for ledger in ledgers)


def test_the_latest_decision_counts_in_any_order_of_landing(tmp_path: Path, home: Path, landed: Path) -> None:
    entries = parts_of(settings(home))
    backwards = [entries[0], *reversed(entries[1:])]
    rebuilt(home, tmp_path / "backwards.duckdb", backwards)
    state = "SELECT name, approval, approval_at FROM documents ORDER BY name"
    assert query(tmp_path / "backwards.duckdb", state) == query(landed, state)


def test_credits_are_counted_once_and_a_rebuild_counts_the_same(
    tmp_path: Path, home: Path, landed: Path
) -> None:
    total = "SELECT sum(credits)::DOUBLE FROM loads"
    assert query(landed, total) == [(7.5,)]  # of three runs, two of which have landed several times
    rebuilt(home, tmp_path / "rebuilt.duckdb", parts_of(settings(home)))
    assert query(tmp_path / "rebuilt.duckdb", total) == [(7.5,)]


def test_a_landing_tells_how_many_documents_are_held_back(tmp_path: Path) -> None:
    documents = [document(number) for number in (1, 2, 3)]
    lines = raw_lines(doubtful(1), run(document(2)), doubtful(3))
    with warehouse(tmp_path / "held.duckdb") as opened:
        landing = raw_index.land(opened, entered(tmp_path, "held", documents, lines, policy=HOLD))
        assert (landing.held, landing.credits) == (2, 7.5)
        line = decided(1, "APPROVED", "2026-11-22T10:00:00+00:00")
        again = entered(tmp_path, "approved", [document(1)], [line], counted=False)
        approved = raw_index.land(opened, again)
        assert (approved.held, approved.credits) == (0, 0.0)


def test_a_replay_over_complete_tables_changes_nothing(tmp_path: Path, home: Path, landed: Path) -> None:
    before = contents(landed)
    entries = parts_of(settings(home))
    again = tmp_path / "again.duckdb"
    shutil.copy(landed, again)
    with warehouse(again) as opened:
        assert not_landed(entries, set(opened.landed_parts())) == []
        forget(opened, entries)
        assert list(opened.landed_parts()) == []
        replay(opened, not_landed(entries, whole_parts(opened)), settings(home))
    after = contents(again)
    before.pop("loads")
    after.pop("loads")
    assert after == before


def part(name: str, **changes: Any) -> Entry:
    origin = Provenance(workflow_id=WORKFLOW, raw_uri=name)
    return Entry(
        part=RawPart(name, None, 1, 1, 1),
        dataset="d",
        warehouse_conn_id="w",
        provenance=origin,
        **changes,
    )


@pytest.mark.parametrize(
    ("known", "left"),
    [
        pytest.param("", "abNcdM", id="nothing has landed"),
        pytest.param("ab", "NcdM", id="interrupted before a note"),
        pytest.param("abc", "dM", id="interrupted"),
        pytest.param("d", "abNcdM", id="dropped, and a pipeline went on"),
        pytest.param("acd", "bNcdM", id="one is missing"),
        pytest.param("abcd", "M", id="only the last note may be missing"),
    ],
)
def test_parts_are_left_to_land_from_the_first_that_has_not_landed(known: str, left: str) -> None:
    # Parts a to d; N and M tell of deleted runs.
    entries = [part(name, deleted="gone" if name.isupper() else None) for name in "abNcdM"]
    assert "".join(entry.part.uri for entry in not_landed(entries, set(known))) == left


def test_a_raw_zone_without_the_dataset_is_named(tmp_path: Path, home: Path) -> None:
    with pytest.raises(
        PipelineInputError, match=r"no part .* 'other' .* parts of: extend \(warehouse_test\)"
    ):
        parts_of(settings(home, dataset="other"))
    with pytest.raises(PipelineInputError, match="It has parts of: none"):
        parts_of(settings(tmp_path / "elsewhere"))


@pytest.mark.parametrize("damage", ["gone", "cut short", "changed"])
def test_a_damaged_part_stops_the_replay_and_is_named(
    tmp_path: Path, home: Path, landed: Path, damage: str
) -> None:
    entries = parts_of(settings(home))
    file = Path(entries[1].part.uri.removeprefix("file://").replace(".jsonl.gz", ".documents.jsonl.gz"))
    whole = file.read_bytes()
    file.write_bytes({"cut short": whole[:-9], "changed": b"\0" * len(whole)}.get(damage, b""))
    if damage == "gone":
        file.unlink()
    other = tmp_path / "other.duckdb"
    try:
        with (
            warehouse(other) as opened,
            pytest.raises(PipelineOutcomeError, match=r"unsent.jsonl.gz .* is damaged"),
        ):
            replay(opened, entries, settings(home))
    finally:
        file.write_bytes(whole)
    assert query(other, "SELECT count(*) FROM loads") == [(1,)]
    with warehouse(other) as opened:
        left = not_landed(entries, whole_parts(opened))
        assert len(left) == len(entries) - 1
        replay(opened, left, settings(home))
    assert query(other, "SELECT count(*) FROM documents") == [(4,)]


def test_a_killed_replay_continues_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "warehouse.duckdb"
    for number in range(5):
        entered_run(tmp_path, number)
    connection = json.dumps({"conn_type": "duckdb", "host": str(file)})
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_TEST", connection)
    place = ("--workspace", f"file://{tmp_path}/workspace", "--warehouse-conn-id", "warehouse_test")
    script = """
        import os, signal, sys
        from extend_pipeline.cli import replay
        from extend_pipeline.__main__ import main

        landing = replay.replay
        def killed(warehouse, entries, settings, done):
            landed = []
            def die(entry, refused):
                landed.append(entry)
                if len(landed) == 3:
                    os.kill(os.getpid(), signal.SIGKILL)
            return landing(warehouse, entries, settings, die)
        replay.replay = killed
        sys.exit(main(sys.argv[1:]))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), "replay", *place]
    killed = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert query(file, "SELECT count(*) FROM loads") == [(3,)]
    with warehouse(file) as opened, pytest.raises(WarehouseError, match="was interrupted"):
        check_whole(opened, **place_of(tmp_path))

    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")  # as the command sets it, but not for good
    assert main(["replay", *place, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "In the raw zone: 5 parts, 5 documents, 5 runs" in shown
    assert "To be landed: 2 parts, 2 documents, 2 runs" in shown
    assert main(["replay", *place]) == 0
    told = capsys.readouterr().out
    assert "2 parts with 2 documents and 2 runs have landed in extend.warehouse_test" in told
    assert contents(file) == rebuilt(tmp_path, tmp_path / "whole.duckdb", parts_of(settings(tmp_path)))
    with warehouse(file) as opened:
        check_whole(opened, **place_of(tmp_path))

    assert main(["replay", *place, "--dataset", "other"]) == 1
    assert "has no part that landed in dataset 'other'" in capsys.readouterr().err
