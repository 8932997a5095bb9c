"""Till receipts: a narrow strip of paper, or its text."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sandbox.documents.canvas import Canvas
from sandbox.documents.catalogue import GROCERIES, PAYMENTS, SHOPS, Shop
from sandbox.documents.model import SampleFile, money
from sandbox.documents.plain import aligned

_CENT = Decimal("0.01")
_STRIP_WIDTH = 226.77  # 80 mm, the usual till roll
_EDGE, _PITCH = 14.0, 13.0


@dataclasses.dataclass(frozen=True, slots=True)
class Purchase:
    """One item of a receipt; ``amount`` is the price of all its pieces."""

    description: str
    quantity: int
    amount: Decimal


@dataclasses.dataclass(frozen=True, slots=True)
class Receipt:
    """All that a receipt says; ``payment`` is the printed text and the schema's word for it."""

    shop: Shop
    number: str
    bought_on: dt.date
    bought_at: str | None
    payment: tuple[str, str]
    purchases: tuple[Purchase, ...]

    @property
    def total(self) -> Decimal:
        """Sum of all items; prices include tax."""
        return sum((purchase.amount for purchase in self.purchases), Decimal(0))

    @property
    def tax(self) -> Decimal:
        """The tax within the total."""
        rate = self.shop.locale.tax_rate
        return (self.total * rate / (100 + rate)).quantize(_CENT, ROUND_HALF_UP)

    def value(self) -> dict[str, Any]:
        """What a perfect extractor returns."""
        return {
            "merchant": self.shop.name,
            "receipt_number": self.number,
            "purchased_on": self.bought_on.isoformat(),
            "purchased_at": self.bought_at,
            "payment_method": self.payment[1],
            "currency": self.shop.locale.currency,
            "items": [
                {
                    "description": purchase.description,
                    "quantity": float(purchase.quantity),
                    "amount": money(purchase.amount),
                }
                for purchase in self.purchases
            ],
            "tax": money(self.tax),
            "total": money(self.total),
        }


def invent_receipt(rng: random.Random, day: dt.date) -> Receipt:
    """Invent a receipt of the day or the day before."""
    shop = rng.choice(SHOPS)
    time = f"{rng.randint(7, 21):02d}:{rng.randint(0, 59):02d}"
    names = GROCERIES[shop.locale.language]
    return Receipt(
        shop=shop,
        number=f"{rng.randint(1, 99):02d}-{rng.randint(1, 999999):06d}",
        bought_on=day - dt.timedelta(days=rng.randint(0, 1)),
        bought_at=time if rng.random() < 0.85 else None,
        payment=rng.choice(PAYMENTS[shop.locale.language]),
        purchases=tuple(
            _invent_purchase(rng, name) for name in rng.sample(names, rng.randint(1, len(names)))
        ),
    )


def _invent_purchase(rng: random.Random, name: str) -> Purchase:
    quantity = rng.choice((1, 1, 1, 2, 3, 12))
    return Purchase(name, quantity, quantity * Decimal(rng.randint(45, 4999)) * _CENT)


def receipt_file(rng: random.Random, day: dt.date, suffix: str) -> SampleFile:
    """Invent a receipt and print it as ``.pdf`` or ``.txt``."""
    receipt = invent_receipt(rng, day)
    return SampleFile("receipt", suffix, _LAYOUTS[suffix](receipt), receipt.value())


def _facts(receipt: Receipt) -> list[str]:
    locale = receipt.shop.locale
    when = f"{locale.word('date')}: {locale.date(receipt.bought_on)}"
    facts = [f"{locale.word('receipt_number')}: {receipt.number}", when]
    if receipt.bought_at:
        # Shops with a printed table have a line for the time, the others put it beside the date.
        if receipt.shop.has_table:
            facts.append(f"{locale.word('time')}: {receipt.bought_at}")
        else:
            facts[-1] += f" {receipt.bought_at}"
    return [*facts, f"{locale.word('cashier')}: 3"]


def _item_rows(receipt: Receipt) -> list[tuple[str, ...]]:
    """The items, as columns under a header or with the count before the name."""
    locale = receipt.shop.locale
    if receipt.shop.has_table:
        header = tuple(locale.word(name) for name in ("item", "quantity", "price"))
        return [header] + [
            (purchase.description, str(purchase.quantity), locale.amount(purchase.amount))
            for purchase in receipt.purchases
        ]
    return [
        (
            f"{purchase.quantity} x {purchase.description}"
            if purchase.quantity > 1
            else purchase.description,
            locale.amount(purchase.amount),
        )
        for purchase in receipt.purchases
    ]


def _totals(receipt: Receipt) -> list[tuple[str, str]]:
    locale = receipt.shop.locale
    total = f"{locale.word('total')} {locale.currency}" if locale.says_currency else locale.word("total")
    return [
        (f"{locale.tax_name} {locale.percentage()}", locale.amount(receipt.tax)),
        (total, locale.amount(receipt.total)),
    ]


def _receipt_pdf(receipt: Receipt) -> bytes:
    facts, items, totals = _facts(receipt), _item_rows(receipt), _totals(receipt)
    height = 120 + _PITCH * (len(facts) + len(items) + len(totals) + 5)
    canvas = Canvas(_STRIP_WIDTH, height, created=receipt.bought_on, font="Courier")
    right = _STRIP_WIDTH - _EDGE
    canvas.text(_EDGE, 34, receipt.shop.name, size=11, bold=True)
    for row, part in enumerate(canvas.wrapped(receipt.shop.address, right - _EDGE, size=7.5)):
        canvas.text(_EDGE, 46 + 9 * row, part, size=7.5)
    canvas.text(_EDGE, 76, receipt.shop.locale.word("receipt").upper(), size=9, bold=True)
    baseline = 94.0
    for fact in facts:
        canvas.text(_EDGE, baseline, fact, size=8)
        baseline += _PITCH
    for cells in (*items, *totals):
        baseline += _PITCH if cells is totals[0] else 0
        canvas.text(_EDGE, baseline, cells[0], size=8)
        if len(cells) == 3:
            canvas.text(right - 62, baseline, cells[1], size=8, align="right")
        canvas.text(right, baseline, cells[-1], size=8, align="right")
        baseline += _PITCH
    locale = receipt.shop.locale
    canvas.text(_EDGE, baseline + 8, f"{locale.word('paid_by')}: {receipt.payment[0]}", size=8)
    canvas.text(_STRIP_WIDTH / 2, baseline + 34, locale.word("thanks"), size=8, align="centre")
    return canvas.to_bytes()


def _receipt_text(receipt: Receipt) -> bytes:
    locale = receipt.shop.locale
    items = aligned(_item_rows(receipt), right_from=1)
    lines = [
        receipt.shop.name,
        receipt.shop.address,
        "",
        locale.word("receipt").upper(),
        *_facts(receipt),
        "-" * max(map(len, items)),
        *items,
        "",
        *aligned(_totals(receipt), right_from=1),
        f"{locale.word('paid_by')}: {receipt.payment[0]}",
        "",
        locale.word("thanks"),
    ]
    return ("\n".join(lines) + "\n").encode()


_LAYOUTS: Mapping[str, Callable[[Receipt], bytes]] = {".pdf": _receipt_pdf, ".txt": _receipt_text}
