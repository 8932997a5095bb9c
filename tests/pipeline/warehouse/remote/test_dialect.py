"""Statements are written once, in DuckDB's dialect; what becomes of them elsewhere."""

from __future__ import annotations

import datetime as dt

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st

from extend_pipeline.warehouse.destinations import bigquery, databricks, postgres, redshift, snowflake
from extend_pipeline.warehouse.remote.dialect import Dialect, bound
from extend_pipeline.warehouse.schema import tables, views
from extend_pipeline.warehouse.schema.names import MAX_BYTES
from extend_pipeline.warehouse.schema.wide_tables import joined, segment_name, segmented, segments_of
from extend_pipeline.warehouse.sql import Columns, ColumnType, created, literal

POSTGRES, SNOWFLAKE = postgres.Postgres.dialect, snowflake.Snowflake.dialect
REDSHIFT = redshift.Redshift.dialect
DATABRICKS, BIGQUERY = databricks.Databricks.dialect, bigquery.BigQuery.dialect
ALL = (POSTGRES, REDSHIFT, SNOWFLAKE, DATABRICKS, BIGQUERY)


@pytest.mark.parametrize("dialect", ALL, ids=lambda each: each.name)
def test_every_view_and_fixed_table_is_said_in_every_dialect(dialect: Dialect) -> None:
    statements = list(views.statements("extend").values())
    statements += [created(f'"extend"."{name}"', columns) for name, columns in tables.FIXED.items()]
    for statement in statements:
        translated = dialect.transpiled(statement)
        assert sqlglot.parse_one(translated, read=dialect.name)


def test_names_are_quoted_as_the_engine_takes_them_for_granted() -> None:
    asked = 'SELECT größe FROM "extend".documents'
    assert POSTGRES.transpiled(asked) == 'SELECT "größe" FROM "extend"."documents"'
    assert SNOWFLAKE.transpiled(asked) == 'SELECT "GRößE" FROM "EXTEND"."DOCUMENTS"'


def test_json_is_the_engines_own() -> None:
    assert "JSONB" in POSTGRES.transpiled("CREATE TABLE t (a JSON)")
    assert "VARIANT" in DATABRICKS.transpiled("CREATE TABLE t (a JSON)")
    assert "VARIANT" in SNOWFLAKE.transpiled("CREATE TABLE t (a JSON)")


def test_bigquery_counts_minutes_as_duckdb_does_and_keeps_what_belongs_together_together() -> None:
    asked = "SELECT date_diff('minute', a, b), CAST(c AS DECIMAL(38, 9)), chr(0)"
    assert BIGQUERY.transpiled(asked) == (
        "SELECT TIMESTAMP_DIFF(TIMESTAMP_TRUNC(`b`, MINUTE), TIMESTAMP_TRUNC(`a`, MINUTE), MINUTE), "
        "CAST(`c` AS NUMERIC), CODE_POINTS_TO_STRING([0])"
    )
    made = BIGQUERY.transpiled(created("extend.loads", {"part": ColumnType.TEXT}))
    assert made == "CREATE TABLE `extend`.`loads` (`part` STRING)"
    made = BIGQUERY.transpiled(created("extend.claims", tables.CLAIMS))
    assert made.endswith("`claimed_at` TIMESTAMP) CLUSTER BY `document_id`")


def test_parameters_take_their_places_in_order_and_no_others() -> None:
    at = dt.datetime(2026, 11, 22, 9, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    sql = "WITH a AS (SELECT ? AS x) SELECT '?', \"?\", ?, ?, ? -- ?\n FROM a WHERE y = ?"
    assert bound(sql, ["o'brien", None, 5, True, at]) == (
        "WITH a AS (SELECT 'o''brien' AS x) SELECT '?', \"?\", NULL, 5, True -- ?\n"
        " FROM a WHERE y = CAST('2026-11-22 07:00:00+00:00' AS TIMESTAMPTZ)"
    )
    with pytest.raises(ValueError, match="zip"):
        bound(sql, ["too few"])


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_text_is_the_same_text_in_every_dialect(text: str) -> None:
    for dialect in ALL:
        translated = dialect.transpiled("SELECT ?", [text])
        (value,) = sqlglot.parse_one(translated, read=dialect.name).expressions
        assert value.sql(dialect="duckdb") == literal(text)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(6, 12))
def test_a_wide_table_keeps_each_column_where_it_is_and_has_every_one_once(
    growth: list[int], widest: int
) -> None:
    keys = dict.fromkeys(("document_id", "run_id", "idx"), ColumnType.TEXT)
    columns, parts = dict(keys), dict[str, Columns]()
    for more in growth:
        columns |= {f"c{number}": ColumnType.INTEGER for number in range(len(columns) + more)}
        before, parts = parts, segmented("t", columns, keys.keys(), parts, widest)
        assert joined(parts) == columns
        assert segments_of("t", parts) == parts
        assert sum(len(part) - len(keys) for part in parts.values()) == len(columns) - len(keys)
        assert all(len(part) <= widest and keys.items() <= part.items() for part in parts.values())
        for name, part in before.items():
            assert part.items() <= parts[name].items()
    assert list(segmented("t", columns, keys.keys(), {}, None)) == ["t"]


def test_parts_of_long_names_are_not_taken_for_each_other() -> None:
    names = {"x" * MAX_BYTES, "x" * (MAX_BYTES - 1), "請" * 21}
    parts = {segment_name(name, number) for name in names for number in range(1, 12)}
    assert len(parts) == len(names) * 11
    assert all(len(part.encode()) <= MAX_BYTES for part in parts)
