"""Postgres behind a pooler in transaction mode: each transaction may meet another connection of its."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from extend_pipeline.warehouse.records import WarehouseError
from fixtures.engines.pooler import Pooler, bounced, pooled
from fixtures.engines.postgres import Database
from fixtures.warehouse.crashes import dying_after
from fixtures.warehouse.destinations import migrate_and_refuse, plan_land_and_ask
from fixtures.warehouse.files import contents, land, provenance, warehouse
from fixtures.warehouse.parts import AFTER, BEFORE, LATER
from fixtures.warehouse.runs import WORKFLOW, document, raw_lines, run

FIRST, SECOND = document(1), document(2)


@pytest.fixture
def behind(new_database: Callable[[], Database]) -> Iterator[tuple[Database, Pooler]]:
    """A database as clients reach it, and the pooler, in which nobody may have left anything."""
    with pooled(new_database()) as (database, pooler):
        yield database, pooler
        assert pooler.left_behind() == []


def claim_and_land(database: Database, number: int) -> None:
    """Do what a plan and a load do, on connections of their own."""
    ours = [document(number), document(number + 100)]
    with warehouse(database) as planning:
        planning.check_writable()
        found = list(planning.unlanded(ours, workflow_id=WORKFLOW, version=None))
        assert len(found) == len(ours)
        assert planning.claim([(each, str(number)) for each in ours], workflow_id=WORKFLOW, version=None)
    land(database, ours, raw_lines(*map(run, ours)), origin=provenance(raw_uri=f"raw/{number}"))


def test_the_pooler_is_as_strict_as_it_says(behind: tuple[Database, Pooler]) -> None:
    database, pooler = behind
    with database.connect() as client:
        client.execute("CREATE TEMPORARY TABLE mine (a int)")
        client.execute("SET lock_timeout = 5")
        with pytest.raises(psycopg.errors.UndefinedTable):
            client.execute("SELECT * FROM mine")
        assert client.execute("SHOW lock_timeout").fetchone() == ("0",)
    lost = pytest.raises(psycopg.errors.InvalidSqlStatementName)
    with database.connect(prepare_threshold=0) as client, lost:
        client.execute("SHOW lock_timeout")
    deadline = time.monotonic() + 5
    while len(pooler._idle) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    kinds = {kind for kind, _ in pooler.left_behind()}
    assert kinds == {"setting", "statement", "table"}
    with pytest.raises(psycopg.OperationalError, match="unsupported startup parameter: options"):
        database.connect(options="-c lock_timeout=1")
    for server in pooler._idle:
        server.sendall(b"Q\0\0\0\x10DISCARD ALL\0")
        while not server.recv(65536).endswith(b"I"):
            pass


def test_parts_land_and_are_replayed_as_they_are_without(
    behind: tuple[Database, Pooler], new_database: Callable[[], Database]
) -> None:
    direct, (database, pooler) = new_database(), behind
    for part, origin in ((BEFORE, provenance()), (AFTER, LATER), (AFTER, LATER)):
        assert land(database, *part, origin=origin) == land(direct, *part, origin=origin)
    assert contents(pooler.database) == contents(direct)


def test_planning_landing_and_asking(behind: tuple[Database, Pooler]) -> None:
    database, pooler = behind
    plan_land_and_ask(lambda: warehouse(database))
    assert pooler.transactions > 20


def test_migrations(behind: tuple[Database, Pooler]) -> None:
    migrate_and_refuse(lambda: warehouse(behind[0]))


def test_a_load_that_breaks_leaves_nothing(behind: tuple[Database, Pooler]) -> None:
    database, _ = behind
    land(database, [FIRST], raw_lines(run(FIRST)))
    with dying_after(40, there=True) as ran:
        land(database, [SECOND], raw_lines(run(SECOND)), origin=provenance(raw_uri="raw/2"))
    assert len(ran) == 40
    assert database.rows("SELECT count(*) FROM extend.documents") == [(1,)]


def run_at_once(database: Database) -> None:
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            claim_and_land(database, number)
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert database.rows("SELECT count(*), count(DISTINCT document_id) FROM extend.documents") == [(10, 10)]
    assert database.rows("SELECT count(*) FROM extend.claims") == [(0,)]


def test_several_at_once(behind: tuple[Database, Pooler]) -> None:
    run_at_once(behind[0])


@pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="PgBouncer is not installed")
def test_pgbouncer_itself_with_fewer_connections_than_clients(new_database: Callable[[], Database]) -> None:
    with bounced(new_database(), size=2) as database:
        run_at_once(database)
        land(database, [FIRST], raw_lines(run(FIRST)), origin=provenance(raw_uri="raw/again"))


def test_a_connection_that_was_ended_while_it_was_idle_is_made_again(
    new_database: Callable[[], Database],
) -> None:
    """What an ``idle_session_timeout`` of the role does, and a pooler that was restarted."""
    database = new_database()
    with warehouse(database) as opened:
        list(opened.unlanded([FIRST], workflow_id=WORKFLOW, version=None))
        assert opened.claim([(FIRST, "a")], workflow_id=WORKFLOW, version=None)
        end_others = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        database.rows(end_others)
        opened.land([FIRST], raw_lines(run(FIRST)), provenance=provenance())
        list(opened.unlanded([SECOND], workflow_id=WORKFLOW, version=None))
        database.rows(end_others)  # of a transaction that is open, nothing is done again
        with pytest.raises(WarehouseError, match="undone"):
            opened.claim([(SECOND, "b")], workflow_id=WORKFLOW, version=None)
    assert database.rows("SELECT count(*) FROM extend.claims") == [(0,)]
