"""Chunk state: the rounds of a chunk in the workspace, each with its documents, its batch and its evidence.

    batches/<workflow>/<version>/<chunk key>/              the first round: the ledger of its batch
    …/<chunk key>/evidence.json                            what Extend has reported about its runs
    …/<chunk key>/round-2/…                                the same for the second round, and so on

Invariant: the first task that begins to send a round decides which documents it has, on the evidence and by
the settings of its own run. Any other task with the same chunk, at the same moment or after a crash, a retry
or a clear, continues with the same documents in the same batch.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import ObjectStoragePath

from extend_pipeline.batches.evidence import read_evidence
from extend_pipeline.batches.ledger import (
    DOCUMENTS_KEY,
    PIPELINE_KEY,
    URLS_END_KEY,
    WorkspaceLedger,
    documents_of,
)
from extend_pipeline.batches.reservations import ChunkReference, chunk_documents, chunk_folder
from extend_pipeline.batches.sending.attempts import Evidence, next_round
from extend_pipeline.batches.sending.inputs import (
    Checked,
    Sending,
    check_objects,
    check_readable,
    check_signing,
    file_inputs,
)
from extend_pipeline.batches.sending.probing import probed
from extend_pipeline.batches.sending.uploads import Uploads
from extend_pipeline.documents import Document
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.settings import Settings, read_settings
from extend_pipeline.storage.workspace import write_documents
from extend_provider.batch.orphans import IdempotencyKey
from extend_provider.batch.ownership import CancelsOnKillMixin as Sender
from extend_provider.batch.submission import Prepared, RetryAt, Submission, Submitter
from extend_provider.client.models import BatchInput, FileInput
from extend_provider.exceptions import ExtendError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from extend_provider.hooks.extend import ExtendHook


class SentChunk(ChunkReference):
    """A chunk that has been sent, in XCom: what ``submit`` hands to the tasks behind it.

    ``batch_id`` is None if no document could be sent, ``run_count`` how many were. ``submission`` is the file
    that lists all documents of the chunk with their status when it was sent.
    """

    batch_id: str | None
    run_count: int
    submission: str


class CollectedChunk(SentChunk):
    """A chunk whose runs are in the raw zone, in XCom: ``parts``, first round first."""

    parts: list[dict[str, Any]]


def check_handed_over(chunk: Any, by: str) -> None:
    """Check that a chunk is what the task ``by`` returns when it has finished.

    :raises PipelineInputError: it was marked as success before it had finished, or ran in an older release.
    """
    if not isinstance(chunk, dict):
        raise PipelineInputError(
            f"Task {by!r} of this chunk has left no chunk behind: it was marked as success before it had "
            "finished, or it ran in an older release. The chunk has not landed, and nothing was sent again. "
            "Clear that task, with what is downstream of it: documents that were sent are not sent again."
        )


@dataclasses.dataclass(frozen=True, slots=True)
class ChunkRound:
    """Documents of a chunk that are sent as one batch.

    :param settings: of the run that works on the chunk now.
    :param key: the chunk's.
    :param number: from 1; the first round has all documents of the chunk.
    :param folder: the folder with its ledger and evidence.
    :param plan: the plan that this run works for.
    """

    settings: Settings
    key: str
    number: int
    folder: ObjectStoragePath
    documents: list[Document]
    plan: str = ""

    @classmethod
    def first(cls, chunk: ChunkReference) -> ChunkRound:
        """Return the first round, with the settings of the run that works on the chunk now."""
        settings = settings_of(chunk)
        folder, plan = chunk_folder(settings, chunk["key"]), chunk.get("plan", "")
        return cls(settings, chunk["key"], 1, folder, list(chunk_documents(settings, chunk)), plan)

    @classmethod
    def all(cls, chunk: ChunkReference) -> Iterator[ChunkRound]:
        """Yield the rounds that were begun, and then the one that is due, if any."""
        current: ChunkRound | None = cls.first(chunk)
        while current is not None:
            yield current
            current = current.following()

    @classmethod
    def latest(cls, chunk: ChunkReference) -> ChunkRound:
        """Return the last round that was begun or is due."""
        *_, current = cls.all(chunk)
        return current

    @classmethod
    def of_batch(cls, chunk: ChunkReference, batch_id: str | None) -> ChunkRound:
        """Return the round that was sent as this batch, or else the latest round."""
        for current in cls.all(chunk):
            sent = current.sent()
            if sent is not None and sent.batch_id == batch_id:
                break
        return current

    def following(self) -> ChunkRound | None:
        """Return the next round: as any task has begun it, or else as this run decides on the evidence."""
        folder = self._next_folder
        due = self._begun(folder) or self._due(self.settings.max_attempts)
        documents = [document for document in self.documents if document.id in due]
        return (
            dataclasses.replace(self, number=self.number + 1, folder=folder, documents=documents)
            if documents
            else None
        )

    @property
    def _next_folder(self) -> ObjectStoragePath:
        home = self.folder if self.number == 1 else self.folder.parent
        return home / f"round-{self.number + 1}"

    def has_next(self) -> bool:
        """Return True if any task has begun to send the next round."""
        return bool(self._begun(self._next_folder))

    def _begun(self, folder: ObjectStoragePath) -> set[str]:
        """Return ids of the documents that any task has begun to send as the round in that folder."""
        state = WorkspaceLedger(folder).read()
        if state.intent is None or state.withdrawn:
            return set()
        try:
            return {document.id for document in documents_of(state.intent.details)}
        except FileNotFoundError:  # the task that takes the batch up writes it again
            return self._due(self.number + 1)

    def _due(self, max_attempts: int) -> set[str]:
        sent, evidence = self.sent(), self.evidence()
        if sent is None or evidence is None:
            return set()
        due = next_round(
            [document.id for document in self.sent_documents()],
            evidence,
            number=self.number,
            max_attempts=max_attempts,
            urls_end=urls_end(sent),
        )
        return set(due)

    @property
    def waiters_folder(self) -> str:
        """The folder with a file for each task that waits for the chunk, in any round."""
        return waiters_folder_of(self.settings, self.key)

    def evidence(self) -> Evidence | None:
        """Return what is known of the round's runs; None before they were first inspected."""
        return read_evidence(self.folder)

    def expected(self, sent: Submission) -> int:
        """Return how many runs the round's batch should have, without those that count as gone."""
        evidence = self.evidence()
        return sent.run_count - (evidence.allowed_missing(sent.run_count) if evidence else 0)

    def sent(self, *, required: bool = False) -> Submission | None:
        """Return the round's batch; None before it is recorded.

        :param required: an earlier task has recorded it, so its absence is an error.
        :raises ExtendError: if a required record is absent.
        """
        state = WorkspaceLedger(self.folder, self.plan).read()
        if state.batch_id is None or state.intent is None:
            if required:
                raise ExtendError(
                    f"The batch of chunk {self.key} is not recorded in {self.folder} any more. Nothing was "
                    "sent again. Restore the folder, and clear this task. Only if that is impossible, clear "
                    "the submit task of this chunk: without a record it sends the documents again, and they "
                    "are paid again."
                )
            return None
        return Submission(state.batch_id, state.intent.run_count, state.intent.details)

    def sent_documents(self) -> Iterator[Document]:
        """Yield the documents that are in the round's batch."""
        sent = self.sent()
        if sent is not None:
            yield from (document for document in documents_of(sent.details) if document.status is None)

    def submit(
        self, hook: ExtendHook, sender: Sender, context: Context, failed_attempts: int = 0
    ) -> Submission | RetryAt:
        """Submit the round's documents unless a batch of them exists already; see :class:`Submitter`.

        :param sender: the operator that submits; it cancels the batch if it is killed meanwhile.
        :param context: of the task that submits; each run's metadata names the task.
        """
        marks = {**self.settings.metadata, **_task_marks(context["ti"])}
        marks |= {"chunk": self.key, "round": self.number}
        submitted = Submitter(
            hook=hook,
            ledger=WorkspaceLedger(self.folder, self.plan),
            workflow_id=self.settings.workflow_id,
            version=self.settings.version,
            priority=self.settings.priority,
            key=lambda: IdempotencyKey({"chunk": self.key, "round": f"{self.number}"}),
            prepare=lambda: self._prepare(hook, marks),
            sender=sender,
            ti=context["ti"],
            waiters=self.waiters_folder,
            log=sender.log,
        ).submit(failed_attempts)
        if isinstance(submitted, Submission) and submitted.batch_id is not None and submitted.reattached:
            self._restore_documents(ObjectStoragePath(submitted.details[DOCUMENTS_KEY]))
        return submitted

    def _restore_documents(self, submission: ObjectStoragePath) -> None:
        """Write the list of the batch's documents again if the workspace has lost it, all of them as sent.

        A document that was not sent then lands as having no run at Extend.
        """
        if not submission.exists():
            write_documents(submission, self.documents)

    def _prepare(self, hook: ExtendHook, marks: Mapping[str, Any]) -> Prepared:
        """Check each object once more, record the documents' statuses, and make the inputs."""
        stores = self.settings.stores()
        if self.settings.transfer == "presign":
            check_signing(stores, self.documents, self.settings.expires_in)
        checked = check_objects(stores, self.documents)
        checked = probed(stores, checked, self.settings.aws_conn_id)
        sendable = [item for item in checked if item.document.status is None]
        files = file_inputs(
            stores,
            sendable,
            hook,
            Uploads(self.folder, hook.settings),
            transfer=self.settings.transfer,
            expires_in=self.settings.expires_in,
        )
        ended = {file.id: file for file in files if isinstance(file, Document)}
        checked = [
            dataclasses.replace(item, document=ended.get(item.document.id, item.document)) for item in checked
        ]
        check_readable(checked, self.settings.aws_conn_id)
        details = {PIPELINE_KEY: self.settings.pipeline}
        if any(isinstance(file, FileInput) and file.url is not None for file in files):
            urls_end = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self.settings.expires_in)
            details[URLS_END_KEY] = urls_end.isoformat()
        documents = [item.document for item in checked]
        return self._prepared(Sending(documents, list(_inputs(sendable, files, marks))), details)

    def _prepared(self, sending: Sending, details: Mapping[str, Any]) -> Prepared:
        """Record the documents' statuses; Extend may take some of them and refuse the others."""
        # Each preparation has a file of its own, so that the intent that wins names what it has sent.
        submission = self.folder / f"documents-{uuid.uuid4().hex}.jsonl"
        write_documents(submission, sending.documents)
        return Prepared(
            sending.inputs,
            {DOCUMENTS_KEY: str(submission), **details},
            without=lambda refused: self._prepared(sending.without(refused), details),
        )


def urls_end(sent: Submission) -> dt.datetime | None:
    """Return when the presigned URLs of a batch expire, timezone-aware; None if it has none."""
    moment = sent.details.get(URLS_END_KEY)
    return dt.datetime.fromisoformat(moment) if moment else None


def settings_of(chunk: ChunkReference) -> Settings:
    """Return the settings of the run that works on a chunk now, for the chunk's own repetition."""
    settings = read_settings(ObjectStoragePath(chunk["folder"]))
    return settings.model_copy(update={"repetition": chunk.get("repetition", settings.repetition)})


def waiters_folder_of(settings: Settings, key: str) -> str:
    """Return the folder with a file for each task that waits for the chunk with this key."""
    return str(chunk_folder(settings, key) / "followers")


def _task_marks(ti: Any) -> dict[str, Any]:
    """Return the metadata of a run that names the task that has sent it."""
    return {
        "dag_id": ti.dag_id,
        "run_id": ti.run_id,
        "task_id": ti.task_id,
        "map_index": ti.map_index,
    }


def _inputs(
    checked: Sequence[Checked], files: Sequence[FileInput | Document], marks: Mapping[str, Any]
) -> Iterator[BatchInput]:
    for item, file in zip(checked, files, strict=True):
        if isinstance(file, Document):
            continue
        identity = {"document_id": item.document.id, "source_uri": item.document.uri}
        yield BatchInput(file=file, metadata={**identity, **marks})
