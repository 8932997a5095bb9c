"""What the pipeline calls: it plans from a warehouse, lands parts in it, and asks what has landed.

Each question and each write is a statement of DuckDB's dialect, see :mod:`extend_pipeline.warehouse.queries`,
whatever engine runs it. A kind of warehouse adds how it is opened, how it runs a statement, how it reads the
rows of a local file, and how a part lands.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Iterable, Iterator

from extend_pipeline.documents import Document
from extend_pipeline.warehouse.dataset import Dataset
from extend_pipeline.warehouse.files import StagedFile, staged, staged_records
from extend_pipeline.warehouse.queries import charges, claims, dead_letters, landed_runs, ledger, preflight
from extend_pipeline.warehouse.records import (
    AS_BEFORE,
    Charge,
    Claim,
    DeadLetter,
    LandedRun,
    Landing,
    LandingPolicy,
    Provenance,
    UnlandedDocument,
)


class Warehouse(Dataset):
    """A destination; a context manager that opens and closes it."""

    @abc.abstractmethod
    def begin_planning(self) -> None:
        """Keep other runs from planning or landing until claims are written or the warehouse is closed.

        Only the pool does that for a warehouse without locks.
        """

    @abc.abstractmethod
    def land(
        self,
        submission: Iterable[Document],
        raw_lines: Iterable[bytes],
        *,
        provenance: Provenance,
        policy: LandingPolicy = AS_BEFORE,
        withhold: bool = False,
        begin: Callable[[], Provenance] | None = None,
    ) -> Landing:
        """Land one part whole, or nothing of it: one ``documents`` row for each document of the submission.

        Landing the same part again, or parts in another order, ends in the same rows: what a document has is
        replaced, unless it belongs to a newer run. A sent document without a run becomes ``FAILED`` with the
        reason ``RUN_MISSING``. Where extractions of megabytes each are in a part, a DuckDB file takes it in
        several transactions, each document whole in one of them; after a break in between, land it again.

        :param submission: the documents of the part, those that were not sent with their status.
        :param raw_lines: lines ``{"api_version": …, "run": …}`` of the raw zone, with ``"approval"`` and
            ``"decided": {"by": …, "at": …}`` if a run's low confidence was decided about.
        :param withhold: a part that the contract ``freeze`` refuses lands without its values: documents, runs
            and ``fields`` have their rows, the tables of its extractors none, and a row in ``problems``
            (``SCHEMA_CONTRACT``) names the part.
        :param begin: called once the part has been read and, where the warehouse has a lock, no other one can
            land before it; returns the provenance to land it with.
        :raises WarehouseError: if nothing could be landed; the message names the part and the statement.
        :raises SchemaContractError: if the contract ``freeze`` refuses the part and nothing is withheld.
        """

    # the preflight

    def check_writable(self) -> None:
        """Prove that documents can land, and leave nothing behind. Call it before anything is paid for.

        Planning and landing are tried one after the other, as the tasks do them: each with a connection of
        its own, which knows nothing of what another one has set or made.

        :raises WarehouseError: if a table could not be made, filled and emptied; the message says which.
        """
        self._migrate()
        with self._separate() as planning:
            planning._rehearse_planning()
        with self._separate() as landing:
            landing._rehearse_landing()

    def _separate(self) -> contextlib.AbstractContextManager[Warehouse]:
        """Return the same warehouse with a second connection, if it allows one."""
        return contextlib.nullcontext(self)

    @property
    def _purpose(self) -> str:
        return f"Documents could not land in {self.name}"

    def _rehearse_planning(self) -> None:
        session = self.session(self._purpose)
        with (
            contextlib.suppress(preflight.UndoneError),
            staged(preflight.LINES) as lines,
            self._exclusive(session),
        ):
            preflight.try_planning(
                session, self.dataset, lambda: self._relation(session, lines, preflight.COLUMNS)
            )
            raise preflight.UndoneError

    def _rehearse_landing(self) -> None:
        session = self.session(self._purpose)
        with self._exclusive(session):
            preflight.try_writing(session, self.dataset, self._tables(session))

    # planning

    def unlanded(
        self,
        candidates: Iterable[Document],
        *,
        workflow_id: str,
        version: str | None,
        repetition: str = "",
        claims_of: str | None = None,
    ) -> Iterator[UnlandedDocument]:
        """Yield, in their order, the candidates that have not been sent to this workflow and version yet.

        A document that went into a batch counts as landed once it has a row, whatever became of it: it was,
        or may have been, paid for. Rows of documents that were never sent (``SKIPPED``, ``OBJECT_*``) cost
        nothing, so these are yielded again. Candidates that already carry a status are passed through.

        :param version: the version asked for; None means the latest.
        :param repetition: only what was sent in this reprocessing counts as landed.
        :param claims_of: only chunks of this repetition hold a document; None: of any.
        """
        lines = (
            b'{"position":%d,%s\n' % (position, document.to_json()[1:])
            for position, document in enumerate(candidates)
        )
        # One join each finds those that have landed and those that a chunk holds: memory does not grow with
        # the number of candidates, which pass through a local file.
        with staged(lines) as listed:
            self._migrate()
            self.begin_planning()
            session = self.session(f"Planning in {self.name}")
            known = self._tables(session).keys() if listed.lines else set[str]()
            landed: Iterator[int] = iter(())
            claimed: Iterator[tuple[int, str]] = iter(())
            if known & {"documents", "claims"}:
                relation = self._relation(session, listed, claims.CANDIDATE)
                key = (workflow_id, version or "")
            if "documents" in known:
                landed = claims.landed_positions(session, self.dataset, relation, key, repetition)
            if "claims" in known:
                other = self.session(f"Planning in {self.name}")
                claimed = claims.claimed_positions(other, self.dataset, relation, key, claims_of)
            yield from claims.not_landed(listed.path, landed, claimed)

    def claims(self, *, workflow_id: str | None = None, version: str | None = None) -> Iterator[Claim]:
        """Yield the chunks that hold documents, the oldest first.

        :param workflow_id: only those of this workflow and ``version``; None for all.
        """
        session = self.session(f"Claims in {self.name}")
        if "claims" in self._tables(session):
            yield from claims.claimed_chunks(session, self.dataset, workflow_id, version)

    def claim(
        self,
        new: Iterable[tuple[Document, str]],
        *,
        workflow_id: str,
        version: str | None,
        repetition: str = "",
        freed: Iterable[str] = (),
        claims_of: str | None = None,
    ) -> bool:
        """Record in one transaction which chunk claims each document until it lands.

        Call it in the same context as :meth:`unlanded`, so that no other run plans in between. A warehouse
        without locks is checked once more afterwards: if another run has claimed one of the documents at the
        same moment, all of these claims are withdrawn, and the result is False.

        :param new: documents without a claim, each with its chunk's reference.
        :param freed: chunks whose claims end at the same time.
        :param claims_of: see :meth:`unlanded`.
        """
        session, key = self.session(f"Claims in {self.name}"), (workflow_id, version or "")
        ours: dict[str, None] = {}

        def records() -> Iterator[dict[str, str]]:
            for document, chunk in new:
                ours[chunk] = None
                yield {"document_id": document.id, "chunk": chunk}

        with staged_records(records()) as claimed, _staged_column("chunk", freed) as ended:
            if not claimed.lines:
                return True
            self._migrate(make=True)
            with self._exclusive(session):
                claims.make_claims(session, self.dataset)
                relation = self._relation(session, claimed, claims.CLAIMED)
                if ended.lines:
                    claims.end_claims(session, self.dataset, self._relation(session, ended, claims.CHUNK))
                claims.write_claims(session, self.dataset, relation, key, repetition, claimed.lines)
        with _staged_column("chunk", ours) as chunks, session.transaction():
            relation = self._relation(session, chunks, claims.CHUNK)
            if not claims.rival_claims(session, self.dataset, relation, claims_of):
                return True
        self.end_claims(ours)
        return False

    def end_claims(self, chunks: Iterable[str]) -> None:
        """End all claims of chunks: their documents are free to be planned."""
        session = self.session(f"Claims in {self.name}")
        with _staged_column("chunk", chunks) as ended:
            if ended.lines and "claims" in self._tables(session):
                self._migrate()
                with self._exclusive(session):
                    relation = self._relation(session, ended, claims.CHUNK)
                    claims.end_claims(session, self.dataset, relation)

    # what has landed

    def dead_letters(
        self, *, workflow_id: str | None = None, version: str | None = None
    ) -> Iterator[DeadLetter]:
        """Yield the documents that failed or were cancelled and are not sent again automatically.

        :param workflow_id: only those of this workflow and ``version``; None for all.
        :param version: the version asked for; None means the latest.
        """
        return self._ask(
            "Dead letters",
            lambda session: dead_letters.dead_letters(session, self.dataset, workflow_id, version),
        )

    def charges(self, *, workflow_id: str, version: str | None) -> list[Charge]:
        """Return what was charged for the workflow's landed documents, by file type.

        :param version: the version asked for; None means the latest. Its charges are apart from those
            of all other versions.
        """
        return list(
            self._ask("Charges", lambda session: charges.charges(session, self.dataset, workflow_id, version))
        )

    def runs_in_review(self, extend_conn_id: str, *, include_deleted: bool = False) -> Iterator[LandedRun]:
        """Yield, batch by batch, the runs in ``NEEDS_REVIEW`` that were submitted through this connection.

        :param include_deleted: also those that Extend has reported as deleted.
        """
        return self._ask(
            "Runs in review",
            lambda session: landed_runs.runs_in_review(
                session, self.dataset, extend_conn_id, include_deleted=include_deleted
            ),
        )

    def held_runs(self, *, dag_id: str, run_id: str, group_id: str) -> Iterator[LandedRun]:
        """Yield, batch by batch, the runs landed by a task group in a DAG run that wait for an approval."""
        return self._ask(
            "Held runs",
            lambda session: landed_runs.held_runs(
                session, self.dataset, dag_id=dag_id, run_id=run_id, group_id=group_id
            ),
        )

    def note_deleted_runs(self, run_ids: Iterable[str], message: str) -> int:
        """Mark the rows of documents in review whose runs are deleted; return the number of rows."""
        session = self.session(f"Deleted runs in {self.name}")
        with _staged_column("run_id", run_ids) as deleted:
            if not deleted.lines:
                return 0
            self._migrate()
            with self._exclusive(session):
                relation = self._relation(session, deleted, landed_runs.DELETED)
                return landed_runs.note_deleted_runs(session, self.dataset, relation, message)

    def landed_parts(self) -> Iterator[str]:
        """Yield the names of the parts in the load ledger, see :attr:`Provenance.part`.

        None have landed if the table of documents is gone, whatever the ledger contains.
        """
        session = self.session(f"Landed parts in {self.name}")
        if {"documents", "loads"} <= self._tables(session).keys():
            yield from ledger.landed_parts(session, self.dataset)

    def refused_parts(self) -> Iterator[str]:
        """Yield those of :meth:`landed_parts` whose values were withheld, see :meth:`land`."""
        session = self.session(f"Refused parts in {self.name}")
        if {"documents", "problems"} <= self._tables(session).keys():
            yield from ledger.refused_parts(session, self.dataset)

    def forget_parts(self, parts: Iterable[str]) -> None:
        """Delete parts from the load ledger, so that they count as not landed; other tables stay."""
        session = self.session(f"Landed parts in {self.name}")
        self._migrate()
        if "loads" not in self._tables(session):
            return
        with _staged_column("part", parts) as forgotten, self._exclusive(session):
            ledger.forget_parts(session, self.dataset, self._relation(session, forgotten, ledger.PART))

    def counts(self) -> dict[str, int]:
        """Return the number of rows of every table of the dataset."""
        session = self.session(f"Counting {self.name}")
        return ledger.counts(session, self.dataset, sorted(self._tables(session)))


def _staged_column(column: str, values: Iterable[str]) -> contextlib.AbstractContextManager[StagedFile]:
    return staged_records({column: value} for value in values)
