"""Processes one run: downloads its files, has them read, builds its steps, and ends it."""

from __future__ import annotations

import asyncio
import dataclasses
import multiprocessing
import os
import random
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from sandbox.extend_api.engine.downloads import DownloadFailed, check_size, download
from sandbox.extend_api.engine.outcomes import outcome_for
from sandbox.extend_api.engine.reader import Reading, ReadingFailed, exit_with_parent, work
from sandbox.extend_api.engine.steps import StepDone
from sandbox.extend_api.settings import OutcomeRule, Settings
from sandbox.extend_api.state import model
from sandbox.extend_api.state.model import Run, StepRun, StoredFile, new_id, now_ms
from sandbox.extend_api.state.store import Store
from sandbox.extend_api.workflows.processors import classification
from sandbox.extend_api.workflows.steps import ProcessorKind, Step

_POSITION = re.compile(r"\[(\d+)\]")
REVIEW_STEP = Step("step_review", "Human review", "HUMAN_REVIEW")
_RUN_PREFIXES: Mapping[ProcessorKind | None, str] = {
    "parse": "pr",
    "classify": "clr",
    "split": "splr",
    "extract": "exr",
}


class Processor:
    """Processes runs; documents are read in worker processes, one per CPU."""

    def __init__(self, store: Store, settings: Callable[[], Settings]) -> None:
        self._store = store
        self._settings = settings

    def start(self) -> None:
        """Open the HTTP session and the worker processes; call it on the running loop."""
        self.http = aiohttp.ClientSession()
        self._pool = _new_pool()

    async def stop(self) -> None:
        """Close the HTTP session and the worker processes."""
        await self.http.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def process(self, run: Run) -> None:
        """Process ``run`` until it has ended or waits for a reviewer."""
        settings = self._settings()
        run.started_at = run.started_at or now_ms()
        run.status = model.PROCESSING
        self._store.touch(run)
        rule = outcome_for(run, settings.outcomes)
        await asyncio.sleep(_latency(settings))
        if rule is not None and rule.status in (model.FAILED, model.CANCELLED):
            self._apply_rule(rule, run)
            return
        try:
            reading = await self._read(run)
        except (DownloadFailed, ReadingFailed) as error:
            run.steps = (_failed_step(run, error.code, error.message),)
            self.fail(run, "FAILED_TO_PROCESS_FILE", f"{error.code}: {error.message}")
            return
        files = {file.id: file for file in (*run.files, *map(self._store_split_file, reading.split_files))}
        run.steps = tuple(_done_step(run, step, files, settings) for step in reading.done)
        _assign_parse_runs(run.steps, settings)
        if rule is not None:
            self._apply_rule(rule, run)
        else:
            self.settle(run, model.PROCESSED)

    def settle(self, run: Run, status: str) -> None:
        """Set the status that ``run`` ends with or waits for a reviewer in."""
        run.status = status
        if status not in model.UNSETTLED and status != model.NEEDS_REVIEW:
            run.ended_at = now_ms()
        self._store.touch(run)

    def fail(self, run: Run, reason: str, message: str) -> None:
        """End ``run`` as FAILED."""
        run.failure_reason, run.failure_message = reason, message
        self.settle(run, model.FAILED)

    def _apply_rule(self, rule: OutcomeRule, run: Run) -> None:
        if rule.status == model.FAILED:
            self.fail(run, rule.reason, rule.message or "An outcome rule of the emulator failed the run.")
            return
        if rule.status == model.REJECTED:
            run.rejection_note = rule.message
        if rule.status == model.NEEDS_REVIEW and self._settings().review_steps:
            run.steps += (_step_run(run, REVIEW_STEP, "WAITING", run.files),)
        self.settle(run, rule.status)

    async def _read(self, run: Run) -> Reading:
        """Read the files of a run; raises DownloadFailed or ReadingFailed."""
        if self._settings().synthetic:
            return _synthetic(run)
        for file in run.files:
            await self._fetch(file)
        pool, loop = self._pool, asyncio.get_running_loop()
        try:
            outputs = dict(run.outputs or {})
            reading = await loop.run_in_executor(pool, work, run.files, run.workflow.steps, outputs)
        except BrokenProcessPool:
            if self._pool is pool:
                self._pool = _new_pool()
            raise ReadingFailed("INTERNAL_ERROR", "the process that read the file died") from None
        for file, file_type, pages in zip(run.files, reading.file_types, reading.page_counts, strict=True):
            file.type, file.page_count, file.updated_at = file_type, pages, now_ms()
        return reading

    def _store_split_file(self, file: StoredFile) -> StoredFile:
        assert isinstance(file.content, bytes)
        path = self._store.folder / file.id
        path.write_bytes(file.content)
        file.content = path
        self._store.add_file(file)
        return file

    async def _fetch(self, file: StoredFile) -> None:
        if file.content is None:
            assert file.url is not None
            target = self._store.folder / file.id
            await download(self.http, file.url, target, self._settings())
            file.content = target
        check_size(_size(file.content), self._settings())


def _new_pool() -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(os.cpu_count(), mp_context=context, initializer=exit_with_parent)


def _size(content: bytes | Path) -> int:
    if isinstance(content, bytes):
        return len(content)
    if not content.exists():
        raise DownloadFailed("UNABLE_TO_DOWNLOAD_FILE", "the file was deleted before it was read")
    return content.stat().st_size


def _latency(settings: Settings) -> float:
    least, most = settings.latency_seconds, settings.latency_max_seconds
    return least if most is None else random.uniform(least, most)


def _synthetic(run: Run) -> Reading:
    """Return a reading of one page per file, without reading; an invoice gets the name of its file."""
    kind = next(step.kind for step in run.workflow.steps if step.kind)
    ids, count = tuple(file.id for file in run.files), len(run.files)
    done = [
        StepDone(step, ids, count, msgspec.json.encode(output))
        for step in run.workflow.steps
        if step.only in (None, kind) and (output := _synthetic_output(step, run.files[0].name)) is not None
    ]
    if run.workflow.classifier is not None:
        classified = msgspec.json.encode(classification(kind, 1.0))
        done.insert(0, StepDone(run.workflow.classifier, ids, count, classified))
    return Reading(("PDF",) * count, (1,) * count, tuple(done))


def _synthetic_output(step: Step, name: str) -> dict[str, Any] | None:
    """Return the output of an extraction step; None for other steps."""
    if step.processor_kind != "extract":
        return None
    found = {
        "invoice_number": name,
        "line_items": [{"description": f"{name} {position}"} for position in (1, 2)],
    }
    value = {key: value for key, value in found.items() if step.kind == "invoice"}
    return {"value": {key: value[key] for key in step.fields or value if key in value}, "metadata": {}}


def _done_step(run: Run, done: StepDone, files: Mapping[str, StoredFile], settings: Settings) -> StepRun:
    """Return a completed step of ``run``, with its result and its cost by page."""
    output = _as_configured(done.output, settings) if done.step.processor_kind == "extract" else done.output
    pages = done.pages if done.step.processor_kind and not done.step.merges else 0
    return dataclasses.replace(
        _step_run(run, done.step, model.PROCESSED, tuple(files[file_id] for file_id in done.file_ids)),
        credits=pages * settings.credits_per_page,
        pages=pages,
        output=output,
    )


def _assign_parse_runs(steps: Sequence[StepRun], settings: Settings) -> None:
    """Set the parse runs of steps: each file is parsed once, for the first step over it."""
    parsed: dict[str, str] = {}
    for step in steps:
        root = step.files[0].parent_id or step.files[0].id
        if step.step.processor_kind == "parse":
            parsed[root] = step.processor_run_id
        elif step.step.processor_kind and not step.step.merges:
            if root not in parsed:
                parsed[root] = new_id(_RUN_PREFIXES["parse"])
                step.parse_credits = step.pages * settings.parse_credits_per_page
            step.parse_run_id = parsed[root]


def _as_configured(output: bytes, settings: Settings) -> bytes:
    """Return an extraction in the form that the settings ask for."""
    if settings.metadata_keys == "brackets" and settings.nothing_found == "nulls":
        return output
    extraction = msgspec.json.decode(output)
    if settings.metadata_keys == "dots":
        extraction["metadata"] = {
            _POSITION.sub(r".\1", key): about for key, about in extraction["metadata"].items()
        }
    if settings.nothing_found == "null" and _is_empty(extraction["value"]):
        extraction = {"value": None, "metadata": {}}
    return msgspec.json.encode(extraction)


def _is_empty(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else (value,)
    return all(each is None or (isinstance(each, dict | list) and _is_empty(each)) for each in inner)


def _failed_step(run: Run, code: str, message: str) -> StepRun:
    """Return the run's first step as failed; a parse step has the precise code as its reason."""
    first = run.workflow.steps[0]
    return dataclasses.replace(
        _step_run(run, first, model.FAILED, run.files),
        failure_reason=code if first.type == "PARSE" else "FAILED_TO_PROCESS_FILE",
        failure_message=f"{code}: {message}",
    )


def _step_run(run: Run, step: Step, status: str, files: tuple[StoredFile, ...]) -> StepRun:
    now = now_ms()
    return StepRun(
        id=new_id("workflow_step_run"),
        step=step,
        files=files,
        processor_run_id=new_id(_RUN_PREFIXES.get(step.processor_kind, "run")),
        status=status,
        created_at=run.started_at or now,
        updated_at=now,
    )
