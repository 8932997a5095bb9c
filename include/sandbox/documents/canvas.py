"""Draws the pages of a PDF, in points from the upper left corner, and records where each field is printed."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from sandbox.documents.draft import Draft, Printed
from sandbox.reading.model import Box, Cell, KnownDocument, Mark
from sandbox.reading.truth import ATTACHMENT, encoded

Align = Literal["left", "right", "centre"]
# Height of a glyph above and below the baseline, in ems.
_ASCENT, _DESCENT = 0.78, 0.22


class Canvas:
    """A PDF that is being drawn. Its bytes depend only on what is drawn.

    Only the core fonts are used, so text is limited to Latin-1.

    :param created: creation date in the file's properties.
    :param password: password that opens the file.
    """

    def __init__(
        self,
        width: float,
        height: float,
        *,
        created: dt.date,
        font: str = "Helvetica",
        password: str | None = None,
    ) -> None:
        from fpdf import FPDF  # slow to import

        self.width, self.height = width, height
        self.marks: list[Mark] = []
        self._font = font
        self._pdf = FPDF(unit="pt", format=(width, height))
        self._pdf.set_auto_page_break(auto=False)
        self._pdf.set_creation_date(dt.datetime.combine(created, dt.time(6), dt.UTC))
        if password:
            # The default cipher, RC4, has no salt. The samples hold no secret and must be repeatable.
            self._pdf.set_encryption(owner_password=password, user_password=password)
        self._pdf.add_page()

    def text(
        self,
        x: float,
        baseline: float,
        text: Printed | str,
        *,
        size: float = 10,
        bold: bool = False,
        align: Align = "left",
    ) -> None:
        """Draw one line of text; ``x`` is its left or right edge or its centre, as ``align`` says."""
        printed = Printed(text) if isinstance(text, str) else text
        if not printed.text:
            return
        self._pdf.set_font(self._font, style="B" if bold else "", size=size)
        width = self._width(printed.text, size)
        left = x - {"left": 0.0, "right": 1.0, "centre": 0.5}[align] * width
        self._pdf.text(left, baseline, printed.text)
        if printed.fields:
            edges = (left, baseline - _ASCENT * size, left + width, baseline + _DESCENT * size)
            cell = Cell(printed.text, Box(*(round(edge, 2) for edge in edges)), self._pdf.page)
            self.marks.append(Mark(cell, tuple(printed.fields), printed.certainty))

    def lines(self, x: float, baseline: float, texts: list[Printed], pitch: float = 14) -> float:
        """Draw lines below each other and return the baseline of the next one."""
        for text in texts:
            self.text(x, baseline, text)
            baseline += pitch
        return baseline

    def rule(self, left: float, right: float, y: float) -> None:
        """Draw a thin horizontal line."""
        self._pdf.set_line_width(0.5)
        self._pdf.line(left, y, right, y)

    def wrapped(self, text: Printed, width: float, *, size: float = 10) -> list[Printed]:
        """Split a text between words into lines of at most ``width`` points."""
        self._pdf.set_font(self._font, size=size)
        lines = [""]
        for word in text.text.split(" "):
            longer = f"{lines[-1]} {word}".lstrip()
            if lines[-1] and self._width(longer, size) > width:
                lines.append(word)
            else:
                lines[-1] = longer
        return [text._replace(text=line) for line in lines]

    def _width(self, text: str, size: float) -> float:
        font = self._pdf.current_font
        assert font is not None
        # FPDF.get_string_width takes ten times as long.
        _, width = font.get_text_width(text, size, None)
        return width

    def new_page(self) -> None:
        """Start a new page."""
        self._pdf.add_page()

    def number_pages(self) -> None:
        """Write ``Page 1 of 3`` at the foot of every page; call it last."""
        total = self._pdf.pages_count
        for number in range(1, total + 1):
            self._pdf.page = number
            foot = f"Page {number} of {total}"
            self.text(self.width / 2, self.height - 24, foot, size=8, align="centre")

    def finish(self, draft: Draft) -> tuple[bytes, KnownDocument]:
        """Return the file and its truth, which is attached to the file."""
        known = draft.known(self.marks, self._pdf.pages_count)
        self._pdf.embed_file(bytes=encoded([known]), basename=ATTACHMENT, compress=True)
        return bytes(self._pdf.output()), known
