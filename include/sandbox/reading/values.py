"""Printed values as typed ones: money, quantities, rates, dates and currencies of several locales."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal

_CODES = ("USD", "EUR", "GBP", "CHF", "CAD", "SEK", "PLN")
_SYMBOLS = {"$": "USD", "€": "EUR", "£": "GBP"}
_CODE = re.compile(rf"\b({'|'.join(_CODES)})\b")
# Apostrophe, no-break spaces and the plain space part thousands in some locales.
_GROUPING = " '’\xa0\u202f"
_DIGITS = rf"\d{{1,3}}(?:[.,{_GROUPING}]\d{{3}})+|\d+"
_AMOUNT = re.compile(
    rf"(?P<open>\()?(?P<minus>[-−–])?\s?(?:{'|'.join(_CODES)}|[$€£])?\s?(?P<minus2>[-−])?"
    rf"(?P<whole>{_DIGITS})(?P<mark>[.,])(?P<cents>\d{{2}})(?P<minus3>[-−])?\)?"
    rf"(?:\s?(?:{'|'.join(_CODES)}|[$€£]))?"
)
_QUANTITY = re.compile(rf"(?P<whole>{_DIGITS})(?:[.,](?P<part>\d{{1,2}}))?(?!\d)")
_RATE = re.compile(r"(\d{1,2})(?:[.,](\d{1,3}))?\s?%")
_MONTHS = (
    ("january", "januar", "janvier", "jan"),
    ("february", "februar", "février", "feb"),
    ("march", "märz", "mars", "mar"),
    ("april", "avril", "apr"),
    ("may", "mai"),
    ("june", "juni", "juin", "jun"),
    ("july", "juli", "juillet", "jul"),
    ("august", "août", "aug"),
    ("september", "septembre", "sep"),
    ("october", "oktober", "octobre", "oct"),
    ("november", "novembre", "nov"),
    ("december", "dezember", "décembre", "dec"),
)
_MONTH_NUMBERS = {name: number for number, names in enumerate(_MONTHS, start=1) for name in names}
_ISO_DATE = re.compile(r"\b(\d{4})-(\d{2})-(\d{2})\b")
_NUMERIC_DATE = re.compile(r"\b(\d{1,2})([./])(\d{1,2})\2(\d{4})\b")
_DAY_FIRST = re.compile(r"\b(\d{1,2})\.?\s+([^\W\d_]{3,9})\.?,?\s+(\d{4})\b")
_MONTH_FIRST = re.compile(r"\b([^\W\d_]{3,9})\.?\s+(\d{1,2}),?\s+(\d{4})\b")

_TIME = re.compile(r"\b([01]?\d|2[0-3]):([0-5]\d)(?::[0-5]\d)?(?:\s?([ap])\.?m\b)?", re.IGNORECASE)


def parse_amount(text: str) -> float | None:
    """The one amount of money that ``text`` is: two decimals, minus sign or parentheses when negative."""
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        return None
    grouping = {character for character in match["whole"] if not character.isdigit()}
    if len(grouping) > 1 or match["mark"] in grouping:
        return None
    amount = Decimal(f"{_only_digits(match['whole'])}.{match['cents']}")
    negative = any(match[sign] for sign in ("open", "minus", "minus2", "minus3"))
    # A float of two decimals prints as the decimal it came from, which is what JSON keeps.
    return float(-amount if negative and amount else amount)


def parse_quantity(text: str) -> float | None:
    """The number that ``text`` begins with, with up to two decimals: ``12``, ``1,200``, ``2,5 h``."""
    match = _QUANTITY.match(text.strip())
    if match is None:
        return None
    return float(Decimal(f"{_only_digits(match['whole'])}.{match['part'] or 0}"))


def parse_rate(text: str) -> float | None:
    """The percentage within ``text``: 8.25 for ``Sales tax (8.25%)``."""
    match = _RATE.search(text)
    return None if match is None else float(Decimal(f"{match[1]}.{match[2] or 0}"))


def parse_currency(text: str) -> str | None:
    """The ISO 4217 code that ``text`` names, by code or by symbol."""
    if match := _CODE.search(text):
        return match[1]
    return next((code for symbol, code in _SYMBOLS.items() if symbol in text), None)


def find_dates(text: str, *, month_first: bool = False) -> list[str]:
    """Return all dates within ``text`` in their order, as ISO 8601.

    :param month_first: how to read ``11/02/2026``; with dots the day always stands first.
    """
    found: list[tuple[int, str | None]] = []
    for match in _ISO_DATE.finditer(text):
        found.append((match.start(), _iso(int(match[1]), int(match[2]), int(match[3]))))
    for match in _NUMERIC_DATE.finditer(text):
        day, month = int(match[1]), int(match[3])
        if month_first and match[2] == "/":
            day, month = month, day
        found.append((match.start(), _iso(int(match[4]), month, day)))
    for match in _DAY_FIRST.finditer(text):
        found.append((match.start(), _named(match[3], match[2], match[1])))
    for match in _MONTH_FIRST.finditer(text):
        found.append((match.start(), _named(match[3], match[1], match[2])))
    return [date for _, date in sorted(found, key=lambda each: each[0]) if date]


def parse_date(text: str, *, month_first: bool = False) -> str | None:
    """The first date within ``text``, see :func:`find_dates`."""
    return next(iter(find_dates(text, month_first=month_first)), None)


def parse_time(text: str) -> str | None:
    """The first time of day within ``text`` as ``HH:MM``; twelve-hour clocks are understood."""
    match = _TIME.search(text)
    if match is None:
        return None
    hour = int(match[1])
    if half := match[3]:
        hour = hour % 12 + (12 if half.lower() == "p" else 0)
    return f"{hour:02d}:{match[2]}"


def is_ambiguous_date(text: str) -> bool:
    """Whether ``text`` holds a date whose day and month could be exchanged: ``11/02/2026``."""
    match = _NUMERIC_DATE.search(text)
    return bool(match and match[2] == "/" and int(match[1]) <= 12 and int(match[3]) <= 12)


def _only_digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())


def _named(year: str, month: str, day: str) -> str | None:
    number = _MONTH_NUMBERS.get(month.casefold())
    return None if number is None else _iso(int(year), number, int(day))


def _iso(year: int, month: int, day: int) -> str | None:
    try:
        return dt.date(year, month, day).isoformat()
    except ValueError:
        return None
