"""Several documents in one file, as a scanner makes them of a day's mail."""

from __future__ import annotations

import datetime as dt
import io
import random
from collections.abc import Callable, Sequence

from sandbox.documents.invoices import invoice_file
from sandbox.documents.letters import letter_file
from sandbox.documents.model import SampleFile, TruthPart
from sandbox.documents.receipts import receipt_file
from sandbox.documents.statements import statement_file

_FEWEST, _MOST = 3, 6
#: What always is among them: what is there to be told apart.
_ALWAYS: Sequence[Callable[[random.Random, dt.date, str], SampleFile]] = (
    invoice_file,
    invoice_file,
    statement_file,
)
_ALSO = (*_ALWAYS, receipt_file, letter_file)


def bundle(rng: random.Random, day: dt.date) -> tuple[bytes, tuple[TruthPart, ...]]:
    """Invent a few documents, and put their pages into one PDF; return it with what stands where."""
    import pypdf  # slow to import

    more = rng.choices(_ALSO, k=rng.randint(0, _MOST - _FEWEST))
    makers = rng.sample((*_ALWAYS, *more), _FEWEST + len(more))
    writer = pypdf.PdfWriter()
    parts: list[TruthPart] = []
    for make in makers:
        file = make(rng, day, ".pdf")
        first = len(writer.pages) + 1
        writer.append(io.BytesIO(file.data), import_outline=False)
        parts.append(TruthPart(file.type, first, len(writer.pages), file.value))
    target = io.BytesIO()
    writer.write(target)
    return target.getvalue(), tuple(parts)
