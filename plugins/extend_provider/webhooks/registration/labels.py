"""What a webhook endpoint of ours is called at Extend, and what that name says. Pure.

Extend shows an endpoint's secret once and has no way to compare it later. So the name carries a fingerprint
of the secret, by which the endpoint and a secret of the connection find each other, and says until the end of
the registration that it is unfinished. Neither helps anybody to sign a request.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from typing import Final, Self

_LABEL: Final = re.compile(
    r"Airflow (?P<conn_id>\S+)(?:, secret (?P<fingerprint>[0-9a-f]{8}))?(?P<unfinished> \(unfinished\))?"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Label:
    """The name of an endpoint that a command has made.

    :param fingerprint: of its secret, see :func:`fingerprint_of`; None until the secret is known.
    :param finished: whether the secret was stored and the endpoint switched on.
    """

    conn_id: str
    fingerprint: str | None = None
    finished: bool = False

    def __str__(self) -> str:
        secret = f", secret {self.fingerprint}" if self.fingerprint else ""
        return f"Airflow {self.conn_id}{secret}{'' if self.finished else ' (unfinished)'}"

    @classmethod
    def read(cls, name: str | None) -> Self | None:
        """Read a name; None if it is of an endpoint that somebody has made otherwise."""
        found = _LABEL.fullmatch(name or "")
        if found is None or not (found["fingerprint"] or found["unfinished"]):
            return None
        return cls(found["conn_id"], found["fingerprint"], finished=not found["unfinished"])


def fingerprint_of(secret: str) -> str:
    """Return what tells secrets apart and reveals none: a secret has far more bits than its fingerprint."""
    return hashlib.sha256(f"airflow webhook {secret}".encode()).hexdigest()[:8]
