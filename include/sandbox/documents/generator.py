"""The stream of sample objects: a mix of documents for each day, the awkward ones among them.

What an object holds depends on the seed, its day and its number alone, so that one day can be generated
without the others.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
from collections.abc import Callable, Iterator, Mapping, Sequence

from sandbox.documents import awkward
from sandbox.documents.bundles import bundle
from sandbox.documents.invoices import invoice_file
from sandbox.documents.letters import letter_file
from sandbox.documents.model import SampleFile, SampleObject, Truth
from sandbox.documents.receipts import receipt_file
from sandbox.documents.statements import protected_statement, statement_file
from sandbox.reading import CORRUPT_FILE, PASSWORD_PROTECTED_FILE, DocumentType

_FILES: Mapping[DocumentType, Callable[[random.Random, dt.date, str], SampleFile]] = {
    "invoice": invoice_file,
    "receipt": receipt_file,
    "bank_statement": statement_file,
    "other": letter_file,
}
#: What ordinary documents are, with how many of a hundred are so.
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
#: Every so many objects of a day all awkward kinds appear once more.
_CYCLE = 40
#: Each cycle starts with one ordinary document of each kind.
_FIRST: Sequence[tuple[DocumentType, str]] = (
    ("invoice", ".pdf"),
    ("receipt", ".pdf"),
    ("bank_statement", ".pdf"),
    ("invoice", ".csv"),
    ("other", ".txt"),
)
_NAMED_FROM = len(_FIRST)
_BROKEN_FROM = _NAMED_FROM + len(awkward.NAMES)
#: In a day's mail, one object of so many is a file with several documents, the second one first.
_BUNDLE_EACH, _FIRST_BUNDLE = 3, 1


def generate(
    days: Sequence[dt.date], per_day: int, seed: int, prefix: str = "documents/"
) -> Iterator[SampleObject]:
    """Yield the sample objects of some days, one after the other.

    :param days: each day's objects have keys below ``<prefix><YYYY-MM-DD>/``.
    :param per_day: objects per day; from 16 on, every awkward kind is among them.
    :param seed: the same seed gives the same objects.
    """
    for day in days:
        for number in range(per_day):
            yield _object(seed, day, number, prefix)


def generate_mail(
    days: Sequence[dt.date], per_day: int, seed: int, prefix: str = "mail/"
) -> Iterator[SampleObject]:
    """Yield what :func:`generate` does, but every third object is a PDF with several documents."""
    for day in days:
        for number in range(per_day):
            bundled = number % _BUNDLE_EACH == _FIRST_BUNDLE
            yield (_bundle if bundled else _object)(seed, day, number, prefix)


def replacement(sample: SampleObject, seed: int) -> SampleObject:
    """Return what replaces an object between its listing and its submission.

    It has the same key and is of the same kind and file type, with another content.

    :raises ValueError: the object is not a readable document.
    """
    if sample.truth.status != "PROCESSED":
        raise ValueError(f"{sample.key}: only a readable document can be replaced by another one")
    suffix = f".{sample.key.rsplit('.', 1)[-1]}"
    rng = random.Random(f"{seed}/replacement/{sample.key}")
    day = dt.date(2026, 1, 1) + dt.timedelta(days=rng.randrange(365))
    make = _FILES[sample.truth.kind or "other"]
    return _readable(sample.key, make(rng, day, suffix))


def _object(seed: int, day: dt.date, number: int, prefix: str) -> SampleObject:
    position = number % _CYCLE
    folder = f"{prefix}{day.isoformat()}/"
    rng = _rng(seed, day, number)
    if position >= _BROKEN_FROM + len(_BROKEN) or position < _NAMED_FROM:
        file = _ordinary(rng, day, position)
        return _readable(f"{folder}{_stem(file)}-{number:05d}{file.suffix}", file)
    if position < _BROKEN_FROM:
        file = _ordinary(rng, day, position)
        name = awkward.NAMES[position - _NAMED_FROM].format(number)
        return _readable(f"{folder}{name}{file.suffix}", file)
    return _BROKEN[position - _BROKEN_FROM](seed, day, number, folder)


def _bundle(seed: int, day: dt.date, number: int, prefix: str) -> SampleObject:
    key = f"{prefix}{day.isoformat()}/bundle-{number:05d}.pdf"
    data, parts = bundle(_rng(seed, day, number), day)
    return SampleObject(key, data, Truth(key, parts=parts))


def _rng(seed: int, day: dt.date, number: int) -> random.Random:
    return random.Random(f"{seed}/{day.isoformat()}/{number}")


def _ordinary(rng: random.Random, day: dt.date, position: int) -> SampleFile:
    if position < len(_FIRST):
        kind, suffix = _FIRST[position]
    else:
        kind, suffix = rng.choices(list(_MIX), weights=list(_MIX.values()))[0]
    return _FILES[kind](rng, day, suffix)


def _stem(file: SampleFile) -> str:
    return {"bank_statement": "statement", "other": "letter"}.get(file.type, file.type)


def _readable(key: str, file: SampleFile) -> SampleObject:
    kind = None if file.type == "other" else file.type
    return SampleObject(key, file.data, Truth(key, kind=kind, value=file.value))


def _unreadable(key: str, data: bytes, code: str) -> SampleObject:
    return SampleObject(key, data, Truth(key, "FAILED", "FAILED_TO_PROCESS_FILE", code=code))


def _empty(seed: int, day: dt.date, number: int, folder: str) -> SampleObject:
    key = f"{folder}empty-{number:05d}.pdf"
    return SampleObject(key, b"", Truth(key, "SKIPPED", "EMPTY_FILE"))


def _corrupt(seed: int, day: dt.date, number: int, folder: str) -> SampleObject:
    rng = _rng(seed, day, number)
    data = awkward.corrupt(invoice_file(rng, day, ".pdf").data, rng)
    return _unreadable(f"{folder}corrupt-{number:05d}.pdf", data, CORRUPT_FILE)


def _protected(seed: int, day: dt.date, number: int, folder: str) -> SampleObject:
    rng = _rng(seed, day, number)
    data = protected_statement(rng, day, awkward.PASSWORD)
    return _unreadable(f"{folder}protected-{number:05d}.pdf", data, PASSWORD_PROTECTED_FILE)


def _unsupported(seed: int, day: dt.date, number: int, folder: str) -> SampleObject:
    rng = _rng(seed, day, number)
    key = f"{folder}archive-{number:05d}.zip"
    data = awkward.archive("receipt.txt", receipt_file(rng, day, ".txt").data)
    return SampleObject(key, data, Truth(key, "SKIPPED", "UNSUPPORTED_FILE_TYPE"))


def _copy(seed: int, day: dt.date, number: int, folder: str) -> SampleObject:
    """The content of this cycle's first object under another key."""
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
