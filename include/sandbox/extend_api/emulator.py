"""The state of the emulator, and the actions on it that several routes share."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from sandbox.extend_api.engine.dispatcher import Engine
from sandbox.extend_api.errors import InvalidRequest, not_found
from sandbox.extend_api.settings import Settings, patched
from sandbox.extend_api.state.accounting import Accounting
from sandbox.extend_api.state.faults import Faults, RateLimiter
from sandbox.extend_api.state.model import FileRef, Run, RunOrder, StoredFile, new_id, now_ms
from sandbox.extend_api.state.store import Store
from sandbox.extend_api.webhooks.faults import WebhookFaults
from sandbox.extend_api.webhooks.publisher import Webhooks
from sandbox.extend_api.workflows.catalogue import LATEST_VERSION, VERSIONS, WORKFLOWS
from sandbox.extend_api.workflows.steps import Step, Workflow

RAW_TEXT_NAME = "raw_text.txt"


class _Split(msgspec.Struct):
    """A split that is given in the request."""

    type: str
    classificationId: str  # noqa: N815 - the wire's name
    startPage: Annotated[int, msgspec.Meta(ge=1)]  # noqa: N815 - the wire's name
    endPage: int  # noqa: N815 - the wire's name


class Emulator:
    """One workspace of Extend.

    :param key: the API key that it accepts.
    :param settings: the settings at start and after each reset.
    """

    def __init__(self, key: str, settings: Settings) -> None:
        self.key = key
        self.webhooks = Webhooks(lambda: self.settings)
        self.store = Store(self.webhooks.publish)
        self.engine = Engine(self.store, lambda: self.settings)
        self._initial_settings = settings
        self._start_over(settings)

    def _start_over(self, settings: Settings) -> None:
        self.settings = settings
        self.accounting = Accounting()
        self.faults = Faults(settings.faults)
        self.webhooks.deliveries.faults = WebhookFaults(settings.webhook_faults)
        self.limiters = {"read": RateLimiter(), "write": RateLimiter()}
        self.run_limiter = RateLimiter(60.0)

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Change settings by name; faults among them start over, even if they are the same as before.

        :raises msgspec.ValidationError: a name is unknown or a value is wrong; nothing is changed.
        """
        self.settings = patched(self.settings, changes)
        if "faults" in changes:
            self.faults = Faults(self.settings.faults)
        if "webhook_faults" in changes:
            self.webhooks.deliveries.faults = WebhookFaults(self.settings.webhook_faults)
        self.engine.wake()

    async def start(self) -> None:
        """Start processing runs and delivering events."""
        await self.webhooks.deliveries.start()
        await self.engine.start()

    async def stop(self) -> None:
        """Stop both, and remove all files."""
        await self.engine.stop()
        await self.webhooks.deliveries.stop()
        self.store.close()

    async def reset(self) -> None:
        """Return to the state at start."""
        await self.engine.reset()
        await self.webhooks.reset()
        self.store.clear()
        self._start_over(self._initial_settings)

    def create_runs(
        self, orders: Sequence[RunOrder], batch_id: str | None = None, *, through_api: bool = True
    ) -> list[Run]:
        """Create and queue runs.

        :param through_api: False for runs that are started in the dashboard; they have no events.
        :raises ApiError: a workflow, version or file is unknown (404); nothing is created.
        """
        for order in orders:
            _known_workflow(order)
        files = [tuple(self._file(ref) for ref in order.files) for order in orders]
        first_lag, second_lag = self._lags_ms() if batch_id else (0, 0)
        now = now_ms()  # the same for all, so that the runs of a half become listable together
        runs = [
            self._run(order, inputs, batch_id, now, first_lag if index < len(orders) // 2 else second_lag)
            for index, (order, inputs) in enumerate(zip(orders, files, strict=True))
        ]
        for run in runs:
            run.through_api = through_api
        self.store.add_runs(runs)
        for run in runs:
            self.engine.submit(run)
        return runs

    def _lags_ms(self) -> tuple[int, int]:
        """Return how long the first and the second half of a batch are missing from listings."""
        settings = self.settings
        first = 0.0 if settings.listing_lag_halves else settings.listing_lag_seconds
        second = settings.listing_lag_seconds + settings.listing_lag_second_half_seconds
        return int(first * 1000), int(second * 1000)

    def _run(
        self, order: RunOrder, files: tuple[StoredFile, ...], batch_id: str | None, now: int, lag_ms: int
    ) -> Run:
        for file in files:
            self.store.add_file(file)
        key = input_key(order, files)
        self.store.attempts[key] += 1
        return Run(
            id=new_id("workflow_run"),
            name=order.name or files[0].name,
            workflow=WORKFLOWS[order.workflow_id],
            version=order.version or LATEST_VERSION,
            status=self.settings.initial_status,
            priority=order.priority,
            key=key,
            attempt=self.store.attempts[key],
            metadata=order.metadata,
            files=files,
            created_at=now,
            updated_at=now,
            listable_at=now + lag_ms,
            batch_id=batch_id,
            outputs=order.outputs or None,
        )

    def _file(self, ref: FileRef) -> StoredFile:
        if ref.id is not None:
            if (file := self.store.files.get(ref.id)) is None:
                raise not_found("File", ref.id)
            return file
        now = now_ms()
        text = None if ref.text is None else ref.text.encode()
        name = ref.name or (RAW_TEXT_NAME if ref.url is None else url_file_name(ref.url))
        if text is not None and not name.endswith(".txt"):
            name += ".txt"
        return StoredFile(new_id("file"), name, now, now, content=text, url=ref.url, password=ref.password)

    def run(self, run_id: str) -> Run:
        """Return a run; raises ApiError (404, or the configured status for a deleted run)."""
        run = self.store.runs.get(run_id)
        if run is None:
            refusal = not_found("Workflow run", run_id)
            if run_id in self.store.deleted:
                refusal.status = self.settings.deleted_status
            raise refusal
        return run

    def file(self, file_id: str) -> StoredFile:
        """Return a file; raises ApiError (404)."""
        file = self.store.files.get(file_id)
        if file is None:
            raise not_found("File", file_id)
        return file

    def stats(self) -> dict[str, Any]:
        """Return counts of requests, answers, runs by input and by status, queued runs, files, webhooks."""
        return {
            "requests": dict(self.accounting.requests),
            "responses": dict(self.accounting.responses),
            "runs_created": dict(self.store.attempts),
            "runs": {status: count for status, count in self.store.by_status.items() if count},
            "queued": self.engine.queued,
            "files": len(self.store.files),
            "webhooks": self.webhooks.deliveries.stats(),
        }


def workflow(workflow_id: str) -> Workflow:
    """Return a workflow; raises ApiError (404)."""
    if (found := WORKFLOWS.get(workflow_id)) is None:
        raise not_found("Workflow", workflow_id)
    return found


def _known_workflow(order: RunOrder) -> None:
    found = workflow(order.workflow_id)
    if order.version is not None and order.version not in VERSIONS:
        raise not_found(f"Version of workflow {found.id!r}", order.version)
    for processor_id, output in (order.outputs or {}).items():
        _check_output(found, processor_id, output)


def _check_output(found: Workflow, processor_id: str, output: dict[str, Any]) -> None:
    """Raise InvalidRequest unless a given output fits one of the workflow's processors."""
    step = next((step for step in found.steps if step.processor_id == processor_id != ""), None)
    if step is None:
        raise InvalidRequest(f"Processor {processor_id!r} is not part of the workflow", "outputs")
    if step.type == "CLASSIFY" and output.get("type") not in step.classes:
        raise InvalidRequest(f"The type must be one of {', '.join(step.classes)}", "outputs")
    if step.type == "SPLIT":
        _check_splits(step, output.get("splits"))
    if step.processor_kind == "extract" and not isinstance(output.get("value"), dict):
        raise InvalidRequest("The output must have a value", "outputs")


def _check_splits(step: Step, splits: object) -> None:
    try:
        given = msgspec.convert(splits, list[_Split])
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error), "outputs") from None
    if not given or any(split.type not in step.classes or split.startPage > split.endPage for split in given):
        raise InvalidRequest(f"Each split needs pages and one of {', '.join(step.classes)}", "outputs")


def input_key(order: RunOrder, files: Sequence[StoredFile]) -> str:
    """Return the identity of an input: ``document_id`` in metadata, or the file's name, URL path or id."""
    given = msgspec.json.decode(order.metadata).get("document_id")
    if given is not None:
        return str(given)
    ref = order.files[0]
    if ref.name is not None:
        return ref.name
    return urllib.parse.urlsplit(ref.url).path if ref.url is not None else files[0].id


def url_file_name(url: str) -> str:
    """Return the file name of a URL: the last segment of its path, decoded."""
    path = urllib.parse.urlsplit(url).path
    return urllib.parse.unquote(path.rsplit("/", 1)[-1]) or "document"
