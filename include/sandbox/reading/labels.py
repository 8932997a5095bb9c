"""Finds fields by their labels, in documents that carry no truth.

It understands ``Invoice number: 7``, ``Invoice number | 7`` in two cells, and tables under a line of column
names, all in English. Any other field stays null.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sandbox.reading.model import Cell, Classification, Kind, KnownDocument, Line, Mark
from sandbox.reading.schemas import SCHEMAS, empty_value

#: Titles and labels that only one kind of document has.
_SIGNS: Mapping[Kind, frozenset[str]] = {
    "invoice": frozenset(("invoice", "invoice number", "invoice date", "due date", "vendor", "customer")),
    "receipt": frozenset(("receipt", "receipt number", "payment method", "cashier")),
    "bank_statement": frozenset(
        ("bank statement", "account statement", "account number", "opening balance", "closing balance")
    ),
}
#: Other names of labels.
_OTHER_NAMES = {
    "account no": "account number",
    "bill to": "customer",
    "date": "purchased on",
    "invoice #": "invoice number",
    "invoice no": "invoice number",
    "paid by": "payment method",
    "receipt no": "receipt number",
    "sales tax": "tax",
    "time": "purchased at",
    "vat": "tax",
}
_OTHER_COLUMNS = {"details": "description", "item": "description", "price": "amount", "qty": "quantity"}
#: Fields that are in the first line of a document if they have no label.
_ISSUERS = ("vendor.name", "merchant", "bank")
#: A currency or a rate after a label: ``Total EUR``, ``VAT (20%)``.
_CODES = "USD|EUR|GBP|CHF|CAD"
_ADDITION = re.compile(rf"[\s(]+(?:{_CODES}|\d+(?:[.,]\d+)?\s?%)\)?$")
_CURRENCY = re.compile(rf"\b({_CODES})\b|([$€£])")
_SYMBOLS = {"$": "USD", "€": "EUR", "£": "GBP"}
_NUMBER = re.compile(r"[-(]?\d[\d.,' ]*\)?")
_DATE_FORMATS = ("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d %B %Y", "%B %d, %Y")
_CERTAIN, _BY_POSITION = 0.995, 0.93
#: Minimum number of known column names in a header.
_FEWEST_COLUMNS = 2


def kind_of(lines: Sequence[Line]) -> Classification:
    """Return the kind with the most signs in a document, and a confidence from 0 to 1."""
    labels = {_label(cell.text) for line in lines for cell in line.cells}
    counts = {kind: len(signs & labels) for kind, signs in _SIGNS.items()}
    kind, most = max(counts.items(), key=lambda each: each[1])
    if not most:
        return Classification("other", 0.9)
    return Classification(kind, round((most + 1) / (sum(counts.values()) + 1.5), 3))


def read_labels(lines: Sequence[Line], kind: Kind) -> KnownDocument:
    """Return the fields of a document of ``kind`` that its labels name."""
    value: dict[str, Any] = empty_value(kind)
    marks: list[Mark] = []
    found = dict(_labelled(lines))
    spoken = {re.sub("[._]", " ", path): (path, field) for path, field in _fields(SCHEMAS[kind])}
    for name, (path, field) in spoken.items():
        shown, certainty = found.get(name) or found.get(name.removesuffix(" name")), _CERTAIN
        if shown is None and path in _ISSUERS:
            shown, certainty = _opening(lines), _BY_POSITION
        if shown is not None and (parsed := parse(shown[0], field)) is not None:
            _put(value, path, parsed)
            marks.append(Mark(shown[1], (path,), certainty))
    for name, array in SCHEMAS[kind]["properties"].items():
        if array.get("type") == "array":
            for at, row in enumerate(_rows(lines, array["items"]["properties"], spoken.keys())):
                value[name].append({column: parsed for column, (parsed, _) in row.items()})
                marks += [
                    Mark(cell, (f"{name}[{at}].{column}",), _CERTAIN)
                    for column, (_, cell) in row.items()
                    if cell is not None
                ]
    pages = max((line.cells[0].page for line in lines), default=1)
    return KnownDocument(kind, 1, pages, value, tuple(marks))


def parse(text: str, schema: Mapping[str, Any]) -> Any:
    """Return the value of a text for a field of a schema; None if the text does not fit the field."""
    if "enum" in schema:
        words = text.casefold().split()
        return next((each for each in schema["enum"] if each and each.split("_")[0] in words), None)
    if "number" in schema["type"]:
        return parse_number(text)
    return parse_date(text) if schema.get("extend:type") == "date" else text or None


def parse_number(text: str) -> float | None:
    """Return the first number in a text: ``1,234.50``, ``1.234,50``, ``-3``, ``(12.00)``."""
    found = _NUMBER.search(text)
    if found is None:
        return None
    # A separator before the last one or two digits is the decimal mark; all others separate thousands.
    *whole, decimals = re.split(r"[.,](?=\d{1,2}$)", re.sub(r"[^\d.,]", "", found[0]))
    if not whole:
        whole, decimals = [decimals], "0"
    number = float(f"{re.sub('[.,]', '', whole[0])}.{decimals}")
    return -number if number and found[0][0] in "-(" else number


def parse_date(text: str) -> str | None:
    """Return a date in ISO format. ``2/3/2026`` is day first if that is a valid date."""
    for form in _DATE_FORMATS:
        try:
            return dt.datetime.strptime(text, form).date().isoformat()  # noqa: DTZ007 (a date has no zone)
        except ValueError:
            continue
    return None


def _label(text: str, other_names: Mapping[str, str] = _OTHER_NAMES) -> str:
    """Return the text up to its colon, by its usual name if it is a known label."""
    label = _ADDITION.sub("", text.partition(":")[0]).strip(" .").casefold()
    return other_names.get(label, label)


def _labelled(lines: Sequence[Line]) -> Iterator[tuple[str, tuple[str, Cell]]]:
    """Yield each label with the text after it and the cell of that text, from the last label to the first."""
    for line in reversed(lines):
        for at, cell in reversed([*enumerate(line.cells)]):
            label, behind = _label(cell.text), cell.text.partition(":")[2].strip()
            shown = cell if behind or at + 1 == len(line.cells) else line.cells[at + 1]
            text = behind or ("" if shown is cell else shown.text)
            if currency := _CURRENCY.search(f"{cell.text} {text}"):
                yield "currency", (currency[1] or _SYMBOLS[currency[2]], shown)
            if label == "tax" and "%" in cell.text:
                yield "tax rate", (cell.text.partition("%")[0].rstrip().rpartition(" ")[2].lstrip("("), cell)
            if text:
                yield label, (text, shown)


def _opening(lines: Sequence[Line]) -> tuple[str, Cell] | None:
    """Return the first text of a document unless it is a title."""
    cell = lines[0].cells[0] if lines else None
    if cell is None or any(_label(cell.text) in signs for signs in _SIGNS.values()):
        return None
    return cell.text, cell


def _fields(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, field in schema["properties"].items():
        if field.get("type") == "object":
            yield from _fields(field, f"{path}{name}.")
        elif field.get("type") != "array":
            yield f"{path}{name}", field


def _put(value: dict[str, Any], path: str, parsed: Any) -> None:
    *outer, name = path.split(".")
    for key in outer:
        value = value[key]
    value[name] = parsed


def _rows(
    lines: Sequence[Line], columns: Mapping[str, Any], labels: Collection[str]
) -> Iterator[dict[str, tuple[Any, Cell | None]]]:
    """Yield the rows of a table: the lines after the header, up to a line that has a label or is no row."""
    header: dict[str, Cell] = {}
    for line in lines:
        if not header:
            named = {_label(cell.text, _OTHER_COLUMNS).replace(" ", "_"): cell for cell in line.cells}
            header = named if len(named.keys() & columns.keys()) >= _FEWEST_COLUMNS else {}
            continue
        placed = {min(header, key=lambda name: _distance(cell, header[name])): cell for cell in line.cells}
        row: dict[str, tuple[Any, Cell | None]] = dict.fromkeys(columns, (None, None))
        for name in placed.keys() & columns.keys():
            if (parsed := parse(placed[name].text, columns[name])) is not None:
                row[name] = (parsed, placed[name])
        is_row = row["amount"][0] is not None and row["description"][0] is not None
        if not is_row or _label(line.cells[0].text) in labels:
            return
        yield row


def _distance(cell: Cell, header: Cell) -> float:
    return min(abs(cell.box.left - header.box.left), abs(cell.box.right - header.box.right))
