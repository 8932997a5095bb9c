"""What a document is, judged by the words it uses."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sandbox.reading.model import Classification, DocumentType, Kind, ReadDocument

#: For each kind, words and phrases that speak for it, with how strongly they do.
_EVIDENCE: Mapping[Kind, Mapping[str, float]] = {
    "invoice": {
        r"invoice|rechnung|facture": 3.0,
        r"invoice (?:number|no|date|#)|rechnungs(?:nummer|datum)|numéro de facture|facture n°": 3.0,
        r"bill(?:ed)? to|rechnung an|rechnungsempfänger|facturé à|customer name": 2.0,
        r"due date|payment due|fällig am|zahlbar bis|échéance": 1.5,
        r"unit price|einzelpreis|prix unitaire": 1.5,
    },
    "receipt": {
        r"receipt|quittung|kassenbon|ticket de caisse": 3.0,
        r"receipt (?:no|number|#)|bon nr|beleg nr|ticket n°": 3.0,
        r"paid by|payment method|zahlungsart|zahlung|paiement": 2.0,
        r"cashier|served by|kasse|caisse": 1.5,
        r"thank you for (?:shopping|your visit)|vielen dank für ihren einkauf|merci de votre visite": 1.5,
    },
    "bank_statement": {
        r"bank statement|account statement|statement of account|kontoauszug|relevé de compte": 4.0,
        r"opening balance|anfangssaldo|alter kontostand|solde initial": 2.5,
        r"closing balance|endsaldo|neuer kontostand|solde final": 2.5,
        r"account (?:holder|number|name)|kontoinhaber|titulaire|iban": 1.5,
        r"statement period|zeitraum|période": 1.0,
    },
}
_PATTERNS: Mapping[Kind, tuple[tuple[re.Pattern[str], float], ...]] = {
    kind: tuple((re.compile(rf"\b(?:{words})", re.IGNORECASE), weight) for words, weight in evidence.items())
    for kind, evidence in _EVIDENCE.items()
}
#: Less evidence than this makes no document of the kind.
_ENOUGH = 5.0
#: What any document may say of other kinds without being one.
_BACKGROUND = 0.5


def classify(doc: ReadDocument) -> Classification:
    """Return the kind of a document and a confidence from 0 to 1: the kind's share of all evidence seen."""
    text = doc.text
    scores: dict[DocumentType, float] = {
        kind: sum(weight for pattern, weight in patterns if pattern.search(text))
        for kind, patterns in _PATTERNS.items()
    }
    best = max(scores, key=lambda kind: scores[kind])
    if scores[best] < _ENOUGH:
        return Classification("other", round(1 - scores[best] / (2 * _ENOUGH), 3))
    return Classification(best, round(scores[best] / (sum(scores.values()) + _BACKGROUND), 3))
