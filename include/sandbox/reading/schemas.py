"""The JSON Schemas of the three extractors, in the subset of JSON Schema that Extend accepts.

Every primitive is nullable, every property required, enumerations hold null, dates carry ``extend:type``
(https://docs.extend.ai/2026-02-09/extraction/schema). Money is a plain number of two decimals in the
document's currency, which is a field of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sandbox.reading.model import Kind

PAYMENT_METHODS = ("cash", "credit_card", "debit_card", "mobile_payment", "gift_card")

_Schema = dict[str, Any]


def _string(description: str) -> _Schema:
    return {"type": ["string", "null"], "description": description}


def _number(description: str) -> _Schema:
    return {"type": ["number", "null"], "description": description}


def _money(description: str) -> _Schema:
    return _number(f"{description} Amount in the document's currency, two decimal places.")


def _date(description: str) -> _Schema:
    return {"type": ["string", "null"], "extend:type": "date", "description": description}


def _enum(values: tuple[str, ...], description: str) -> _Schema:
    return {"enum": [*values, None], "description": description}


def _object(properties: dict[str, _Schema], description: str | None = None) -> _Schema:
    schema: _Schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return schema if description is None else {**schema, "description": description}


def _array(properties: dict[str, _Schema], description: str) -> _Schema:
    return {"type": "array", "items": _object(properties), "description": description}


_CURRENCY = _string("ISO 4217 code of the currency that all amounts are in.")

_INVOICE = _object(
    {
        "invoice_number": _string("The number that the vendor gave the invoice."),
        "invoice_date": _date("The day on which the invoice was issued."),
        "due_date": _date("The day by which it has to be paid, if the invoice names one."),
        "currency": _CURRENCY,
        "vendor": _object(
            {
                "name": _string("Name of the company that issued the invoice."),
                "address": _string("Its postal address on one line, parts separated by commas."),
                "tax_id": _string("Its VAT or tax registration number, if shown."),
            },
            "Who issued the invoice.",
        ),
        "customer": _object(
            {
                "name": _string("Name of the person or company that the invoice is addressed to."),
                "address": _string("Their postal address on one line, parts separated by commas."),
            },
            "Who has to pay it.",
        ),
        "line_items": _array(
            {
                "description": _string("What was sold, on one line."),
                "quantity": _number("How many units."),
                "unit_price": _money("Price of one unit before tax."),
                "amount": _money("Quantity times unit price, before tax."),
            },
            "The invoice's positions in their order, over all pages.",
        ),
        "subtotal": _money("Sum of all positions before tax."),
        "tax_rate": _number("The rate of tax in percent, e.g. 20 for 20%."),
        "tax": _money("The tax."),
        "total": _money("What has to be paid, tax included."),
    }
)

_RECEIPT = _object(
    {
        "merchant": _string("Name of the shop."),
        "receipt_number": _string("The receipt's number."),
        "purchased_on": _date("The day of the purchase."),
        "purchased_at": _string("The time of the purchase, HH:MM on a 24-hour clock, if shown."),
        "payment_method": _enum(PAYMENT_METHODS, "How it was paid."),
        "currency": _CURRENCY,
        "items": _array(
            {
                "description": _string("What was bought."),
                "quantity": _number("How many; 1 where no number is printed."),
                "amount": _money("Price of all pieces of this item."),
            },
            "The items in their order.",
        ),
        "tax": _money("The tax that the total contains."),
        "total": _money("What was paid."),
    }
)

_BANK_STATEMENT = _object(
    {
        "bank": _string("Name of the bank."),
        "account_holder": _string("Who owns the account."),
        "account_number": _string("Account number or IBAN as printed."),
        "currency": _CURRENCY,
        "period_start": _date("First day of the statement's period."),
        "period_end": _date("Last day of the statement's period."),
        "opening_balance": _money("Balance before the first transaction."),
        "closing_balance": _money("Balance after the last transaction."),
        "transactions": _array(
            {
                "date": _date("Booking date."),
                "description": _string("What the bank printed about it, on one line."),
                "amount": _money("Negative when money left the account."),
                "balance": _money("Balance after the transaction."),
            },
            "All transactions in their order, over all pages.",
        ),
    }
)

#: For each kind of document, the schema of what its extractor returns.
SCHEMAS: Mapping[Kind, _Schema] = {
    "invoice": _INVOICE,
    "receipt": _RECEIPT,
    "bank_statement": _BANK_STATEMENT,
}


def empty_value(kind: Kind) -> dict[str, Any]:
    """Return the value that an extractor returns for a document without any of its fields."""
    value: dict[str, Any] = _empty(SCHEMAS[kind])
    return value


def _empty(schema: _Schema) -> Any:
    if schema.get("type") == "object":
        return {name: _empty(field) for name, field in schema["properties"].items()}
    return [] if schema.get("type") == "array" else None


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path (``line_items[0].amount``) and the value of each field of a value."""
    if isinstance(value, dict):
        for name, field in value.items():
            yield from leaves(field, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from leaves(item, f"{path}[{at}]")
    else:
        yield path, value
