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
from fsspec.implementations.local import LocalFileSystem

from extend_pipeline.documents import Document
from extend_pipeline.exceptions import PipelineInputError, PipelineOutcomeError
from extend_pipeline.planning.replay import (
    ReplaySettings,
    begin,
    check_whole,
    end,
    forget,
    not_landed,
    parts_of,
    replay,
    whole_parts,
)
from extend_pipeline.storage import raw_index, raw_zone
from extend_pipeline.storage.raw_index import Entry
from extend_pipeline.storage.raw_zone import RawPart, part_path, write_part
from extend_pipeline.warehouse import LandingPolicy, Provenance, SchemaContractError, WarehouseError
from fixtures.warehouse_files import contents, query, warehouse
from fixtures.warehouse_runs import INVOICE, INVOICE_SCHEMA, WORKFLOW, document, extract_step, raw_lines, run

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
    return raw_index.enter(Entry(part=part, **given))


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
        raw_index.land(opened, part)
        for name, documents, lines in (
            ("unsent", [skipped], []),
            ("approved", [document(1)], [decided(1, "APPROVED", "2026-11-22T10:00:00+00:00")]),
            ("review", [document(2)], raw_lines(reviewed)),
            ("rejected", [document(1)], [decided(1, "REJECTED", "2026-11-22T11:00:00+00:00")]),
            ("approved again", [document(1)], [decided(1, "APPROVED", "2026-11-22T12:00:00+00:00")]),
        ):
            raw_index.land(opened, entered(tmp_path, name, documents, lines, counted=not lines))
    return file


def rebuilt(tmp_path: Path, name: str, entries: list[Entry], **changes: Any) -> dict[str, Any]:
    with warehouse(tmp_path / name) as opened:
        replay(opened, entries, settings(tmp_path, **changes))
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
    original = LocalFileSystem.find

    def shuffled(self: Any, path: str, **options: Any) -> Any:
        found = list(original(self, path, **options))
        random.Random(seed).shuffle(found)
        return found

    monkeypatch.setattr(LocalFileSystem, "find", shuffled)
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
        landing = raw_index.land(opened, entered(tmp_path, "held", documents, lines, policy=HOLD))
        assert (landing.held, landing.credits) == (2, 7.5)
        line = decided(1, "APPROVED", "2026-11-22T10:00:00+00:00")
        again = entered(tmp_path, "approved", [document(1)], [line], counted=False)
        approved = raw_index.land(opened, again)
        assert (approved.held, approved.credits) == (0, 0.0)


def test_replaying_what_is_there_changes_nothing(tmp_path: Path, landed: Path) -> None:
    before = contents(landed)
    entries = parts_of(settings(tmp_path))
    with warehouse(landed) as opened:
        assert not_landed(entries, set(opened.landed_parts())) == []
        forget(opened, entries)
        assert list(opened.landed_parts()) == []
        replay(opened, not_landed(entries, whole_parts(opened)), settings(tmp_path))
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
        replay(opened, entries, settings(tmp_path))
    assert query(other, "SELECT count(*) FROM loads") == [(1,)]

    file.write_bytes(whole)
    with warehouse(other) as opened:
        left = not_landed(entries, whole_parts(opened))
        assert len(left) == len(entries) - 1
        replay(opened, left, settings(tmp_path))
    assert query(other, "SELECT count(*) FROM documents") == [(4,)]


def place_of(tmp_path: Path) -> dict[str, str]:
    place = settings(tmp_path)
    return {
        "workspace": place.workspace,
        "warehouse_conn_id": place.warehouse_conn_id,
        "dataset": place.dataset,
    }


def landed_there(tmp_path: Path, file: Path, *numbers: int) -> None:
    """Let parts land, as a pipeline does."""
    with warehouse(file) as opened:
        for number in numbers:
            raw_index.land(
                opened,
                entered(tmp_path, f"part-{number}", [document(number)], raw_lines(run(document(number)))),
            )


def test_nothing_is_planned_by_tables_that_have_lost_what_landed(tmp_path: Path) -> None:
    file = tmp_path / "new.duckdb"
    with warehouse(file) as opened:
        check_whole(opened, **place_of(tmp_path))  # nothing has ever landed
    landed_there(tmp_path, tmp_path / "lost.duckdb", 0)
    with warehouse(file) as opened:
        with pytest.raises(WarehouseError, match="does not have 1 parts that have landed there"):
            check_whole(opened, **place_of(tmp_path))
        check_whole(opened, **{**place_of(tmp_path), "dataset": "another"})
        begin(settings(tmp_path))
        replay(opened, parts_of(settings(tmp_path)), settings(tmp_path))
        with pytest.raises(WarehouseError, match="being rebuilt"):
            check_whole(opened, **place_of(tmp_path))
        end(settings(tmp_path))
        check_whole(opened, **place_of(tmp_path))
    with duckdb.connect(str(file)) as connection:
        connection.execute("DROP TABLE extend.documents")
    with warehouse(file) as opened:
        with pytest.raises(WarehouseError, match="does not have 1 parts"):
            check_whole(opened, **place_of(tmp_path))
        assert len(not_landed(parts_of(settings(tmp_path)), whole_parts(opened))) == 1


def test_a_partial_loss_is_seen_and_a_replay_heals_it(tmp_path: Path) -> None:
    """The dataset was dropped, and one part has landed since."""
    file = tmp_path / "new.duckdb"
    landed_there(tmp_path, tmp_path / "dropped.duckdb", 0, 1)
    landed_there(tmp_path, file, 2)
    with warehouse(file) as opened:
        with pytest.raises(
            WarehouseError, match=r"does not have 2 parts .* run 'python -m extend_pipeline repl"
        ):
            check_whole(opened, **place_of(tmp_path))
        replay(opened, not_landed(parts_of(settings(tmp_path)), whole_parts(opened)), settings(tmp_path))
        check_whole(opened, **place_of(tmp_path))
    assert query(file, "SELECT count(*) FROM documents") == [(3,)]


def test_a_part_that_is_landing_or_failed_to_land_is_no_loss(tmp_path: Path) -> None:
    file = tmp_path / "new.duckdb"
    landed_there(tmp_path, file, 0)
    failed = entered(tmp_path, "part-1", [document(1)], raw_lines(run(document(1))))
    with warehouse(file) as opened:
        check_whole(opened, **place_of(tmp_path))
        opened.land(failed.part.read_documents(), failed.part.read_lines(), provenance=failed.provenance)
        check_whole(opened, **place_of(tmp_path))  # the task was killed before it could mark the part
    (tmp_path / "new.duckdb").unlink()
    with warehouse(file) as opened, pytest.raises(WarehouseError, match="does not have 2 parts"):
        check_whole(opened, **place_of(tmp_path))  # the check itself has marked it


def test_runs_that_are_gone_are_in_no_ledger_and_no_loss(tmp_path: Path) -> None:
    file = tmp_path / "new.duckdb"
    landed_there(tmp_path, file, 0)
    gone = json.dumps({"run_id": run(document(0))["id"]}).encode() + b"\n"
    entry = entered(tmp_path, "gone", [document(0)], [gone], deleted="It is gone.")
    with warehouse(file) as opened:
        raw_index.note_deleted(opened, entry)
        check_whole(opened, **place_of(tmp_path))
    assert [each.deleted for each in parts_of(settings(tmp_path))] == [None, "It is gone."]


def test_names_are_compared_and_no_entry_is_opened(
    tmp_path: Path, landed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened_entries: list[str] = []
    original = raw_index._read_entry

    def read(uri: str, *more: Any) -> Entry | None:
        opened_entries.append(uri)
        return original(uri, *more)

    monkeypatch.setattr(raw_index, "_read_entry", read)
    with warehouse(landed) as opened:
        check_whole(opened, **place_of(tmp_path))
        assert opened_entries == []
        entered(tmp_path, "landing", [document(1)], raw_lines(run(document(1))))
        opened_entries.clear()
        check_whole(opened, **place_of(tmp_path))
    assert len(opened_entries) == 1


def test_a_workspace_that_has_another_address_by_now_is_the_same(tmp_path: Path, landed: Path) -> None:
    (tmp_path / "workspace").rename(tmp_path / "moved")
    there = settings(tmp_path, workspace=f"file://{tmp_path}/moved")
    with warehouse(landed) as opened:
        check_whole(opened, **{**place_of(tmp_path), "workspace": there.workspace})
        assert not_landed(parts_of(there), whole_parts(opened)) == []


def test_where_a_replay_has_landed_is_a_dataset_in_its_own_right(tmp_path: Path, landed: Path) -> None:
    """Its tables are compared with the raw zone, and replayed, like those that the parts were made for."""
    other = tmp_path / "other.duckdb"
    place = {**place_of(tmp_path), "warehouse_conn_id": "else/where"}
    rebuilt(tmp_path, "other.duckdb", parts_of(settings(tmp_path)), into_warehouse_conn_id="else/where")
    with warehouse(other) as opened:
        check_whole(opened, **place)
    there = settings(tmp_path, warehouse_conn_id="else/where")
    assert parts_of(there) == parts_of(settings(tmp_path))
    other.unlink()
    with warehouse(other) as opened:
        with pytest.raises(WarehouseError, match="does not have 6 parts"):
            check_whole(opened, **place)
        replay(opened, not_landed(parts_of(there), whole_parts(opened)), there)
        check_whole(opened, **place)
    with warehouse(landed) as opened:
        check_whole(opened, **place_of(tmp_path))


def as_before(entry: Entry) -> None:
    """Write an entry as the release before wrote it: without a format, and with no marks beside it."""
    path = Path(entry.part.uri.removeprefix("file://").replace(".jsonl.gz", ".json"))
    plain = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in plain.items() if k not in ("format", "marked", "others")}))
    for mark in path.parent.glob(f"{path.stem}.*ed.*"):
        mark.unlink()


def test_what_the_release_before_has_landed_counts_though_it_left_no_marks(tmp_path: Path) -> None:
    file, other = tmp_path / "new.duckdb", tmp_path / "other.duckdb"
    landed_there(tmp_path, file, 0, 1)
    elsewhere = {"into_warehouse_conn_id": "elsewhere"}
    rebuilt(tmp_path, "other.duckdb", parts_of(settings(tmp_path)), **elsewhere)
    for entry in parts_of(settings(tmp_path)):
        as_before(entry)
    with warehouse(other) as opened:  # a replay of the release before is known by the ledger it left
        check_whole(opened, **{**place_of(tmp_path), "warehouse_conn_id": "elsewhere"})
    file.unlink()
    for _ in range(2):
        with warehouse(file) as opened, pytest.raises(WarehouseError, match="does not have 2 parts"):
            check_whole(opened, **place_of(tmp_path))
    for entry in parts_of(settings(tmp_path)):
        as_before(entry)
    entered(tmp_path, "part-0", [document(0)], raw_lines(run(document(0))))  # its load was cleared
    rebuilt(tmp_path, "third.duckdb", parts_of(settings(tmp_path)), into_dataset="third")
    with warehouse(file) as opened, pytest.raises(WarehouseError, match="does not have 2 parts"):
        check_whole(opened, **place_of(tmp_path))


FROZEN = LandingPolicy(schema_contract="freeze")


def with_a_new_field(number: int) -> dict[str, Any]:
    properties = {**INVOICE_SCHEMA["properties"], "due": {"type": ["string", "null"]}}
    schema = {**INVOICE_SCHEMA, "properties": properties}
    return run(document(number), steps=[extract_step({**INVOICE, "due": "soon"}, schema=schema)])


@pytest.fixture
def refused(tmp_path: Path) -> Path:
    """Three parts in the raw zone: the second has a field more, and its load was refused."""
    file = tmp_path / "warehouse.duckdb"
    runs = [run(document(1)), with_a_new_field(2), run(document(3))]
    for number, each in enumerate(runs, start=1):
        with warehouse(file) as opened:
            part = entered(tmp_path, f"part-{number}", [document(number)], raw_lines(each), policy=FROZEN)
            if number == 2:
                with pytest.raises(SchemaContractError, match="Nothing of the part has landed"):
                    raw_index.land(opened, part)
            else:
                raw_index.land(opened, part)
    return file


def shown(file: Path) -> list[tuple[Any, ...]]:
    """Return of each document whether it has landed and has its values in the table."""
    return query(
        file,
        """SELECT document.etag, invoices.invoice_number, count(fields.path) > 0 FROM documents AS document
           LEFT JOIN invoices USING (document_id) LEFT JOIN fields USING (document_id) GROUP BY ALL
           ORDER BY ALL""",
    )


def test_a_refused_part_stops_no_other_no_plan_and_no_later_replay(tmp_path: Path, refused: Path) -> None:
    both = [("etag-1", "INV-1", True), ("etag-3", "INV-1", True)]
    assert shown(refused) == both
    with warehouse(refused) as opened:
        check_whole(opened, **place_of(tmp_path))  # what never landed is not lost
    file = tmp_path / "rebuilt.duckdb"
    with warehouse(file) as opened:
        told: list[bool] = []
        total = replay(
            opened, parts_of(settings(tmp_path)), settings(tmp_path), lambda entry, no: told.append(no)
        )
        assert (total.parts, total.documents, total.refused, told) == (3, 3, 1, [False, True, False])
        check_whole(opened, **place_of(tmp_path))
        # Its document has a row, so nobody pays for it again; its values are in fields.
        assert list(opened.unlanded([document(2)], workflow_id=WORKFLOW, version=None)) == []
    assert shown(file) == [both[0], ("etag-2", None, True), both[1]]
    assert query(file, "SELECT code, contains(value, 'part-2'), message LIKE '%due%' FROM problems") == [
        ("SCHEMA_CONTRACT", True, True)
    ]
    for _ in range(2):
        with warehouse(file) as opened:
            left = not_landed(parts_of(settings(tmp_path)), whole_parts(opened))
            assert len(left) == 2  # it is tried again, with what builds on it
            assert replay(opened, left, settings(tmp_path)).refused == 1
        assert query(file, "SELECT count(*) FROM problems") == [(1,)]


@pytest.mark.parametrize("contract", ["evolve", "discard"])
def test_a_replay_with_another_contract_lands_what_was_refused(
    tmp_path: Path, refused: Path, contract: str
) -> None:
    asked = settings(tmp_path, schema_contract=contract)
    with warehouse(refused) as opened:
        assert replay(opened, not_landed(parts_of(asked), whole_parts(opened)), asked).refused == 0
        assert not_landed(parts_of(asked), whole_parts(opened)) == []
    assert len(shown(refused)) == 3
    columns = query(refused, "SELECT column_name FROM duckdb_columns() WHERE table_name = 'invoices'")
    assert (("due",) in columns) == (contract == "evolve")
    assert query(refused, "SELECT count(*) FROM problems WHERE code = 'SCHEMA_CONTRACT'") == [(0,)]
    # What it has come to is what a later replay comes to.
    again = rebuilt(tmp_path, "rebuilt.duckdb", parts_of(settings(tmp_path)))
    before = contents(refused)
    before.pop("loads")
    again.pop("loads")
    assert again == before


def test_what_a_replay_lands_elsewhere_under_another_contract_stays_as_it_was_here(
    tmp_path: Path, refused: Path
) -> None:
    rebuilt(
        tmp_path, "other.duckdb", parts_of(settings(tmp_path)), schema_contract="evolve", into_dataset="other"
    )
    assert {entry.policy.schema_contract for entry in parts_of(settings(tmp_path))} == {"freeze"}


def test_a_killed_replay_goes_on_where_it_was(tmp_path: Path) -> None:
    names = [f"part-{number}" for number in range(5)]
    file = tmp_path / "warehouse.duckdb"
    for number, name in enumerate(names):
        entered(tmp_path, name, [document(number)], raw_lines(run(document(number))))
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
        if sys.argv.pop(1) == "killed":
            replay.replay = killed
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
