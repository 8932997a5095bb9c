"""Drawing text on the pages of a PDF, in points from the upper left corner."""

from __future__ import annotations

import datetime as dt
from typing import Literal

Align = Literal["left", "right", "centre"]


class Canvas:
    """A PDF in the making. Its bytes depend on nothing but what is drawn.

    Only the core fonts are used, so text is limited to Latin-1.
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
        """``created``: the day that the file's own properties name; ``password``: needed to open it."""
        from fpdf import FPDF  # slow to import

        self.width, self.height = width, height
        self._font = font
        self._pdf = FPDF(unit="pt", format=(width, height))
        self._pdf.set_auto_page_break(auto=False)
        self._pdf.set_creation_date(dt.datetime.combine(created, dt.time(6), dt.UTC))
        if password:
            # Its default cipher, RC4, takes no salt; the samples guard no secret but have to be repeatable.
            self._pdf.set_encryption(owner_password=password, user_password=password)
        self._pdf.add_page()

    def text(
        self,
        x: float,
        baseline: float,
        text: str,
        *,
        size: float = 10,
        bold: bool = False,
        align: Align = "left",
    ) -> None:
        """Draw one line; ``x`` is the edge, or the middle, that ``align`` names."""
        self._pdf.set_font(self._font, style="B" if bold else "", size=size)
        shift = {"left": 0.0, "right": 1.0, "centre": 0.5}[align]
        self._pdf.text(x - shift * self._pdf.get_string_width(text), baseline, text)

    def rule(self, left: float, right: float, y: float) -> None:
        """Draw a thin horizontal line."""
        self._pdf.set_line_width(0.5)
        self._pdf.line(left, y, right, y)

    def wrapped(self, text: str, width: float, *, size: float = 10) -> list[str]:
        """Break a text between words into lines of at most ``width`` points."""
        self._pdf.set_font(self._font, size=size)
        lines = [""]
        for word in text.split(" "):
            longer = f"{lines[-1]} {word}".lstrip()
            if lines[-1] and self._pdf.get_string_width(longer) > width:
                lines.append(word)
            else:
                lines[-1] = longer
        return lines

    def new_page(self) -> None:
        """Go on with a new page."""
        self._pdf.add_page()

    def number_pages(self, page: str, of: str) -> None:
        """Write ``Page 1 of 3`` at the foot of every page; call it last."""
        total = self._pdf.pages_count
        for number in range(1, total + 1):
            self._pdf.page = number
            self.text(
                self.width / 2, self.height - 24, f"{page} {number} {of} {total}", size=8, align="centre"
            )

    def to_bytes(self) -> bytes:
        """Return the finished file."""
        return bytes(self._pdf.output())
