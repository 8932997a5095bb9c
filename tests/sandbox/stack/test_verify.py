"""The comparison of what landed with the truth: it has to notice everything, and nothing else."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from sandbox.documents import ExpectedResult
from sandbox.stack.nightly.verify import LandedDocument, differences, equal, places

KEY = "documents/2026-11-21/invoice 1.pdf"
VALUE = {
    "invoice_number": "INV-1",
    "invoice_date": "2026-11-21",
    "due_date": None,
    "total": 120.1,
    "vendor": {"name": "Müller", "tax_id": None},
    "line_items": [{"description": "Paper", "amount": 100.0}, {"description": None, "amount": 20.1}],
}
LANDED = {
    ("invoice_number",): "INV-1",
    ("invoice_date",): dt.date(2026, 11, 21),
    ("total",): Decimal("120.100000000"),
    ("vendor", "name"): "Müller",
    ("line_items", 0, "description"): "Paper",
    ("line_items", 0, "amount"): Decimal("100.000000000"),
    ("line_items", 1, "amount"): Decimal("20.100000000"),
}
EXPECTED = ExpectedResult(KEY, "PROCESSED", None, "invoice", VALUE)
RIGHT = LandedDocument("PROCESSED", None, "invoice", LANDED)


def found(*rows: tuple[str, LandedDocument], expected: ExpectedResult = EXPECTED) -> list[str]:
    return [str(difference) for difference in differences([expected], rows)]


def test_correct_document_has_no_differences() -> None:
    assert found((KEY, RIGHT)) == []


@pytest.mark.parametrize(
    ("place", "value", "difference"),
    [
        pytest.param(
            ("total",), Decimal("120.11"), "total is Decimal('120.11'), expected 120.1", id="a cent"
        ),
        pytest.param(("invoice_number",), None, "invoice_number is None, expected 'INV-1'", id="missing"),
        pytest.param(
            ("due_date",),
            dt.date(2026, 12, 1),
            "due_date is datetime.date(2026, 12, 1), expected None",
            id="invented",
        ),
        pytest.param(
            ("line_items", 2, "amount"),
            Decimal(1),
            "line_items[2].amount is Decimal('1'), expected None",
            id="one item too many",
        ),
        pytest.param(
            ("line_items", 1, "amount"),
            None,
            "line_items[1].amount is None, expected 20.1",
            id="item value lost",
        ),
    ],
)
def test_different_value_is_named_with_its_place(place: Any, value: Any, difference: str) -> None:
    values = {key: item for key, item in {**LANDED, place: value}.items() if item is not None}
    landed = LandedDocument("PROCESSED", None, "invoice", values)
    assert found((KEY, landed)) == [f"{KEY}: {difference}"]


def test_items_in_another_order_are_differences() -> None:
    swaps: dict[str | int, str | int] = {0: 1, 1: 0}
    swapped = {tuple(swaps.get(part, part) for part in place): value for place, value in LANDED.items()}
    assert len(found((KEY, LandedDocument("PROCESSED", None, "invoice", swapped)))) == 4


@pytest.mark.parametrize(
    ("landed", "difference"),
    [
        pytest.param(
            LandedDocument("FAILED", None, "invoice", LANDED),
            "status is 'FAILED', expected 'PROCESSED'",
            id="status",
        ),
        pytest.param(
            LandedDocument("PROCESSED", "ODD", "invoice", LANDED),
            "reason is 'ODD', expected None",
            id="reason",
        ),
        pytest.param(
            LandedDocument("PROCESSED", None, "receipt", {}),
            "kind is 'receipt', expected 'invoice'",
            id="kind",
        ),
        pytest.param(
            LandedDocument("PROCESSED", None), "kind is None, expected 'invoice'", id="no extraction"
        ),
    ],
)
def test_wrong_status_reason_or_kind_is_named(landed: LandedDocument, difference: str) -> None:
    assert found((KEY, landed)) == [f"{KEY}: {difference}"]


def test_document_without_exactly_one_row_is_named() -> None:
    assert found() == [f"{KEY}: number of rows is 0, expected 1"]
    assert found((KEY, RIGHT), (KEY, RIGHT)) == [f"{KEY}: number of rows is 2, expected 1"]
    assert found((KEY, RIGHT), ("stranger", RIGHT)) == ["stranger: number of rows is 1, expected 0"]


def test_document_without_values_is_compared_by_status_and_reason() -> None:
    failed = ExpectedResult(KEY, "FAILED", "FAILED_TO_PROCESS_FILE", None, None)
    assert found((KEY, LandedDocument("FAILED", "FAILED_TO_PROCESS_FILE")), expected=failed) == []
    assert found((KEY, LandedDocument("FAILED", "TIMEOUT")), expected=failed) == [
        f"{KEY}: reason is 'TIMEOUT', expected 'FAILED_TO_PROCESS_FILE'"
    ]


def test_places_are_the_scalars_that_are_not_null() -> None:
    assert dict(places({"a": {"b": [1, None, {"c": False}]}, "d": None})) == {
        ("a", "b", 0): 1,
        ("a", "b", 2, "c"): False,
    }


@pytest.mark.parametrize(
    ("expected", "landed", "same"),
    [
        pytest.param(0.1, Decimal("0.100000000"), True, id="decimal"),
        pytest.param(0.1 + 0.2, Decimal("0.3"), False, id="float that is not the decimal"),
        pytest.param(3, 3, True, id="integer"),
        pytest.param(3.0, 3, True, id="float and integer"),
        pytest.param("3", 3, False, id="text and number"),
        pytest.param(None, Decimal(0), False, id="nothing and zero"),
        pytest.param(True, True, True, id="boolean"),
        pytest.param("2026-11-21", dt.date(2026, 11, 21), True, id="date"),
        pytest.param("2026-11-21", dt.date(2026, 11, 22), False, id="another date"),
        pytest.param("Köln", "Koln", False, id="accent"),
    ],
)
def test_equality_compares_column_values_with_json_values(expected: Any, landed: Any, same: bool) -> None:
    assert equal(expected, landed) is same
