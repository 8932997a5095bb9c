"""Vendors, customers, shops, banks and goods of the sample documents. All of them are invented."""

from __future__ import annotations

import dataclasses
from typing import Literal

from sandbox.documents.locales import (
    BRITAIN,
    CANADA,
    FRANCE,
    GERMANY,
    IRELAND,
    SWITZERLAND,
    UNITED_STATES,
    Locale,
)

InvoiceLayout = Literal["letterhead", "stacked"]


@dataclasses.dataclass(frozen=True, slots=True)
class Vendor:
    """A company that sends invoices, all in one layout.

    :param repeats_header: the table's header is on every page.
    :param numbers_positions: the table has a column of position numbers.
    """

    name: str
    address: tuple[str, ...]
    tax_id: str | None
    phone: str
    locale: Locale
    layout: InvoiceLayout
    number_format: str
    repeats_header: bool = True
    numbers_positions: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Shop:
    """A shop that prints receipts; with ``has_table`` the items have a header and a column of quantities."""

    name: str
    address: str
    locale: Locale
    has_table: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Bank:
    """A bank; with ``has_two_columns`` debits and credits have a column each, else amounts have a sign."""

    name: str
    address: str
    locale: Locale
    has_two_columns: bool
    account_format: str


VENDORS = (
    Vendor(
        "Cedar Ridge Supply Co.", ("4180 Mill Road, Suite 12", "Portland, OR 97201"), "93-4417205",
        "+1 503 555 0142", UNITED_STATES, "letterhead", "CR-{year}-{number:05d}",
    ),
    Vendor(
        "Blue Heron Analytics, Inc.", ("77 Lakeshore Drive", "Madison, WI 53703"), None,
        "+1 608 555 0119", UNITED_STATES, "stacked", "BHA{number:06d}", numbers_positions=True,
    ),
    Vendor(
        "Harbour & Quay Tools Ltd", ("12 Quay Street", "Bristol BS1 4QA", "United Kingdom"),
        "GB 318 2245 07", "+44 117 496 0321", BRITAIN, "letterhead", "INV/{number:05d}",
        repeats_header=False,
    ),
    Vendor(
        "Séamus O'Dálaigh Teoranta", ("Unit 4, Dock Road", "Galway H91 X2F8"), "IE 6388047V",
        "+353 91 555 014", IRELAND, "stacked", "{year}{number:04d}",
    ),
    Vendor(
        "Müller & Söhne Präzisionsteile GmbH", ("Gießereistraße 8", "70565 Stuttgart"),
        "DE 281 447 903", "+49 711 5550 180", GERMANY, "letterhead", "RE-{number:06d}",
        numbers_positions=True,
    ),
    Vendor(
        "Alpenblick Treuhand AG", ("Bahnhofstrasse 114", "8001 Zürich"), "CHE-114.582.903 MWST",
        "+41 44 555 01 77", SWITZERLAND, "stacked", "{year}-{number:04d}", repeats_header=False,
    ),
    Vendor(
        "Société de Torréfaction Bélier SARL", ("18 rue des Frères Lumière", "69008 Lyon"), None,
        "+33 4 72 55 50 13", FRANCE, "letterhead", "FA{year}/{number:05d}", numbers_positions=True,
    ),
    Vendor(
        "Maple & Main Print Works", ("903 Queen Street West", "Toronto, ON M6J 1G6"), "82310 4471 RT",
        "+1 416 555 0166", CANADA, "stacked", "MM-{number:05d}",
    ),
)  # fmt: skip

#: Customers whose names fit in Latin-1, for any type of file.
CUSTOMERS = (
    ("Northwind Logistics plc", ("Unit 7, Trafford Park", "Manchester M17 1SN")),
    ("Zoë Åkerström", ("Storgatan 21", "111 23 Stockholm")),
    ("Café Niño S.L.", ("Calle de Alcalá 90", "28009 Madrid")),
    ("Lindqvist & Partner", ("Hafenweg 3", "20457 Hamburg")),
    ("Orchard Street Clinic", ("220 Orchard Street", "New York, NY 10002", "USA")),
    ("Fjord Energi ÅS", ("Bryggen 15", "5003 Bergen")),
    ("Atelier Françoise Dupré", ("4 place de l'Oeillet", "31000 Toulouse")),
    ("Pemberton & Daughters", ("The Old Bakery", "Bath BA1 2QF")),
)
#: Customers whose names do not fit in Latin-1, for text and table files.
WIDE_CUSTOMERS = (
    ("Łukasz Żółkiewski", ("ul. Świętojańska 9", "81-368 Gdynia")),
    ("株式会社さくら商会", ("東京都千代田区丸の内 1-9-2",)),
    ("Ελένη Παπαδοπούλου", ("Οδός Ερμού 44", "105 63 Αθήνα")),
    ("Zeynep Yıldız", ("İstiklal Caddesi 120", "34430 İstanbul")),
)
#: Goods by language: description, lowest and highest unit price in cents.
GOODS = {
    "en": (
        ("Steel claw hammer, 16 oz", 1150, 3200), ("Consulting, on site", 9500, 24000),
        ("Hex bolts M8 x 40, box of 100", 890, 2400), ("Annual licence, server edition", 120000, 980000),
        ("Data cleaning and import of the 2025 ledger, including two rounds of corrections", 45000, 90000),
        ("Freight", 2500, 18000), ("Oak worktop, oiled, 2.4 m", 18900, 42000),
        ("Packing tape", 199, 650), ("Training day (up to 12 people)", 85000, 160000),
        ("Replacement filter for model HX-2000/B, washable, with two spare gaskets", 1299, 5400),
        ("Safety goggles", 450, 1900), ("Water-based varnish 5 l", 3900, 7200),
        ("Hosting, per month", 1900, 25000), ("Calibration certificate", 3500, 9000),
    ),
    "de": (
        ("Drehteil nach Zeichnung 4711-B", 420, 8900), ("Montage vor Ort", 6500, 12500),
        ("Kugellager 6204-2RS", 390, 1850), ("Prüfprotokoll nach DIN EN 10204", 2500, 6000),
        ("Jahresabschluss mit Erläuterungen und Besprechung beim Mandanten", 90000, 450000),
        ("Fracht und Verpackung", 1500, 9000), ("Schutzhülle, groß", 890, 3400),
        ("Schlüsselanhänger mit Gravur", 250, 990),
    ),
    "fr": (
        ("Café en grains, torréfaction légère, 1 kg", 1490, 3900), ("Livraison", 650, 2900),
        ("Machine à expresso, location", 4900, 18900),
        ("Entretien et détartrage à domicile, pièces comprises hors joints d'usure", 8900, 21000),
        ("Tasses à café, lot de 6", 1800, 5400),
        ("Sirop d'orgeat 70 cl", 690, 1250),
    ),
}  # fmt: skip

SHOPS = (
    Shop("The Corner Pantry", "31 Elm Street, Burlington, VT 05401", UNITED_STATES),
    Shop("Larkspur Books", "8 Park Row, Bath BA2 4QD", BRITAIN, has_table=True),
    Shop("Bäckerei Grünwald", "Marktplatz 2, 97070 Würzburg", GERMANY),
    Shop("Épicerie du Canal", "52 quai de Valmy, 75010 Paris", FRANCE),
    Shop("Liffey Hardware", "14 Capel Street, Dublin D01 X4T6", IRELAND, has_table=True),
)
GROCERIES = {
    "en": ("Sourdough loaf", "Oat milk 1 l", "Field notes, 3 pack", "AA batteries", "Paperback novel",
           "Olive oil", "Masking tape", "Flat white", "Gift wrap", "Cheddar, extra mature"),
    "de": ("Roggenbrot", "Laugenbrezel", "Käsekuchen", "Milchkaffee", "Nussschnecke", "Apfelschorle"),
    "fr": ("Baguette tradition", "Crème fraîche", "Pommes Gala", "Thé à la menthe",
           "Oeufs fermiers"),
}  # fmt: skip
#: Payment methods by language: the printed text, and the value in the schema.
PAYMENTS = {
    "en": (("Cash", "cash"), ("Visa credit ****4417", "credit_card"), ("Debit card ****0921", "debit_card"),
           ("Apple Pay", "mobile_payment"), ("Gift card", "gift_card")),
    "de": (("Bar", "cash"), ("Girocard", "debit_card"), ("Kreditkarte ****7781", "credit_card")),
    "fr": (("Espèces", "cash"), ("Carte bancaire ****2218", "credit_card"), ("Carte cadeau", "gift_card")),
}  # fmt: skip

BANKS = (
    Bank("Northgate Bank", "1 Northgate, Leeds LS2 7EW", BRITAIN, True, "{:08d}"),
    Bank("First Prairie Credit Union", "600 Grand Avenue, Des Moines, IA 50309", UNITED_STATES, False,
         "{:010d}"),
    Bank("Volksbank Neckartal eG", "Neckarstraße 40, 72070 Tübingen", GERMANY, False,
         "DE44 6039 0000 {:010d}"),
    Bank("Crédit de la Loire", "2 quai Turenne, 44000 Nantes", FRANCE, True,
         "FR76 1444 5004 {:010d}"),
    Bank("Banc Corrib", "Eyre Square, Galway H91 AH7K", IRELAND, False, "IE29 BCOR {:010d}"),
)  # fmt: skip
BOOKINGS = {
    "en": ("Card payment GREENGROCER", "Direct debit CITY WATER", "Salary ACME HOLDINGS",
           "Standing order rent",
           "Transfer from savings, reference holiday fund 2026, value date as booked", "Cash withdrawal",
           "Refund ONLINE STORE 88-1742", "Account fee", "Interest"),
    "de": ("Lastschrift STADTWERKE", "Gehalt MUSTERFIRMA", "Dauerauftrag Miete", "Kartenzahlung BÄCKEREI",
           "Überweisung an Weinhandlung am Rathausplatz, Verwendungszweck Jahrgang", "Zinsen"),
    "fr": ("Prélèvement EAU DE NANTES", "Virement salaire", "Carte MARCHÉ DE TALENSAC",
           "Frais de tenue de compte",
           "Virement reçu de Mme Lefèvre, motif remboursement des billets de train"),
}  # fmt: skip

#: Sentences of letters.
SENTENCES = (
    "Thank you for the visit last week; the team enjoyed showing you the workshop.",
    "The new opening hours start on Monday, and the side entrance stays closed until further notice.",
    "We have moved our accounts department to the second floor.",
    "Please find the minutes of the meeting below and send corrections by Friday.",
    "The delivery of the replacement parts is planned for the second half of the month.",
    "Parking is available behind the building for guests who register at the desk.",
    "We would be glad to welcome you at our anniversary, from noon until the evening.",
    "Our apologies for the delay; the invoice you asked about follows in a separate message.",
    "The samples arrived in good condition and are with our laboratory now.",
    "Should you have any questions, do call us at any time.",
)
