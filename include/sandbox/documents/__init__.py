"""Sample documents: real PDFs, text and table files, invented and therefore known to the cent.

``generate`` streams them, ``python -m sandbox.documents`` writes them to a folder with the truth beside them.
Each file carries its truth too: ``sandbox.reading`` returns it, with the place of every value.
"""

from sandbox.documents.generator import PASSWORD, bundle, generate, generate_mail
from sandbox.documents.truth import (
    WORKFLOW_KINDS,
    ExpectedResult,
    SampleObject,
    Truth,
    TruthPart,
    expected_result,
    read_truth,
)

__all__ = [
    "PASSWORD",
    "WORKFLOW_KINDS",
    "ExpectedResult",
    "SampleObject",
    "Truth",
    "TruthPart",
    "bundle",
    "expected_result",
    "generate",
    "generate_mail",
    "read_truth",
]
