"""Sample documents: PDFs, text files and tables with invented content, so every value is known.

``generate`` streams them. ``python -m sandbox.documents`` writes them and their truth to a folder. Each
document also carries its truth: ``sandbox.reading`` returns it, with the place of every value.
"""

from sandbox.documents.generator import PASSWORD, bundle, generate, generate_mail
from sandbox.documents.truth import (
    WORKFLOW_KINDS,
    ExpectedResult,
    SampleObject,
    Truth,
    TruthPart,
    expected_result,
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
]
