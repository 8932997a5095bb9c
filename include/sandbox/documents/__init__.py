"""Sample documents: real PDFs, text and table files, invented and therefore known to the cent.

``generate`` streams them, ``python -m sandbox.documents`` writes them to a folder with the truth beside them.
"""

from sandbox.documents.awkward import PASSWORD
from sandbox.documents.generator import generate, generate_mail, replacement
from sandbox.documents.model import SampleObject, Truth, TruthPart
from sandbox.documents.truth import WORKFLOW_KINDS, ExpectedResult, expected_result, read_truth

__all__ = [
    "PASSWORD",
    "WORKFLOW_KINDS",
    "ExpectedResult",
    "SampleObject",
    "Truth",
    "TruthPart",
    "expected_result",
    "generate",
    "generate_mail",
    "read_truth",
    "replacement",
]
