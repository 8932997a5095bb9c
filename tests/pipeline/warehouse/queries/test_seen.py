"""What a person sees: counts that are kept of a large dataset, and a search, in a file and in Postgres."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest

from extend_pipeline.warehouse.destinations import bigquery, databricks, redshift, snowflake
from extend_pipeline.warehouse.queries import seen, summary
from extend_pipeline.warehouse.remote.dialect import Dialect
from extend_pipeline.warehouse.session import Page, Session
from fixtures.engines.postgres import Database
from fixtures.warehouse.files import DATASET, Place, land, provenance, warehouse
from fixtures.warehouse.runs import document, raw_lines, run

LONG_AGO = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
LATELY = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
OURS, THEIRS = "ours", "theirs"


@pytest.fixture
def large(file: Place) -> Place:
    """Documents of every kind by two DAGs, one of which has landed a batch of the other again."""
    for first, dag, batch in ((0, OURS, "batch_0"), (10, THEIRS, "batch_1"), (20, OURS, "batch_2")):
        documents = [document(first + number) for number in range(6)]
        runs = [
            run(documents[0], batchId=batch),
            run(documents[1], status="FAILED", failureReason="OCR_ERROR", batchId=batch),
            run(documents[2], status="FAILED", failureReason="OCR_ERROR", batchId=batch),
            run(documents[3], status="CANCELLED", batchId=batch),
            run(documents[4], status="NEEDS_REVIEW", batchId=batch),
            run(documents[5], status="PROCESSING", batchId=batch),
        ]
        land(file, documents, raw_lines(*runs), origin=provenance(batch, dag_id=dag, raw_uri=batch))
    again = provenance("batch_2", dag_id=THEIRS, raw_uri="again")
    land(file, [document(20)], raw_lines(run(document(20), batchId="batch_2")), origin=again)
    return file


def test_counts_that_are_kept_are_those_of_the_documents(large: Place) -> None:
    def in_order(page: Page) -> list[str]:
        return sorted(map(str, page))

    with warehouse(large) as opened:
        session = opened.session("Seen")
        assert summary.kept(session, DATASET, session.columns(DATASET), small=0) is None
        for _ in range(2):  # the second time, the older counts give way
            assert summary.keep(session, DATASET, session.columns(DATASET), small=0)
        at = summary.kept(session, DATASET, session.columns(DATASET), small=0)
        assert at is not None
        totals = []
        for dags in (None, {OURS}, {THEIRS}, {OURS, THEIRS}, set[str]()):
            for since in (LONG_AGO, LATELY):
                kept = summary.counts(session, DATASET, dags, since, at)
                assert in_order(kept) == in_order(seen.counts(session, DATASET, dags, since))
                charged = summary.credits_by_day(session, DATASET, dags, since, at)
                assert in_order(charged) == in_order(seen.credits_by_day(session, DATASET, dags, since))
            totals.append(sum(count for *_, count in kept))
        assert totals == [18, 6, 6, 18, 0]
        times = f'SELECT count(DISTINCT counted_at) FROM "{DATASET}"."_counts"'
        assert session.rows("times", times) == [(1,)]
        assert "_counts" not in opened.counts()


def test_of_a_small_dataset_no_counts_are_kept(large: Place) -> None:
    with warehouse(large) as opened:
        session = opened.session("Seen")
        assert not summary.keep(session, DATASET, session.columns(DATASET), small=19)
        assert summary.TABLE not in session.columns(DATASET)
        assert summary.keep(session, DATASET, session.columns(DATASET), small=18)
        assert summary.kept(session, DATASET, session.columns(DATASET), small=19) is None


def found(place: Place, text: str, limit: int = 50) -> tuple[list[str], bool]:
    with warehouse(place) as opened:
        rows, everywhere = seen.search(opened.session("Search"), DATASET, None, text, limit=limit)
    return sorted(row[1] for row in rows), everywhere


def test_a_search_looks_everywhere_for_a_beginning_and_lately_for_a_part(
    file: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("a/50%_off!.pdf", "a/50x_off!.pdf", "b/" + 300 * "x" + "1.pdf", "b/" + 300 * "x" + "2.pdf")
    addresses = [f"s3://inbox/{name}" for name in names]
    for number, address in enumerate(addresses):
        one = document(number, uri=address)
        land(file, [one], raw_lines(run(one)), origin=provenance(f"batch_{number}", raw_uri=address))
    monkeypatch.setattr(seen, "RECENT", 2)
    assert found(file, "s3://inbox/a/50%_") == (addresses[:1], True)
    assert found(file, "50%_off!") == (addresses[:1], True)
    assert found(file, addresses[2]) == (addresses[2:3], True)
    assert found(file, 200 * "x") == (addresses[2:], True)
    assert found(file, "s3://inbox/", limit=1) == (addresses[-1:], True), "the one that landed last"
    assert found(file, "s3://inbox/a/", limit=1)[0][0] in addresses[:2], "that is none of the last"
    assert found(file, "box/b/") == (addresses[2:], False)
    assert found(file, "box/a/") == ([], False)
    monkeypatch.setattr(seen, "RECENT", 4)
    assert found(file, "box/a/") == (addresses[:2], True)


def test_postgres_answers_by_indexes_that_an_older_dataset_gets(new_database: Callable[[], Database]) -> None:
    place = new_database()
    land(place, [document(1)], raw_lines(run(document(1))))
    indexes = "SELECT indexdef FROM pg_indexes WHERE tablename = 'documents' ORDER BY indexname"
    fresh = place.rows(indexes)
    for name in ("landed", "dead", "waiting", "uri", "name"):
        place.rows(f"DROP INDEX {DATASET}.documents_{name}_idx")
    place.rows(f"DELETE FROM {DATASET}._schema_version WHERE version > 2")
    land(place, [document(2)], raw_lines(run(document(2))), origin=provenance("batch_2", raw_uri="two"))
    assert place.rows(indexes) == fresh
    place.rows("ALTER DATABASE " + place.name + " SET enable_seqscan = off")
    with warehouse(place) as opened:
        session = Explaining(opened.session("Plans"))
        seen.dead_letter_counts(session, DATASET, None)
        seen.waiting(session, DATASET, None, limit=1, offset=0)
        seen.search(session, DATASET, None, "no-such", limit=1)
        (beginning,) = [plan for plan in session.plans if "documents_uri_idx" in plan]
        assert "documents_landed_idx" not in beginning, "a beginning is found before anything is sorted"
        place.rows(f"DROP INDEX {DATASET}.documents_landed_idx")  # of two documents, any index finds them
        seen.search(session, DATASET, None, "no-such", limit=1)
    plans = "\n".join(session.plans)
    for name in ("landed", "dead", "waiting", "uri", "name"):
        assert f"documents_{name}_idx" in plans, plans


class Explaining(Session):
    """Says how Postgres runs each statement, and then runs it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.plans: list[str] = []

    def rows(self, statement: str, sql: str, parameters: object = None) -> Page:
        destination = self._session.destination  # type: ignore[attr-defined]
        text = destination.dialect.transpiled(sql, parameters or ())
        self.plans += (line for (line,) in destination._asked(f"EXPLAIN {text}").fetchall())
        return self._session.rows(statement, sql, parameters)  # type: ignore[arg-type]


DIALECTS = [
    bigquery.BigQuery.dialect,
    databricks.Databricks.dialect,
    redshift.Redshift.dialect,
    snowflake.Snowflake.dialect,
]


class Written(Session):
    """Translates statements, and answers as an engine with a large dataset does."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self.statements: list[str] = []

    def rows(self, statement: str, sql: str, parameters: object = None) -> Page:
        self.statements.append(self._dialect.transpiled(sql, parameters or ()))  # type: ignore[arg-type]
        return [(10**6,)] if statement == "count what has landed" else []


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_every_engine_has_the_statements(dialect: Dialect) -> None:
    session = Written(dialect)
    there = {"loads": {}, summary.TABLE: summary.COLUMNS}
    assert summary.keep(session, DATASET, there)
    for dags in (None, {OURS}):
        summary.counts(session, DATASET, dags, LATELY, LATELY)
        summary.credits_by_day(session, DATASET, dags, LATELY, LATELY)
        seen.counts(session, DATASET, dags, LATELY)
        seen.credits_by_day(session, DATASET, dags, LATELY)
        seen.search(session, DATASET, dags, "50%_off!", limit=1)
    assert all("?" not in statement for statement in session.statements)
