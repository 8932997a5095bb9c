"""What every warehouse behind a network has to pass, whatever its engine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from extend_pipeline.warehouse import Warehouse, WarehouseError, migrations, open_warehouse
from extend_pipeline.warehouse.destination import DestinationSession
from extend_pipeline.warehouse.migrations import migrate
from extend_pipeline.warehouse.table_plan import ColumnType
from pipeline.test_warehouse_crash import Crash, parts_of_every_kind
from pipeline.test_warehouse_migrations import LATER, NEWEST, STEPS
from pipeline.warehouse_files import DATASET, provenance, warehouse
from pipeline.warehouse_runs import WORKFLOW, document, raw_lines, run

FIRST, SECOND = document(1), document(2)


def opener(monkeypatch: pytest.MonkeyPatch, connection: Callable[..., str]) -> Callable[..., Warehouse]:
    """Return what opens the warehouse as tasks do; it takes extra fields of the connection."""

    def opened(**extra: Any) -> Warehouse:
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_TEST", connection(**extra))
        return open_warehouse("warehouse_test", "extend")

    return opened


def land_beside_duckdb(opened: Callable[[], Warehouse], file: Path) -> None:
    """Land parts of every kind in both, which say the same of each."""
    for submission, raw, origin in parts_of_every_kind():
        with opened() as there, warehouse(file) as here:
            results = [each.land(submission, raw, provenance=origin) for each in (there, here)]
            assert results[0] == results[1]


def plan_land_and_ask(opened: Callable[[], Warehouse]) -> None:
    """Claim, land one document in review and one that failed, and ask for all that can be asked for."""
    failed = run(SECOND, status="FAILED", steps=[], failureReason="INTERNAL_ERROR")
    times = {"createdAt": "2026-11-21T09:00:00Z", "endTime": "2026-11-21T09:01:00Z"}
    origin = provenance(dag_id="d", run_id="r", task_id="a_b.load")
    with opened() as there:
        there.claim([(SECOND, "again")], workflow_id=WORKFLOW, version=None)
        there.land(
            [FIRST, SECOND], raw_lines(run(FIRST, status="NEEDS_REVIEW", **times), failed), provenance=origin
        )
        left = there.unlanded([document(3), FIRST], workflow_id=WORKFLOW, version=None)
        assert [each.document for each in left] == [document(3)]
        there.claim([(SECOND, "again")], workflow_id=WORKFLOW, version=None)
    with opened() as there:
        (dead,) = there.dead_letters()
        assert dead.document.uri == SECOND.uri
        assert dead.resending
        assert [each.credits for each in there.charges(workflow_id=WORKFLOW, version=None)] == [5.0]
        assert [each.documents for each in there.landed_batches(WORKFLOW)] == [1]
        (waiting,) = there.runs_in_review("extend_default")
        assert waiting.document.uri == FIRST.uri
        assert waiting.steps == ("exr_1",)
        assert there.note_deleted_runs([waiting.run_id], "gone") == 1
        assert list(there.runs_in_review("extend_default")) == []
        assert list(there.held_runs(dag_id="d", run_id="r", group_id="a_b")) == []
        there.check_writable()
        assert there.counts()["documents"] == 2
        there.forget_parts(list(there.landed_parts()))
        assert list(there.landed_parts()) == []


def migrate_and_refuse(opened: Callable[..., Warehouse]) -> None:
    """Bring a dataset of the release before to a later layout, in the engine's words; be older then."""
    versions = f'"{DATASET}"."{migrations.TABLE}"'
    with opened() as there:
        there.land([FIRST], raw_lines(run(FIRST)), provenance=provenance())
        session = there.session("Before")  # type: ignore[attr-defined]
        session.run("forget the version", f"DROP TABLE {versions}")
    with opened() as there:
        assert list(there.unlanded([FIRST], workflow_id=WORKFLOW, version=None)) == []
        session = there.session("Look")  # type: ignore[attr-defined]
        assert session.rows("look", f"SELECT max(version) FROM {versions}") == [(NEWEST,)]
    with opened() as there:
        session = there.session("Later")  # type: ignore[attr-defined]
        with there._alone(session):  # type: ignore[attr-defined]
            assert migrate(session, DATASET, make=False, layout=LATER, migrations=STEPS)
        columns = session.columns(DATASET)
        assert columns["documents"]["attempts"] is ColumnType.DECIMAL
        assert columns["pages"] == LATER["pages"]
        assert session.rows("look", f'SELECT language FROM "{DATASET}"."documents"') == [("de",)]
        ((attempts,),) = session.rows("look", f'SELECT attempts FROM "{DATASET}"."documents"')
        assert float(attempts) == 1
    with opened() as there, pytest.raises(WarehouseError, match="a newer release"):
        list(there.unlanded([SECOND], workflow_id=WORKFLOW, version=None))
    with opened() as there, pytest.raises(WarehouseError, match="a newer release"):
        there.land([SECOND], raw_lines(run(SECOND)), provenance=provenance())


@contextlib.contextmanager
def dying_after(last: int, *, counted_from: str | None = None) -> Iterator[list[str]]:
    """Let a load die after a statement; yield those that ran, filled as they run.

    :param last: the number of the statement.
    :param counted_from: what the first one that counts is called; None if all do.
    """
    ran: list[str] = []
    original = DestinationSession._guarded

    def guarded(self: DestinationSession, statement: str, action: Any) -> Any:
        result = original(self, statement, action)
        if ran or counted_from in (None, statement):
            ran.append(statement)
        if len(ran) == last:
            raise Crash(statement)
        return result

    with pytest.MonkeyPatch.context() as patched, contextlib.suppress(Crash):
        patched.setattr(DestinationSession, "_guarded", guarded)
        yield ran
