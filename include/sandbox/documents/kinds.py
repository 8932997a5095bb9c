"""Invents the content of invoices, receipts, bank statements and letters."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal

from sandbox.documents.catalogue import (
    BANKS,
    BOOKINGS,
    CUSTOMERS,
    GOODS,
    GROCERIES,
    PAYMENTS,
    SENTENCES,
    SHOPS,
    VENDORS,
    WIDE_CUSTOMERS,
)
from sandbox.documents.draft import Column, Draft, Party, Printed, address_of
from sandbox.reading.model import DocumentType

_CENT = Decimal("0.01")
_MOST_ITEMS = 40
_NUMBER = Column("#", width=30)


def invoice(rng: random.Random, day: dt.date, *, wide: bool) -> Draft:
    """Invent an invoice issued shortly before ``day``; with ``wide`` names may be outside Latin-1."""
    vendor = rng.choice(VENDORS)
    locale = vendor.locale
    customer, address = rng.choice(WIDE_CUSTOMERS if wide and rng.random() < 0.5 else CUSTOMERS)
    issued_on = day - dt.timedelta(days=rng.randint(0, 20))
    count = rng.randint(1, 8) if rng.random() < 0.75 else rng.randint(9, _MOST_ITEMS)
    number = vendor.number_format.format(year=issued_on.year, number=rng.randint(1, 9999))
    due_on = issued_on + dt.timedelta(days=rng.choice((14, 30, 45))) if rng.random() < 0.8 else None
    more = [("Phone", Printed(vendor.phone))]
    if vendor.tax_id:
        more.insert(0, (locale.tax_id_name, Printed(vendor.tax_id, {"vendor.tax_id": vendor.tax_id})))
    draft = Draft(
        kind="invoice",
        layout=vendor.layout,
        locale=locale,
        created=issued_on,
        title="Invoice",
        issuer=Party(
            "Vendor",
            Printed(vendor.name, {"vendor.name": vendor.name}),
            address_of("vendor.address", vendor.address),
            more,
        ),
        addressee=Party(
            "Customer",
            Printed(customer, {"customer.name": customer}),
            address_of("customer.address", address),
        ),
        columns=[
            *([_NUMBER] if vendor.numbers_positions else []),
            Column("Description", wraps=True),
            *(Column(label, is_right=True) for label in ("Qty", "Unit price", "Amount")),
        ],
        closing="Please quote the number above with your payment.",
        repeats_header=vendor.repeats_header,
    )
    draft.facts = [
        ("Invoice number", Printed(number, {"invoice_number": number})),
        ("Invoice date", draft.date("invoice_date", issued_on)),
    ]
    if due_on:
        draft.facts.append(("Due date", draft.date("due_date", due_on)))
    currency = _name_currency(draft)
    subtotal = Decimal(0)
    for at in range(count):
        description, lowest, highest = rng.choice(GOODS[locale.language])
        quantity = Decimal(rng.choice((1, 1, 2, 3, 5, 10, 24, 1200)))
        if rng.random() < 0.2:
            quantity = Decimal(rng.randint(1, 60)) / 4
        price = Decimal(rng.randint(lowest, highest)) * _CENT
        amount = (quantity * price).quantize(_CENT, ROUND_HALF_UP)
        subtotal += amount
        item = f"line_items[{at}]"
        position = [Printed(str(at + 1))] if vendor.numbers_positions else []
        draft.rows.append(
            [
                *position,
                Printed(description, {f"{item}.description": description}),
                Printed(locale.quantity(quantity), {f"{item}.quantity": float(quantity)}),
                draft.money(f"{item}.unit_price", price),
                draft.money(f"{item}.amount", amount),
            ]
        )
    tax = (subtotal * locale.tax_rate / 100).quantize(_CENT, ROUND_HALF_UP)
    draft.totals = [
        (Printed("Subtotal"), draft.money("subtotal", subtotal)),
        (Printed(locale.tax_label, {"tax_rate": float(locale.tax_rate)}), draft.money("tax", tax)),
        (Printed("Total"), draft.money("total", subtotal + tax, **currency)),
    ]
    return draft


def receipt(rng: random.Random, day: dt.date, *, wide: bool) -> Draft:
    """Invent a receipt of ``day`` or the day before. All its names are Latin-1."""
    del wide
    shop = rng.choice(SHOPS)
    locale = shop.locale
    time = f"{rng.randint(7, 21):02d}:{rng.randint(0, 59):02d}"
    number = f"{rng.randint(1, 99):02d}-{rng.randint(1, 999999):06d}"
    bought_on = day - dt.timedelta(days=rng.randint(0, 1))
    is_timed = rng.random() < 0.85
    paid_by, method = rng.choice(PAYMENTS[locale.language])
    names = rng.sample(GROCERIES[locale.language], rng.randint(1, len(GROCERIES[locale.language])))
    draft = Draft(
        kind="receipt",
        layout="strip",
        locale=locale,
        created=bought_on,
        title="Receipt",
        issuer=Party("Shop", Printed(shop.name, {"merchant": shop.name}), [Printed(shop.address)]),
        columns=[
            Column("Item"),
            *([Column("Qty", is_right=True)] if shop.has_table else []),
            Column("Price", is_right=True),
        ],
        closing="Thank you for shopping with us!",
        has_header=shop.has_table,
    )
    draft.facts = [
        ("Receipt no", Printed(number, {"receipt_number": number})),
        ("Date", draft.date("purchased_on", bought_on)),
        *([("Time", Printed(time, {"purchased_at": time}))] if is_timed else []),
        ("Cashier", Printed("3")),
        ("Paid by", Printed(paid_by, {"payment_method": method})),
    ]
    total = Decimal(0)
    for at, name in enumerate(names):
        quantity = rng.choice((1, 1, 1, 2, 3, 12))
        amount = quantity * Decimal(rng.randint(45, 4999)) * _CENT
        total += amount
        described = {f"items[{at}].description": name}
        counted = {f"items[{at}].quantity": float(quantity)}
        if shop.has_table:
            cells = [Printed(name, described), Printed(str(quantity), counted)]
        else:
            cells = [Printed(f"{quantity} x {name}" if quantity > 1 else name, described | counted)]
        draft.rows.append([*cells, draft.money(f"items[{at}].amount", amount)])
    tax = (total * locale.tax_rate / (100 + locale.tax_rate)).quantize(_CENT, ROUND_HALF_UP)
    currency = {"currency": locale.currency}
    label = Printed(f"Total {locale.currency}", currency) if locale.names_currency else Printed("Total")
    draft.totals = [
        (Printed(locale.tax_label), draft.money("tax", tax)),
        (label, draft.money("total", total, **({} if locale.names_currency else currency))),
    ]
    return draft


def bank_statement(rng: random.Random, day: dt.date, *, wide: bool) -> Draft:
    """Invent a bank statement of the month before ``day``; a few have no transactions."""
    del wide
    bank = rng.choice(BANKS)
    locale = bank.locale
    end = day.replace(day=1) - dt.timedelta(days=1)
    start = end.replace(day=1)
    opening = balance = Decimal(rng.randint(-50_000, 2_000_000)) * _CENT
    count = 0 if rng.random() < 0.05 else rng.randint(1, 25) if rng.random() < 0.7 else rng.randint(26, 90)
    money_columns = ("Money out", "Money in") if bank.has_two_columns else ("Amount",)
    draft = Draft(
        kind="bank_statement",
        layout="statement",
        locale=locale,
        created=end,
        title="Account statement",
        issuer=Party("Bank", Printed(bank.name, {"bank": bank.name}), [Printed(bank.address)]),
        columns=[
            Column("Date", width=100),
            Column("Details", wraps=True),
            *(Column(label, is_right=True) for label in (*money_columns, "Balance")),
        ],
    )
    for at, offset in enumerate(sorted(rng.randrange((end - start).days + 1) for _ in range(count))):
        amount = Decimal(rng.choice((-1, -1, -1, 1)) * rng.randint(1, 350_000)) * _CENT
        balance += amount
        description = rng.choice(BOOKINGS[locale.language])
        booking = f"transactions[{at}]"
        signed = draft.money(f"{booking}.amount", amount)
        if bank.has_two_columns:
            unsigned, nothing = signed._replace(text=locale.amount(abs(amount))), Printed("")
            moved = [unsigned, nothing] if amount < 0 else [nothing, unsigned]
        else:
            moved = [signed]
        draft.rows.append(
            [
                draft.date(f"{booking}.date", start + dt.timedelta(days=offset)),
                Printed(description, {f"{booking}.description": description}),
                *moved,
                draft.money(f"{booking}.balance", balance),
            ]
        )
    holder = rng.choice(CUSTOMERS)[0]
    account = bank.account_format.format(rng.randint(1, 99_999_999))
    first, last = draft.date("period_start", start), draft.date("period_end", end)
    draft.facts = [
        ("Account holder", Printed(holder, {"account_holder": holder})),
        ("Account number", Printed(account, {"account_number": account})),
        (
            "Statement period",
            Printed(f"{first.text} to {last.text}", {**first.fields, **last.fields}, first.certainty),
        ),
    ]
    currency = _name_currency(draft)
    draft.facts.append(("Opening balance", draft.money("opening_balance", opening, **currency)))
    draft.totals = [(Printed("Closing balance"), draft.money("closing_balance", balance))]
    return draft


def letter(rng: random.Random, day: dt.date, *, wide: bool) -> Draft:
    """Invent a letter, a document without an extractor."""
    del wide
    sender, (addressee, address) = rng.choice(VENDORS), rng.choice(CUSTOMERS)
    sentences = rng.sample(SENTENCES, rng.randint(3, len(SENTENCES)))
    lines = (f"Dear {addressee},", *sentences)
    return Draft(
        kind="other",
        layout="statement",
        locale=sender.locale,
        created=day,
        title=sender.locale.date(day),
        issuer=Party("Sender", Printed(sender.name), [Printed(", ".join((addressee, *address)))]),
        columns=[Column("", wraps=True)],
        rows=[[Printed(line)] for line in lines],
        closing="Kind regards",
        has_header=False,
    )


def _name_currency(draft: Draft) -> dict[str, str]:
    """Return the currency field if amounts show the currency; otherwise add a line that names it."""
    field = {"currency": draft.locale.currency}
    if not draft.locale.names_currency:
        return field
    draft.facts.append(("Currency", Printed(draft.locale.currency, field)))
    return {}


KINDS: Mapping[DocumentType, Callable[..., Draft]] = {
    "invoice": invoice,
    "receipt": receipt,
    "bank_statement": bank_statement,
    "other": letter,
}
