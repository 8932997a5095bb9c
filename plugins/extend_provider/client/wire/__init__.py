"""The wire shapes of Extend's API, one module per version."""

from __future__ import annotations

from typing import Final

from extend_provider.client.wire.base import Wire
from extend_provider.client.wire.v2025_04_21 import Wire20250421
from extend_provider.client.wire.v2026_02_09 import Wire20260209
from extend_provider.exceptions import ExtendInputError

__all__ = ["API_VERSIONS", "DEFAULT_API_VERSION", "Wire", "wire_for"]

DEFAULT_API_VERSION: Final = Wire20260209.api_version
_WIRES: Final[dict[str, Wire]] = {wire.api_version: wire for wire in (Wire20260209(), Wire20250421())}
#: The API versions spoken here, newest first.
API_VERSIONS: Final = tuple(_WIRES)


def wire_for(api_version: str) -> Wire:
    """Return how ``api_version`` writes; raise ExtendInputError for a version not spoken here."""
    try:
        return _WIRES[api_version]
    except KeyError:
        raise ExtendInputError(
            f"Extend API version {api_version!r} is not supported; use one of {', '.join(API_VERSIONS)}."
        ) from None
