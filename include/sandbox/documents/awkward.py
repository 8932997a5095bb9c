"""The files and names that go wrong in practice."""

from __future__ import annotations

import io
import random
import zipfile

#: Opens the password-protected samples.
PASSWORD = "open sesame"

#: Names that have to survive listing, signing, downloading and landing; ``{}`` is the object's number.
NAMES = (
    "scan copy ({}) final",
    "Übergröße № {} 請求書",
    "100%_discount%20{}",
    "a+b+{}",
    "#{} page",
    "{}?version=2&draft",
)


def corrupt(pdf: bytes, rng: random.Random) -> bytes:
    """A PDF whose upload broke off and whose middle is noise: it begins like one and opens in no reader."""
    return pdf[:9] + rng.randbytes(max(len(pdf) // 3, 64))


def archive(name: str, data: bytes) -> bytes:
    """A ZIP archive with one file, a type that Extend does not take."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data)
    return buffer.getvalue()
