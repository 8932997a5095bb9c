"""The fields of an invoice."""

from __future__ import annotations

from typing import Any

from sandbox.reading.common import find_currency, find_date
from sandbox.reading.finding import (
    Found,
    LabelledLines,
    Labels,
    Row,
    TableReader,
    absent,
    joined,
    text_value,
)
from sandbox.reading.model import ReadDocument
from sandbox.reading.values import parse_amount, parse_quantity, parse_rate

_LABELS = Labels(
    {
        "invoice_number": "invoice number | invoice no | invoice # | rechnungsnummer"
        " | rechnung nr | numéro de facture | facture n°",
        "invoice_date": "invoice date | date of issue | rechnungsdatum | date de facture",
        "due_date": "due date | payment due | fällig am | zahlbar bis | échéance | date d'échéance",
        "currency": "currency | währung | devise",
        "vendor_heading": "from | seller | rechnungssteller | émetteur",
        "vendor_name": "vendor name",
        "vendor_address": "vendor address",
        "vendor_tax_id": "vat no | vat number | vendor tax id | tax id | ein"
        " | ust-idnr | uid | n° tva | numéro de tva",
        "customer_heading": "bill to | billed to | rechnung an | rechnungsempfänger | facturé à",
        "customer_name": "customer name",
        "customer_address": "customer address",
        "phone": "phone | tel | telefon | téléphone",
        "email": "email | e-mail | courriel",
        "subtotal": "subtotal | sub-total | net total | zwischensumme | nettobetrag | sous-total | total ht",
        "tax": "vat | sales tax | tax | mwst | ust | tva",
        "total": "total | total due | amount due | invoice total | gesamtbetrag"
        " | rechnungsbetrag | total ttc | montant total",
    }
)
_ITEMS = TableReader(
    columns=Labels(
        {
            "description": "description | item | service | beschreibung | leistung | désignation",
            "quantity": "qty | quantity | hours | menge | anzahl | quantité | qté",
            "unit_price": "unit price | rate | price | einzelpreis | prix unitaire | p.u. ht",
            "amount": "amount | line total | betrag | gesamt | montant | montant ht",
            "position": "# | pos | no | n°",
        }
    ),
    anchor=("amount",),
    is_anchor=lambda text: parse_amount(text) is not None,
    text_column="description",
    labels=_LABELS,
    ends_with=("subtotal", "tax", "total"),
)


def extract_invoice(doc: ReadDocument) -> dict[str, Any]:
    """Return the invoice's fields, each leaf a :class:`~sandbox.reading.finding.Found`."""
    table = _ITEMS.read(doc.lines)
    lines = LabelledLines(table.outside, _LABELS)
    currency = find_currency(lines, table.outside, "total")
    parties = _parties(lines)
    return {
        "invoice_number": lines.read("invoice_number", text_value),
        "invoice_date": find_date(lines, "invoice_date", currency.value),
        "due_date": find_date(lines, "due_date", currency.value),
        "currency": currency,
        **parties,
        "line_items": [_item(row) for row in table.rows],
        "subtotal": lines.read("subtotal", parse_amount),
        "tax_rate": _tax_rate(lines),
        "tax": lines.read("tax", parse_amount),
        "total": lines.read("total", parse_amount),
    }


def _item(row: Row) -> dict[str, Found[Any]]:
    return {
        "description": row.read("description", text_value),
        "quantity": row.read("quantity", parse_quantity),
        "unit_price": row.read("unit_price", parse_amount),
        "amount": row.read("amount", parse_amount),
    }


def _parties(lines: LabelledLines) -> dict[str, dict[str, Found[str]]]:
    vendor = lines.block_below("vendor_heading")
    if not vendor and lines.hit("vendor_name") is None:
        vendor = lines.first_block()
    customer = lines.block_below("customer_heading")
    return {
        "vendor": {
            "name": joined(vendor[:1]) if vendor else lines.read("vendor_name", text_value),
            "address": joined(vendor[1:]) if vendor else lines.read("vendor_address", text_value),
            "tax_id": lines.read("vendor_tax_id", text_value),
        },
        "customer": {
            "name": joined(customer[:1]) if customer else lines.read("customer_name", text_value),
            "address": joined(customer[1:]) if customer else lines.read("customer_address", text_value),
        },
    }


def _tax_rate(lines: LabelledLines) -> Found[float]:
    label = lines.label_text("tax")
    rate = parse_rate(label.value) if label.value else None
    return absent() if rate is None else Found(rate, label.cells)
