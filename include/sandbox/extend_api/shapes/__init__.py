"""The wire: one module per API version, all with the functions of :class:`Shapes`.

The header ``x-extend-api-version`` chooses; the rest of the emulator knows one vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sandbox.extend_api.errors import ApiError
from sandbox.extend_api.shapes import v2025_04_21, v2026_02_09
from sandbox.extend_api.state.model import Run, RunOrder, StoredFile


class Shapes(Protocol):
    """How one API version reads requests and writes answers. Answers are what msgspec can encode."""

    def read_run_request(self, body: bytes) -> list[RunOrder]:
        """Understand ``POST /workflow_runs``; raises InvalidRequest."""

    def read_batch_request(self, body: bytes) -> list[RunOrder]:
        """Understand ``POST /workflow_runs/batch``; raises InvalidRequest."""

    def created(self, runs: Sequence[Run]) -> Any:
        """Answer of ``POST /workflow_runs``."""

    def batch_created(self, batch_id: str) -> Any:
        """Answer of ``POST /workflow_runs/batch``."""

    def run(self, run: Run) -> Any:
        """Answer of get, update and cancel."""

    def run_list(self, runs: Sequence[Run]) -> dict[str, Any]:
        """A page of summaries, without its token."""

    def run_deleted(self, run_id: str) -> Any:
        """Answer of deleting a run."""

    def file(self, file: StoredFile, presigned_url: str | None = None) -> Any:
        """Answer of uploading or getting a file."""

    def file_list(self, files: Sequence[StoredFile]) -> dict[str, Any]:
        """A page of files, without its token."""

    def file_deleted(self, file_id: str) -> Any:
        """Answer of deleting a file."""

    def error(self, error: ApiError, request_id: str) -> Any:
        """Body of a refusal."""


NEWEST = "2026-02-09"
SHAPES: Mapping[str, Shapes] = {NEWEST: v2026_02_09, "2025-04-21": v2025_04_21}
