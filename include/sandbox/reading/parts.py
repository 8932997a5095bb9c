"""Where one document ends and the next one begins, in a PDF that holds several."""

from __future__ import annotations

import dataclasses
import re

from sandbox.reading.classification import classify
from sandbox.reading.model import Classification, Page, ReadDocument

_SALUTATION = re.compile(r"(?:dear|sehr geehrte|liebe|cher|chère|madame|monsieur)\b.*,", re.IGNORECASE)
#: A page's own count, as it stands at its foot.
_COUNT = re.compile(r"\b(?:page|seite)\s+(\d+)\s*(?:of|von|sur|de|/)\s*(\d+)\b", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """Pages of a file that are a document of their own.

    :param observation: why it begins where it does.
    """

    first_page: int
    last_page: int
    classification: Classification
    observation: str


def find_parts(doc: ReadDocument) -> tuple[Part, ...]:
    """Return the documents that a file holds, in order; a file that is no PDF is one document."""
    starts = [(0, "It is the file's first page.")]
    if doc.file_type == "PDF":
        for at in range(1, len(doc.pages)):
            if reason := _begins(doc.pages[at], doc.pages[at - 1]):
                starts.append((at, reason))
    ends = [at for at, _ in starts[1:]] + [len(doc.pages)]
    return tuple(
        Part(at + 1, end, classify(ReadDocument(doc.pages[at:end], doc.file_type)), reason)
        for (at, reason), end in zip(starts, ends, strict=True)
    )


def _begins(page: Page, before: Page) -> str | None:
    """Return why a page begins another document than the page before it; None if it does not."""
    count, last = _count(page), _count(before)
    if count is not None:
        number, total = count
        follows = number > 1 and last == (number - 1, total)
        return None if follows else f"It says that it is page {number} of {total}."
    if last is not None and last[0] < last[1]:
        return None
    if last is not None:
        return "The page before it was the last of its document."
    if (page.width, page.height) != (before.width, before.height):
        return "Its paper has another size."
    if any(_SALUTATION.fullmatch(line.text) for line in page.lines):
        return "It has a salutation."
    kind = classify(ReadDocument((page,), "PDF")).type
    return None if kind == "other" else f"It has the head of a {kind.replace('_', ' ')}."


def _count(page: Page) -> tuple[int, int] | None:
    found = _COUNT.search(page.lines[-1].text) if page.lines else None
    return None if found is None else (int(found[1]), int(found[2]))
