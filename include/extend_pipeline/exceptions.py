"""Errors of the pipeline itself, and what an error of Extend means for it."""

from __future__ import annotations

from typing import Final

from extend_provider.exceptions import (
    ExtendConnectionError,
    ExtendError,
    ExtendInputError,
    ExtendNotFoundError,
    ExtendRateLimitError,
    ExtendServerError,
)

_GONE: Final = 410


class PipelineInputError(ExtendInputError):
    """A setting of the pipeline is wrong, or names something that does not exist or may not be read.

    Raised before anything is sent to Extend. Trying again cannot help, so the retry policy fails at once.
    """


class PipelineSourceError(ExtendError):
    """The source cannot be read at the moment, as a whole; trying again later may help."""


class PipelineOutcomeError(ExtendError):
    """Everything that could land has landed, and the outcome is not what the run's policy allows."""


class ChunkVoidedError(ExtendError):
    """A chunk was planned and not sent, and another plan has taken its documents over: nothing is lost.

    :param key: the chunk's.
    :param by: the run that has its documents now, or who has released them.
    """

    def __init__(self, key: str, by: str) -> None:
        super().__init__(
            f"Chunk {key} was planned and not sent, and {by} has its documents now. Nothing was sent from "
            "here, and nothing is lost. To plan what is still free, clear 'plan'."
        )
        self.by = by


def is_outage(error: ExtendError) -> bool:
    """Return True if Extend, or the network to it, fails at the moment, so that a later request may work."""
    kinds = (ExtendServerError, ExtendConnectionError, ExtendRateLimitError)
    return error.retryable and isinstance(error, kinds)


def is_gone(error: ExtendError) -> bool:
    """Return True if Extend does not have what was requested, or no longer has it."""
    return isinstance(error, ExtendNotFoundError) or error.status == _GONE
