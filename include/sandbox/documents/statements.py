"""Bank statements: a month of bookings with a running balance, on paper or as an export."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from sandbox.documents.canvas import Canvas
from sandbox.documents.catalogue import BANKS, BOOKINGS, CUSTOMERS, Bank
from sandbox.documents.model import SampleFile, money
from sandbox.documents.plain import to_csv

_CENT = Decimal("0.01")
_MARGIN, _FOOT, _ROW, _WRAPPED_ROW = 45.0, 70.0, 17.0, 11.5
_DESCRIPTION = 100.0  # where the column begins, from the left margin


@dataclasses.dataclass(frozen=True, slots=True)
class Booking:
    """One transaction and the balance after it."""

    day: dt.date
    description: str
    amount: Decimal
    balance: Decimal


@dataclasses.dataclass(frozen=True, slots=True)
class Statement:
    """All that a statement says."""

    bank: Bank
    holder: str
    account: str
    start: dt.date
    end: dt.date
    opening: Decimal
    bookings: tuple[Booking, ...]

    @property
    def closing(self) -> Decimal:
        """Balance after the last booking."""
        return self.bookings[-1].balance if self.bookings else self.opening

    def value(self) -> dict[str, Any]:
        """What a perfect extractor returns."""
        return {
            "bank": self.bank.name,
            "account_holder": self.holder,
            "account_number": self.account,
            "currency": self.bank.locale.currency,
            "period_start": self.start.isoformat(),
            "period_end": self.end.isoformat(),
            "opening_balance": money(self.opening),
            "closing_balance": money(self.closing),
            "transactions": [
                {
                    "date": booking.day.isoformat(),
                    "description": booking.description,
                    "amount": money(booking.amount),
                    "balance": money(booking.balance),
                }
                for booking in self.bookings
            ],
        }


def invent_statement(rng: random.Random, day: dt.date) -> Statement:
    """Invent a statement of the month before ``day``'s; a few accounts had no bookings."""
    bank = rng.choice(BANKS)
    end = day.replace(day=1) - dt.timedelta(days=1)
    start = end.replace(day=1)
    opening = balance = Decimal(rng.randint(-50_000, 2_000_000)) * _CENT
    count = 0 if rng.random() < 0.05 else rng.randint(1, 25) if rng.random() < 0.7 else rng.randint(26, 90)
    bookings = []
    for offset in sorted(rng.randrange((end - start).days + 1) for _ in range(count)):
        amount = Decimal(rng.choice((-1, -1, -1, 1)) * rng.randint(1, 350_000)) * _CENT
        balance += amount
        description = rng.choice(BOOKINGS[bank.locale.language])
        bookings.append(Booking(start + dt.timedelta(days=offset), description, amount, balance))
    return Statement(
        bank=bank,
        holder=rng.choice(CUSTOMERS)[0],
        account=bank.account_format.format(rng.randint(1, 99_999_999)),
        start=start,
        end=end,
        opening=opening,
        bookings=tuple(bookings),
    )


def statement_file(rng: random.Random, day: dt.date, suffix: str) -> SampleFile:
    """Invent a statement and print it as ``.pdf`` or export it as ``.csv``."""
    statement = invent_statement(rng, day)
    return SampleFile("bank_statement", suffix, _LAYOUTS[suffix](statement), statement.value())


def protected_statement(rng: random.Random, day: dt.date, password: str) -> bytes:
    """Invent a statement and print it as a PDF that only the password opens."""
    return _statement_pdf(invent_statement(rng, day), password)


def _columns(bank: Bank) -> tuple[str, ...]:
    money_columns = ("paid_out", "paid_in") if bank.layout == "two columns" else ("amount",)
    return ("date", "details", *money_columns, "balance")


def _row(bank: Bank, booking: Booking) -> dict[str, str]:
    locale = bank.locale
    row = {
        "date": locale.date(booking.day),
        "details": booking.description,
        "balance": locale.amount(booking.balance),
    }
    if bank.layout == "signed":
        return {**row, "amount": locale.amount(booking.amount)}
    return {**row, "paid_out" if booking.amount < 0 else "paid_in": locale.amount(abs(booking.amount))}


def _facts(statement: Statement) -> list[tuple[str, str]]:
    bank, locale = statement.bank, statement.bank.locale
    facts = [
        (locale.word("account_holder"), statement.holder),
        (locale.word("account_number"), statement.account),
        (
            locale.word("period"),
            f"{locale.date(statement.start)} {locale.word('to')} {locale.date(statement.end)}",
        ),
    ]
    if bank.locale.says_currency:
        facts.append((locale.word("currency"), locale.currency))
    return [*facts, (locale.word("opening_balance"), locale.amount(statement.opening))]


class _Page:
    """The pages of a statement, drawn booking by booking."""

    def __init__(self, statement: Statement, password: str | None) -> None:
        self._bank = statement.bank
        width, height = self._bank.locale.paper
        self.canvas = Canvas(width, height, created=statement.end, password=password)
        right = width - _MARGIN
        columns = _columns(self._bank)
        self._edges = {
            name: right - 85 * (len(columns) - 1 - at) for at, name in enumerate(columns) if at > 1
        }
        self._text_width = min(self._edges.values()) - 70 - _MARGIN - _DESCRIPTION
        self._last: Booking | None = None
        self._baseline = self._head(statement)

    def draw(self, booking: Booking) -> None:
        """Draw one booking, on the next page if this one is full."""
        lines = self.canvas.wrapped(booking.description, self._text_width, size=9)
        height = _ROW + _WRAPPED_ROW * (len(lines) - 1)
        self._break_page_unless(height)
        row = _row(self._bank, booking)
        self.canvas.text(_MARGIN, self._baseline, row["date"], size=9)
        for at, line in enumerate(lines):
            self.canvas.text(_MARGIN + _DESCRIPTION, self._baseline + at * _WRAPPED_ROW, line, size=9)
        for name, edge in self._edges.items():
            self.canvas.text(edge, self._baseline, row.get(name, ""), size=9, align="right")
        self._baseline += height
        self._last = booking

    def close(self, statement: Statement) -> bytes:
        """Draw the closing balance and return the file."""
        self._break_page_unless(40)
        locale = self._bank.locale
        self.canvas.text(_MARGIN, self._baseline + 18, locale.word("closing_balance"), bold=True)
        self.canvas.text(
            self._edges["balance"],
            self._baseline + 18,
            locale.amount(statement.closing),
            bold=True,
            align="right",
        )
        self.canvas.number_pages(locale.word("page"), locale.word("of"))
        return self.canvas.to_bytes()

    def _head(self, statement: Statement) -> float:
        self._letterhead()
        self.canvas.text(_MARGIN, 105, self._bank.locale.word("statement"), size=14, bold=True)
        baseline = 132.0
        for label, value in _facts(statement):
            self.canvas.text(_MARGIN, baseline, label)
            self.canvas.text(_MARGIN + 150, baseline, value)
            baseline += 16
        return self._header(baseline + 18)

    def _letterhead(self) -> None:
        self.canvas.text(_MARGIN, 50, self._bank.name, size=12, bold=True)
        self.canvas.text(_MARGIN, 65, self._bank.address, size=8)

    def _header(self, baseline: float) -> float:
        word = self._bank.locale.word
        self.canvas.text(_MARGIN, baseline, word("date"), size=9, bold=True)
        self.canvas.text(_MARGIN + _DESCRIPTION, baseline, word("details"), size=9, bold=True)
        for name, edge in self._edges.items():
            self.canvas.text(edge, baseline, word(name), size=9, bold=True, align="right")
        self.canvas.rule(_MARGIN, self.canvas.width - _MARGIN, baseline + 4)
        return baseline + _ROW

    def _break_page_unless(self, space: float) -> None:
        if self._baseline + space <= self.canvas.height - _FOOT:
            return
        self.canvas.new_page()
        self._letterhead()
        self._baseline = self._header(100)
        if self._last:
            locale = self._bank.locale
            self.canvas.text(_MARGIN + _DESCRIPTION, self._baseline, locale.word("brought_forward"), size=9)
            brought = locale.amount(self._last.balance)
            self.canvas.text(self._edges["balance"], self._baseline, brought, size=9, align="right")
            self._baseline += _ROW


def _statement_pdf(statement: Statement, password: str | None = None) -> bytes:
    page = _Page(statement, password)
    for booking in statement.bookings:
        page.draw(booking)
    return page.close(statement)


def _statement_csv(statement: Statement) -> bytes:
    locale = statement.bank.locale
    columns = _columns(statement.bank)
    rows: list[tuple[str, ...]] = [
        (locale.word("statement"),),
        ("Bank", statement.bank.name),
        *_facts(statement),
        (),
        tuple(locale.word(name) for name in columns),
    ]
    for booking in statement.bookings:
        row = _row(statement.bank, booking)
        rows.append(tuple(row.get(name, "") for name in columns))
    rows += [(), (locale.word("closing_balance"), locale.amount(statement.closing))]
    return to_csv(rows, locale.decimal_mark)


_LAYOUTS: Mapping[str, Callable[[Statement], bytes]] = {".pdf": _statement_pdf, ".csv": _statement_csv}
