"""The answers of the page, from what is in the warehouse and what runs have left in Airflow."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any, Final, TypeVar

from extend_pipeline.page import answers, telling
from extend_pipeline.page.pipelines import KnownPipeline, PastRun, known_pipelines, past_runs
from extend_pipeline.page.reading import NothingLandedError, Reading, UnreadableError, opened
from extend_pipeline.warehouse.queries import seen, story, summary

_NOTHING: Final = "Nothing has landed yet. Documents are shown once a run has landed the first ones."
_RECENT: Final = (
    f"Inside of addresses, only the {seen.RECENT:,} documents that landed last were looked at. Every "
    "document is found by its id, its run's id, or by how its address or file name begins."
)

T = TypeVar("T")
#: Which of some DAGs the user may read.
MayRead = Callable[[Collection[str]], set[str]]


class Question:
    """One request: the pipeline, and which documents of its dataset the user may see.

    :param may_read: tells which of some DAGs the user may read.
    """

    def __init__(self, pipeline: KnownPipeline, may_read: MayRead) -> None:
        self.pipeline = pipeline
        self.dataset = pipeline.record.dataset
        self.may_read = may_read
        self.runs = past_runs(pipeline)
        self.condition: answers.Condition = {"state": "ready", "notice": None, "as_of": None}
        self.partial = False

    def ask(self, read: Callable[[Reading, Collection[str] | None], T]) -> T | None:
        """Return what is read; None if there is nothing to read. What is found out is in ``condition``.

        :param read: takes the open warehouse, and the DAGs whose documents may be seen; None: all.
        """
        try:
            with opened(self.pipeline) as reading:
                return read(reading, self._readable(reading))
        except NothingLandedError:
            self.condition = {"state": "nothing_landed", "notice": _NOTHING, "as_of": None}
        except UnreadableError as error:
            last = self.runs[0].landed.at if self.runs else None
            self.condition = {"state": "unreadable", "notice": str(error), "as_of": last}
        return None

    def _readable(self, reading: Reading) -> set[str] | None:
        dags = seen.landing_dags(reading.session, self.dataset)
        readable = self.may_read({dag_id for dag_id in dags if dag_id})
        self.partial = bool(dags - readable)
        self.condition = self._condition(reading.as_of)
        return readable if self.partial else None

    def _condition(self, as_of: dt.datetime) -> answers.Condition:
        moment = telling.iso(as_of)
        newest = next((run for run in self.runs if run.landed.by_status), None)
        if self.pipeline.record.kind == "duckdb" and newest and _is_older(as_of, newest):
            return {
                "state": "old_snapshot",
                "notice": f"The copy of the warehouse is of {moment}, and run {newest.run_id} has landed "
                "documents since. See the log of its task 'finish' for why the copy was not made; it has "
                "to lie on a disk that workers and API server share.",
                "as_of": moment,
            }
        if self.partial:
            notice = "Documents of other DAGs, which you may not read, have landed in the same dataset; they "
            notice += "are left out, and so are their reservations."
            return {"state": "ready", "notice": notice, "as_of": moment}
        return {"state": "ready", "notice": None, "as_of": moment}

    def counted(self, at: dt.datetime) -> None:
        """Note that counts are shown that a run has kept, and when it did."""
        self.condition["as_of"] = telling.iso(at)

    def add_notice(self, notice: str) -> None:
        """Say something besides."""
        self.condition["notice"] = " ".join(filter(None, (self.condition["notice"], notice)))


def pipelines(may_read: MayRead) -> list[answers.Pipeline]:
    """Return the pipelines of the DAGs that the user may read."""
    found = known_pipelines()
    readable = may_read({each.dag_id for each in found})
    return [telling.described(each, _looked_at(each, may_read)) for each in found if each.dag_id in readable]


def _looked_at(pipeline: KnownPipeline, may_read: MayRead) -> answers.Condition:
    question = Question(pipeline, may_read)
    question.ask(lambda reading, dag_ids: None)
    return question.condition


def _is_older(as_of: dt.datetime, run: PastRun) -> bool:
    """Whether a run has planned, and so written to the warehouse, since the snapshot was made."""
    return run.planned_at is not None and as_of < dt.datetime.fromisoformat(run.planned_at)


def overview(question: Question, days: int) -> answers.Overview:
    """Return counts of a dataset."""
    today = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    since = today - dt.timedelta(days=days - 1)
    by_day = {(since + dt.timedelta(number)).date().isoformat(): Counter[str]() for number in range(days)}
    credits = dict.fromkeys(by_day, 0.0)
    total, dead, waits = Counter[str](), Counter[str](), Counter[str]()
    reserved: tuple[int, int, dt.datetime | None] = (0, 0, None)

    def read(reading: Reading, dag_ids: Collection[str] | None) -> None:
        nonlocal reserved
        session, dataset = reading.session, question.dataset
        at = summary.kept(session, dataset, reading.tables)
        if at is not None:
            question.counted(at)
        for day, status, reason, waiting, count in (
            seen.counts(session, dataset, dag_ids, since)
            if at is None
            else summary.counts(session, dataset, dag_ids, since, at)
        ):
            total[status] += count
            dead[reason] += count if reason else 0
            waits[waiting] += count if waiting else 0
            if (of_day := by_day.get(str(day))) is not None:
                of_day[status] += count
        for day, charged in (
            seen.credits_by_day(session, dataset, dag_ids, since)
            if at is None
            else summary.credits_by_day(session, dataset, dag_ids, since, at)
        ):
            if str(day) in credits:
                credits[str(day)] = charged or 0.0
        if "claims" in reading.tables and not question.partial:
            reserved = seen.reservations(session, dataset)

    question.ask(read)
    record = question.pipeline.record
    return {
        **question.condition,
        "days": [{"day": day, "documents": dict(by_day[day]), "credits": credits[day]} for day in by_day],
        "total": dict(total),
        "credits": sum(credits.values()),
        "budget": {
            "limit": record.limit,
            "max_documents": record.max_documents,
            "max_credits": record.max_credits,
        },
        "reservations": {"chunks": reserved[0], "documents": reserved[1], "oldest": telling.iso(reserved[2])},
        "dead_letters": {reason: count for reason, count in dead.items() if reason},
        "in_review": waits["review"],
        "waiting_for_approval": waits["approval"],
        "runs": [telling.finished(run) for run in question.runs],
    }


def dead_letters(question: Question, reason: str | None, limit: int, offset: int) -> answers.DeadLetters:
    """Return a page of dead letters, and what sends them again."""
    by_reason, to_send = Counter[str](), Counter[tuple[str, str]]()
    rows: list[answers.DeadLetterRow] = []

    def read(reading: Reading, dag_ids: Collection[str] | None) -> None:
        nonlocal rows
        counts = seen.dead_letter_counts(reading.session, question.dataset, dag_ids)
        for workflow_id, version, why, count in counts:
            by_reason[why] += count
            if reason in (None, why):
                to_send[workflow_id, version] += count
        found = seen.dead_letters(
            reading.session,
            question.dataset,
            dag_ids,
            reason=reason,
            limit=limit,
            offset=offset,
            claims="claims" in reading.tables,
        )
        rows = [telling.dead_letter(row) for row in found]

    question.ask(read)
    total = to_send.total()
    return {
        **question.condition,
        "total": total,
        "by_reason": dict(by_reason),
        "rows": rows,
        "next": telling.next_page(offset, len(rows), total),
        "send_again": [
            telling.send_again(question.pipeline, reason, *which, count)
            for which, count in sorted(to_send.items())
        ],
    }


def reviews(question: Question, limit: int, offset: int) -> answers.Reviews:
    """Return a page of what waits for a person."""
    waits: dict[str, int] = {}
    rows: list[answers.ReviewRow] = []

    def read(reading: Reading, dag_ids: Collection[str] | None) -> None:
        nonlocal rows, waits
        waits = seen.waiting_counts(reading.session, question.dataset, dag_ids)
        found = seen.waiting(reading.session, question.dataset, dag_ids, limit=limit, offset=offset)
        rows = [telling.review(row) for row in found]

    question.ask(read)
    return {
        **question.condition,
        "in_review": waits.get("review", 0),
        "waiting_for_approval": waits.get("approval", 0),
        "rows": rows,
        "next": telling.next_page(offset, len(rows), sum(waits.values())),
    }


def search(question: Question, text: str, limit: int) -> answers.Search:
    """Return documents by id, run id, or a part of the address."""
    rows: list[tuple[Any, ...]] = []
    everywhere = True

    def read(reading: Reading, dag_ids: Collection[str] | None) -> None:
        nonlocal rows, everywhere
        rows, everywhere = seen.search(reading.session, question.dataset, dag_ids, text, limit=limit + 1)
        if not everywhere:
            question.add_notice(_RECENT)

    question.ask(read)
    complete = everywhere and len(rows) <= limit and question.condition["state"] != "unreadable"
    return {**question.condition, "rows": [telling.found(row) for row in rows[:limit]], "complete": complete}


def document(question: Question, document_id: str) -> answers.Story | None:
    """Return everything that is known of a document; None if there is none that the user may see."""

    def read(reading: Reading, dag_ids: Collection[str] | None) -> answers.Story | None:
        found = story.documents(reading.session, question.dataset, dag_ids, document_id)
        if not found:
            return None
        runs = story.runs(reading.session, question.dataset, document_id)
        fields = story.fields(reading.session, question.dataset, document_id)
        return telling.told(question.condition, found, runs, fields)

    read_story = question.ask(read)
    if read_story is not None or question.condition["state"] in ("ready", "old_snapshot"):
        return read_story
    return {
        **question.condition,
        "document_id": document_id,
        "address": "",
        "name": "",
        "size_bytes": 0,
        "etag": "",
        "last_modified": None,
        "landed": [],
    }
