"""Landing in Postgres is all or nothing, whatever breaks, and one run at a time plans or lands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import pytest

from extend_pipeline.warehouse.destinations.postgres import Postgres
from extend_pipeline.warehouse.records import WarehouseBusyError, WarehouseError
from fixtures.engines.postgres import Database
from fixtures.warehouse.crashes import FEW_OR_EVERY, break_loads, dying_after, one_of_each_kind
from fixtures.warehouse.destinations import (
    land_while_the_server_goes_away,
    opened_as,
)
from fixtures.warehouse.files import contents, land, warehouse
from fixtures.warehouse.parts import AFTER, BEFORE, LATER
from fixtures.warehouse.runs import WORKFLOW, document, raw_lines, run

FIRST, SECOND = document(1), document(2)


def every_row(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Return all that is in the dataset, times of loading and all."""
    with database.connect() as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class "
            "WHERE relnamespace = 'extend'::regnamespace AND relkind IN ('r', 'v')"
        ).fetchall()
        rows = {
            table: connection.execute(f'SELECT row.*::text FROM extend."{table}" AS row'.encode()).fetchall()
            for (table,) in tables
            if table != "in_review"  # tells for how long
        }
        return {table: sorted(each) for table, each in rows.items()}


@FEW_OR_EVERY
def test_a_load_that_breaks_anywhere_leaves_what_was_there(
    new_database: Callable[[], Database], every: bool
) -> None:
    database, fresh = new_database(), new_database()
    for each in (database, fresh):
        land(each, *BEFORE)
    with dying_after(there=True) as ran:
        land(fresh, *AFTER, origin=LATER)
    assert {"lock", "read columns", "delete from loads", 'insert into "extend"."loads"'} <= set(ran)
    break_loads(
        lambda: land(database, *AFTER, origin=LATER),
        lambda: every_row(database),
        result=lambda: contents(database),
        few=one_of_each_kind(ran, since="lock"),
        every=every,
        there=True,
    )
    assert contents(database) == contents(fresh)


def test_a_process_killed_before_it_commits_leaves_what_was_there(database: Database) -> None:
    land(database, *BEFORE)
    before = contents(database)
    script = """
        import os, signal, sys
        from pathlib import Path
        from extend_pipeline.warehouse.session import Session
        from fixtures.engines.postgres import Database
        from fixtures.warehouse.parts import AFTER
        from fixtures.warehouse.files import land, provenance

        run = Session.run
        def die_at_commit(self, statement, *arguments):
            if statement == "commit" and hasattr(self, "destination"):
                os.kill(os.getpid(), signal.SIGKILL)
            run(self, statement, *arguments)
        Session.run = die_at_commit
        land(Database(Path(sys.argv[1]), sys.argv[2]), *AFTER, origin=provenance(raw_uri="raw/2"))
    """
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), database.parameters["host"], database.name],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert contents(database) == before
    land(database, *AFTER, origin=LATER)


def test_a_server_that_goes_away_is_named_and_no_value_is(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    land(database, *BEFORE)
    before = contents(database)
    message = land_while_the_server_goes_away(
        lambda: land(database, *AFTER, origin=LATER), Postgres, database.rows
    )
    assert "Part raw/2 into Postgres" in message
    assert "4111" not in caplog.text
    assert contents(database) == before
    land(database, *AFTER, origin=LATER)


def test_a_value_that_postgres_refuses_is_not_quoted(database: Database) -> None:
    land(database, [FIRST], raw_lines(run(FIRST)))
    database.rows("ALTER TABLE extend.invoices ADD CONSTRAINT short CHECK (length(invoice_number) < 9)")
    with pytest.raises(WarehouseError) as caught:
        land(database, [SECOND], raw_lines(run(SECOND, {"invoice_number": "secret-4111"})))
    assert "CheckViolation (23514)" in str(caught.value)
    assert "4111" not in str(caught.value)
    assert caught.value.__context__ is None


def test_readers_are_not_kept_waiting_and_see_a_part_whole_or_not_at_all(database: Database) -> None:
    land(database, [FIRST], raw_lines(run(FIRST)))
    seen = []

    def look() -> None:
        with database.connect(options="-c lock_timeout=1s") as reader:
            (row,) = reader.execute(
                """SELECT (SELECT count(*) FROM extend.documents), (SELECT count(*) FROM extend.invoices),
                          (SELECT count(*) FROM extend.fields WHERE path = 'pages')"""
            )
            seen.append(row)

    with pytest.MonkeyPatch.context() as patched:
        append = Postgres.append

        def appended(self: Postgres, *arguments: Any) -> None:
            append(self, *arguments)
            look()

        patched.setattr(Postgres, "append", appended)
        land(database, [FIRST, SECOND], raw_lines(run(FIRST), run(SECOND)), origin=LATER)
    look()
    assert set(seen[:-1]) == {(1, 1, 1)}
    assert seen[-1] == (2, 2, 2)


def test_whoever_plans_has_the_dataset_to_itself_until_its_claims_are_written(database: Database) -> None:
    with warehouse(database) as first, opened_as(database, "postgres", lock_timeout=0.2) as second:
        assert len(list(first.unlanded([FIRST], workflow_id=WORKFLOW, version=None))) == 1
        with pytest.raises(WarehouseBusyError, match=r"another run.*'extend'.*0.2 s"):
            list(second.unlanded([FIRST], workflow_id=WORKFLOW, version=None))
    with warehouse(database) as first, warehouse(database) as second:
        list(first.unlanded([FIRST], workflow_id=WORKFLOW, version=None))
        first.claim([(FIRST, "a")], workflow_id=WORKFLOW, version=None)
        (found,) = second.unlanded([FIRST], workflow_id=WORKFLOW, version=None)
        assert found.chunks == ("a",)


def test_runs_that_plan_at_once_never_claim_a_document_twice(database: Database) -> None:
    candidates = [document(number) for number in range(40)]

    def plan(number: int) -> None:
        with warehouse(database) as opened:
            mine = candidates[number * 5 : number * 5 + 20]
            found = opened.unlanded(mine, workflow_id=WORKFLOW, version=None)
            new = [(each.document, str(number)) for each in found if not each.chunks]
            opened.claim(new, workflow_id=WORKFLOW, version=None)

    threads = [threading.Thread(target=plan, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert database.rows("SELECT count(*), count(DISTINCT document_id) FROM extend.claims") == [(40, 40)]
