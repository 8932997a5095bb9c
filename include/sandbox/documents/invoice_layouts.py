"""How invoices look on paper, on a line printer and in a spreadsheet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sandbox.documents.canvas import Canvas
from sandbox.documents.invoices import Invoice, Item
from sandbox.documents.plain import aligned, to_csv

_MARGIN = 50.0
_FOOT = 80.0
_ROW, _WRAPPED_ROW = 20.0, 12.5


def invoice_pdf(invoice: Invoice) -> bytes:
    """Print on as many pages as it takes, in the vendor's own look."""
    width, height = invoice.locale.paper
    canvas = Canvas(width, height, created=invoice.issued_on)
    draw_head = _letterhead if invoice.vendor.layout == "letterhead" else _stacked_head
    table = _Table(canvas, invoice, top=draw_head(canvas, invoice))
    for number, item in enumerate(invoice.items, start=1):
        table.draw(number, item)
    _draw_totals(canvas, invoice, table.room_for_totals())
    canvas.number_pages(invoice.locale.word("page"), invoice.locale.word("of"))
    return canvas.to_bytes()


def _facts(invoice: Invoice) -> list[tuple[str, str]]:
    """The invoice's labelled facts; what it does not have has no label either."""
    locale = invoice.locale
    facts = [
        (locale.word("invoice_number"), invoice.number),
        (locale.word("invoice_date"), locale.date(invoice.issued_on)),
    ]
    if invoice.due_on:
        facts.append((locale.word("due_date"), locale.date(invoice.due_on)))
    if locale.says_currency:
        facts.append((locale.word("currency"), locale.currency))
    return facts


def _vendor_lines(invoice: Invoice) -> list[str]:
    vendor, locale = invoice.vendor, invoice.locale
    tax_id = [f"{locale.tax_id_name}: {vendor.tax_id}"] if vendor.tax_id else []
    return [*vendor.address, *tax_id, f"{locale.word('phone')}: {vendor.phone}"]


def _draw_lines(canvas: Canvas, x: float, baseline: float, lines: Sequence[str]) -> float:
    for line in lines:
        canvas.text(x, baseline, line)
        baseline += 14
    return baseline


def _letterhead(canvas: Canvas, invoice: Invoice) -> float:
    """Vendor at the upper left, facts at the upper right, customer below; returns where the table begins."""
    right = canvas.width - _MARGIN
    canvas.text(_MARGIN, 62, invoice.vendor.name, size=13, bold=True)
    _draw_lines(canvas, _MARGIN, 79, _vendor_lines(invoice))
    canvas.text(right, 62, invoice.locale.word("invoice").upper(), size=13, bold=True, align="right")
    for row, (label, value) in enumerate(_facts(invoice)):
        canvas.text(right - 190, 90 + 16 * row, label)
        canvas.text(right, 90 + 16 * row, value, align="right")
    canvas.text(_MARGIN, 190, invoice.locale.word("bill_to"), bold=True)
    return _draw_lines(canvas, _MARGIN, 205, [invoice.customer, *invoice.customer_address]) + 30


def _stacked_head(canvas: Canvas, invoice: Invoice) -> float:
    """Parties side by side, each fact under its label; returns where the table begins."""
    middle = canvas.width / 2
    canvas.text(_MARGIN, 60, invoice.locale.word("invoice"), size=20, bold=True)
    canvas.text(_MARGIN, 95, invoice.locale.word("from"), bold=True)
    canvas.text(middle, 95, invoice.locale.word("bill_to"), bold=True)
    _draw_lines(canvas, _MARGIN, 110, [invoice.vendor.name, *_vendor_lines(invoice)])
    _draw_lines(canvas, middle, 110, [invoice.customer, *invoice.customer_address])
    facts = _facts(invoice)
    step = (canvas.width - 2 * _MARGIN) / len(facts)
    for column, (label, value) in enumerate(facts):
        canvas.text(_MARGIN + column * step, 215, label, size=8, bold=True)
        canvas.text(_MARGIN + column * step, 229, value)
    return 270


class _Table:
    """The invoice's positions, drawn row by row over page breaks."""

    def __init__(self, canvas: Canvas, invoice: Invoice, top: float) -> None:
        self._canvas = canvas
        self._invoice = invoice
        self._right = canvas.width - _MARGIN
        self._indent = 30 if invoice.vendor.numbers_positions else 0
        self._text_width = canvas.width - 2 * _MARGIN - self._indent - 250
        self._baseline = self._header(top)

    def draw(self, number: int, item: Item) -> None:
        """Draw one position; it never runs over a page break."""
        lines = self._canvas.wrapped(item.description, self._text_width)
        self._break_page_unless(_ROW + _WRAPPED_ROW * (len(lines) - 1))
        if self._indent:
            self._canvas.text(_MARGIN, self._baseline, str(number))
        locale = self._invoice.locale
        for x, text in (
            (self._right - 180, locale.quantity(item.quantity)),
            (self._right - 90, locale.amount(item.unit_price)),
            (self._right, locale.amount(item.amount)),
        ):
            self._canvas.text(x, self._baseline, text, align="right")
        for row, line in enumerate(lines):
            self._canvas.text(_MARGIN + self._indent, self._baseline + row * _WRAPPED_ROW, line)
        self._baseline += _ROW + _WRAPPED_ROW * (len(lines) - 1)

    def room_for_totals(self) -> float:
        """Return where the totals begin, on a new page if this one is full."""
        self._break_page_unless(80)
        return self._baseline + 8

    def _break_page_unless(self, space: float) -> None:
        if self._baseline + space <= self._canvas.height - _FOOT:
            return
        self._canvas.new_page()
        self._baseline = 60.0
        if self._invoice.vendor.repeats_header:
            self._canvas.text(_MARGIN, 50, f"{self._invoice.vendor.name}, {self._invoice.number}", size=8)
            self._baseline = self._header(80)

    def _header(self, baseline: float) -> float:
        word = self._invoice.locale.word
        if self._indent:
            self._canvas.text(_MARGIN, baseline, word("position"), bold=True)
        self._canvas.text(_MARGIN + self._indent, baseline, word("description"), bold=True)
        for offset, name in ((180, "quantity"), (90, "unit_price"), (0, "amount")):
            self._canvas.text(self._right - offset, baseline, word(name), bold=True, align="right")
        self._canvas.rule(_MARGIN, self._right, baseline + 5)
        return baseline + _ROW + 2


def _draw_totals(canvas: Canvas, invoice: Invoice, baseline: float) -> None:
    right = canvas.width - _MARGIN
    for row, (label, value) in enumerate(_totals(invoice)):
        last = row == 2
        canvas.text(right - 190, baseline + 16 * row, label, bold=last)
        canvas.text(right, baseline + 16 * row, value, bold=last, align="right")
    canvas.text(_MARGIN, baseline + 62, invoice.locale.word("terms"), size=8)


def _totals(invoice: Invoice) -> list[tuple[str, str]]:
    locale = invoice.locale
    return [
        (locale.word("subtotal"), locale.amount(invoice.subtotal)),
        (f"{locale.tax_name} {locale.percentage()}", locale.amount(invoice.tax)),
        (locale.word("total"), locale.amount(invoice.total)),
    ]


def _item_row(invoice: Invoice, item: Item) -> list[str]:
    locale = invoice.locale
    amounts = [locale.amount(item.unit_price), locale.amount(item.amount)]
    return [item.description, locale.quantity(item.quantity), *amounts]


def _header_row(invoice: Invoice) -> list[str]:
    return [invoice.locale.word(name) for name in ("description", "quantity", "unit_price", "amount")]


def invoice_text(invoice: Invoice) -> bytes:
    """Print as plain text in columns."""
    table = [_header_row(invoice), *(_item_row(invoice, item) for item in invoice.items)]
    lines = [
        invoice.vendor.name,
        *_vendor_lines(invoice),
        "",
        invoice.locale.word("invoice").upper(),
        "",
        *(f"{label}: {value}" for label, value in _facts(invoice)),
        "",
        invoice.locale.word("bill_to"),
        invoice.customer,
        *invoice.customer_address,
        "",
        *aligned(table, right_from=1),
        "",
        *aligned(_totals(invoice), right_from=1),
        "",
        invoice.locale.word("terms"),
    ]
    return ("\n".join(lines) + "\n").encode()


def invoice_csv(invoice: Invoice) -> bytes:
    """Export as a spreadsheet: facts first, then the table, then the totals."""
    vendor = invoice.vendor
    rows = [
        *_facts(invoice),
        ("Vendor name", vendor.name),
        ("Vendor address", ", ".join(vendor.address)),
        *([("Vendor tax ID", vendor.tax_id)] if vendor.tax_id else []),
        ("Customer name", invoice.customer),
        ("Customer address", ", ".join(invoice.customer_address)),
        (),
        _header_row(invoice),
        *(_item_row(invoice, item) for item in invoice.items),
        (),
        *_totals(invoice),
    ]
    return to_csv(rows, invoice.locale.decimal_mark)


LAYOUTS: Mapping[str, Callable[[Invoice], bytes]] = {
    ".pdf": invoice_pdf,
    ".txt": invoice_text,
    ".csv": invoice_csv,
}
