"""Landing in Redshift, as far as its driver, sqlglot and a Postgres behind them can tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extend_pipeline.warehouse.api import Warehouse
from extend_pipeline.warehouse.destinations import redshift as destination
from extend_pipeline.warehouse.open import open_warehouse
from extend_pipeline.warehouse.records import WarehouseBusyError, WarehouseError
from extend_pipeline.warehouse.schema import views
from fixtures.engines.redshift import BUCKET, LONGEST, Redshift
from fixtures.warehouse.crashes import FEW_OR_EVERY, LAST_WRITE, break_loads
from fixtures.warehouse.destinations import (
    EDGE_TYPES,
    EDGE_VALUES,
    assert_same_rows,
    claim_and_find,
    land_after,
    land_before,
    land_beside_duckdb,
    land_values,
    land_while_a_cast_breaks,
    land_while_the_server_goes_away,
    migrate_and_refuse,
    opener,
    plan_land_and_ask,
    rows_as_json,
)
from fixtures.warehouse.files import provenance, query, warehouse
from fixtures.warehouse.runs import WORKFLOW, document, extract_step, raw_lines, run

FIRST, SECOND = document(1), document(2)


@pytest.fixture
def opened(redshift: Redshift, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Warehouse]:
    """See :func:`opener`."""
    return opener(monkeypatch, redshift.connection)


def landed(place: Any) -> dict[str, list[str]]:
    """Return all rows by table, values by column, without the times of loading."""
    columns = query(
        place,
        "SELECT table_name, list(column_name ORDER BY column_name) FROM duckdb_columns() "
        "WHERE schema_name = 'extend' AND table_name <> '_lock' AND table_name IN "
        "(SELECT table_name FROM duckdb_tables()) GROUP BY table_name",
    )
    return rows_as_json(lambda sql: query(place, sql), dict(columns))


@FEW_OR_EVERY
def test_parts_leave_what_they_leave_in_duckdb(
    redshift: Redshift, opened: Callable[..., Warehouse], tmp_path: Path, every: bool
) -> None:
    file = tmp_path / "warehouse.duckdb"
    land_beside_duckdb(opened, file, every=every)
    assert_same_rows(landed(redshift.database), landed(file))
    assert redshift.s3.client.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 0
    # A column that was widened, and what all is kept in.
    words = dict(
        redshift.database.rows(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = 'extend.invoices'::regclass AND attnum > 0"
        )
    )
    assert words["pages"] == "numeric(38,9)"
    assert words["vendor_name"] == f"character varying({LONGEST})"
    # Redshift casts no boolean to a text, and no text to a boolean.
    booleans = {'"reviewed"', '"edited"', '"passed"', '"paid"'}
    cast = {name for name in booleans for each in redshift.statements if f"CAST({name} AS" in each}
    assert not cast
    assert not [each for each in redshift.statements if "AS BOOLEAN" in each]


@pytest.mark.full
def test_claims_and_what_has_landed_are_found(redshift: Redshift, opened: Callable[..., Warehouse]) -> None:
    claim_and_find(opened, "o'brien\\")
    plan_land_and_ask(opened)
    for view in views.VIEWS:
        redshift.database.rows(f"SELECT * FROM extend.{view}")


def test_a_dataset_of_another_release_is_migrated_or_refused(opened: Callable[..., Warehouse]) -> None:
    migrate_and_refuse(opened)


def test_a_text_too_long_is_cut_visibly_and_told_of(
    redshift: Redshift, opened: Callable[..., Warehouse]
) -> None:
    properties = {"fits": {"type": "string"}, "text": {"type": "string"}, "anything": {"type": "object"}}
    value = {"fits": "ä" * 32_767, "text": "€" * 30_000, "anything": {"k": "x" * LONGEST}}
    step = extract_step(value, schema={"type": "object", "properties": properties})
    for _ in range(2):
        with opened() as there:
            there.land([FIRST], raw_lines(run(FIRST, steps=[step])), provenance=provenance())
        ((fits, text, anything),) = redshift.database.rows("SELECT fits, text, anything FROM extend.invoices")
        assert fits == value["fits"]
        assert text == "€" * 16_382 + "…"
        assert anything is None
        told = redshift.database.rows(
            "SELECT column_name, left(value, 6) FROM extend.problems "
            "WHERE code = 'TEXT_TOO_LONG' AND table_name = 'invoices' ORDER BY 1"
        )
        assert told == [("anything", '{"k":"'), ("text", "€" * 6)]


hostile = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=15) | (
    st.sampled_from(['"', "\\.", "\\N", "", " ", "\r\n", "NULL", "%s", "?", "'", "\\'", "$1", ":a"])
)


@pytest.mark.full
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.tuples(hostile, st.none() | hostile), min_size=20, max_size=20))
def test_any_text_arrives_as_it_is(
    redshift: Redshift, opened: Callable[..., Warehouse], texts: list[tuple[str, str | None]]
) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
    submission = [document(number) for number in range(len(texts))]
    steps = ([extract_step({"a": a, "b": b}, schema=schema)] for a, b in texts)
    runs = [run(d, steps=s) for d, s in zip(submission, steps, strict=True)]
    with opened() as there:
        there.land(submission, raw_lines(*runs), provenance=provenance())
    rows = redshift.database.rows("SELECT document_id, a, b FROM extend.invoices")
    assert {key: (a, b) for key, a, b in rows} == {
        each.id: pair for each, pair in zip(submission, texts, strict=True)
    }


@pytest.mark.full
@FEW_OR_EVERY
def test_a_load_that_breaks_anywhere_leaves_what_was_there(
    redshift: Redshift, opened: Callable[..., Warehouse], every: bool
) -> None:
    land_before(opened)
    break_loads(
        lambda: land_after(opened),
        lambda: landed(redshift.database),
        result=lambda: landed(redshift.database),
        few=["read documents", "widen", LAST_WRITE],
        every=every,
        there=True,
    )
    assert redshift.s3.client.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 0


def test_one_plans_or_lands_at_a_time_and_readers_are_not_kept_waiting(
    redshift: Redshift, opened: Callable[..., Warehouse]
) -> None:
    with opened() as first:
        first.land([FIRST], raw_lines(run(FIRST)), provenance=provenance())
        list(first.unlanded([SECOND], workflow_id=WORKFLOW, version=None))
        with redshift.database.connect(options="-c lock_timeout=1s") as reader:
            assert reader.execute("SELECT count(*) FROM extend.documents").fetchall() == [(1,)]
        refused = pytest.raises(WarehouseBusyError, match=r"another run.*'extend'.*0.3 s")
        with opened(lock_timeout=0.3) as second, refused:
            list(second.unlanded([SECOND], workflow_id=WORKFLOW, version=None))
        first.claim([(SECOND, "a")], workflow_id=WORKFLOW, version=None)
    # What has been committed while the lock was waited for is seen: nothing is asked before it.
    lock = next(n for n, each in enumerate(redshift.statements) if each.startswith("LOCK"))
    assert redshift.statements[lock - 2 : lock] == ["BEGIN", "SET statement_timeout TO 120000"]
    with opened(lock_timeout=0.3) as third:
        (found,) = third.unlanded([SECOND], workflow_id=WORKFLOW, version=None)
        assert found.chunks == ("a",)


def test_more_rows_than_a_page_and_two_answers_at_once(opened: Callable[..., Warehouse]) -> None:
    candidates = [document(number) for number in range(2_300)]
    with opened() as there:
        there.claim([(each, "a") for each in candidates[::2]], workflow_id=WORKFLOW, version=None)
        there.land(candidates[1:4:2], raw_lines(run(candidates[1])), provenance=provenance())
        found = list(there.unlanded(candidates, workflow_id=WORKFLOW, version=None))
    assert [each.chunks for each in found[:4]] == [("a",), ("a",), ("a",), ()]
    assert len(found) == 2_298


def test_an_error_of_redshift_quotes_no_value(
    opened: Callable[..., Warehouse], monkeypatch: pytest.MonkeyPatch
) -> None:
    message = land_while_a_cast_breaks(opened, destination, monkeypatch)
    assert "Part raw/2 into Redshift" in message
    assert "22007" in message


@pytest.mark.full
def test_a_server_that_goes_away_is_named_and_no_value_is(
    redshift: Redshift, opened: Callable[..., Warehouse]
) -> None:
    land_before(opened)
    before = landed(redshift.database)
    message = land_while_the_server_goes_away(
        lambda: land_after(opened), destination.Redshift, redshift.database.rows
    )
    assert "Part raw/2 into Redshift" in message
    assert landed(redshift.database) == before
    land_after(opened)


def test_times_and_numbers_at_the_edges_are_what_they_are_in_duckdb(
    redshift: Redshift, opened: Callable[..., Warehouse], tmp_path: Path
) -> None:
    file = tmp_path / "warehouse.duckdb"
    land_values([opened, lambda: warehouse(file)], EDGE_TYPES, EDGE_VALUES)
    assert landed(redshift.database)["invoices"] == landed(file)["invoices"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"staging": ""}, "needs the extra fields 'staging'"),
        ({"iam_role": ""}, "needs the extra fields 'staging'"),
        ({"staging": "gs://elsewhere/x"}, "needs the extra fields 'staging'"),
    ],
)
def test_a_connection_that_does_not_fit_is_refused(
    opened: Callable[..., Warehouse], change: dict[str, str], message: str
) -> None:
    with pytest.raises(WarehouseError, match=message):
        opened(**change)


def test_a_server_that_refuses_or_is_away_is_named_and_no_secret_is(
    redshift: Redshift, monkeypatch: pytest.MonkeyPatch
) -> None:
    for change in ({"login": "nobody"}, {"port": 1}, {"schema": "no_such"}):
        fields = {**json.loads(redshift.connection()), "password": "secret-4111", **change}
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_TEST", json.dumps(fields))
        with pytest.raises(WarehouseError, match=r"warehouse_test.*cannot be opened: \w+") as caught:
            open_warehouse("warehouse_test", "extend").__enter__()
        assert "4111" not in str(caught.value)
        assert caught.value.__context__ is None
