"""Parts that the schema contract refuses stop no other part, and land under another contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extend_pipeline.planning.replay import (
    check_whole,
    not_landed,
    parts_of,
    replay,
    whole_parts,
)
from extend_pipeline.storage import raw_index
from extend_pipeline.warehouse.records import LandingPolicy, SchemaContractError
from fixtures.pipeline.raw_parts import entered, place_of, rebuilt, settings
from fixtures.warehouse.files import contents, query, warehouse
from fixtures.warehouse.runs import INVOICE, INVOICE_SCHEMA, WORKFLOW, document, extract_step, raw_lines, run

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
    again = rebuilt(tmp_path, tmp_path / "rebuilt.duckdb", parts_of(settings(tmp_path)))
    before = contents(refused)
    before.pop("loads")
    again.pop("loads")
    assert again == before


def test_a_replay_into_another_dataset_does_not_change_the_contract_of_the_parts(
    tmp_path: Path, refused: Path
) -> None:
    rebuilt(
        tmp_path,
        tmp_path / "other.duckdb",
        parts_of(settings(tmp_path)),
        schema_contract="evolve",
        into_dataset="other",
    )
    assert {entry.policy.schema_contract for entry in parts_of(settings(tmp_path))} == {"freeze"}
