"""Which input a batch was refused for, by Extend's own message.

Extend accepts a batch whole or not at all, so a refusal proves that none of its inputs was accepted. The
message ends with the path of what is wrong, or quotes a file's id or URL. Nothing else is used: a batch whose
refusal names no input is never divided to find one.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Final

from extend_provider.client.endpoints import file_input_name
from extend_provider.client.models import BatchInput
from extend_provider.exceptions import ExtendBadRequestError, ExtendError, ExtendNotFoundError
from extend_provider.security import without_credentials

#: How many inputs are left out of one batch before the refusals are blamed on something all inputs share.
MAX_LEFT_OUT: Final = 50
#: Extend's codes for what is wrong with a file itself, wherever it is stored.
FILE_REASONS: Final = frozenset(
    {
        "CORRUPT_FILE",
        "FAILED_TO_CONVERT_TO_PDF",
        "FILE_SIZE_TOO_LARGE",
        "FILE_TYPE_NOT_SUPPORTED",
        "PASSWORD_PROTECTED_FILE",
    }
)

#: ``inputs[3].file``, ``inputs.3.file``, ``/inputs/3/file``, ``["inputs", 3, "file"]``.
_PATH: Final = re.compile(r"""\binputs(?:\[|[./]|["'],\s*)(\d+)""")
_PATHS_AT_THE_END: Final = re.compile(r"\s*;\s*Path:.*$", re.DOTALL)
_CODE: Final = re.compile(r"\b[A-Z]{2,}(?:_[A-Z]+)+\b")


@dataclasses.dataclass(frozen=True, slots=True)
class RefusedInput:
    """An input that Extend does not accept.

    :param index: its position in the batch that was refused, from 0.
    :param reason: Extend's code, e.g. ``UNABLE_TO_DOWNLOAD_FILE``.
    :param message: Extend's sentence, without file URLs' credentials.
    """

    index: int
    reason: str
    message: str

    @property
    def is_of_the_file(self) -> bool:
        """Whether the file itself is bad; otherwise the cause may affect other files, too."""
        return self.reason in FILE_REASONS


def refused_inputs(error: ExtendError, inputs: Sequence[BatchInput]) -> list[RefusedInput]:
    """Return the inputs that ``error`` was raised for; none if it is not certain which.

    :param inputs: the batch that was refused.
    """
    proves = isinstance(error, ExtendBadRequestError | ExtendNotFoundError) and not error.retryable
    if not proves or error.said is None:
        return []
    reason = reason_of(error)
    message = _PATHS_AT_THE_END.sub("", error.said)
    return [RefusedInput(index, reason, message) for index in _indices(error.said, inputs)]


def named(refused: Sequence[RefusedInput], inputs: Sequence[BatchInput]) -> str:
    """Return the names of these inputs for a message."""
    return ", ".join(f"inputs[{each.index}] ({file_input_name(inputs[each.index].file)})" for each in refused)


def _indices(said: str, inputs: Sequence[BatchInput]) -> list[int]:
    paths = set(map(int, _PATH.findall(said)))
    if paths:
        return sorted(paths) if max(paths) < len(inputs) else []
    quoted = {kind: _quoted(said, kind, inputs) for kind in ("file_id", "url")}
    # An id or URL that several inputs share does not identify one of them.
    return next((found for found in quoted.values() if len(found) == 1), [])


def _quoted(said: str, kind: str, inputs: Sequence[BatchInput]) -> list[int]:
    """Return the inputs whose id or URL the text contains."""
    values: Mapping[int, str] = {
        index: without_credentials(value).partition("?")[0]
        for index, each in enumerate(inputs)
        if (value := getattr(each.file, kind))
    }
    return [index for index, value in values.items() if _contains(said, value)]


def _contains(said: str, value: str) -> bool:
    # A sentence may end right after it, so a full stop is no part of what follows.
    return re.search(rf"(?<![\w/-]){re.escape(value)}(?![\w/%-]|\.\w)", said) is not None


def reason_of(error: ExtendError) -> str:
    """Return the most exact code that Extend gives for what it has refused."""
    if error.code in FILE_REASONS:
        return error.code
    told = _CODE.search(error.said or "")
    return told.group() if told else error.code or "INVALID_REQUEST"
