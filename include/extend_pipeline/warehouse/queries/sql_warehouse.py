"""What every warehouse answers and writes in the same words, whatever engine runs them.

A warehouse of its own says how to open it, how to run a statement of DuckDB's dialect, how to join rows that
lie in a local file, and how to land a part.
"""

# Every name in the statements is quoted and every text made a literal by sql.py.
# ruff: noqa: S608

from __future__ import annotations

import abc
import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from extend_pipeline.documents import Document
from extend_pipeline.warehouse.files import StagedFile
from extend_pipeline.warehouse.queries import charges, claims, dead_letters, landed_runs
from extend_pipeline.warehouse.records import Candidate, Charge, Claim, DeadLetter, LandedRun
from extend_pipeline.warehouse.schema import migrations
from extend_pipeline.warehouse.schema.tables import REFUSED
from extend_pipeline.warehouse.session import Session
from extend_pipeline.warehouse.sql import Columns, ColumnType, quoted

T = TypeVar("T")

#: The table that the preflight makes, fills, empties and takes away again.
_PROBE: Final = "_preflight"
_PROBE_COLUMNS: Final[Columns] = {"probe": ColumnType.TEXT}
_PROBE_ADDED: Final[Columns] = {kind.name.lower(): kind for kind in ColumnType}


class UndoneError(Exception):
    """Ends a transaction of which nothing is to stay."""


class SqlWarehouse(abc.ABC):
    """All of :class:`extend_pipeline.warehouse.records.Warehouse` but opening, closing and landing.

    :param dataset: the schema.
    :param name: what the warehouse is called in errors.
    """

    def __init__(self, dataset: str, name: str) -> None:
        self.dataset = dataset
        self.name = name
        self._is_settled = False

    @abc.abstractmethod
    def session(self, purpose: str) -> Session:
        """Return a session of its own, so that rows can be read from it while others are at work."""

    @abc.abstractmethod
    def _relation(self, session: Session, file: StagedFile, columns: Columns) -> str:
        """Return what a statement of any session can select the rows of a staged file from."""

    @abc.abstractmethod
    def _alone(self, session: Session) -> contextlib.AbstractContextManager[None]:
        """Run what is inside as one transaction, while nobody else plans or lands in the dataset."""

    def _held(self, session: Session) -> contextlib.AbstractContextManager[None]:
        """Like :meth:`_alone`, or within the planning that has begun."""
        return self._alone(session)

    @abc.abstractmethod
    def begin_planning(self) -> None:
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.begin_planning`."""

    def check_writable(self) -> None:
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.check_writable`.

        Planning and landing are tried one after the other, as the tasks do them: each with a connection of
        its own, which knows nothing of what another one has set or made.
        """
        self._settle()
        with self._separate() as planning:
            planning._rehearse_planning()
        with self._separate() as landing:
            landing._rehearse_landing()

    def _separate(self) -> contextlib.AbstractContextManager[SqlWarehouse]:
        """Return the same warehouse with another connection, where there can be two."""
        return contextlib.nullcontext(self)

    @property
    def _purpose(self) -> str:
        return f"Documents could not land in {self.name}"

    def _rehearse_planning(self) -> None:
        session = self.session(self._purpose)
        probe = f"{quoted(self.dataset)}.{_PROBE}"
        with (
            contextlib.suppress(UndoneError),
            _staged([b'{"probe":"x"}\n']) as staged,
            self._alone(session),
        ):
            # Before its first table, as planning does: where nothing is undone, the version stays, too.
            migrations.migrate(session, self.dataset, make=True)
            claims.make_claims(session, self.dataset)
            session.run("drop what was left", f"DROP TABLE IF EXISTS {probe}")
            session.make_table(self.dataset, _PROBE, _PROBE_COLUMNS)
            session.fit_table(self.dataset, _PROBE, {**_PROBE_COLUMNS, **_PROBE_ADDED}, _PROBE_COLUMNS)
            relation = self._relation(session, staged, _PROBE_COLUMNS)
            session.run("insert into it", f"INSERT INTO {probe} (probe) SELECT probe FROM {relation}")
            session.run("delete from it", f"DELETE FROM {probe} WHERE probe = 'x'")
            session.run("drop it", f"DROP TABLE {probe}")
            raise UndoneError

    def _rehearse_landing(self) -> None:
        session = self.session(self._purpose)
        with self._alone(session):
            known = self._tables(session)
            session.start_writing()
            for table in known:
                target = f"{quoted(self.dataset)}.{quoted(table)}"
                session.run(f"delete from {table}", f"DELETE FROM {target} WHERE 1 = 0")
                session.run(
                    f"insert into {table}", f"INSERT INTO {target} SELECT * FROM {target} WHERE 1 = 0"
                )

    def unlanded(
        self,
        candidates: Iterable[Document],
        *,
        workflow_id: str,
        version: str | None,
        repetition: str = "",
        claims_of: str | None = None,
    ) -> Iterator[Candidate]:
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.unlanded`.

        The candidates pass through a local file, and one join each finds the positions of those that have
        landed and of those that a chunk holds: memory does not grow with their number.
        """
        lines = (
            b'{"position":%d,%s\n' % (position, document.to_json()[1:])
            for position, document in enumerate(candidates)
        )
        with _staged(lines) as staged:
            self._settle()
            self.begin_planning()
            session = self.session(f"Planning in {self.name}")
            known = self._tables(session).keys() if staged.lines else set[str]()
            landed: Iterator[int] = iter(())
            claimed: Iterator[tuple[int, str]] = iter(())
            if known & {"documents", "claims"}:
                relation = self._relation(session, staged, claims.CANDIDATE)
                key = (workflow_id, version or "")
            if "documents" in known:
                landed = claims.landed_positions(session, self.dataset, relation, key, repetition)
            if "claims" in known:
                other = self.session(f"Planning in {self.name}")
                claimed = claims.claimed_positions(other, self.dataset, relation, key, claims_of)
            yield from _not_landed(staged.path, landed, claimed)

    def claims(self, *, workflow_id: str | None = None, version: str | None = None) -> Iterator[Claim]:
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.claims`."""
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
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.claim`."""
        session, key = self.session(f"Claims in {self.name}"), (workflow_id, version or "")
        ours: dict[str, None] = {}

        def lines() -> Iterator[bytes]:
            for document, chunk in new:
                ours[chunk] = None
                yield msgspec.json.encode({"document_id": document.id, "chunk": chunk}) + b"\n"

        with _staged(lines()) as staged, _staged(_chunk_lines(freed)) as ended:
            if not staged.lines:
                return True
            self._settle(make=True)
            with self._alone(session):
                claims.make_claims(session, self.dataset)
                relation = self._relation(session, staged, claims.CLAIMED)
                if ended.lines:
                    claims.end_claims(session, self.dataset, self._relation(session, ended, claims.CHUNK))
                claims.write_claims(session, self.dataset, relation, key, repetition, staged.lines)
        with _staged(_chunk_lines(ours)) as staged, session.transaction():
            relation = self._relation(session, staged, claims.CHUNK)
            if not claims.rival_claims(session, self.dataset, relation, claims_of):
                return True
        self.end_claims(ours)
        return False

    def end_claims(self, chunks: Iterable[str]) -> None:
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.end_claims`."""
        session = self.session(f"Claims in {self.name}")
        with _staged(_chunk_lines(chunks)) as staged:
            if staged.lines and "claims" in self._tables(session):
                self._settle()
                with self._alone(session):
                    relation = self._relation(session, staged, claims.CHUNK)
                    claims.end_claims(session, self.dataset, relation)

    def dead_letters(
        self, *, workflow_id: str | None = None, version: str | None = None
    ) -> Iterator[DeadLetter]:
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.dead_letters`."""
        return self._asked_of_documents(
            "Dead letters",
            lambda session: dead_letters.dead_letters(session, self.dataset, workflow_id, version),
        )

    def charges(self, *, workflow_id: str, version: str | None) -> list[Charge]:
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.charges`."""
        return list(
            self._asked_of_documents(
                "Charges", lambda session: charges.charges(session, self.dataset, workflow_id, version)
            )
        )

    def runs_in_review(self, extend_conn_id: str, *, include_deleted: bool = False) -> Iterator[LandedRun]:
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.runs_in_review`."""
        return self._asked_of_documents(
            "Runs in review",
            lambda session: landed_runs.runs_in_review(
                session, self.dataset, extend_conn_id, include_deleted=include_deleted
            ),
        )

    def held_runs(self, *, dag_id: str, run_id: str, group_id: str) -> Iterator[LandedRun]:
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.held_runs`."""
        return self._asked_of_documents(
            "Held runs",
            lambda session: landed_runs.held_runs(
                session, self.dataset, dag_id=dag_id, run_id=run_id, group_id=group_id
            ),
        )

    def note_deleted_runs(self, run_ids: Iterable[str], message: str) -> int:
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.note_deleted_runs`."""
        session = self.session(f"Deleted runs in {self.name}")
        lines = (msgspec.json.encode({"run_id": run_id}) + b"\n" for run_id in run_ids)
        with _staged(lines) as staged:
            if not staged.lines:
                return 0
            self._settle()
            with self._alone(session):
                relation = self._relation(session, staged, landed_runs.DELETED)
                return landed_runs.note_deleted_runs(session, self.dataset, relation, message)

    def landed_parts(self) -> Iterator[str]:
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.landed_parts`."""
        session = self.session(f"Landed parts in {self.name}")
        if {"documents", "loads"} <= self._tables(session).keys():
            for page in session.pages("read loads", f"SELECT part FROM {quoted(self.dataset)}.loads"):
                yield from (part for (part,) in page)

    def refused_parts(self) -> Iterator[str]:
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.refused_parts`."""
        session = self.session(f"Refused parts in {self.name}")
        if {"documents", "problems"} <= self._tables(session).keys():
            refused = f"SELECT value FROM {quoted(self.dataset)}.problems WHERE code = ?"
            for page in session.pages("read refusals", refused, [REFUSED]):
                yield from (part for (part,) in page)

    def forget_parts(self, parts: Iterable[str]) -> None:
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.forget_parts`."""
        session = self.session(f"Landed parts in {self.name}")
        self._settle()
        if "loads" not in self._tables(session):
            return
        lines = (msgspec.json.encode({"part": part}) + b"\n" for part in parts)
        with _staged(lines) as staged, self._alone(session):
            relation = self._relation(session, staged, {"part": ColumnType.TEXT})
            session.run(
                "delete from loads",
                f"DELETE FROM {quoted(self.dataset)}.loads WHERE part IN (SELECT part FROM {relation})",
            )

    def counts(self) -> dict[str, int]:
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.counts`."""
        session = self.session(f"Counting {self.name}")
        counts: dict[str, int] = {}
        for table in sorted(self._tables(session)):
            ((count,),) = session.rows(
                "count rows", f"SELECT count(*) FROM {quoted(self.dataset)}.{quoted(table)}"
            )
            counts[table] = count
        return counts

    def _asked_of_documents(self, purpose: str, question: Callable[[Session], Iterable[T]]) -> Iterator[T]:
        """Ask once there is something to ask; a dataset in which nothing has landed has no answers."""
        session = self.session(f"{purpose} in {self.name}")
        if "documents" in self._tables(session):
            yield from question(session)

    def _tables(self, session: Session) -> dict[str, Columns]:
        """Return the dataset's tables with their columns; refuse a dataset that a newer release has made."""
        there = session.columns(self.dataset)
        if not self._is_settled:
            migrations.version(session, self.dataset, there)
        there.pop(migrations.TABLE, None)
        return there

    def _settle(self, *, make: bool = False) -> None:
        """Bring the dataset to this release's layout, once while the warehouse is open.

        :param make: something is about to be made in it, if there is nothing yet.
        """
        if self._is_settled:
            return
        session = self.session(f"Layout of {self.name}")
        there = session.columns(self.dataset)
        found = migrations.version(session, self.dataset, there)
        if found == migrations.MIGRATIONS[-1].version:
            self._is_settled = True
        elif there or make:
            with self._held(session):
                self._is_settled = migrations.migrate(session, self.dataset, make=make)


@contextlib.contextmanager
def _staged(lines: Iterable[bytes]) -> Iterator[StagedFile]:
    """Write the lines to a file that lasts as long as the context."""
    with tempfile.TemporaryDirectory(prefix="extend-warehouse-") as folder:
        staged = StagedFile(Path(folder) / "records.ndjson")
        try:
            for line in lines:
                staged.write_line(line)
        finally:
            staged.close()
        yield staged


def _chunk_lines(chunks: Iterable[str]) -> Iterator[bytes]:
    return (msgspec.json.encode({"chunk": chunk}) + b"\n" for chunk in chunks)


def _not_landed(
    candidates: Path, landed: Iterator[int], claimed: Iterator[tuple[int, str]]
) -> Iterator[Candidate]:
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
                yield Candidate(Document.from_json(line), tuple(chunks))
