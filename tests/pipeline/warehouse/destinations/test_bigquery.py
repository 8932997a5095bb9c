"""Landing in BigQuery, as far as its client, sqlglot and bqemulator behind them can tell."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.api_core.exceptions import BadRequest, Forbidden, GoogleAPICallError
from sqlglot import exp

from extend_pipeline.warehouse.api import Warehouse
from extend_pipeline.warehouse.destinations import bigquery as destination
from extend_pipeline.warehouse.destinations.google_credentials import credentials
from extend_pipeline.warehouse.records import WarehouseError
from extend_pipeline.warehouse.schema import views
from extend_pipeline.warehouse.session import WITHHELD
from fixtures.engines.bigquery import BigQuery
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
    migrate_and_refuse,
    opener,
    plan_land_and_ask,
)
from fixtures.warehouse.files import OF_THE_LEDGER, provenance, query, warehouse
from fixtures.warehouse.parts import AFTER, LATER
from fixtures.warehouse.runs import document, extract_step, raw_lines, run

#: What the emulator's own code is warned of.
pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result:UserWarning")

FIRST, SECOND = document(1), document(2)


@pytest.fixture
def opened(bigquery_project: BigQuery, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Warehouse]:
    """See :func:`opener`."""
    return opener(monkeypatch, bigquery_project.connection)


def landed(place: BigQuery | Path) -> dict[str, list[str]]:
    """Return all rows by table, values by column, without the times of loading."""
    if isinstance(place, BigQuery):
        with place.client() as client:
            tables = [each for each in client.list_tables("extend") if each.table_type == "TABLE"]
            schemas = {
                each.table_id: {field.name: field.field_type for field in client.get_table(each).schema}
                for each in tables
            }
        ask: Callable[[str], list[Any]] = place.rows
    else:
        with warehouse(place) as here:
            schemas = {
                table: dict.fromkeys(each, "")
                for table, each in here.session("look").columns("extend").items()
            }
        ask = lambda sql: query(place, sql.replace("`", '"'))  # noqa: E731
    found = {}
    for table, columns in schemas.items():
        names = ", ".join(
            f"TO_JSON_STRING(`{name}`)" if columns[name] == "JSON" else f"`{name}`"
            for name in sorted(columns)
            if name not in OF_THE_LEDGER
        )
        found[table] = sorted(map(readable, ask(f"SELECT {names} FROM `extend`.`{table}`")))
    return found


def readable(row: Any) -> str:
    def plain(value: Any) -> Any:
        if isinstance(value, dt.datetime):
            return value.astimezone(dt.UTC).isoformat()
        if isinstance(value, Decimal):
            return value.normalize()
        if isinstance(value, str) and value[:1] in ("{", "["):
            return json.dumps(json.loads(value), sort_keys=True)
        return value

    return repr([plain(value) for value in row])


@FEW_OR_EVERY
def test_parts_leave_what_they_leave_in_duckdb(
    bigquery_project: BigQuery, opened: Callable[..., Warehouse], tmp_path: Path, every: bool
) -> None:
    file = tmp_path / "warehouse.duckdb"
    with opened() as there:
        there.check_writable()
    land_beside_duckdb(opened, file, every=every)
    with opened() as there:
        there.check_writable()
    expected = landed(file)
    assert_same_rows(landed(bigquery_project), expected)
    # Nothing is left of what rows passed through, and views are made once.
    assert bigquery_project.tables() == {*expected, *views.VIEWS}
    made = [each for each in bigquery_project.statements if "VIEW" in each]
    assert len(made) == len(views.VIEWS)
    for sent in bigquery_project.statements:
        parsed = [tree for tree in sqlglot.parse(sent, read="bigquery") if tree is not None]
        assert parsed
        assert not [tree for tree in parsed if isinstance(tree, exp.Command)], sent


def test_claims_and_what_has_landed_are_found(
    bigquery_project: BigQuery, opened: Callable[..., Warehouse]
) -> None:
    claim_and_find(opened, "o'brien\\\0")
    plan_land_and_ask(opened)
    for view in views.VIEWS:
        bigquery_project.rows(f"SELECT * FROM `extend`.`{view}`")


def test_a_dataset_of_another_release_is_migrated_or_refused(opened: Callable[..., Warehouse]) -> None:
    migrate_and_refuse(opened)


def test_what_cannot_be_written_to_is_refused_before_anything_is_sent(
    bigquery_project: BigQuery, opened: Callable[..., Warehouse]
) -> None:
    with opened() as there:
        there.check_writable()
    bigquery_project.rows("CREATE VIEW extend._preflight AS SELECT 1 AS probe")
    refused = (
        r"Documents could not land in BigQuery acme-\d+ \(connection 'warehouse_test'\): .*'drop what was"
    )
    with opened() as there, pytest.raises(WarehouseError, match=refused):
        there.check_writable()
    assert bigquery_project.tables() == {"claims", "_preflight", "_schema_version"}


@pytest.mark.full
@FEW_OR_EVERY
def test_a_load_that_breaks_anywhere_leaves_the_rows_that_were_there(
    bigquery_project: BigQuery, opened: Callable[..., Warehouse], every: bool
) -> None:
    land_before(opened)
    kept = ("documents", "loads", "fields", "invoices_tags")

    def rows() -> list[Any]:
        return [sorted(bigquery_project.rows(f"SELECT * FROM extend.{table}"), key=repr) for table in kept]

    break_loads(
        lambda: land_after(opened),
        rows,
        result=lambda: landed(bigquery_project),
        few=["widen", LAST_WRITE],
        every=every,
        there=True,
    )


def test_a_transaction_that_breaks_is_undone_and_its_error_quotes_no_value(
    bigquery_project: BigQuery, opened: Callable[..., Warehouse], monkeypatch: pytest.MonkeyPatch
) -> None:
    land_before(opened)
    before = landed(bigquery_project)
    original = destination._typed

    # An engine quotes the text that a cast breaks on. No cast of the package can break; this one does.
    def typed(text: str, kind: Any) -> str:
        return original(text, kind) if kind != "JSON" else f"PARSE_JSON(CAST(CAST({text} AS DATE) AS STRING))"

    with monkeypatch.context() as patched, opened() as there:
        patched.setattr(destination, "_typed", typed)
        with pytest.raises(WarehouseError) as caught:
            there.land(*AFTER, provenance=LATER)
    sent = bigquery_project.statements[-1]
    assert sent.startswith("BEGIN TRANSACTION;\n")
    assert sent.endswith(";\nCOMMIT TRANSACTION")
    message = str(caught.value)
    assert "Part raw/2 into BigQuery acme-" in message
    assert "in statement 'commit'. Its transaction was undone." in message
    assert "batch_1" not in message
    assert caught.value.__context__ is None
    after = landed(bigquery_project)
    assert after["invoices"] != before["invoices"]  # its new columns are there already
    for table in before.keys() - {"invoices"}:
        assert after[table] == before[table], table
    assert len(after["invoices"]) == len(before["invoices"])


@pytest.mark.full
def test_any_text_arrives_as_it_is(bigquery_project: BigQuery, opened: Callable[..., Warehouse]) -> None:
    texts = [
        '"',
        "\\.",
        "\\N",
        "",
        " ",
        "\r\n",
        "NULL",
        "%s",
        "?",
        "'",
        "\\'",
        "@a",
        "`",
        "a\0b",
        "請\U0001f9fe",
    ]
    schema = {"type": "object", "properties": {"größe": {"type": "string"}, "b": {"type": "object"}}}
    submission = [document(number) for number in range(len(texts))]
    steps = ([extract_step({"größe": text, "b": {"k": [text]}}, schema=schema)] for text in texts)
    runs = [run(d, steps=s) for d, s in zip(submission, steps, strict=True)]
    for _ in range(2):
        with opened() as there:
            there.land(submission, raw_lines(*runs), provenance=provenance())
        rows = bigquery_project.rows("SELECT document_id, `größe`, b FROM extend.invoices")
        assert {key: (a, b) for key, a, b in rows} == {
            each.id: (text, {"k": [text]}) for each, text in zip(submission, texts, strict=True)
        }


def test_times_and_numbers_at_the_edges_are_what_they_are_in_duckdb(
    bigquery_project: BigQuery, opened: Callable[..., Warehouse], tmp_path: Path
) -> None:
    # The second time, days have become times: a column that the service does not change by itself.
    later = {**EDGE_TYPES, "day": EDGE_TYPES["time"]}
    file = tmp_path / "warehouse.duckdb"
    for properties, origin in ((EDGE_TYPES, provenance()), (later, LATER)):
        land_values([opened, lambda: warehouse(file)], properties, EDGE_VALUES, origin=origin)
        assert landed(bigquery_project)["invoices"] == landed(file)["invoices"]


def test_days_of_other_years_are_null_and_told_of(
    bigquery_project: BigQuery, opened: Callable[..., Warehouse]
) -> None:
    day, time = {"type": "string", "extend:type": "date"}, {"type": "string", "format": "date-time"}
    schema = {"type": "object", "properties": {"day": day, "time": time, "fits": day}}
    value = {"day": "0000-12-31", "time": "9999-12-31T23:00:00-05", "fits": "9999-12-31"}
    for _ in range(2):
        with opened() as there:
            step = extract_step(value, schema=schema)
            there.land([FIRST], raw_lines(run(FIRST, steps=[step])), provenance=provenance())
        ((day_kept, time_kept, fits),) = bigquery_project.rows("SELECT day, time, fits FROM extend.invoices")
        assert (day_kept, time_kept, fits) == (None, None, dt.date(9999, 12, 31))
        noted = bigquery_project.rows(
            "SELECT column_name, value FROM extend.problems WHERE code = 'YEAR_OUT_OF_RANGE' ORDER BY 1"
        )
        assert noted == [("day", "0001-12-31 (BC)"), ("time", "10000-01-01 04:00:00+00")]


def told(kind: type[GoogleAPICallError], reason: str, message: str) -> tuple[str, str]:
    """Return what becomes of an answer of the service's after a transaction of one statement."""
    there = destination.BigQuery("BigQuery", pytest.fail)
    there._script = ("BEGIN TRANSACTION", "DELETE FROM `extend`.`documents` WHERE true")
    fault = there.fault(kind(message, errors=[{"reason": reason, "message": message}]))
    assert fault is not None
    return fault


def test_faults_tell_what_helps_and_no_value() -> None:
    # As the service has them; the emulator names neither places nor conflicts.
    name, remedy = told(BadRequest, "invalidQuery", "Query error: Bad int64 value: 4111 at [2:9]")
    assert name == "BadRequest (invalidQuery) at DELETE FROM `extend`.`documents`"
    assert remedy == WITHHELD
    conflict = "Transaction is aborted due to concurrent update against table a:b.c. ID: 1 at [9:1]"
    name, remedy = told(BadRequest, "invalidQuery", conflict)
    assert name == "BadRequest (invalidQuery)"
    assert remedy.startswith("BigQuery cancelled this one of two concurrent transactions")
    refused = "Access Denied: Dataset a:b: Permission bigquery.tables.create denied"
    assert told(Forbidden, "accessDenied", refused) == ("Forbidden (accessDenied)", refused)
    assert destination.BigQuery("BigQuery", pytest.fail).fault(KeyError("not the engine's")) is None


def test_who_we_are_is_said_by_a_key_or_by_the_machine_and_may_be_handed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    told = {"type": "service_account", "project_id": "acme", "private_key": secret.decode()}
    key = json.dumps({**told, "client_email": "extend@acme", "token_uri": "https://token.example"})
    file = tmp_path / "key.json"
    file.write_text(key)
    by_key = [{"keyfile_dict": key}, {"keyfile_dict": json.loads(key)}, {"key_path": str(file)}]
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    for extra in (*by_key, {}):
        found, project = credentials(extra)
        assert project == "acme"
        assert found.service_account_email == "extend@acme"
        assert found.scopes == ["https://www.googleapis.com/auth/bigquery"]
    found, project = credentials({"impersonation_chain": "a@acme, b@acme", "scope": "x,y", **by_key[0]})
    assert project == "acme"
    assert found.service_account_email == "b@acme"
    assert found._delegates == ["a@acme"]
    assert found._target_scopes == ["x", "y"]


def test_a_key_that_is_none_and_a_server_that_is_away_are_named_and_no_secret_is(
    opened: Callable[..., Warehouse], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = {"type": "service_account", "private_key": "secret-4111", "client_email": "a@b", "token_uri": "x"}
    refused = pytest.raises(WarehouseError, match=r"'warehouse_test'.*cannot be opened: .*key")
    for extra in ({"keyfile_dict": key}, {"keyfile_dict": "{"}, {"key_path": "/no/such/4111"}):
        with refused as caught:
            opened(is_anonymous=False, **extra).__enter__()
        assert "4111" not in str(caught.value)
        assert caught.value.__context__ is None
    with pytest.raises(WarehouseError, match="needs the extra field 'project'"):
        opened(project=None).__enter__()
