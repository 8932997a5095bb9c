"""The shapes of the page's answers. The page in ``static/`` is written against them.

All routes are ``GET``, relative to the page, and answer with JSON:

| route | answer |
|---|---|
| ``api/pipelines`` | list of :class:`Pipeline` |
| ``api/{dag_id}/overview?days=30`` | :class:`Overview` |
| ``api/{dag_id}/dead_letters?reason=&limit=50&after=`` | :class:`DeadLetters` |
| ``api/{dag_id}/reviews?limit=50&after=`` | :class:`Reviews` |
| ``api/{dag_id}/search?q=&limit=50`` | :class:`Search` |
| ``api/{dag_id}/documents/{document_id}`` | :class:`Story` |

Where a DAG has several pipelines, ``group=`` names the task group. Times are ISO 8601 in UTC; days are days
in UTC; credits are numbers. ``after`` is the ``next`` of the page before. A wrong parameter is 422, an
unknown document 404, a user without the right 401 or 403, each with ``{"detail": "…"}``.

An answer whose ``state`` is not ``ready`` has what could be found; ``notice`` says what is the matter and
what to do. Values are data, whoever wrote them: put them into the page as text, never as HTML.

**Batches at work** are not served here; the page reads them from Airflow's own REST API with the user's
cookie: ``api/v2/dags/{dag_id}/dagRuns``, ``…/dagRuns/{run_id}/taskInstances?task_id_pattern=…`` and
``…/taskInstances/{task_id}/xcomEntries/progress?map_index=…``. The tasks are those of :attr:`Pipeline.tasks`.
The XCom ``progress`` of ``wait`` is ``{"summary", "expected", "listed", "settled", "by_status": {…}}``; that
of ``plan``, under the key ``plan``, is ``{"summary", "to_send", "chunks", "credits", …}``. **Send again** is
a ``POST`` of the page to ``api/v2/dags/{send_again.dag_id}/dagRuns`` with
``{"logical_date": null, "conf": …}``.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

#: ``ready``; ``nothing_landed``: there are no documents yet; ``unreadable``: the API server cannot read the
#: warehouse; ``old_snapshot``: a run has ended since the copy of the warehouse that is shown was made.
State = Literal["ready", "nothing_landed", "unreadable", "old_snapshot"]


#: See :class:`Moment`.
What = Literal["found", "sent", "attempt", "landed", "reviewed", "approval"]


class WarehousePlace(TypedDict):
    """Where a pipeline's documents land. ``kind`` is the connection's type; None if it is unknown."""

    kind: str | None
    conn_id: str
    dataset: str


class Tasks(TypedDict):
    """Task ids of a pipeline, for requests to Airflow's REST API; ``approve`` is None without approvals."""

    plan: str
    submit: str
    wait: str
    load: str
    finish: str
    approve: str | None


class Condition(TypedDict):
    """How far an answer can be relied upon.

    ``as_of`` is the time of the data: of the snapshot, or of the last run, or now.
    """

    state: State
    notice: str | None
    as_of: str | None


class Pipeline(Condition):
    """A task group of ``documents_to_warehouse`` in a DAG that the user may read."""

    dag_id: str
    task_group: str
    warehouse: WarehousePlace
    workflow_id: str
    version: str | None
    last_run_id: str
    last_planned_at: str | None
    tasks: Tasks


class Day(TypedDict):
    """Documents by status that were sent on a day, and the credits of all their runs."""

    day: str
    documents: dict[str, int]
    credits: float


class BudgetOfRun(TypedDict):
    """The bounds of one run of the pipeline; None: no bound."""

    limit: int | None
    max_documents: int | None
    max_credits: float | None


class Reservations(TypedDict):
    """Documents that a run has planned or sent, and that have not landed yet."""

    chunks: int
    documents: int
    oldest: str | None


class RunFigures(TypedDict):
    """What a run of the pipeline has landed, as its ``finish`` counted."""

    run_id: str
    at: str | None
    by_status: dict[str, int]
    credits: float


class Overview(Condition):
    """Counts of the dataset. ``days`` has every day, the oldest first; ``total`` is of all time.

    ``documents`` and ``dead_letters`` are counts by status, and by reason. ``runs`` are the last runs of this
    pipeline, the newest first; they are known even if the warehouse cannot be read.
    """

    days: list[Day]
    total: dict[str, int]
    credits: float
    budget: BudgetOfRun
    reservations: Reservations
    dead_letters: dict[str, int]
    in_review: int
    waiting_for_approval: int
    runs: list[RunFigures]


class DeadLetterRow(TypedDict):
    """A document that was sent and failed. ``resending``: a run is sending it again.

    ``reason`` is Extend's reason, or the status if it gave none; the parameter ``reason`` and the keys of
    ``by_reason`` mean the same. ``run_path`` is the page of the run that landed it, below Airflow's base URL.
    """

    document_id: str
    address: str
    name: str
    workflow_id: str
    version: str | None
    status: str
    reason: str
    message: str | None
    at: str
    attempts: int
    credits: float | None
    resending: bool
    dashboard_url: str | None
    run_path: str | None


class SendAgain(TypedDict):
    """A run of ``extend_on_demand`` for the dead letters of one workflow and version.

    ``conf`` sends all of them again, those of the asked reason if there is one. To send some, put their ids
    into ``conf["documents"]``, a line each; ids of another workflow or version are ignored.
    """

    dag_id: str
    workflow_id: str
    version: str | None
    documents: int
    conf: dict[str, Any]


class DeadLetters(Condition):
    """A page of dead letters, the latest first. ``total`` is of the asked reason, ``by_reason`` of all."""

    total: int
    by_reason: dict[str, int]
    rows: list[DeadLetterRow]
    next: str | None
    send_again: list[SendAgain]


class ReviewRow(TypedDict):
    """A document that waits for a person, ``since`` when.

    ``dashboard_url`` is the place to review it at Extend; ``actions_path`` is the page of the run's required
    actions below Airflow's base URL.
    """

    document_id: str
    address: str
    name: str
    waits_for: Literal["review", "approval"]
    since: str | None
    low_confidence: int | None
    lowest_confidence: float | None
    credits: float | None
    dashboard_url: str | None
    actions_path: str | None


class Reviews(Condition):
    """A page of documents that wait for a person, those that have waited longest first."""

    in_review: int
    waiting_for_approval: int
    rows: list[ReviewRow]
    next: str | None


class FoundDocument(TypedDict):
    """A document that a search has found."""

    document_id: str
    address: str
    name: str
    workflow_id: str
    version: str | None
    status: str
    reason: str | None
    landed_at: str


class Search(Condition):
    """Documents that were searched for. ``complete``: there are no others."""

    rows: list[FoundDocument]
    complete: bool


class Moment(TypedDict):
    """One step of a document's way, in the order of time.

    ``what`` is ``found`` (the object's last change), ``sent``, ``attempt`` (a run at Extend has ended),
    ``landed``, ``reviewed`` (``by`` a person at Extend) or ``approval`` (``status`` is ``WAITING``, or what
    was decided in Airflow).
    """

    what: What
    at: str | None
    status: str | None
    reason: str | None
    message: str | None
    by: str | None
    credits: float | None
    run_id: str | None
    dashboard_url: str | None


class Field(TypedDict):
    """An extracted value with Extend's evidence for it.

    ``confidence`` is the lower of both. ``page`` counts from 1 in the document as it was sent; of a
    spreadsheet it is the sheet, with ``cell_range``. ``machine_value`` is Extend's own where a reviewer has
    ``edited`` the value.
    """

    extractor: str
    path: str
    value: str | None
    confidence: float | None
    ocr_confidence: float | None
    logprobs_confidence: float | None
    low: bool
    page: int | None
    cell_range: str | None
    reference_text: str | None
    citations: int | None
    edited: bool
    machine_value: str | None


class Landed(TypedDict):
    """What one workflow and version has made of a document; ``fields_total`` may be more than are listed."""

    workflow_id: str
    workflow_name: str | None
    version: str | None
    version_used: str | None
    status: str
    reason: str | None
    message: str | None
    attempts: int
    credits: float | None
    approval: str | None
    run_id: str | None
    batch_id: str | None
    dashboard_url: str | None
    run_path: str | None
    timeline: list[Moment]
    fields: list[Field]
    fields_total: int


class Story(Condition):
    """Everything that is known of one document; ``landed`` has an entry per workflow and version."""

    document_id: str
    address: str
    name: str
    size_bytes: int
    etag: str
    last_modified: str | None
    landed: list[Landed]
