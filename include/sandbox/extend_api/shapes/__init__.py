"""The shapes of requests and answers: one module per API version, with the functions of :class:`Shapes`.

The header ``x-extend-api-version`` selects the module; the rest of the emulator does not know versions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from sandbox.extend_api.errors import ApiError
from sandbox.extend_api.shapes import v2025_04_21, v2026_02_09
from sandbox.extend_api.state.model import Run, RunOrder, StepRun, StoredFile


class Shapes(Protocol):
    """How one API version reads requests and writes answers. msgspec can encode the answers."""

    def read_run_request(self, body: bytes) -> list[RunOrder]:
        """Read ``POST /workflow_runs``; raises InvalidRequest."""

    def read_batch_request(self, body: bytes) -> list[RunOrder]:
        """Read ``POST /workflow_runs/batch``; raises InvalidRequest."""

    def created(self, runs: Sequence[Run]) -> Any:
        """Return the answer to ``POST /workflow_runs``."""

    def batch_created(self, batch_id: str) -> Any:
        """Return the answer to ``POST /workflow_runs/batch``."""

    def run(self, run: Run) -> Any:
        """Return the answer to get, update and cancel."""

    def run_list(self, runs: Sequence[Run]) -> dict[str, Any]:
        """Return a page of run summaries, without its token."""

    def run_deleted(self, run_id: str) -> Any:
        """Return the answer to deleting a run."""

    def webhook_run(self, run: Run) -> Any:
        """Return a run as the payload of an event."""

    def webhook_step(self, run: Run, step: StepRun) -> Any:
        """Return a step run as the payload of an event; None if runs of this version have no such steps."""

    def signed_payload(self, url: str, subject_id: str, metadata: msgspec.Raw | None) -> Any:
        """Return what is in the place of a payload that is sent as a URL."""

    def file(self, file: StoredFile, presigned_url: str | None = None) -> Any:
        """Return the answer to uploading or getting a file."""

    def file_list(self, files: Sequence[StoredFile]) -> dict[str, Any]:
        """Return a page of files, without its token."""

    def file_deleted(self, file_id: str) -> Any:
        """Return the answer to deleting a file."""

    def error(self, error: ApiError, request_id: str) -> Any:
        """Return the body of a refusal."""


NEWEST = "2026-02-09"
SHAPES: Mapping[str, Shapes] = {NEWEST: v2026_02_09, "2025-04-21": v2025_04_21}
