"""What a submission's inputs are, in a few characters: a later attempt sees whether they have changed.

What changes by itself between two attempts is left out: the signature in a URL's query, passwords, secrets.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from extend_provider.client.models import BatchInput, FileInput, RunInput

#: Hexadecimal digits.
LENGTH = 12


def fingerprint(inputs: Sequence[BatchInput | RunInput], metadata: Mapping[str, Any] | None = None) -> str:
    """Return the fingerprint of what is sent, in this order.

    :param metadata: of all inputs together, where they have none of their own.
    """
    told = json.dumps([metadata, [_told(each) for each in inputs]], sort_keys=True, default=str)
    return hashlib.sha256(told.encode(errors="surrogatepass")).hexdigest()[:LENGTH]


def _told(given: BatchInput | RunInput) -> list[Any]:
    return [_file(given.file), given.metadata if isinstance(given, BatchInput) else given.outputs]


def _file(file: FileInput) -> list[str | None]:
    parts = urlsplit(file.url) if file.url is not None else None
    address = None if parts is None else f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return [address, file.file_id, file.text, file.name]
