"""Submit: one chunk becomes one batch, at most once, whatever is retried, cleared, killed or run twice."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from extend_pipeline.batches.chunk_state import ChunkRound, SentChunk, waiters_folder_of
from extend_pipeline.batches.ledger import DOCUMENTS_KEY
from extend_pipeline.batches.reservations import PARALLEL, ChunkReference, ledger_of
from extend_pipeline.exceptions import ChunkVoidedError
from extend_pipeline.planning.plan import Plan
from extend_pipeline.settings import Settings
from extend_provider.batch.ownership import CancelsOnKillMixin, Waiter, add_waiter, remove_waiter
from extend_provider.batch.submission import RetryAt
from extend_provider.triggers.submission import defer_until

if TYPE_CHECKING:
    from airflow.sdk import Context


#: The group that is mapped over a plan's chunks, and the task in it that waits for what was sent.
CHUNK_GROUP_ID, WAIT_TASK_ID = "chunk", "wait"


class SubmitChunkOperator(CancelsOnKillMixin, BaseOperator):
    """Send a chunk's documents to Extend as one batch, unless a batch of exactly these documents exists.

    Returns the chunk with its batch, a :class:`~extend_pipeline.batches.chunk_state.SentChunk`; the batch is
    None when no document of the chunk can be sent any more. It waits deferred, without a worker slot, for a
    rate limit and for the proof that a lost submission created no batch. A chunk whose documents another plan
    has taken over is skipped.

    :param chunk: the chunk's reference, see :class:`~extend_pipeline.batches.reservations.ChunkReference`.
    :param cancel_on_kill: if the task is ended while the request is in flight, or while its result is
        unknown: search for the batch and cancel it.
    """

    template_fields: Sequence[str] = ("chunk",)

    def __init__(self, *, chunk: ChunkReference, cancel_on_kill: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.chunk = chunk
        self.cancel_on_kill = cancel_on_kill

    def execute(self, context: Context) -> SentChunk:
        """Return the chunk's existing batch, or submit it."""
        return self._submit(context)

    def execute_complete(self, context: Context, event: Any = None) -> SentChunk:
        """Continue a submission that was deferred."""
        return self._submit(context, event["turned_away"])

    def _submit(self, context: Context, failed_attempts: int = 0) -> SentChunk:
        from extend_provider.hooks.extend import ExtendHook

        chunk, ti = ChunkRound.first(self.chunk), context["ti"]
        add_waiter(chunk.waiters_folder, Waiter.of(ti, WAIT_TASK_ID))
        try:
            with ExtendHook(extend_conn_id=chunk.settings.extend_conn_id) as hook:
                outcome = chunk.submit(hook, self, context, failed_attempts)
        except ChunkVoidedError as voided:
            remove_waiter(chunk.waiters_folder, Waiter.of(ti, WAIT_TASK_ID))
            self.log.warning("%s", voided)
            raise AirflowSkipException(str(voided)) from None
        if isinstance(outcome, RetryAt):
            defer_until(self, outcome, self.execute_complete, ti, cancel_on_kill=self.cancel_on_kill)
        return SentChunk(
            **self.chunk,
            batch_id=outcome.batch_id,
            run_count=outcome.run_count,
            submission=outcome.details[DOCUMENTS_KEY],
        )


def register_as_waiter(settings: Settings, plan: Plan, ti: Any) -> None:
    """Register this run as a waiter of the chunks that other runs began to send, before its own tasks start.

    Otherwise the end of such a run could cancel a batch that this run still needs.

    :param ti: of the ``plan`` task, which is in the same group as the mapped group.
    """
    task_id = f"{ti.task_id.rpartition('.')[0]}.{CHUNK_GROUP_ID}.{WAIT_TASK_ID}"
    for index, chunk in enumerate(plan.chunks):
        if index >= plan.new_chunks:
            add_waiter(
                waiters_folder_of(settings, chunk["key"]), Waiter(ti.dag_id, ti.run_id, task_id, index)
            )


def count_voided(settings: Settings, plan: Plan) -> int:
    """Return how many chunks of a plan other plans have taken over, or somebody has released."""

    def is_voided(chunk: ChunkReference) -> bool:
        void = ledger_of(settings, chunk["key"]).standing().void
        return void is not None and void.plan != chunk.get("plan", "")

    with ThreadPoolExecutor(PARALLEL) as pool:
        return sum(pool.map(is_voided, plan.chunks))
