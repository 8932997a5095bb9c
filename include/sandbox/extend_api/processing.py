"""The work on one run: fetch its files, have them read, turn what was found into steps, and end the run."""

from __future__ import annotations

import asyncio
import dataclasses
import multiprocessing
import os
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import aiohttp
import msgspec

from sandbox.extend_api import model
from sandbox.extend_api.downloads import DownloadFailed, check_size, download
from sandbox.extend_api.model import Run, StepRun, StoredFile, new_id, now_ms
from sandbox.extend_api.outcomes import outcome_for
from sandbox.extend_api.reader import Input, Plan, Reading, ReadingFailed, exit_with_parent, work
from sandbox.extend_api.settings import OutcomeRule, Settings
from sandbox.extend_api.store import Store
from sandbox.extend_api.workflows import Step, classification

#: What the synthetic mode extracts from anything but an invoice.
NOTHING = b'{"value":{},"metadata":{}}'
REVIEW_STEP = Step("step_review", "Human review", "HUMAN_REVIEW", "", "")


class Processor:
    """Works on runs, one call each; documents are read in processes of their own, one per CPU."""

    def __init__(self, store: Store, settings: Callable[[], Settings]) -> None:
        self._store = store
        self._settings = settings

    def start(self) -> None:
        """Open what the work needs; call it on the running loop."""
        self.http = aiohttp.ClientSession()
        self._pool = _new_pool()

    async def stop(self) -> None:
        """Close it again."""
        await self.http.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def process(self, run: Run) -> None:
        """Work on ``run`` until it has ended or waits for a reviewer."""
        settings = self._settings()
        run.started_at = run.started_at or now_ms()
        run.status = model.PROCESSING
        self._store.touch(run)
        rule = outcome_for(run, settings.outcomes)
        await asyncio.sleep(_latency(settings))
        if rule is not None and rule.status in (model.FAILED, model.CANCELLED):
            self._end_by(rule, run)
            return
        try:
            reading = await self._read(run)
        except (DownloadFailed, ReadingFailed) as error:
            run.steps = (_failed_step(run, f"{error.code}: {error.message}"),)
            self.fail(run, "FAILED_TO_PROCESS_FILE", f"{error.code}: {error.message}")
            return
        run.steps = _step_runs(run, reading, settings)
        if rule is not None:
            self._end_by(rule, run)
        else:
            self.settle(run, model.PROCESSED)

    def settle(self, run: Run, status: str) -> None:
        """Give ``run`` the status it ends, or waits for a reviewer, with."""
        run.status = status
        if status not in model.UNSETTLED and status != model.NEEDS_REVIEW:
            run.ended_at = now_ms()
        self._store.touch(run)

    def fail(self, run: Run, reason: str, message: str) -> None:
        """End ``run`` as FAILED."""
        run.failure_reason, run.failure_message = reason, message
        self.settle(run, model.FAILED)

    def _end_by(self, rule: OutcomeRule, run: Run) -> None:
        if rule.status == model.FAILED:
            self.fail(run, rule.reason, rule.message or "A rule of the emulator made the run fail.")
            return
        if rule.status == model.REJECTED:
            run.rejection_note = rule.message
        if rule.status == model.NEEDS_REVIEW and self._settings().review_steps:
            run.steps += (_step_run(run, REVIEW_STEP, "WAITING"),)
        self.settle(run, rule.status)

    async def _read(self, run: Run) -> Reading:
        """Return what is in the run's files; raises DownloadFailed or ReadingFailed."""
        if self._settings().synthetic:
            return _synthetic(run)
        inputs = tuple([await self._input(file) for file in run.files])
        pool = self._pool
        try:
            reading = await asyncio.get_running_loop().run_in_executor(pool, work, inputs, _plan(run))
        except BrokenProcessPool:
            if self._pool is pool:
                self._pool = _new_pool()
            raise ReadingFailed("INTERNAL_ERROR", "the process that read the file died") from None
        for file, file_type, pages in zip(run.files, reading.file_types, reading.page_counts, strict=True):
            file.type, file.page_count, file.updated_at = file_type, pages, now_ms()
        return reading

    async def _input(self, file: StoredFile) -> Input:
        if file.content is None:
            assert file.url is not None
            target = self._store.folder / file.id
            await download(self.http, file.url, target, self._settings())
            file.content = target
        check_size(_size(file.content), self._settings())
        return Input(file.id, file.name, file.content, file.password)


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


def _plan(run: Run) -> Plan:
    workflow = run.workflow
    extractors = {step.kind: step for step in workflow.steps if step.kind}
    return Plan(
        kind=None if workflow.classifier else next(iter(extractors)),
        classifier_id=workflow.classifier.processor_id if workflow.classifier else None,
        extractor_ids={kind: step.processor_id for kind, step in extractors.items()},
        outputs=dict(run.outputs or {}),
    )


def _synthetic(run: Run) -> Reading:
    """Return one page for each file, and of an invoice what tells it from the others: its name."""
    kind = next(step.kind for step in run.workflow.steps if step.kind)
    classified = msgspec.json.encode(classification(kind, 1.0)) if run.workflow.classifier else None
    count = len(run.files)
    extraction = _named(run.files[0].name) if kind == "invoice" else NOTHING
    return Reading(("PDF",) * count, (1,) * count, classified, kind, extraction)


def _named(name: str) -> bytes:
    items = [{"description": f"{name} {position}"} for position in (1, 2)]
    return msgspec.json.encode({"value": {"invoice_number": name, "line_items": items}, "metadata": {}})


def _step_runs(run: Run, reading: Reading, settings: Settings) -> tuple[StepRun, ...]:
    """Return the steps that ``run`` went through, with their results and what they cost."""
    workflow, pages = run.workflow, sum(reading.page_counts)
    done: list[tuple[Step, bytes | None]] = []
    if workflow.classifier is not None:
        done.append((workflow.classifier, reading.classification))
    extractor = workflow.extractor(reading.kind)
    if extractor is not None:
        done.append((extractor, reading.extraction))
    return tuple(
        dataclasses.replace(
            _step_run(run, step, model.PROCESSED),
            credits=pages * settings.credits_per_page,
            pages=pages,
            output=output,
        )
        for step, output in done
    )


def _failed_step(run: Run, message: str) -> StepRun:
    """Return the run's first step, which the file could not pass."""
    step = _step_run(run, run.workflow.steps[0], model.FAILED)
    return dataclasses.replace(step, failure_reason="FAILED_TO_PROCESS_FILE", failure_message=message)


def _step_run(run: Run, step: Step, status: str) -> StepRun:
    now = now_ms()
    return StepRun(
        id=new_id("workflow_step_run"),
        step=step,
        processor_run_id=new_id("clr" if step.type == "CLASSIFY" else "exr"),
        status=status,
        created_at=run.started_at or now,
        updated_at=now,
    )
