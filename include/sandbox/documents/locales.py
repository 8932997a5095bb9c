"""Formats of amounts, quantities and dates in different countries."""

from __future__ import annotations

import dataclasses
import datetime as dt
from decimal import Decimal
from typing import Literal

DateStyle = Literal["month/day", "day/month", "dots", "day month", "month day"]
MoneyStyle = Literal["plain", "symbol before", "code after"]

_SYMBOLS = {"USD": "$", "GBP": "£"}


@dataclasses.dataclass(frozen=True, slots=True)
class Locale:
    """The formats of one country.

    :param language: language of goods and transactions.
    :param paper: size of a page in points.
    :param tax_rate: percent.
    """

    language: Literal["en", "de", "fr"]
    currency: str
    thousands: str
    decimal_mark: str
    dates: DateStyle
    money_style: MoneyStyle
    paper: tuple[float, float]
    tax_name: str
    tax_rate: Decimal
    tax_id_name: str

    def number(self, amount: Decimal) -> str:
        """Return an amount with two decimals and no currency, e.g. ``-1.234,56``."""
        whole, cents = f"{abs(amount):,.2f}".split(".")
        sign = "-" if amount < 0 else ""
        return f"{sign}{whole.replace(',', self.thousands)}{self.decimal_mark}{cents}"

    def quantity(self, quantity: Decimal) -> str:
        """Return a quantity without trailing zeros."""
        whole, mark, part = f"{quantity.normalize():,f}".partition(".")
        return whole.replace(",", self.thousands) + (self.decimal_mark + part if mark else "")

    def amount(self, amount: Decimal) -> str:
        """Return an amount, with its currency if the country prints one."""
        if self.money_style == "plain":
            return self.number(amount)
        if self.money_style == "code after":
            return f"{self.number(amount)} {self.currency}"
        return f"{'-' if amount < 0 else ''}{_SYMBOLS[self.currency]}{self.number(abs(amount))}"

    def date(self, day: dt.date) -> str:
        """Return a date in the country's usual format."""
        return {
            "month/day": f"{day:%m/%d/%Y}",
            "day/month": f"{day:%d/%m/%Y}",
            "dots": f"{day:%d.%m.%Y}",
            "day month": f"{day.day} {day:%B} {day.year}",
            "month day": f"{day:%B} {day.day}, {day.year}",
        }[self.dates]

    def is_ambiguous(self, day: dt.date) -> bool:
        """Return True if day and month of the printed date could be confused."""
        return self.dates in ("month/day", "day/month") and day.day <= 12

    @property
    def names_currency(self) -> bool:
        """True if amounts are printed without a currency, so that a document needs a line for it."""
        return self.money_style == "plain"

    @property
    def tax_label(self) -> str:
        """Name and rate of the tax, e.g. ``VAT 8.25%``."""
        return f"{self.tax_name} {self.quantity(self.tax_rate)}%"


_A4, _LETTER = (595.28, 841.89), (612.0, 792.0)

UNITED_STATES = Locale(
    "en", "USD", ",", ".", "month/day", "symbol before", _LETTER, "Sales tax", Decimal("8.25"), "EIN"
)
CANADA = Locale("en", "CAD", ",", ".", "month day", "plain", _LETTER, "Tax", Decimal("13"), "Tax ID")
BRITAIN = Locale("en", "GBP", ",", ".", "day month", "symbol before", _A4, "VAT", Decimal("20"), "VAT No.")
IRELAND = Locale("en", "EUR", ",", ".", "day/month", "plain", _A4, "VAT", Decimal("23"), "VAT No.")
GERMANY = Locale("de", "EUR", ".", ",", "dots", "plain", _A4, "MwSt.", Decimal("19"), "USt-IdNr.")
SWITZERLAND = Locale("de", "CHF", "'", ".", "dots", "plain", _A4, "MwSt.", Decimal("8.1"), "UID")
FRANCE = Locale("fr", "EUR", " ", ",", "day month", "code after", _A4, "TVA", Decimal("20"), "N° TVA")
