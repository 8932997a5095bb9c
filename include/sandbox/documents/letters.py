"""Letters and notes: documents of no kind that anything is extracted from."""

from __future__ import annotations

import datetime as dt
import random

from sandbox.documents.canvas import Canvas
from sandbox.documents.catalogue import CUSTOMERS, VENDORS
from sandbox.documents.model import SampleFile

_SENTENCES = (
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


def letter_file(rng: random.Random, day: dt.date, suffix: str) -> SampleFile:
    """Invent a letter and print it as ``.pdf`` or ``.txt``."""
    sender, (addressee, address) = rng.choice(VENDORS), rng.choice(CUSTOMERS)
    body = " ".join(rng.sample(_SENTENCES, rng.randint(3, len(_SENTENCES))))
    if suffix == ".txt":
        text = f"{sender.name}\n\n{day:%d/%m/%Y}\n\nDear {addressee},\n\n{body}\n\nKind regards\n"
        return SampleFile("other", suffix, text.encode())
    canvas = Canvas(*sender.locale.paper, created=day)
    canvas.text(60, 70, sender.name, size=12, bold=True)
    for row, line in enumerate([addressee, *address]):
        canvas.text(60, 130 + 14 * row, line)
    canvas.text(canvas.width - 60, 200, sender.locale.date(day), align="right")
    for row, line in enumerate(
        [f"Dear {addressee},", *canvas.wrapped(body, canvas.width - 120), "Kind regards"]
    ):
        canvas.text(60, 240 + 15 * row, line)
    return SampleFile("other", suffix, canvas.to_bytes())
