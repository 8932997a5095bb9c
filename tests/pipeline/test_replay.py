"""Replay: which parts are left, in which order they land, and what an interruption or a damaged file does."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import duckdb
import pytest
from airflow.sdk import ObjectStoragePath

from extend_pipeline import raw_zone
from extend_pipeline.documents import Document
from extend_pipeline.exceptions import PipelineInputError, PipelineOutcomeError
from extend_pipeline.raw_zone import Entry, RawPart, part_path, write_part
from extend_pipeline.replay import (
    ReplaySettings,
    begin,
    check_whole,
    end,
    forget,
    not_landed,
    parts_of,
    replay,
)
from extend_pipeline.warehouse import LandingPolicy, Provenance, WarehouseError
from pipeline.warehouse_files import contents, query, warehouse
from pipeline.warehouse_runs import INVOICE, WORKFLOW, document, extract_step, raw_lines, run

DOUBT = {"invoice_number": {"ocrConfidence": 0.2}}
HOLD = LandingPolicy(0.8, hold=True)


def settings(tmp_path: Path, **changes: Any) -> ReplaySettings:
    return ReplaySettings.from_rendered(
        {"workspace": f"file://{tmp_path}/workspace", "warehouse_conn_id": "warehouse_test", **changes}
    )


def entered(
    tmp_path: Path, name: str, documents: list[Document], lines: list[bytes], **changes: Any
) -> Entry:
    """Write a part and its entry."""
    place: Any = {"pipeline": "dag.group", "workflow_id": WORKFLOW, "version": None, "batch": "batch_1"}
    part = write_part(
        part_path(f"file://{tmp_path}/workspace", name=name, **place), "batch_1", documents, lines
    )
    origin = Provenance(workflow_id=WORKFLOW, batch_id="batch_1", counted=changes.pop("counted", True))
    given = {"dataset": "extend", "warehouse_conn_id": "warehouse_test", "provenance": origin, **changes}
    return raw_zone.enter(Entry(part=part, **given))


def doubtful(number: int, **changes: Any) -> dict[str, Any]:
    return run(document(number), steps=[extract_step(INVOICE, metadata=DOUBT)], **changes)


def decided(number: int, decision: str, at: str) -> bytes:
    (line,) = raw_lines(doubtful(number))
    return raw_zone.with_decision(line, decision, {"by": "jane", "at": at})


@pytest.fixture
def landed(tmp_path: Path) -> Path:
    """A warehouse with parts that build on each other: held back, approved, taken back, approved again."""
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
        raw_zone.land(opened, part)
        for name, documents, lines in (
            ("unsent", [skipped], []),
            ("approved", [document(1)], [decided(1, "APPROVED", "2026-11-22T10:00:00+00:00")]),
            ("review", [document(2)], raw_lines(reviewed)),
            ("rejected", [document(1)], [decided(1, "REJECTED", "2026-11-22T11:00:00+00:00")]),
            ("approved again", [document(1)], [decided(1, "APPROVED", "2026-11-22T12:00:00+00:00")]),
        ):
            raw_zone.land(opened, entered(tmp_path, name, documents, lines, counted=not lines))
    return file


def rebuilt(tmp_path: Path, name: str, entries: list[Entry]) -> dict[str, Any]:
    with warehouse(tmp_path / name) as opened:
        replay(opened, entries)
    return contents(tmp_path / name)


def test_what_is_rebuilt_equals_what_was_whatever_order_the_parts_are_found_in(
    tmp_path: Path, landed: Path, monkeypatch: pytest.MonkeyPatch
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
    original = ObjectStoragePath.rglob

    def shuffled(self: Any, pattern: str) -> Any:
        found = list(original(self, pattern))
        random.Random(seed).shuffle(found)
        return found

    monkeypatch.setattr(ObjectStoragePath, "rglob", shuffled)
    ledgers = []
    for seed in range(4):
        after = rebuilt(tmp_path, f"rebuilt-{seed}.duckdb", parts_of(settings(tmp_path)))
        ledgers.append(after.pop("loads"))
        assert after == before
    assert all(ledger == ledgers[0] for ledger in ledgers)


def test_a_decision_stands_by_its_time_whatever_lands_first(tmp_path: Path, landed: Path) -> None:
    entries = parts_of(settings(tmp_path))
    backwards = [entries[0], *reversed(entries[1:])]
    rebuilt(tmp_path, "backwards.duckdb", backwards)
    state = "SELECT name, approval, approval_at FROM documents ORDER BY name"
    assert query(tmp_path / "backwards.duckdb", state) == query(landed, state)


def test_credits_are_counted_once_and_a_rebuild_counts_the_same(tmp_path: Path, landed: Path) -> None:
    total = "SELECT sum(credits)::DOUBLE FROM loads"
    assert query(landed, total) == [(7.5,)]  # of three runs, two of which have landed several times
    rebuilt(tmp_path, "rebuilt.duckdb", parts_of(settings(tmp_path)))
    assert query(tmp_path / "rebuilt.duckdb", total) == [(7.5,)]


def test_a_landing_tells_how_many_documents_are_held_back(tmp_path: Path) -> None:
    documents = [document(number) for number in (1, 2, 3)]
    lines = raw_lines(doubtful(1), run(document(2)), doubtful(3))
    with warehouse(tmp_path / "held.duckdb") as opened:
        landing = raw_zone.land(opened, entered(tmp_path, "held", documents, lines, policy=HOLD))
        assert (landing.held, landing.credits) == (2, 7.5)
        line = decided(1, "APPROVED", "2026-11-22T10:00:00+00:00")
        again = entered(tmp_path, "approved", [document(1)], [line], counted=False)
        approved = raw_zone.land(opened, again)
        assert (approved.held, approved.credits) == (0, 0.0)


def test_replaying_what_is_there_changes_nothing(tmp_path: Path, landed: Path) -> None:
    before = contents(landed)
    entries = parts_of(settings(tmp_path))
    with warehouse(landed) as opened:
        assert not_landed(entries, set(opened.landed_parts())) == []
        forget(opened, entries)
        assert list(opened.landed_parts()) == []
        replay(opened, not_landed(entries, set(opened.landed_parts())))
    after = contents(landed)
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
def test_what_is_left_to_land(known: str, left: str) -> None:
    # Parts a to d; N and M tell of deleted runs.
    entries = [part(name, deleted="gone" if name.isupper() else None) for name in "abNcdM"]
    assert "".join(entry.part.uri for entry in not_landed(entries, set(known))) == left


def test_a_raw_zone_without_the_dataset_is_told_of(tmp_path: Path, landed: Path) -> None:
    with pytest.raises(
        PipelineInputError, match=r"no part .* 'other' .* parts of: extend \(warehouse_test\)"
    ):
        parts_of(settings(tmp_path, dataset="other"))
    with pytest.raises(PipelineInputError, match="It has parts of: none"):
        parts_of(settings(tmp_path / "elsewhere"))


@pytest.mark.parametrize("damage", ["gone", "cut short", "changed"])
def test_a_damaged_part_stops_the_replay_and_is_named(tmp_path: Path, landed: Path, damage: str) -> None:
    entries = parts_of(settings(tmp_path))
    file = Path(entries[1].part.uri.removeprefix("file://").replace(".jsonl.gz", ".documents.jsonl.gz"))
    whole = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(whole[:-9] if damage == "cut short" else b"\0" * len(whole))
    other = tmp_path / "other.duckdb"
    with (
        warehouse(other) as opened,
        pytest.raises(PipelineOutcomeError, match=r"unsent.jsonl.gz .* is damaged"),
    ):
        replay(opened, entries)
    assert query(other, "SELECT count(*) FROM loads") == [(1,)]

    file.write_bytes(whole)
    with warehouse(other) as opened:
        left = not_landed(entries, set(opened.landed_parts()))
        assert len(left) == len(entries) - 1
        replay(opened, left)
    assert query(other, "SELECT count(*) FROM documents") == [(4,)]


def place_of(tmp_path: Path) -> dict[str, str]:
    place = settings(tmp_path)
    return {
        "workspace": place.workspace,
        "warehouse_conn_id": place.warehouse_conn_id,
        "dataset": place.dataset,
    }


def test_nothing_is_planned_by_tables_that_have_lost_what_landed(tmp_path: Path) -> None:
    with warehouse(tmp_path / "new.duckdb") as opened:
        check_whole(opened, **place_of(tmp_path))  # nothing has ever landed
        entered(tmp_path, "part-0", [document(1)], raw_lines(run(document(1))))
        with pytest.raises(WarehouseError, match="has 1 parts that have landed there"):
            check_whole(opened, **place_of(tmp_path))
        check_whole(opened, **{**place_of(tmp_path), "dataset": "another"})
        opened.claim([(document(1), "chunk")], workflow_id=WORKFLOW, version=None)
        check_whole(opened, **place_of(tmp_path))  # the first load has failed, and its chunk is held
        begin(settings(tmp_path))
        replay(opened, parts_of(settings(tmp_path)))
        with pytest.raises(WarehouseError, match="being rebuilt"):
            check_whole(opened, **place_of(tmp_path))
        end(settings(tmp_path))
        check_whole(opened, **place_of(tmp_path))
    with duckdb.connect(str(tmp_path / "new.duckdb")) as connection:
        connection.execute("DROP TABLE extend.documents")
    with warehouse(tmp_path / "new.duckdb") as opened:
        with pytest.raises(WarehouseError, match="has 1 parts"):
            check_whole(opened, **place_of(tmp_path))
        assert len(not_landed(parts_of(settings(tmp_path)), set(opened.landed_parts()))) == 1


def test_a_killed_replay_goes_on_where_it_was(tmp_path: Path) -> None:
    names = [f"part-{number}" for number in range(5)]
    file = tmp_path / "warehouse.duckdb"
    for number, name in enumerate(names):
        entered(tmp_path, name, [document(number)], raw_lines(run(document(number))))
    script = """
        import os, signal, sys
        from extend_pipeline import replay_command
        from extend_pipeline.__main__ import main

        replay = replay_command.replay
        def killed(warehouse, entries, done):
            landed = []
            def die(entry):
                landed.append(entry)
                if len(landed) == 3:
                    os.kill(os.getpid(), signal.SIGKILL)
            return replay(warehouse, entries, die)
        if sys.argv.pop(1) == "killed":
            replay_command.replay = killed
        sys.exit(main(sys.argv[1:]))
    """
    connection = json.dumps({"conn_type": "duckdb", "host": str(file)})
    environment = {**os.environ, "AIRFLOW_CONN_WAREHOUSE_TEST": connection, "COLUMNS": "250"}

    def command(fate: str, *more: str) -> subprocess.CompletedProcess[str]:
        place = ("--workspace", f"file://{tmp_path}/workspace", "--warehouse-conn-id", "warehouse_test")
        line = [sys.executable, "-c", textwrap.dedent(script), fate, "replay", *place, *more]
        return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=100, check=False)

    assert command("killed").returncode == -signal.SIGKILL
    assert query(file, "SELECT count(*) FROM loads") == [(3,)]
    with warehouse(file) as opened, pytest.raises(WarehouseError, match="was interrupted"):
        check_whole(opened, **place_of(tmp_path))
    shown = command("spared", "--dry-run").stdout
    assert "In the raw zone: 5 parts, 5 documents, 5 runs" in shown
    assert "To be landed: 2 parts, 2 documents, 2 runs" in shown
    told = command("spared")
    assert told.returncode == 0, told.stderr
    assert "2 parts with 2 documents and 2 runs have landed in extend.warehouse_test" in told.stdout
    rebuilt(tmp_path, "whole.duckdb", parts_of(settings(tmp_path)))
    assert contents(file) == contents(tmp_path / "whole.duckdb")
    with warehouse(file) as opened:
        check_whole(opened, **place_of(tmp_path))

    missing = command("spared", "--dataset", "other")
    assert missing.returncode == 1
    assert "has no part that landed in dataset 'other'" in missing.stderr
