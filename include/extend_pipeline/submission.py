"""Submit: one chunk becomes one batch, at most once, whatever is retried, cleared or killed."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import ObjectStoragePath

from extend_pipeline.batch_ledger import BatchRecord, batch_key, read_record, write_record
from extend_pipeline.documents import Document
from extend_pipeline.planning import ChunkReference, chunk_path
from extend_pipeline.run import read_settings
from extend_pipeline.settings import Settings
from extend_pipeline.transfer import (
    Checked,
    check_credentials,
    check_objects,
    presigned_inputs,
    uploaded_inputs,
)
from extend_pipeline.workspace import batch_folder, read_documents, write_documents
from extend_provider.models import BatchInput, FileInput
from extend_provider.operators.submit_batch import RUN_COUNT_KEY, ExtendSubmitBatchOperator
from extend_provider.recovery import find_batch

if TYPE_CHECKING:
    from airflow.sdk import Context

    from extend_provider.hooks.extend import ExtendHook

#: XCom key of the file that lists a chunk's documents as they stood when it was sent.
SUBMISSION_KEY = "submission"
#: How long after a submission its runs may still be missing from Extend's list, in seconds: the contract does
#: not say, so an absence is believed only after this.
LISTING_GRACE = 120.0


class SubmitChunkOperator(ExtendSubmitBatchOperator):
    """Send a chunk's documents to Extend as one batch, unless a batch of just these documents exists already.

    Returns the batch id, or None when no document of the chunk can be sent any more. Pushes ``run_count``,
    and ``submission``: the file that lists the chunk's documents as they stood when it was sent.

    :param chunk: the chunk's reference, see :class:`~extend_pipeline.planning.ChunkReference`.
    :param listing_grace: seconds after a submission without an answer for which its absence from Extend's
        list proves nothing.
    """

    template_fields: Sequence[str] = ("chunk",)

    def __init__(self, *, chunk: ChunkReference, listing_grace: float = LISTING_GRACE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.chunk = chunk
        self.listing_grace = listing_grace

    def execute(self, context: Context) -> str | None:
        """Attach to the chunk's batch if there is one, else send it."""
        self._opened = opened = _OpenChunk.of(self.chunk)
        # What the run was started with counts, not what a Variable says by now.
        self.workflow_id = opened.settings.workflow_id
        self.version = opened.settings.version
        self.priority = opened.settings.priority
        batch_id = self._attach(context) or super().execute(context)
        if batch_id is not None:
            opened.note(batch_id)
        context["ti"].xcom_push(key=SUBMISSION_KEY, value=str(opened.submission_path))
        return batch_id

    def get_inputs(self, context: Context) -> Sequence[BatchInput]:
        """Look at each object once more and make its input; write down that they are about to be sent."""
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        opened, settings = self._opened, self._opened.settings
        s3 = S3Hook(aws_conn_id=settings.aws_conn_id)
        if settings.transfer == "presign":
            check_credentials(s3, settings.expires_in)
        client = s3.get_conn()
        checked = list(check_objects(client, opened.documents))
        write_documents(opened.submission_path, (item.document for item in checked))
        sendable = [item for item in checked if item.document.status is None]
        if not sendable:
            return []
        if settings.transfer == "presign":
            files = presigned_inputs(client, sendable, settings.expires_in)
        else:
            with self._hook() as hook:
                files = uploaded_inputs(client, sendable, hook)
        opened.intend(len(sendable))
        return list(_inputs(sendable, files, self._marks(context)))

    def _attach(self, context: Context) -> str | None:
        """Return the batch that exists for these documents, looking for it at Extend if need be."""
        record = read_record(self._opened.record_path)
        if record is None:
            return None
        batch_id = record.batch_id or self._look_for(record)
        if batch_id is not None:
            self.log.info(
                "These documents were sent as batch %s on %s; it is taken up, and nothing is sent again.",
                batch_id,
                record.intended_at,
            )
            context["ti"].xcom_push(key=RUN_COUNT_KEY, value=record.run_count)
        return batch_id

    def _look_for(self, record: BatchRecord) -> str | None:
        """Look for the batch of a submission that never recorded its answer, until its absence is proven."""
        self.log.warning(
            "A submission of these documents was begun on %s, and its answer is not known. Looking for its "
            "batch among the runs of workflow %s.",
            record.intended_at,
            self.workflow_id,
        )
        believed_from = record.intended_moment + dt.timedelta(seconds=self.listing_grace)
        with self._hook() as hook:
            while True:
                asked_at = _now()
                found = find_batch(
                    hook,
                    self._opened.settings.workflow_id,
                    not_before=record.intended_moment,
                    is_ours=lambda metadata: metadata.get("chunk") == record.key,
                )
                if found is not None:
                    return found
                if asked_at >= believed_from:
                    self.log.info("No batch of it is listed: Extend did not accept it, so it is sent now.")
                    return None
                time.sleep(min(10.0, (believed_from - asked_at).total_seconds() + 0.1))

    def _hook(self) -> ExtendHook:
        from extend_provider.hooks.extend import ExtendHook

        return ExtendHook(extend_conn_id=self.extend_conn_id)

    def _marks(self, context: Context) -> Mapping[str, Any]:
        ti = context["ti"]
        return {
            "chunk": self._opened.key,
            "dag_id": ti.dag_id,
            "run_id": ti.run_id,
            "task_id": ti.task_id,
            "map_index": ti.map_index,
        }


@dataclasses.dataclass(frozen=True, slots=True)
class _OpenChunk:
    """A chunk's documents and settings, and the folder in which its batch is recorded."""

    settings: Settings
    documents: list[Document]
    key: str
    folder: ObjectStoragePath

    @classmethod
    def of(cls, chunk: ChunkReference) -> _OpenChunk:
        home = ObjectStoragePath(chunk["folder"])
        settings = read_settings(home)
        documents = list(read_documents(chunk_path(home, chunk["index"])))
        workflow, version = settings.workflow_id, settings.version
        key = batch_key(
            documents,
            workflow_id=workflow,
            version=version,
            repetition=str(home) if settings.reprocess else None,
        )
        folder = batch_folder(settings.workspace, workflow_id=workflow, version=version, key=key)
        return cls(settings, documents, key, folder)

    @property
    def record_path(self) -> ObjectStoragePath:
        return self.folder / "record.json"

    @property
    def submission_path(self) -> ObjectStoragePath:
        return self.folder / "documents.jsonl"

    def intend(self, run_count: int) -> None:
        """Write down that the batch is about to be sent."""
        record = BatchRecord(key=self.key, intended_at=_now().isoformat(), run_count=run_count)
        write_record(self.record_path, record)

    def note(self, batch_id: str) -> None:
        """Write down as which batch it was sent."""
        record = read_record(self.record_path)
        if record is not None and record.batch_id is None:
            write_record(self.record_path, dataclasses.replace(record, batch_id=batch_id))


def _inputs(
    checked: Sequence[Checked], files: Sequence[FileInput], marks: Mapping[str, Any]
) -> Iterator[BatchInput]:
    for item, file in zip(checked, files, strict=True):
        identity = {"document_id": item.document.id, "source_uri": item.document.uri}
        yield BatchInput(file=file, metadata={**identity, **marks})


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
