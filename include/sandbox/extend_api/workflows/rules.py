"""What validating and routing steps say of extracted values: the formulas of the emulator's workflows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sandbox.reading import Kind

Value = Mapping[str, Any]

#: Amounts that differ by no more are the same: half a cent, lost in rounding.
_TOLERANCE: Final = Decimal("0.005")


class _Empty(Exception):  # noqa: N818 - reads as what happened
    """A formula needs a value that the document does not have; the text is the field's name."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Rule:
    """A rule and its formula: whether it holds, for each item if it is of a list; None is no answer."""

    name: str
    holds: Callable[[Value], bool | list[bool] | None]


@dataclasses.dataclass(frozen=True, slots=True)
class _Branch:
    """A way out of a router, taken if its predicate holds."""

    id: str
    name: str
    holds: Callable[[Value], bool]


def validated(kind: Kind, value: Value) -> dict[str, Any]:
    """Return what a rule validation says of a document of ``kind``."""
    rules = [_outcome(rule, value) for rule in _RULES[kind]]
    return {"rules": rules, "allPassed": all(rule["valid"] for rule in rules)}


def _outcome(rule: _Rule, value: Value) -> dict[str, Any]:
    try:
        found = rule.holds(value)
    except _Empty as error:
        failure = {"failureReason": "VALUE_ERROR", "error": f"{error} is empty"}
        return {"name": rule.name, "valid": False, **failure}
    valid = all(found) if isinstance(found, list) else bool(found)
    outcome: dict[str, Any] = {"name": rule.name, "valid": valid}
    if isinstance(found, list):
        outcome["validArray"] = found
    return outcome if valid else {**outcome, "failureReason": "RULE_FAILED"}


def routed(value: Value) -> dict[str, Any]:
    """Return what the router says of an invoice: branches in order, none after the first that matches."""
    branches = list(_evaluated(value))
    matched = next((branch for branch in branches if branch["matched"]), None)
    return {
        "matchedBranch": matched and {"id": matched["id"], "name": matched["name"]},
        "branches": branches,
    }


def _evaluated(value: Value) -> Iterator[dict[str, Any]]:
    for branch in _BRANCHES:
        told: dict[str, Any] = {"id": branch.id, "name": branch.name}
        try:
            told["matched"] = branch.holds(value)
        except _Empty as error:
            told |= {"matched": False, "error": f"{error} is empty"}
        yield told
        if told["matched"]:
            return


def _amount(value: Value, field: str) -> Decimal:
    if value.get(field) is None:
        raise _Empty(field)
    return Decimal(str(value[field]))


def _equal(first: Decimal, second: Decimal) -> bool:
    return abs(first - second) <= _TOLERANCE


def _items_make_subtotal(value: Value) -> bool:
    items = sum((_amount(item, "amount") for item in value["line_items"]), Decimal(0))
    return _equal(items, _amount(value, "subtotal"))


def _items_are_priced(value: Value) -> list[bool]:
    return [
        _equal(_amount(item, "quantity") * _amount(item, "unit_price"), _amount(item, "amount"))
        for item in value["line_items"]
    ]


def _tax_makes_total(value: Value) -> bool:
    return _equal(_amount(value, "subtotal") + _amount(value, "tax"), _amount(value, "total"))


def _is_due_later(value: Value) -> bool | None:
    issued, due = value["invoice_date"], value["due_date"]
    return None if issued is None or due is None else bool(issued <= due)


def _bookings_make_closing(value: Value) -> bool:
    bookings = sum((_amount(item, "amount") for item in value["transactions"]), Decimal(0))
    return _equal(_amount(value, "opening_balance") + bookings, _amount(value, "closing_balance"))


def _balances_follow(value: Value) -> list[bool]:
    balance, follows = _amount(value, "opening_balance"), []
    for item in value["transactions"]:
        balance, before = _amount(item, "balance"), balance
        follows.append(_equal(before + _amount(item, "amount"), balance))
    return follows


_RULES: Final[Mapping[Kind, tuple[_Rule, ...]]] = {
    "invoice": (
        _Rule("Positions make the subtotal", _items_make_subtotal),
        _Rule("Positions are quantity times price", _items_are_priced),
        _Rule("Subtotal and tax make the total", _tax_makes_total),
        _Rule("Due after its date", _is_due_later),
    ),
    "bank_statement": (
        _Rule("Bookings lead to the closing balance", _bookings_make_closing),
        _Rule("Each balance follows", _balances_follow),
    ),
}
_BRANCHES: Final = (
    _Branch("branch_large", "Large amount", lambda value: _amount(value, "total") >= 10_000),
    _Branch("branch_small", "Small amount", lambda value: _amount(value, "total") < 500),
)
