"""The workflow run endpoints of both API versions."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from typing import Any

import msgspec

from sandbox.extend_api.emulator import Emulator, url_file_name
from sandbox.extend_api.engine.downloads import DownloadFailed, probe
from sandbox.extend_api.errors import ApiError, InvalidRequest, not_found
from sandbox.extend_api.routes import queries
from sandbox.extend_api.routes.files import file_type
from sandbox.extend_api.routes.gate import Call
from sandbox.extend_api.routes.reviews import correct
from sandbox.extend_api.shapes import NEWEST, SHAPES
from sandbox.extend_api.shapes.common import checked_metadata, decode
from sandbox.extend_api.shapes.v2025_04_21 import processor_run_id
from sandbox.extend_api.state.faults import rate_limited
from sandbox.extend_api.state.model import CANCELLABLE, FileRef, Run, RunOrder, iso, new_id
from sandbox.extend_api.state.store import Page, RunQuery

PROBES_AT_A_TIME = 20


class _Correction(msgspec.Struct):
    reviewedOutput: dict[str, Any]  # noqa: N815 - the wire's name


class _Changes(msgspec.Struct):
    name: str | None = None
    metadata: dict[str, Any] | None = None


_correction_body = msgspec.json.Decoder(_Correction)
_changes_body = msgspec.json.Decoder(_Changes)


async def create_run(call: Call) -> Any:
    """``POST /workflow_runs``: one run; in the older version one per file."""
    orders = call.shapes.read_run_request(await call.request.body())
    _check_capacity(call.emulator, len(orders))
    limit = call.emulator.settings.runs_per_minute
    if limit is not None and not call.emulator.run_limiter.admit(limit, len(orders)):
        raise rate_limited(call.emulator.settings, f"Rate limit of {limit} runs a minute exceeded.")
    return call.shapes.created(call.emulator.create_runs(orders))


async def create_batch(call: Call) -> Any:
    """``POST /workflow_runs/batch``: up to 1,000 runs under one batch id."""
    orders = call.shapes.read_batch_request(await call.request.body())
    _check_capacity(call.emulator, len(orders))
    if call.emulator.settings.unreachable_url == "reject_batch":
        await _probe_all(call.emulator, orders)
    batch_id = new_id("batch")
    call.emulator.create_runs(orders, batch_id)
    return call.shapes.batch_created(batch_id)


async def list_runs(call: Call) -> Any:
    """``GET /workflow_runs``: summaries, filtered and sorted, in pages."""
    settings, params = call.emulator.settings, dict(call.request.query_params)
    query = queries.run_query(params)
    size = queries.page_size(params, settings)
    after = queries.page_position(params, settings)
    page = call.emulator.store.page(query, size, after)
    if settings.longest_list is not None:
        page = _cut_short(call.emulator, query, page, after)
    runs = page.items
    if settings.repeat_between_pages and after is not None:
        runs = _repeated(call.emulator, query, after, settings.repeat_between_pages) + runs
    if settings.shuffle_pages:
        random.shuffle(runs)
    return {**call.shapes.run_list(runs), **queries.next_page(params, page.next_position, settings)}


def _cut_short(emulator: Emulator, query: RunQuery, page: Page[Run], after: int | None) -> Page[Run]:
    """Return the page of a server that lists fewer runs than there are."""
    settings = emulator.settings
    end = emulator.store.page(query, settings.longest_list or 1, None).next_position

    def beyond(position: int | None) -> bool:
        if position is None or end is None:
            return False
        return position >= end if query.ascending else position <= end

    if settings.beyond_longest_list == "end":
        return dataclasses.replace(page, next_position=None) if beyond(page.next_position) else page
    if not beyond(after):
        return page
    if settings.beyond_longest_list == "error":
        raise ApiError(500, "INTERNAL_ERROR", "The listing is too long.")
    return dataclasses.replace(page, next_position=after)


def _repeated(emulator: Emulator, query: RunQuery, after: int, count: int) -> list[Run]:
    """Return the last runs before the position, as a listing repeats them after a shift."""
    backwards = dataclasses.replace(query, ascending=not query.ascending)
    including = after - 1 if backwards.ascending else after + 1
    return emulator.store.page(backwards, count, including).items[::-1]


async def get_run(call: Call) -> Any:
    """``GET /workflow_runs/{id}``: the run with its results."""
    return call.shapes.run(call.emulator.run(call.id))


async def update_run(call: Call) -> Any:
    """``POST /workflow_runs/{id}``: set the name, and merge metadata into the existing metadata."""
    run = call.emulator.run(call.id)
    changes = decode(_changes_body, await call.request.body())
    if changes.metadata is not None:
        run.metadata = checked_metadata(msgspec.json.decode(run.metadata) | changes.metadata)
    if changes.name is not None:
        run.name = changes.name
    call.emulator.store.touch(run)
    return call.shapes.run(run)


async def cancel_run(call: Call) -> Any:
    """``POST /workflow_runs/{id}/cancel``: only for runs that are PENDING or PROCESSING."""
    run = call.emulator.run(call.id)
    if run.status not in CANCELLABLE:
        raise ApiError(
            call.emulator.settings.cancel_refusal_status,
            "INVALID_REQUEST",
            f"Only PENDING and PROCESSING workflow runs can be cancelled; this one is {run.status}.",
        )
    call.emulator.engine.cancel(run)
    return call.shapes.run(run)


async def delete_run(call: Call) -> Any:
    """``DELETE /workflow_runs/{id}``."""
    run = call.emulator.run(call.id)
    call.emulator.engine.abandon(run)
    call.emulator.store.delete_run(run)
    return call.shapes.run_deleted(run.id)


async def correct_output(call: Call) -> Any:
    """``POST /workflow_runs/{id}/outputs/{output_id}``: correct an output; removed in 2026-02-09."""
    if call.shapes is SHAPES[NEWEST]:
        raise ApiError(410, "ENDPOINT_REMOVED", "This endpoint was removed in API version 2026-02-09.")
    run = call.emulator.run(call.id)
    output_id = str(call.request.path_params["output_id"])
    step = next((step for step in run.steps if processor_run_id(step) == output_id), None)
    if step is None:
        raise not_found("Output", output_id)
    correct(step, decode(_correction_body, await call.request.body()).reviewedOutput)
    call.emulator.store.touch(run)
    return call.shapes.run(run)


async def get_batch_run(call: Call) -> Any:
    """``GET /batch_runs/{id}``: unknown for workflow batches, unless the settings say otherwise."""
    runs = call.emulator.store.batch(call.id)
    if not runs or call.emulator.settings.batch_status == "not_found":
        raise not_found("Batch run", call.id)
    open_runs = any(run.ended_at is None for run in runs)
    return {
        "object": "batch_run",
        "id": call.id,
        "status": "PROCESSING" if open_runs else "PROCESSED",
        "runCount": len(runs),
        "createdAt": iso(runs[0].created_at),
    }


def _check_capacity(emulator: Emulator, count: int) -> None:
    if emulator.settings.no_credits:
        raise ApiError(402, "USAGE_BLOCKED", "The organization has no credits left.")
    limit = emulator.settings.max_queued_runs
    if limit is not None and emulator.engine.queued + count > limit:
        raise rate_limited(emulator.settings, f"No more than {limit} runs may be queued.")


async def _probe_all(emulator: Emulator, orders: list[RunOrder]) -> None:
    """Raise InvalidRequest for the first input whose file is unreadable, of an unknown type, or too large."""
    gate = asyncio.Semaphore(PROBES_AT_A_TIME)

    async def look(order: RunOrder) -> DownloadFailed | None:
        async with gate:
            try:
                await _probe_file(emulator, order.files[0])
            except DownloadFailed as error:
                return error
        return None

    for index, failure in enumerate(await asyncio.gather(*map(look, orders))):
        if failure is not None:
            file_code = None if failure.code == "UNABLE_TO_DOWNLOAD_FILE" else failure.code
            raise InvalidRequest(str(failure), f"inputs[{index}].file", file_code=file_code)


async def _probe_file(emulator: Emulator, file: FileRef) -> None:
    if file.url is None:
        return
    if file_type(file.name or url_file_name(file.url)) is None:
        raise DownloadFailed("FILE_TYPE_NOT_SUPPORTED", "this type of file is not supported")
    await probe(emulator.engine.processor.http, file.url, emulator.settings)
