"""Submit: one chunk becomes one batch, at most once, whatever is retried, cleared, killed or run twice."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, ObjectStoragePath

from extend_pipeline.batch_ledger import WorkspaceLedger
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
from extend_provider.operators.submit_batch import RUN_COUNT_KEY
from extend_provider.submission import Prepared, Submitter

if TYPE_CHECKING:
    from airflow.sdk import Context

    from extend_provider.hooks.extend import ExtendHook

#: XCom key of the file that lists a chunk's documents as they stood when it was sent.
SUBMISSION_KEY = "submission"


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

        chunk = OpenChunk.of(self.chunk)
        ti = context["ti"]
        marks = {
            "chunk": chunk.key,
            "dag_id": ti.dag_id,
            "run_id": ti.run_id,
            "task_id": ti.task_id,
            "map_index": ti.map_index,
        }
        with ExtendHook(extend_conn_id=chunk.settings.extend_conn_id) as hook:
            submission = Submitter(
                hook=hook,
                ledger=WorkspaceLedger(chunk.folder),
                workflow_id=chunk.settings.workflow_id,
                version=chunk.settings.version,
                priority=chunk.settings.priority,
                is_ours=lambda metadata: metadata.get("chunk") == chunk.key,
                prepare=lambda: chunk.prepare(hook, marks),
                log=self.log,
            ).submit()
        ti.xcom_push(key=RUN_COUNT_KEY, value=submission.run_count)
        ti.xcom_push(key=SUBMISSION_KEY, value=submission.details[SUBMISSION_KEY])
        return submission.batch_id


@dataclasses.dataclass(frozen=True, slots=True)
class OpenChunk:
    """A chunk's documents and settings, its key, and the folder in which its batch is recorded."""

    settings: Settings
    documents: list[Document]
    key: str
    folder: ObjectStoragePath

    @classmethod
    def of(cls, chunk: ChunkReference) -> OpenChunk:
        """Read what a reference stands for."""
        settings = read_settings(ObjectStoragePath(chunk["folder"]))
        folder = batch_folder(
            settings.workspace, workflow_id=settings.workflow_id, version=settings.version, key=chunk["key"]
        )
        return cls(settings, list(read_documents(chunk_path(chunk))), chunk["key"], folder)

    def prepare(self, hook: ExtendHook, marks: Mapping[str, Any]) -> Prepared:
        """Look at each object once more, write down how the documents stand, make their inputs."""
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        s3 = S3Hook(aws_conn_id=self.settings.aws_conn_id)
        if self.settings.transfer == "presign":
            check_credentials(s3, self.settings.expires_in)
        client = s3.get_conn()
        checked = list(check_objects(client, self.documents))
        sendable = [item for item in checked if item.document.status is None]
        # Each preparation has a file of its own, so that the intent that wins names what it has sent.
        submission = self.folder / f"documents-{uuid.uuid4().hex}.jsonl"
        write_documents(submission, (item.document for item in checked))
        if self.settings.transfer == "presign":
            files = presigned_inputs(client, sendable, self.settings.expires_in)
        else:
            files = uploaded_inputs(client, sendable, hook)
        return Prepared(list(_inputs(sendable, files, marks)), {SUBMISSION_KEY: str(submission)})


def _inputs(
    checked: Sequence[Checked], files: Sequence[FileInput], marks: Mapping[str, Any]
) -> Iterator[BatchInput]:
    for item, file in zip(checked, files, strict=True):
        identity = {"document_id": item.document.id, "source_uri": item.document.uri}
        yield BatchInput(file=file, metadata={**identity, **marks})
