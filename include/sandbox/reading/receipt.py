"""The fields of a till receipt."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from sandbox.reading.common import find_currency, find_date
from sandbox.reading.finding import (
    BY_POSITION,
    Found,
    LabelledLines,
    Labels,
    Row,
    TableReader,
    joined,
    text_value,
)
from sandbox.reading.model import Line, ReadDocument
from sandbox.reading.values import parse_amount, parse_quantity, parse_time

_LABELS = Labels(
    {
        "merchant": "merchant | shop | store",
        "receipt_number": "receipt no | receipt # | receipt number | bon nr | beleg nr | ticket n°",
        "purchased_on": "date | datum | purchase date",
        "purchased_at": "time | uhrzeit | heure | purchase time",
        "payment_method": "paid by | payment | payment method | zahlung | zahlungsart | paiement",
        "currency": "currency | währung | devise",
        "cashier": "cashier | served by | kasse | caisse | till",
        "subtotal": "subtotal | sub-total | zwischensumme | sous-total",
        "tax": "vat | sales tax | tax | incl. vat | mwst | inkl. mwst | dont tva | tva",
        "total": "total | summe | gesamtbetrag | amount paid | total ttc",
    }
)
_ITEMS = TableReader(
    columns=Labels(
        {
            "description": "item | description | artikel | article",
            "quantity": "qty | quantity | menge | qté",
            "amount": "price | amount | preis | betrag | prix | montant",
        }
    ),
    anchor=("amount",),
    is_anchor=lambda text: parse_amount(text) is not None,
    text_column="description",
    labels=_LABELS,
    ends_with=("subtotal", "tax", "total"),
)
_COUNTED = re.compile(r"(\d{1,3})\s?[x×]\s+(.+)")
_PAYMENT_WORDS = (
    (r"gift|gutschein|cadeau", "gift_card"),
    (r"apple pay|google pay|mobile", "mobile_payment"),
    (r"debit|girocard|ec-karte|maestro", "debit_card"),
    (r"credit|visa|mastercard|amex|kreditkarte|carte", "credit_card"),
    (r"cash|bar\b|espèces", "cash"),
)


def extract_receipt(doc: ReadDocument) -> dict[str, Any]:
    """Return the receipt's fields, each leaf a :class:`~sandbox.reading.finding.Found`."""
    table = _ITEMS.read(doc.lines)
    lines = LabelledLines(table.outside, _LABELS)
    currency = find_currency(lines, table.outside, "total")
    items = [_table_item(row) for row in table.rows] or list(_free_items(table.outside))
    return {
        "merchant": _merchant(lines),
        "receipt_number": lines.read("receipt_number", text_value),
        "purchased_on": find_date(lines, "purchased_on", currency.value),
        "purchased_at": _time(lines),
        "payment_method": lines.read("payment_method", _payment_method),
        "currency": currency,
        "items": items,
        "tax": lines.read("tax", parse_amount),
        "total": lines.read("total", parse_amount),
    }


def _merchant(lines: LabelledLines) -> Found[str]:
    named = lines.read("merchant", text_value)
    return named if named.value else joined(lines.first_block()[:1])


def _time(lines: LabelledLines) -> Found[str]:
    """The time has a label of its own or stands beside the date."""
    labelled = lines.read("purchased_at", parse_time)
    return labelled if labelled.value else lines.read("purchased_on", parse_time)


def _payment_method(text: str) -> str | None:
    lowered = text.casefold()
    return next((method for words, method in _PAYMENT_WORDS if re.search(words, lowered)), None)


def _table_item(row: Row) -> dict[str, Found[Any]]:
    return {
        "description": row.read("description", text_value),
        "quantity": row.read("quantity", parse_quantity),
        "amount": row.read("amount", parse_amount),
    }


def _free_items(lines: Sequence[Line]) -> Iterator[dict[str, Found[Any]]]:
    """Items printed without a table's header: a text, perhaps with a count before it, and a price."""
    for line in lines:
        first, last = line.cells[0], line.cells[-1]
        label = _LABELS.field(first.text)
        if label in _ITEMS.ends_with:
            return
        amount = parse_amount(last.text)
        if label or amount is None or len(line.cells) < 2:
            continue
        counted = _COUNTED.fullmatch(first.text)
        yield {
            "description": Found(counted[2] if counted else first.text, (first,), BY_POSITION),
            "quantity": Found(float(counted[1]) if counted else 1.0, (first,), BY_POSITION),
            "amount": Found(amount, (last,), BY_POSITION),
        }
