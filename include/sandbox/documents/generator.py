"""Generates sample objects: a mix of documents for each day, with difficult names and broken files.

The content of an object depends only on the seed, its day and its number, so one day can be generated without
the others.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import io
import random
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence

from sandbox.documents.kinds import KINDS
from sandbox.documents.paper import print_pdf
from sandbox.documents.plain import print_csv, print_text
from sandbox.documents.truth import SampleObject, Truth, TruthPart
from sandbox.reading import CORRUPT_FILE, PASSWORD_PROTECTED_FILE, DocumentType
from sandbox.reading.model import KnownDocument
from sandbox.reading.truth import moved

#: Opens the password-protected samples.
PASSWORD = "open sesame"
#: Difficult names that listing, signing, downloading and landing must keep; ``{}`` is the object's number.
NAMES = (
    "scan copy ({}) final",
    "Übergröße № {} 請求書",
    "100%_discount%20{}",
    "a+b+{}",
    "#{} page",
    "{}?version=2&draft",
)
#: Share of ordinary documents in percent, by kind and type of file.
_MIX: Mapping[tuple[DocumentType, str], int] = {
    ("invoice", ".pdf"): 38,
    ("invoice", ".csv"): 6,
    ("invoice", ".txt"): 6,
    ("receipt", ".pdf"): 15,
    ("receipt", ".txt"): 8,
    ("bank_statement", ".pdf"): 12,
    ("bank_statement", ".csv"): 7,
    ("other", ".pdf"): 5,
    ("other", ".txt"): 3,
}
_PRINTERS = {".pdf": print_pdf, ".txt": print_text, ".csv": print_csv}
_STEMS: Mapping[DocumentType, str] = {
    "invoice": "invoice",
    "receipt": "receipt",
    "bank_statement": "statement",
    "other": "letter",
}
#: Number of objects after which the difficult names and broken files come again.
_CYCLE = 40
#: The ordinary documents that each cycle starts with.
_FIRST: Sequence[tuple[DocumentType, str]] = (
    ("invoice", ".pdf"),
    ("receipt", ".pdf"),
    ("bank_statement", ".pdf"),
    ("invoice", ".csv"),
    ("other", ".txt"),
)
_NAMED_FROM = len(_FIRST)
_BROKEN_FROM = _NAMED_FROM + len(NAMES)
#: In a day's mail, every third object is a file with several documents, starting with the second one.
_BUNDLE_EACH, _FIRST_BUNDLE = 3, 1
_FEWEST_IN_BUNDLE, _MOST_IN_BUNDLE = 3, 6
#: The documents that every bundle contains.
_ALWAYS_IN_BUNDLE: Sequence[DocumentType] = ("invoice", "invoice", "bank_statement")


def generate(
    days: Sequence[dt.date], per_day: int, seed: int, prefix: str = "documents/"
) -> Iterator[SampleObject]:
    """Yield the sample objects of some days.

    :param days: the keys of a day's objects start with ``<prefix><YYYY-MM-DD>/``.
    :param per_day: objects per day; 16 or more include every difficult name and broken file.
    :param seed: the same seed gives the same objects.
    """
    for day in days:
        for number in range(per_day):
            yield _object(seed, day, number, f"{prefix}{day}/")


def generate_mail(
    days: Sequence[dt.date], per_day: int, seed: int, prefix: str = "mail/"
) -> Iterator[SampleObject]:
    """Yield objects as :func:`generate` does, but every third one is a PDF with several documents."""
    for day in days:
        for number in range(per_day):
            bundled = number % _BUNDLE_EACH == _FIRST_BUNDLE
            yield (_bundle if bundled else _object)(seed, day, number, f"{prefix}{day}/")


def document(
    rng: random.Random, day: dt.date, kind: DocumentType, suffix: str
) -> tuple[bytes, KnownDocument]:
    """Invent a document and print it as ``.pdf``, ``.txt`` or ``.csv``; return the file and its truth."""
    return _PRINTERS[suffix](KINDS[kind](rng, day, wide=suffix != ".pdf"))


def protected_statement(rng: random.Random, day: dt.date) -> bytes:
    """Invent a statement and print it as a PDF that only :data:`PASSWORD` opens."""
    return print_pdf(KINDS["bank_statement"](rng, day, wide=False), PASSWORD)[0]


def bundle(rng: random.Random, day: dt.date) -> tuple[bytes, tuple[TruthPart, ...]]:
    """Invent a few documents and put their pages into one PDF, like a scan of a day's mail."""
    import pypdf  # slow to import

    from sandbox.reading.pdf import written

    others = (*_ALWAYS_IN_BUNDLE, "receipt", "other")
    more = rng.choices(others, k=rng.randint(0, _MOST_IN_BUNDLE - _FEWEST_IN_BUNDLE))
    writer = pypdf.PdfWriter()
    parts: list[KnownDocument] = []
    for kind in rng.sample((*_ALWAYS_IN_BUNDLE, *more), _FEWEST_IN_BUNDLE + len(more)):
        data, known = document(rng, day, kind, ".pdf")
        parts.append(moved(known, len(writer.pages)))
        writer.append(io.BytesIO(data), import_outline=False)
    truth = (TruthPart(part.type, part.first_page, part.last_page, part.value) for part in parts)
    return written(writer, parts), tuple(truth)


def _object(seed: int, day: dt.date, number: int, folder: str) -> SampleObject:
    position = number % _CYCLE
    if _BROKEN_FROM <= position < _BROKEN_FROM + len(_BROKEN):
        return _BROKEN[position - _BROKEN_FROM](seed, day, number, folder)
    rng = _rng(seed, day, number)
    if position < len(_FIRST):
        kind, suffix = _FIRST[position]
    else:
        kind, suffix = rng.choices(list(_MIX), weights=list(_MIX.values()))[0]
    name = f"{_STEMS[kind]}-{number:05d}"
    if _NAMED_FROM <= position < _BROKEN_FROM:
        name = NAMES[position - _NAMED_FROM].format(number)
    key = f"{folder}{name}{suffix}"
    data, known = document(rng, day, kind, suffix)
    return SampleObject(key, data, Truth(key, kind=None if kind == "other" else kind, value=known.value))


def _bundle(seed: int, day: dt.date, number: int, folder: str) -> SampleObject:
    key = f"{folder}bundle-{number:05d}.pdf"
    data, parts = bundle(_rng(seed, day, number), day)
    return SampleObject(key, data, Truth(key, parts=parts))


def _rng(seed: int, day: dt.date, number: int) -> random.Random:
    return random.Random(f"{seed}/{day}/{number}")


def _unreadable(key: str, data: bytes, code: str) -> SampleObject:
    return SampleObject(key, data, Truth(key, "FAILED", "FAILED_TO_PROCESS_FILE", code=code))


def _empty(seed: int, day: dt.date, number: int, folder: str) -> SampleObject:
    key = f"{folder}empty-{number:05d}.pdf"
    return SampleObject(key, b"", Truth(key, "SKIPPED", "EMPTY_FILE"))


def _corrupt(seed: int, day: dt.date, number: int, folder: str) -> SampleObject:
    """Return a damaged PDF: it has a PDF signature, but no reader opens it."""
    rng = _rng(seed, day, number)
    pdf, _ = document(rng, day, "invoice", ".pdf")
    noise = rng.randbytes(max(len(pdf) // 3, 64))
    return _unreadable(f"{folder}corrupt-{number:05d}.pdf", pdf[:9] + noise, CORRUPT_FILE)


def _protected(seed: int, day: dt.date, number: int, folder: str) -> SampleObject:
    data = protected_statement(_rng(seed, day, number), day)
    return _unreadable(f"{folder}protected-{number:05d}.pdf", data, PASSWORD_PROTECTED_FILE)


def _unsupported(seed: int, day: dt.date, number: int, folder: str) -> SampleObject:
    """Return a ZIP archive, which Extend does not accept."""
    key = f"{folder}archive-{number:05d}.zip"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        receipt, _ = document(_rng(seed, day, number), day, "receipt", ".txt")
        file.writestr(zipfile.ZipInfo("receipt.txt", (2026, 1, 1, 0, 0, 0)), receipt)
    return SampleObject(key, buffer.getvalue(), Truth(key, "SKIPPED", "UNSUPPORTED_FILE_TYPE"))


def _copy(seed: int, day: dt.date, number: int, folder: str) -> SampleObject:
    """Return the first object of this cycle under another key."""
    original = _object(seed, day, number - number % _CYCLE, folder)
    key = f"{folder}copy-{number:05d}.pdf"
    return SampleObject(key, original.data, dataclasses.replace(original.truth, key=key))


_BROKEN: Sequence[Callable[[int, dt.date, int, str], SampleObject]] = (
    _empty,
    _corrupt,
    _protected,
    _unsupported,
    _copy,
)
