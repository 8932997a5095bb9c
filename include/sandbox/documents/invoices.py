"""Invoices: invented, priced to the cent, and printed as PDF, text or table."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sandbox.documents.catalogue import CUSTOMERS, GOODS, VENDORS, WIDE_CUSTOMERS, Vendor
from sandbox.documents.locales import Locale
from sandbox.documents.model import SampleFile, money

CENT = Decimal("0.01")
_MOST_ITEMS = 40


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """One position of an invoice."""

    description: str
    quantity: Decimal
    unit_price: Decimal

    @property
    def amount(self) -> Decimal:
        """Quantity times unit price, rounded to the cent."""
        return (self.quantity * self.unit_price).quantize(CENT, ROUND_HALF_UP)


@dataclasses.dataclass(frozen=True, slots=True)
class Invoice:
    """All that an invoice says."""

    vendor: Vendor
    locale: Locale
    number: str
    issued_on: dt.date
    due_on: dt.date | None
    customer: str
    customer_address: tuple[str, ...]
    items: tuple[Item, ...]

    @property
    def subtotal(self) -> Decimal:
        """Sum of all positions."""
        return sum((item.amount for item in self.items), Decimal(0))

    @property
    def tax(self) -> Decimal:
        """Tax on the subtotal, rounded to the cent."""
        return (self.subtotal * self.locale.tax_rate / 100).quantize(CENT, ROUND_HALF_UP)

    @property
    def total(self) -> Decimal:
        """Subtotal and tax."""
        return self.subtotal + self.tax

    def value(self) -> dict[str, Any]:
        """What a perfect extractor returns."""
        return {
            "invoice_number": self.number,
            "invoice_date": self.issued_on.isoformat(),
            "due_date": self.due_on.isoformat() if self.due_on else None,
            "currency": self.locale.currency,
            "vendor": {
                "name": self.vendor.name,
                "address": ", ".join(self.vendor.address),
                "tax_id": self.vendor.tax_id,
            },
            "customer": {"name": self.customer, "address": ", ".join(self.customer_address)},
            "line_items": [
                {
                    "description": item.description,
                    "quantity": float(item.quantity),
                    "unit_price": money(item.unit_price),
                    "amount": money(item.amount),
                }
                for item in self.items
            ],
            "subtotal": money(self.subtotal),
            "tax_rate": float(self.locale.tax_rate),
            "tax": money(self.tax),
            "total": money(self.total),
        }


def invent_invoice(rng: random.Random, day: dt.date, *, wide: bool) -> Invoice:
    """Invent an invoice issued shortly before ``day``.

    :param wide: whether names may leave Latin-1.
    """
    vendor = rng.choice(VENDORS)
    customer, address = rng.choice(WIDE_CUSTOMERS if wide and rng.random() < 0.5 else CUSTOMERS)
    issued_on = day - dt.timedelta(days=rng.randint(0, 20))
    count = rng.randint(1, 8) if rng.random() < 0.75 else rng.randint(9, _MOST_ITEMS)
    return Invoice(
        vendor=vendor,
        locale=vendor.locale.widened() if wide else vendor.locale,
        number=vendor.number_format.format(year=issued_on.year, number=rng.randint(1, 9999)),
        issued_on=issued_on,
        due_on=issued_on + dt.timedelta(days=rng.choice((14, 30, 45))) if rng.random() < 0.8 else None,
        customer=customer,
        customer_address=address,
        items=tuple(_invent_item(rng, vendor.locale) for _ in range(count)),
    )


def _invent_item(rng: random.Random, locale: Locale) -> Item:
    description, lowest, highest = rng.choice(GOODS[locale.language])
    quantity = Decimal(rng.choice((1, 1, 2, 3, 5, 10, 24, 1200)))
    if rng.random() < 0.2:
        quantity = Decimal(rng.randint(1, 60)) / 4
    return Item(description, quantity, Decimal(rng.randint(lowest, highest)) * CENT)


def invoice_file(rng: random.Random, day: dt.date, suffix: str) -> SampleFile:
    """Invent an invoice and print it as ``.pdf``, ``.txt`` or ``.csv``."""
    from sandbox.documents.invoice_layouts import LAYOUTS

    invoice = invent_invoice(rng, day, wide=suffix != ".pdf")
    return SampleFile("invoice", suffix, LAYOUTS[suffix](invoice), invoice.value())
