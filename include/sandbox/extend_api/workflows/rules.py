"""Rules and router branches of the emulator's workflows, applied to extracted values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sandbox.reading import Kind

Value = Mapping[str, Any]

#: Amounts are equal if they differ by no more than a rounding error of half a cent.
_TOLERANCE: Final = Decimal("0.005")


class _Empty(Exception):  # noqa: N818 - the name says what happened
    """A formula needs a value that is empty; the text is the name of the field."""


#: Returns True if a rule holds, a list with a result for each item, or None if values are missing.
_Formula = Callable[[Value], bool | list[bool] | None]


def validated(kind: Kind, value: Value) -> dict[str, Any]:
    """Return the output of a rule validation for a document of ``kind``."""
    rules = [_outcome(name, formula, value) for name, formula in _RULES[kind].items()]
    return {"rules": rules, "allPassed": all(rule["valid"] for rule in rules)}


def _outcome(name: str, formula: _Formula, value: Value) -> dict[str, Any]:
    try:
        found = formula(value)
    except _Empty as error:
        failure = {"failureReason": "VALUE_ERROR", "error": f"{error} is empty"}
        return {"name": name, "valid": False, **failure}
    valid = all(found) if isinstance(found, list) else bool(found)
    outcome: dict[str, Any] = {"name": name, "valid": valid}
    if isinstance(found, list):
        outcome["validArray"] = found
    return outcome if valid else {**outcome, "failureReason": "RULE_FAILED"}


def routed(value: Value) -> dict[str, Any]:
    """Return the output of the router for an invoice: its branches up to the first match."""
    branches = list(_evaluated(value))
    matched = next((branch for branch in branches if branch["matched"]), None)
    return {
        "matchedBranch": matched and {"id": matched["id"], "name": matched["name"]},
        "branches": branches,
    }


def _evaluated(value: Value) -> Iterator[dict[str, Any]]:
    for branch_id, name, matches in _BRANCHES:
        branch: dict[str, Any] = {"id": branch_id, "name": name}
        try:
            branch["matched"] = matches(_amount(value, "total"))
        except _Empty as error:
            branch |= {"matched": False, "error": f"{error} is empty"}
        yield branch
        if branch["matched"]:
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


_RULES: Final[Mapping[Kind, Mapping[str, _Formula]]] = {
    "invoice": {
        "Positions make the subtotal": _items_make_subtotal,
        "Positions are quantity times price": _items_are_priced,
        "Subtotal and tax make the total": _tax_makes_total,
        "Due after its date": _is_due_later,
    },
    "bank_statement": {
        "Bookings lead to the closing balance": _bookings_make_closing,
        "Each balance follows": _balances_follow,
    },
}
#: The router's branches: id, name, and the condition on the total.
_BRANCHES: Final[Sequence[tuple[str, str, Callable[[Decimal], bool]]]] = (
    ("branch_large", "Large amount", lambda total: total >= 10_000),
    ("branch_small", "Small amount", lambda total: total < 500),
)
