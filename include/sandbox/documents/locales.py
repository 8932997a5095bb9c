"""How amounts, dates and labels are printed in different countries."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

DateStyle = Literal["iso", "month/day", "day/month", "dots", "day month", "month day"]
MoneyStyle = Literal["plain", "symbol before", "code after"]

_SYMBOLS = {"USD": "$", "GBP": "£", "EUR": "€"}
_MONTHS = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
}
_WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "invoice": "Invoice", "invoice_number": "Invoice number", "invoice_date": "Invoice date",
        "due_date": "Due date", "currency": "Currency", "from": "From", "bill_to": "Bill to",
        "phone": "Phone", "position": "#", "description": "Description", "quantity": "Qty",
        "unit_price": "Unit price", "amount": "Amount", "subtotal": "Subtotal", "total": "Total",
        "page": "Page", "of": "of", "terms": "Please quote the number above with your payment.",
        "receipt": "Receipt", "receipt_number": "Receipt no", "date": "Date", "time": "Time",
        "cashier": "Cashier", "paid_by": "Paid by", "item": "Item", "price": "Price",
        "thanks": "Thank you for shopping with us!",
        "statement": "Account statement", "account_holder": "Account holder",
        "account_number": "Account number", "details": "Details", "period": "Statement period", "to": "to",
        "opening_balance": "Opening balance", "closing_balance": "Closing balance",
        "balance": "Balance", "paid_out": "Money out", "paid_in": "Money in",
        "brought_forward": "Balance brought forward",
    },
    "de": {
        "invoice": "Rechnung", "invoice_number": "Rechnungsnummer", "invoice_date": "Rechnungsdatum",
        "due_date": "Zahlbar bis", "currency": "Währung", "from": "Rechnungssteller",
        "bill_to": "Rechnung an", "phone": "Telefon", "position": "Pos", "description": "Beschreibung",
        "quantity": "Menge", "unit_price": "Einzelpreis", "amount": "Betrag",
        "subtotal": "Zwischensumme", "total": "Gesamtbetrag", "page": "Seite", "of": "von",
        "terms": "Bitte geben Sie bei der Zahlung die obige Nummer an.",
        "receipt": "Kassenbon", "receipt_number": "Bon Nr", "date": "Datum", "time": "Uhrzeit",
        "cashier": "Kasse", "paid_by": "Zahlungsart", "item": "Artikel", "price": "Preis",
        "thanks": "Vielen Dank für Ihren Einkauf!",
        "statement": "Kontoauszug", "account_holder": "Kontoinhaber", "account_number": "IBAN",
        "details": "Verwendungszweck", "period": "Zeitraum", "to": "bis", "opening_balance": "Anfangssaldo",
        "closing_balance": "Endsaldo", "balance": "Saldo", "paid_out": "Soll", "paid_in": "Haben",
        "brought_forward": "Übertrag",
    },
    "fr": {
        "invoice": "Facture", "invoice_number": "Numéro de facture", "invoice_date": "Date de facture",
        "due_date": "Échéance", "currency": "Devise", "from": "Émetteur", "bill_to": "Facturé à",
        "phone": "Téléphone", "position": "N°", "description": "Désignation", "quantity": "Quantité",
        "unit_price": "Prix unitaire", "amount": "Montant", "subtotal": "Total HT",
        "total": "Total TTC", "page": "Page", "of": "sur",
        "terms": "Merci de rappeler la référence ci-dessus lors du règlement.",
        "receipt": "Ticket de caisse", "receipt_number": "Ticket n°", "date": "Date", "time": "Heure",
        "cashier": "Caisse", "paid_by": "Paiement", "item": "Article", "price": "Prix",
        "thanks": "Merci de votre visite !",
        "statement": "Relevé de compte", "account_holder": "Titulaire", "account_number": "IBAN",
        "details": "Libellé", "period": "Période", "to": "au", "opening_balance": "Solde initial",
        "closing_balance": "Solde final", "balance": "Solde", "paid_out": "Débit", "paid_in": "Crédit",
        "brought_forward": "Report",
    },
}  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Locale:
    """One country's way to print.

    :param paper: size of a page in points.
    :param tax_rate: percent.
    :param wide: whether characters outside Latin-1 may be printed, which a PDF's core fonts lack.
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
    wide: bool = False

    def word(self, name: str) -> str:
        """A label in the country's language."""
        return _WORDS[self.language][name]

    def number(self, amount: Decimal) -> str:
        """An amount of two decimals, without its currency: ``-1.234,56``."""
        whole, cents = f"{abs(amount):,.2f}".split(".")
        sign = "-" if amount < 0 else ""
        return f"{sign}{whole.replace(',', self.thousands)}{self.decimal_mark}{cents}"

    def quantity(self, quantity: Decimal) -> str:
        """A quantity without needless decimals."""
        whole, mark, part = f"{quantity.normalize():,f}".partition(".")
        return whole.replace(",", self.thousands) + (self.decimal_mark + part if mark else "")

    def amount(self, amount: Decimal) -> str:
        """An amount with its currency, where the country prints one."""
        if self.money_style == "plain":
            return self.number(amount)
        symbol = _SYMBOLS.get(self.currency)
        if self.money_style == "symbol before":
            return f"{'-' if amount < 0 else ''}{symbol or self.currency + ' '}{self.number(abs(amount))}"
        return f"{self.number(amount)} {symbol if self.wide and symbol else self.currency}"

    def percentage(self) -> str:
        """The tax rate, e.g. ``8.25%``."""
        space = "" if self.language == "en" else " "
        return f"{self.quantity(self.tax_rate)}{space}%"

    def date(self, day: dt.date) -> str:
        """A day in the country's usual form."""
        month = _MONTHS[self.language].split()[day.month - 1]
        return {
            "iso": day.isoformat(),
            "month/day": f"{day:%m/%d/%Y}",
            "day/month": f"{day:%d/%m/%Y}",
            "dots": f"{day:%d.%m.%Y}",
            "day month": f"{day.day} {month} {day.year}",
            "month day": f"{month} {day.day}, {day.year}",
        }[self.dates]

    def widened(self) -> Locale:
        """The same, for files that can hold every character."""
        return dataclasses.replace(self, wide=True)

    @property
    def says_currency(self) -> bool:
        """Whether a document needs a line that names its currency."""
        return self.money_style == "plain"


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
