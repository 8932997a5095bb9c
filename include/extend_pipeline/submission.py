"""Submit: one chunk becomes one batch, at most once, whatever is retried, cleared, killed or run twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from extend_pipeline.planning import ChunkReference
from extend_pipeline.rounds import SUBMISSION_KEY, Round, task_marks
from extend_provider.operators.submit_batch import RUN_COUNT_KEY

if TYPE_CHECKING:
    from airflow.sdk import Context


class SubmitChunkOperator(BaseOperator):
    """Send a chunk's documents to Extend as one batch, unless a batch of just these documents exists already.

    Returns the batch id, or None when no document of the chunk can be sent any more. Pushes ``run_count``,
    and ``submission``: the file that lists the chunk's documents as they stood when it was sent.

    :param chunk: the chunk's reference, see :class:`~extend_pipeline.planning.ChunkReference`.
    """

    template_fields: Sequence[str] = ("chunk",)

    def __init__(self, *, chunk: ChunkReference, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.chunk = chunk

    def execute(self, context: Context) -> str | None:
        """Take up the chunk's batch if there is one, else send it."""
        from extend_provider.hooks.extend import ExtendHook

        chunk = Round.first(self.chunk)
        ti = context["ti"]
        with ExtendHook(extend_conn_id=chunk.settings.extend_conn_id) as hook:
            submission = chunk.submit(hook, task_marks(ti), self.log)
        ti.xcom_push(key=RUN_COUNT_KEY, value=submission.run_count)
        ti.xcom_push(key=SUBMISSION_KEY, value=submission.details[SUBMISSION_KEY])
        return submission.batch_id
