"""The engine: takes queued runs in order of priority and works them off in the background."""

from __future__ import annotations

import asyncio
import dataclasses
import heapq
import logging
import multiprocessing
import os
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import aiohttp
import msgspec

from sandbox.extend_api import model
from sandbox.extend_api.downloads import DownloadFailed, check_size, download
from sandbox.extend_api.faults import RateLimiter
from sandbox.extend_api.model import Run, StepRun, StoredFile, new_id, now_ms
from sandbox.extend_api.outcomes import outcome_for
from sandbox.extend_api.reader import Input, Plan, Reading, ReadingFailed, exit_with_parent, work
from sandbox.extend_api.settings import OutcomeRule, Settings
from sandbox.extend_api.store import Store
from sandbox.extend_api.workflows import Step, classification

logger = logging.getLogger(__name__)

#: What every extraction of the synthetic mode puts out.
NOTHING = b'{"value":{},"metadata":{}}'
REVIEW_STEP = Step("step_review", "Human review", "HUMAN_REVIEW", "", "")


class Engine:
    """Works runs off. ``settings`` is asked each time, so that changes count from the next run on."""

    def __init__(self, store: Store, settings: Callable[[], Settings]) -> None:
        self._store = store
        self._settings = settings
        self._queue: list[tuple[int, int, Run]] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._pace = RateLimiter(60.0)
        self._dispatcher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start taking runs."""
        self._pool = ProcessPoolExecutor(
            max_workers=os.cpu_count(),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=exit_with_parent,
        )
        self.http = aiohttp.ClientSession(auto_decompress=False)
        self._dispatcher = asyncio.create_task(self._dispatch())

    async def stop(self) -> None:
        """Stop everything that is under way."""
        if self._dispatcher:
            self._dispatcher.cancel()
        await self.reset()
        await self.http.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def reset(self) -> None:
        """Forget the queue and give up what is under way."""
        self._queue.clear()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        self._pace = RateLimiter(60.0)

    @property
    def queued(self) -> int:
        """How many runs wait."""
        return len(self._queue)

    def submit(self, run: Run) -> None:
        """Queue a run; among equal priorities the older one comes first."""
        run.taken = False
        heapq.heappush(self._queue, (run.priority, run.created_seq, run))
        self._wake.set()

    def wake(self) -> None:
        """Look again: the settings may allow more now."""
        self._wake.set()

    def cancel(self, run: Run) -> None:
        """Begin to cancel a run: CANCELLING now, CANCELLED a little later."""
        self._stop_work(run)
        run.status = model.CANCELLING
        self._store.touch(run)
        self._tasks[run.id] = asyncio.create_task(self._finish_cancelling(run))

    def abandon(self, run: Run) -> None:
        """Give up work on a run that was deleted."""
        self._stop_work(run)

    def _stop_work(self, run: Run) -> None:
        run.taken = True
        if task := self._tasks.pop(run.id, None):
            task.cancel()

    async def _finish_cancelling(self, run: Run) -> None:
        await asyncio.sleep(self._settings().cancelling_seconds)
        self._tasks.pop(run.id, None)
        self._settle(run, model.CANCELLED)

    async def _dispatch(self) -> None:
        while True:
            self._wake.clear()
            while (run := self._next_run()) is not None:
                self._tasks[run.id] = asyncio.create_task(self._guarded(run))
            # The pace refills with time, not with an event.
            paced = bool(self._queue) and self._settings().runs_per_minute is not None
            try:
                await asyncio.wait_for(self._wake.wait(), timeout=0.2 if paced else None)
            except TimeoutError:
                continue

    def _next_run(self) -> Run | None:
        settings = self._settings()
        while self._queue and not settings.hold and len(self._tasks) < settings.max_concurrent_runs:
            if self._queue[0][2].taken:
                heapq.heappop(self._queue)
                continue
            if settings.runs_per_minute is not None and not self._pace.admit(settings.runs_per_minute):
                return None
            run = heapq.heappop(self._queue)[2]
            run.taken = True
            return run
        return None

    async def _guarded(self, run: Run) -> None:
        try:
            await self._process(run)
        except Exception:
            logger.exception("Run %s broke the emulator's engine", run.id)
            self._fail(run, "INTERNAL_ERROR", "The emulator's engine broke; its log says how.")
        finally:
            if self._tasks.get(run.id) is asyncio.current_task():
                del self._tasks[run.id]
            self._wake.set()

    async def _process(self, run: Run) -> None:
        settings = self._settings()
        run.started_at = run.started_at or now_ms()
        run.status = model.PROCESSING
        self._store.touch(run)
        rule = outcome_for(run, settings.outcomes)
        if delay := _latency(settings):
            await asyncio.sleep(delay)
        if rule is not None and rule.status in (model.FAILED, model.CANCELLED):
            self._apply(run, rule)
            return
        try:
            reading = await self._read(run)
        except (DownloadFailed, ReadingFailed) as error:
            message = f"{error.code}: {error.message}"
            run.steps = (_failed_step(run, "FAILED_TO_PROCESS_FILE", message),)
            self._fail(run, "FAILED_TO_PROCESS_FILE", message)
            return
        run.steps = _step_runs(run, reading, settings)
        if rule is not None:
            self._apply(run, rule)
        else:
            self._settle(run, model.PROCESSED)

    async def _read(self, run: Run) -> Reading:
        if self._settings().synthetic:
            return _synthetic(run)
        inputs = tuple([await self._input(file) for file in run.files])
        reading = await asyncio.get_running_loop().run_in_executor(self._pool, work, inputs, _plan(run))
        for file, file_type, pages in zip(run.files, reading.file_types, reading.page_counts, strict=True):
            file.type, file.page_count, file.updated_at = file_type, pages, now_ms()
        return reading

    async def _input(self, file: StoredFile) -> Input:
        if file.content is None:
            assert file.url is not None
            target = self._store.folder / file.id
            await download(self.http, file.url, target, self._settings())
            file.content = target
        size = len(file.content) if isinstance(file.content, bytes) else file.content.stat().st_size
        check_size(size, self._settings())
        return Input(file.id, file.name, file.content, file.password)

    def _apply(self, run: Run, rule: OutcomeRule) -> None:
        if rule.status == model.FAILED:
            self._fail(run, rule.reason, rule.message or "A rule of the emulator made the run fail.")
            return
        if rule.status == model.REJECTED:
            run.rejection_note = rule.message
        if rule.status == model.NEEDS_REVIEW and self._settings().review_steps:
            run.steps += (_step_run(run, REVIEW_STEP, "WAITING"),)
        self._settle(run, rule.status)

    def _fail(self, run: Run, reason: str, message: str) -> None:
        run.failure_reason, run.failure_message = reason, message
        self._settle(run, model.FAILED)

    def _settle(self, run: Run, status: str) -> None:
        run.status = status
        if status not in model.UNSETTLED and status != model.NEEDS_REVIEW:
            run.ended_at = now_ms()
        self._store.touch(run)


def _latency(settings: Settings) -> float:
    least, most = settings.latency_seconds, settings.latency_max_seconds
    return least if most is None else random.uniform(least, most)


def _synthetic(run: Run) -> Reading:
    """Return one page of nothing, for each file."""
    kind = next(step.kind for step in run.workflow.steps if step.kind)
    classified = msgspec.json.encode(classification(kind, 1.0)) if run.workflow.classifier else None
    count = len(run.files)
    return Reading(("PDF",) * count, (1,) * count, classified, kind, NOTHING)


def _plan(run: Run) -> Plan:
    workflow = run.workflow
    extractors = {step.kind: step for step in workflow.steps if step.kind}
    return Plan(
        kind=None if workflow.classifier else next(iter(extractors)),
        classifier_id=workflow.classifier.processor_id if workflow.classifier else None,
        extractor_ids={kind: step.processor_id for kind, step in extractors.items()},
        outputs=dict(run.outputs or {}),
    )


def _failed_step(run: Run, reason: str, message: str) -> StepRun:
    """Return the first step, which the file could not pass."""
    step = run.workflow.steps[0]
    return dataclasses.replace(
        _step_run(run, step, model.FAILED), failure_reason=reason, failure_message=message
    )


def _step_run(run: Run, step: Step, status: str) -> StepRun:
    now = now_ms()
    prefix = "clr" if step.type == "CLASSIFY" else "exr"
    return StepRun(
        new_id("workflow_step_run"),
        step,
        new_id(prefix),
        status,
        created_at=run.started_at or now,
        updated_at=now,
    )


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
