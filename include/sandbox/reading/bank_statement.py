"""The fields of a bank statement."""

from __future__ import annotations

from functools import partial
from typing import Any

from sandbox.reading.common import doubted, find_currency, find_date, month_first
from sandbox.reading.finding import (
    Found,
    LabelledLines,
    Labels,
    Row,
    TableReader,
    joined,
    text_value,
)
from sandbox.reading.model import ReadDocument
from sandbox.reading.values import find_dates, parse_amount, parse_date

_LABELS = Labels(
    {
        "bank": "bank",
        "account_holder": "account holder | account name | kontoinhaber | titulaire",
        "account_number": "account number | account no | iban | kontonummer",
        "currency": "currency | währung | devise",
        "period": "statement period | period | zeitraum | période",
        "period_start": "period start | from",
        "period_end": "period end | to",
        "opening_balance": "opening balance | anfangssaldo | alter kontostand | solde initial",
        "closing_balance": "closing balance | endsaldo | neuer kontostand | solde final",
    }
)
_TRANSACTIONS = TableReader(
    columns=Labels(
        {
            "date": "date | booking date | datum | buchungstag",
            "description": "description | details | transaction | verwendungszweck | libellé",
            "amount": "amount | betrag | montant",
            "paid_out": "money out | paid out | debit | soll | débit",
            "paid_in": "money in | paid in | credit | haben | crédit",
            "balance": "balance | saldo | solde",
        }
    ),
    anchor=("date",),
    # Either order of day and month will do here: the currency that decides is read after the table.
    is_anchor=lambda text: bool(parse_date(text) or parse_date(text, month_first=True)),
    text_column="description",
    labels=_LABELS,
    ends_with=("closing_balance",),
)


def extract_bank_statement(doc: ReadDocument) -> dict[str, Any]:
    """Return the statement's fields, each leaf a :class:`~sandbox.reading.finding.Found`."""
    table = _TRANSACTIONS.read(doc.lines)
    lines = LabelledLines(table.outside, _LABELS)
    currency = find_currency(lines, table.outside, "opening_balance")
    bank = lines.read("bank", text_value)
    return {
        "bank": bank if bank.value else joined(lines.first_block()[:1]),
        "account_holder": lines.read("account_holder", text_value),
        "account_number": lines.read("account_number", text_value),
        "currency": currency,
        "period_start": _period(lines, "period_start", 0, currency.value),
        "period_end": _period(lines, "period_end", 1, currency.value),
        "opening_balance": lines.read("opening_balance", parse_amount),
        "closing_balance": lines.read("closing_balance", parse_amount),
        "transactions": [_transaction(row, currency.value) for row in table.rows],
    }


def _period(lines: LabelledLines, field: str, position: int, currency: str | None) -> Found[str]:
    """One end of the period: under its own label, or the first or second date of a range."""

    def pick(text: str) -> str | None:
        dates = find_dates(text, month_first=month_first(currency))
        return dates[position] if len(dates) == 2 else None

    own = find_date(lines, field, currency)
    return own if own.value else doubted(lines.read("period", pick))


def _transaction(row: Row, currency: str | None) -> dict[str, Found[Any]]:
    return {
        "date": doubted(row.read("date", partial(parse_date, month_first=month_first(currency)))),
        "description": row.read("description", text_value),
        "amount": _signed_amount(row),
        "balance": row.read("balance", parse_amount),
    }


def _signed_amount(row: Row) -> Found[float]:
    """One signed column, or two columns of which the left one takes money out."""
    if (paid_out := row.read("paid_out", parse_amount)).value is not None:
        return Found(-paid_out.value, paid_out.cells, paid_out.certainty)
    paid_in = row.read("paid_in", parse_amount)
    return paid_in if paid_in.value is not None else row.read("amount", parse_amount)
