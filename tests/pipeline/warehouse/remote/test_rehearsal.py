"""What keeps documents from landing in a Postgres is told before one is paid for, with what mends it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import psycopg
import pytest

from extend_pipeline.warehouse.destinations.postgres import Postgres
from extend_pipeline.warehouse.records import WarehouseError
from extend_pipeline.warehouse.remote.warehouse import RemoteWarehouse
from fixtures.engines.postgres import Database
from fixtures.warehouse.files import land, provenance, warehouse
from fixtures.warehouse.runs import WORKFLOW, document, raw_lines, run

FIRST, SECOND = document(1), document(2)


@pytest.fixture
def database(new_database: Callable[[], Database]) -> Database:
    return new_database()


@pytest.fixture
def role(database: Database) -> Iterator[str]:
    """A user who owns a dataset in which one document has landed."""
    name = f"loader_of_{database.name}"
    database.rows(f"CREATE ROLE {name} LOGIN")
    database.rows(f"CREATE SCHEMA extend AUTHORIZATION {name}")
    with opened_as(database, name) as opened:
        opened.land([FIRST], raw_lines(run(FIRST)), provenance=provenance())
    yield name
    for statement in (f"DROP OWNED BY {name} CASCADE", f"DROP ROLE {name}"):
        database.rows(statement)


def opened_as(database: Database, role: str, **options: float) -> RemoteWarehouse:
    return RemoteWarehouse(
        Postgres(f"Postgres as {role}", {**database.parameters, "user": role}, **options), "extend"
    )


def refusal(database: Database, role: str) -> str:
    with opened_as(database, role) as opened, pytest.raises(WarehouseError, match="could not land") as caught:
        opened.check_writable()
    return str(caught.value)


def mend(database: Database, told: str, role: str) -> None:
    """Run the statements that a refusal names, and see that nothing else is in the way."""
    statements = re.findall(r"(?:GRANT|ALTER)\b[^;]+;", told)
    assert statements, told
    for statement in statements:
        database.rows(statement)
    with opened_as(database, role) as opened:
        opened.check_writable()
        opened.land([SECOND], raw_lines(run(SECOND)), provenance=provenance(raw_uri="raw/2"))
        assert opened.counts()["documents"] == 2


def test_what_is_tried_is_what_landing_does_and_nothing_of_it_stays(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[int, str]] = []
    asked = Postgres._asked

    def seen(self: Postgres, sql: str, parameters: tuple[object, ...] = ()) -> object:
        ran.append((self._session.info.backend_pid, sql))
        return asked(self, sql, parameters)

    monkeypatch.setattr(Postgres, "_asked", seen)
    with warehouse(database) as opened:
        opened.check_writable()
        assert opened.counts() == {}
    assert database.rows("SELECT to_regnamespace('extend')") == [(None,)]
    made = {sql.split()[2] for _, sql in ran if sql.startswith("CREATE TABLE")}
    assert {'"extend"."documents"', '"extend"."loads"', '"extend"."extend_pipeline_preflight"'} <= made
    assert len({connection for connection, _ in ran}) == 3


def test_a_right_that_is_missing_on_one_table_is_named_with_its_grant(database: Database, role: str) -> None:
    for right in ("SELECT", "INSERT", "UPDATE", "DELETE"):
        for table in ("documents", "claims", "dictionary", "_schema_version", "invoices", "fields"):
            database.rows(f"REVOKE {right} ON extend.{table} FROM {role}")
            told = refusal(database, role)
            assert f"permission denied for table {table}" in told
            (grant,) = re.findall(r"(?:GRANT|ALTER)\b[^;]+;", told)
            assert grant == f'GRANT {right} ON TABLE "extend"."{table}" TO "{role}";'
            database.rows(grant)
    with opened_as(database, role) as opened:
        opened.check_writable()


@pytest.mark.parametrize(
    ("revoked", "granted"),
    [
        ("CREATE ON SCHEMA extend", 'GRANT CREATE ON SCHEMA "extend"'),
        ("USAGE ON SCHEMA extend", 'GRANT USAGE ON SCHEMA "extend"'),
    ],
)
def test_a_right_that_is_missing_on_the_schema_is_named_with_its_grant(
    database: Database, role: str, revoked: str, granted: str
) -> None:
    database.rows(f"REVOKE {revoked} FROM {role}")
    told = refusal(database, role)
    assert f'{granted} TO "{role}";' in told
    mend(database, told, role)


def test_temporary_tables_have_to_be_allowed(database: Database, role: str) -> None:
    database.rows(f"REVOKE TEMPORARY ON DATABASE {database.name} FROM PUBLIC")
    mend(database, refusal(database, role), role)


def test_a_table_of_somebody_else_can_get_no_column(database: Database, role: str) -> None:
    database.rows("ALTER TABLE extend.invoices OWNER TO postgres")
    database.rows(f"GRANT ALL ON extend.invoices TO {role}")
    told = refusal(database, role)
    assert "must be owner of table invoices" in told
    mend(database, told, role)


@pytest.mark.parametrize(
    ("table", "owner"), [("documents", "its own"), ("documents", "somebody else's"), ("claims", "its own")]
)
def test_rows_that_may_be_hidden_are_refused(database: Database, role: str, table: str, owner: str) -> None:
    """A policy that hides a landed document would have it sent, and paid, again."""
    database.rows(f"ALTER TABLE extend.{table} ENABLE ROW LEVEL SECURITY")
    with opened_as(database, role) as opened:
        opened.check_writable()  # it is not for the owner
    if owner == "its own":
        database.rows(f"ALTER TABLE extend.{table} FORCE ROW LEVEL SECURITY")
    else:
        database.rows(f"ALTER TABLE extend.{table} OWNER TO postgres")
        database.rows(f"GRANT ALL ON extend.{table} TO {role}")
    database.rows(f"CREATE POLICY none ON extend.{table} USING (false) WITH CHECK (true)")
    told = refusal(database, role)
    assert f"hide rows of table {table}" in told
    mend(database, told, role)


def test_rows_that_are_hidden_after_the_preflight_are_no_reason_to_send_again(
    database: Database, role: str
) -> None:
    with opened_as(database, role) as opened:
        opened.check_writable()
        database.rows("ALTER TABLE extend.documents ENABLE ROW LEVEL SECURITY")
        database.rows("ALTER TABLE extend.documents FORCE ROW LEVEL SECURITY")
        with pytest.raises(WarehouseError, match="row-level security"):
            list(opened.unlanded([FIRST], workflow_id=WORKFLOW, version=None))


def test_everything_works_in_a_publication_of_all_tables(database: Database) -> None:
    database.rows("CREATE PUBLICATION everything FOR ALL TABLES")
    with warehouse(database) as opened:
        opened.check_writable()
        opened.claim([(FIRST, "a")], workflow_id=WORKFLOW, version=None)
    for number in range(2):
        land(database, [FIRST], raw_lines(run(FIRST)), origin=provenance(raw_uri=f"raw/{number}"))
    with warehouse(database) as opened:
        opened.check_writable()
        opened.forget_parts(["raw/1"])
        opened.note_deleted_runs(["x"], "gone")


@pytest.mark.parametrize("published", ["ALL TABLES", "TABLES IN SCHEMA extend", "TABLE extend.fields"])
def test_a_table_of_an_earlier_release_without_replica_identity_is_refused(
    database: Database, role: str, published: str
) -> None:
    database.rows("ALTER TABLE extend.fields REPLICA IDENTITY DEFAULT")
    with opened_as(database, role) as opened:
        opened.check_writable()
    database.rows(f"CREATE PUBLICATION everything FOR {published}")
    told = refusal(database, role)
    assert 'ALTER TABLE "extend"."fields" REPLICA IDENTITY FULL;' in told
    assert told.count("ALTER") == 1
    mend(database, told, role)


def test_columns_that_a_publication_leaves_out_are_refused(database: Database, role: str) -> None:
    database.rows("CREATE PUBLICATION few FOR TABLE extend.documents (document_id)")
    assert "A publication may contain only some of the table's columns." in refusal(database, role)


def test_a_role_that_may_only_read_is_refused(database: Database, role: str) -> None:
    database.rows(f"ALTER ROLE {role} SET default_transaction_read_only = on")
    mend(database, refusal(database, role), role)


@pytest.mark.parametrize(
    "settings",
    [
        ["statement_timeout = 300", "lock_timeout = 1", "idle_in_transaction_session_timeout = 1"],
        ["transaction_timeout = 100", "timezone = 'Asia/Tokyo'", "datestyle = 'German'", "search_path = ''"],
        ["search_path = odd, pg_catalog", "standard_conforming_strings = off", "bytea_output = escape"],
        ["default_transaction_isolation = 'serializable'", "search_path = public", "extra_float_digits = -5"],
    ],
)
def test_defaults_of_a_role_change_nothing(database: Database, role: str, settings: list[str]) -> None:
    database.rows("CREATE SCHEMA odd")
    database.rows("GRANT USAGE ON SCHEMA odd TO PUBLIC")
    database.rows("CREATE FUNCTION odd.quote_ident(text) RETURNS text RETURN 'wrong'")
    database.rows("CREATE DOMAIN odd.text AS integer")
    for setting in settings:
        database.rows(f"ALTER ROLE {role} SET {setting}")
    with opened_as(database, role, lock_timeout=5) as opened:
        opened.check_writable()
        for name in ("statement_timeout", "idle_in_transaction_session_timeout", "transaction_timeout"):
            assert opened._destination._asked(f"SHOW {name}").fetchall() == [("0",)]  # type: ignore[attr-defined]
        opened.claim([(SECOND, "a")], workflow_id=WORKFLOW, version=None)
        opened.land([SECOND], raw_lines(run(SECOND)), provenance=provenance(raw_uri="raw/2"))
        assert list(opened.unlanded([FIRST, SECOND], workflow_id=WORKFLOW, version=None)) == []
    assert database.rows("SELECT count(*) FROM extend.invoices") == [(2,)]


def test_an_event_trigger_that_forbids_a_table_is_met_before_anything_is_paid(database: Database) -> None:
    database.rows(
        "CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '42501'; END$$"
    )
    database.rows(
        "CREATE EVENT TRIGGER never ON ddl_command_start WHEN TAG IN ('CREATE VIEW') EXECUTE FUNCTION no()"
    )
    with warehouse(database) as opened, pytest.raises(WarehouseError, match=r"could not land.*'make "):
        opened.check_writable()


@pytest.mark.parametrize("table", ["documents", "claims"])
def test_a_trigger_that_leaves_rows_out_is_met_before_anything_is_paid(
    database: Database, role: str, table: str
) -> None:
    database.rows("CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    database.rows(f"CREATE TRIGGER skip BEFORE INSERT ON extend.{table} FOR EACH ROW EXECUTE FUNCTION skip()")
    assert f"{table}" in refusal(database, role)


def test_a_view_where_a_table_is_to_be_is_met_before_anything_is_paid(database: Database) -> None:
    database.rows("CREATE SCHEMA extend")
    database.rows("CREATE VIEW extend.loads AS SELECT 1 AS part")
    with warehouse(database) as opened, pytest.raises(WarehouseError, match=r"could not land.*make loads"):
        opened.check_writable()


def test_a_lock_that_somebody_holds_is_named(database: Database, role: str) -> None:
    with psycopg.connect(**database.parameters) as other:
        other.execute("LOCK TABLE extend.documents IN SHARE MODE")
        with (
            opened_as(database, role, lock_timeout=0.2) as opened,
            pytest.raises(WarehouseError, match=r"could not land.*documents.*pg_locks"),
        ):
            opened.check_writable()
