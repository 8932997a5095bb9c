"""Reads the documents of one run in a worker process: plain data in, plain data out."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox import reading
from sandbox.extend_api.engine.steps import File, StepDone, StepRunner
from sandbox.extend_api.state.model import StoredFile
from sandbox.extend_api.workflows.steps import Step


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """The result of the steps over the documents.

    :param file_types: Extend's type of each document, e.g. ``PDF``.
    :param page_counts: number of pages of each document.
    :param done: the completed steps in their order, those of split files file by file.
    """

    file_types: tuple[str, ...]
    page_counts: tuple[int, ...]
    done: tuple[StepDone, ...]
    split_files: tuple[StoredFile, ...] = ()


class ReadingFailed(Exception):  # noqa: N818 - the name says what happened
    """A document cannot be read; ``code`` is Extend's reason, e.g. ``CORRUPT_FILE``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


def exit_with_parent() -> None:
    """Make this worker process end with the server, even if the server is killed."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(0)

    threading.Thread(target=watch, name="exit-with-parent", daemon=True).start()


def work(stored: tuple[StoredFile, ...], steps: tuple[Step, ...], outputs: Mapping[str, Any]) -> Reading:
    """Read the documents and run the steps over them; raises ReadingFailed.

    :param outputs: results given with the request, by processor id.
    """
    runner = StepRunner(outputs)
    try:
        files = [_opened(file) for file in stored]
        runner.run(steps, files)
    except reading.UnreadableDocument as error:
        raise ReadingFailed(error.code, str(error)) from None
    return Reading(
        file_types=tuple(file.document.file_type for file in files),
        page_counts=tuple(len(file.document.pages) for file in files),
        done=tuple(runner.done),
        split_files=tuple(runner.split_files),
    )


def _opened(file: StoredFile) -> File:
    data = file.content.read_bytes() if isinstance(file.content, Path) else file.content or b""
    document = reading.read_document(data, file.name, password=file.password)
    return File(file.id, file.name, data, document, file.password)
