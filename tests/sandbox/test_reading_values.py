"""Printed amounts, dates and currencies mean what they say in each locale."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.documents import locales
from sandbox.documents.locales import Locale
from sandbox.reading.values import (
    find_dates,
    is_ambiguous_date,
    parse_amount,
    parse_currency,
    parse_date,
    parse_quantity,
    parse_rate,
    parse_time,
)

LOCALES = [value for value in vars(locales).values() if isinstance(value, Locale)]
cents = st.integers(min_value=-(10**11), max_value=10**11).map(lambda number: Decimal(number) / 100)


@pytest.mark.parametrize("locale", LOCALES, ids=lambda locale: f"{locale.language}-{locale.currency}")
@given(amount=cents)
def test_every_printed_amount_reads_back_exactly(locale: Locale, amount: Decimal) -> None:
    for way in (locale, locale.widened()):
        assert parse_amount(way.amount(amount)) == float(amount)
        assert parse_amount(way.number(amount)) == float(amount)


@pytest.mark.parametrize("locale", LOCALES, ids=lambda locale: f"{locale.language}-{locale.currency}")
@given(quarters=st.integers(min_value=1, max_value=40_000_000))
def test_every_printed_quantity_reads_back_exactly(locale: Locale, quarters: int) -> None:
    quantity = Decimal(quarters) / 4

    assert parse_quantity(locale.quantity(quantity)) == float(quantity)


@pytest.mark.parametrize("locale", LOCALES, ids=lambda locale: f"{locale.language}-{locale.currency}")
@given(day=st.dates(dt.date(1990, 1, 1), dt.date(2099, 12, 31)))
def test_every_printed_date_reads_back(locale: Locale, day: dt.date) -> None:
    printed = locale.date(day)

    assert parse_date(printed, month_first=locale.currency == "USD") == day.isoformat()


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1,234.56", 1234.56),
        ("1.234,56", 1234.56),
        ("1 234,56", 1234.56),
        ("1\u202f234,56 €", 1234.56),
        ("1'234.56", 1234.56),
        ("CHF 1'234.56", 1234.56),
        ("$0.05", 0.05),
        ("-£12.00", -12.0),
        ("(1,234.56)", -1234.56),
        ("1,234.56-", -1234.56),
        ("−3,50", -3.5),
        ("-0.00", 0.0),
        ("1234.5", None),
        ("1,234", None),
        ("12.345.67", None),
        ("1,234.567,89", None),
        ("INV-12.34.56", None),
        ("", None),
        ("Page 1 of 3", None),
    ],
)
def test_an_amount_has_two_decimals_and_nothing_else_around_it(text: str, amount: float | None) -> None:
    assert parse_amount(text) == amount


@pytest.mark.parametrize(
    ("text", "month_first", "dates"),
    [
        ("2026-11-02", False, ["2026-11-02"]),
        ("11/02/2026", True, ["2026-11-02"]),
        ("11/02/2026", False, ["2026-02-11"]),
        ("02.11.2026", True, ["2026-11-02"]),
        ("November 2, 2026", False, ["2026-11-02"]),
        ("2. November 2026", False, ["2026-11-02"]),
        ("2 Nov 2026", False, ["2026-11-02"]),
        ("2 février 2026", False, ["2026-02-02"]),
        ("1 October 2026 to 31 October 2026", False, ["2026-10-01", "2026-10-31"]),
        ("30.02.2026", False, []),
        ("31/12/2026", True, []),
        ("12 Monkeys 2026", False, []),
    ],
)
def test_dates_are_found_in_their_order(text: str, month_first: bool, dates: list[str]) -> None:
    assert find_dates(text, month_first=month_first) == dates


@pytest.mark.parametrize(
    ("text", "ambiguous"),
    [("11/02/2026", True), ("11/22/2026", False), ("11.02.2026", False), ("2026-11-02", False)],
)
def test_a_date_is_ambiguous_where_day_and_month_could_be_exchanged(text: str, ambiguous: bool) -> None:
    assert is_ambiguous_date(text) is ambiguous


@pytest.mark.parametrize(
    ("text", "time"),
    [("14:32", "14:32"), ("2:32 PM", "14:32"), ("12:05 a.m.", "00:05"), ("9:07", "09:07"), ("no time", None)],
)
def test_a_time_is_given_on_a_24_hour_clock(text: str, time: str | None) -> None:
    assert parse_time(text) == time


@pytest.mark.parametrize(
    ("text", "currency"),
    [("Total EUR", "EUR"), ("€ 12,00", "EUR"), ("£3.00", "GBP"), ("$3.00", "USD"), ("EUROPE", None)],
)
def test_a_currency_is_named_by_code_or_symbol(text: str, currency: str | None) -> None:
    assert parse_currency(text) == currency


@pytest.mark.parametrize(
    ("text", "rate"), [("VAT 20%", 20.0), ("MwSt. 8,1 %", 8.1), ("Sales tax (8.25%)", 8.25), ("Tax", None)]
)
def test_a_tax_rate_is_a_percentage(text: str, rate: float | None) -> None:
    assert parse_rate(text) == rate
