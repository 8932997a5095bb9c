"""Claims: which chunk has a document that is planned and has not landed yet.

Invariant: a document is in one chunk of a repetition at a time. A plan reads the claims and writes its own
while it has the warehouse to itself. It reads what it has written once more, for warehouses that cannot lock
others out. A claim ends when its document lands, in any repetition, or when its chunk is voided.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from extend_pipeline.documents import Document
from extend_pipeline.warehouse.records import Claim, UnlandedDocument, WarehouseError
from extend_pipeline.warehouse.schema.tables import CLAIMS, KEY, WAS_SENT
from extend_pipeline.warehouse.sql import Columns, ColumnType, names, quoted

if TYPE_CHECKING:
    from extend_pipeline.warehouse.session import Session

#: What the relation of candidates, and that of new claims, has to have.
CANDIDATE: Final[Columns] = {
    "position": ColumnType.INTEGER,
    "document_id": ColumnType.TEXT,
    "status": ColumnType.TEXT,
}
CLAIMED: Final[Columns] = {"document_id": ColumnType.TEXT, "chunk": ColumnType.TEXT}
CHUNK: Final[Columns] = {"chunk": ColumnType.TEXT}


def landed_positions(
    session: Session, dataset: str, candidates: str, key: Sequence[str], repetition: str
) -> Iterator[int]:
    """Yield in order the positions of the candidates that have been sent and have landed.

    :param candidates: the relation of them, see :data:`CANDIDATE`.
    :param key: workflow id and version requested.
    :param repetition: only what has landed in this reprocessing counts; empty: whatever has landed.
    """
    pages = session.pages(
        "find landed documents",
        f"""SELECT position FROM {candidates} AS candidate
            SEMI JOIN {quoted(dataset)}.documents AS document
              ON document.document_id = candidate.document_id AND document.workflow_id = ?
                 AND document.workflow_version_requested = ? AND {WAS_SENT}
                 AND (? = '' OR document.repetition = ?)
            WHERE candidate.status IS NULL
            ORDER BY position""",
        [*key, repetition, repetition],
    )
    for page in pages:
        yield from (position for (position,) in page)


def claimed_positions(
    session: Session, dataset: str, candidates: str, key: Sequence[str], repetition: str | None
) -> Iterator[tuple[int, str]]:
    """Yield in order the positions of the candidates that chunks hold, with each of these chunks.

    :param repetition: only chunks of this reprocessing, or of the first time; None: of any.
    """
    pages = session.pages(
        "find claimed documents",
        f"""SELECT DISTINCT position, claim.chunk FROM {candidates} AS candidate
            JOIN {quoted(dataset)}.claims AS claim
              ON claim.document_id = candidate.document_id AND claim.workflow_id = ?
                 AND claim.workflow_version_requested = ? AND claim.repetition = coalesce(?, claim.repetition)
            WHERE candidate.status IS NULL
            ORDER BY position, chunk""",
        [*key, repetition],
    )
    for page in pages:
        yield from page


def not_landed(
    candidates: Path, landed: Iterator[int], claimed: Iterator[tuple[int, str]]
) -> Iterator[UnlandedDocument]:
    """Walk through the candidates and the two lists of positions side by side."""
    next_landed, next_claimed = next(landed, None), next(claimed, None)
    with candidates.open("rb") as lines:
        for position, line in enumerate(lines):
            chunks: list[str] = []
            while next_claimed is not None and position == next_claimed[0]:
                chunks.append(next_claimed[1])
                next_claimed = next(claimed, None)
            if position == next_landed:
                next_landed = next(landed, None)
            else:
                yield UnlandedDocument(Document.from_json(line), tuple(chunks))


def claimed_chunks(
    session: Session, dataset: str, workflow_id: str | None, version: str | None
) -> Iterator[Claim]:
    """Yield the chunks that hold documents, of one workflow and version if a workflow is named."""
    conditions = "workflow_id = ? AND workflow_version_requested = ?" if workflow_id else "true"
    pages = session.pages(
        "read claims",
        f"""SELECT workflow_id, workflow_version_requested, repetition, chunk, min(claimed_at), count(*)
            FROM {quoted(dataset)}.claims WHERE {conditions}
            GROUP BY workflow_id, workflow_version_requested, repetition, chunk
            ORDER BY min(claimed_at), chunk""",
        [workflow_id, version or ""] if workflow_id else [],
    )
    for page in pages:
        for workflow, requested, repetition, chunk, claimed_at, documents in page:
            yield Claim(workflow, requested or None, repetition, chunk, claimed_at.astimezone(UTC), documents)


def write_claims(
    session: Session, dataset: str, claimed: str, key: Sequence[str], repetition: str, count: int
) -> None:
    """Write new claims, in a transaction that is open.

    :param claimed: the relation of them, see :data:`CLAIMED`.
    :param count: how many they are.
    :raises WarehouseError: if not all of them are written: a document without a claim would be sent twice.
    """
    written = session.rows(
        "insert into claims",
        f"""INSERT INTO {quoted(dataset)}.claims ({names(CLAIMS)})
            SELECT document_id, ?, ?, ?, chunk, ? FROM {claimed}""",
        [*key, repetition, datetime.now(UTC)],
    )
    if written and written[0][0] not in (count, None):  # not every engine reports it
        raise WarehouseError(
            f"{session.purpose}: {dataset}.claims took {written[0][0]} of {count} rows; a rule or trigger "
            "discards the others. Nothing was sent. Drop it, or change it so that it keeps all rows."
        )


def rival_claims(session: Session, dataset: str, chunks: str, repetition: str | None) -> int:
    """Return how many documents of these chunks another chunk claims, too: two runs planned at the same time.

    :param chunks: a relation with the references of our chunks in a column ``chunk``.
    :param repetition: only rivals of this one; None: of any.
    """
    same = " AND ".join(f"rival.{name} = ours.{name}" for name in KEY)
    ((rivals,),) = session.rows(
        "look for rival claims",
        f"""SELECT count(*) FROM {quoted(dataset)}.claims AS ours JOIN {quoted(dataset)}.claims AS rival
              ON {same} AND rival.chunk <> ours.chunk
                 AND rival.repetition = coalesce(?, rival.repetition)
            WHERE ours.chunk IN (SELECT chunk FROM {chunks})""",
        [repetition],
    )
    return int(rivals)


def end_claims(session: Session, dataset: str, chunks: str) -> None:
    """End all claims of chunks, in a transaction that is open.

    :param chunks: a relation with their references in a column ``chunk``.
    """
    session.run(
        "end claims",
        f"DELETE FROM {quoted(dataset)}.claims WHERE chunk IN (SELECT chunk FROM {chunks})",
    )


def make_claims(session: Session, dataset: str) -> None:
    """Make the table, and the dataset, if they do not exist."""
    session.make_schema(dataset)
    if "claims" not in session.columns(dataset):
        session.make_table(dataset, "claims", CLAIMS)


def delete_claims(session: Session, dataset: str) -> None:
    """End the claims of the documents that land, within the transaction that lands them."""
    same = " AND ".join(f"claim.{name} = landed.{name}" for name in KEY)
    session.run(
        "delete from claims",
        f"""DELETE FROM {quoted(dataset)}.claims AS claim
            USING (FROM _submitted CROSS JOIN _load) AS landed WHERE {same}""",
    )
