"""What a DAG author writes: a wrong value is refused while the DAG file is parsed, by object and field."""

from __future__ import annotations

import dataclasses
import datetime as dt
import inspect
import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, ObjectStoragePath

import extend_pipeline
from extend_pipeline import (
    GCS,
    S3,
    Arrivals,
    Azure,
    Budget,
    Deployment,
    Execution,
    Files,
    Quality,
    Reprocess,
    Warehouse,
    Workflow,
    config,
    documents_to_warehouse,
    landed_table,
    replay_to_warehouse,
    reviews_to_warehouse,
)
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.settings import MAX_METADATA_BYTES, RESERVED_METADATA, Settings
from extend_provider.batch.ledger import METADATA_KEY

DEPLOYMENT = Deployment("s3://aws_default@acme-data/extend")
NEEDED: dict[Any, dict[str, Any]] = {
    Deployment: {"workspace": "s3://aws_default@acme-data/extend"},
    Warehouse: {},
    Workflow: {"id": "workflow_invoices"},
    Budget: {},
    Quality: {},
    Execution: {},
    Reprocess: {"which": "all"},
    S3: {"address": "s3://inbox/documents/"},
    GCS: {"address": "gs://inbox/documents/"},
    Azure: {"address": "abfs://inbox/documents/"},
    Files: {"address": "file:///inbox/documents/"},
    Arrivals: {"queue": "https://sqs.eu-west-1.amazonaws.com/123456789012/inbox"},
    documents_to_warehouse: {
        "deployment": DEPLOYMENT,
        "source": "s3://inbox/documents/",
        "workflow": "workflow_invoices",
    },
    reviews_to_warehouse: {"deployment": DEPLOYMENT},
    replay_to_warehouse: {"deployment": DEPLOYMENT},
}
#: What means nothing for any field.
NONSENSE: list[Any] = [object(), b"x", {"a": object()}, math.nan, lambda: "x", Path("/data"), -1]
TEMPLATE = "{{ params.x }}"

WHOLE: list[Any] = [True, 0, 1.5, "many", "1e3", math.inf, [1]]
SHARE: list[Any] = [True, 1.01, "half", "nan", math.inf]
SPAN: list[Any] = [
    *(3600, "1h", True, dt.timedelta(0), dt.timedelta(seconds=-1), None, dt.timedelta.max, TEMPLATE)
]
NAME: list[Any] = ["", "  ", None, True, 5, TEMPLATE]
CONN: list[Any] = ["a b", "postgres://u:p@h/db", True, ["x"]]
DATASET: list[Any] = ["Analytics", "my-data", "1st", "a" * 64, "drop table", True]
WORDS: list[Any] = ["perhaps", 2, [True]]
MOMENT: list[Any] = [
    *("yesterday", "20261", "1732147200", 1732147200, 0, True, 1.5, "2026-13-01", "2026-2-1", [])
]
CHOICE: list[Any] = ["LAND", True, 1, ["land"]]
SOURCE: list[Any] = [
    *("documents", "s3://", "file://data/in/", "file:///a/../b/", ["s3://inbox/", 5], [["s3://inbox/"]]),
    *({"s3://inbox/"}, 5, True, [Path("/in")], ObjectStoragePath("s3://c@inbox/x")),
    *("s3://inbox/*.pdf", "s3://inbox/{a,b}/", "s3://inbox/a/,s3://inbox/b/", "s3://inbox/a?.pdf"),
    *("s3://inbox/[0-9]/", "s3://inbox/{ds}/", "s3://inbox/a,b/", ["s3://inbox/*.pdf"]),
    *(["s3://inbox/{a,b}.pdf"], ["s3://inbox/a.pdf,s3://inbox/b.pdf"], "https://host/*.pdf"),
]
GLOB: list[Any] = [
    *("s3://inbox/*.pdf", "!*.tmp", "\\*.pdf", "*.pdf,*.png", "*.pdf|*.png", "{pdf", "pdf}", "{pdf}"),
    *("scan[1].pdf", ["*.pdf"], True, "{a,b}" * 12),
]
OF_A_SOURCE: dict[str, list[Any]] = {
    "address": SOURCE,
    "glob": GLOB,
    "modified_from": MOMENT,
    "modified_to": MOMENT,
    "conn_id": CONN,
}
REPROCESS: list[Any] = ["everything", 1, "ALL", True]

REFUSED: dict[Any, dict[str, list[Any]]] = {
    Deployment: {
        "workspace": [
            *("data/extend", "file://data/extend", "file:///", "file:///data/../x", "file://~/x"),
            *("https://host/x", "s3://", "s3://b", "s3:///folder", "", " ", None, True, 5),
        ],
        "extend_conn_id": CONN,
        "warehouse": ["warehouse_default", None, TEMPLATE, DEPLOYMENT],
        "pool": NAME,
        "disk": [*CHOICE, "none"],
    },
    Warehouse: {"conn_id": CONN, "dataset": DATASET, "pool": NAME},
    Workflow: {
        "id": ["", " ", None, 17, True, ["workflow_1"]],
        "version": ["latest", "1.0", True, 1.5],
        "priority": [True, 0, 101, 1.5, "high"],
        "metadata": [
            *({1: "x"}, [1], "x", "[1]", True, 5, {"x": "é" * MAX_METADATA_BYTES}, {"x": "\ud800"}),
            *({key: "x"} for key in RESERVED_METADATA),
        ],
    },
    Budget: {"limit": WHOLE, "max_documents": WHOLE, "max_credits": [True, 0, "0", "much", "nan", math.inf]},
    Quality: {
        "max_failed": [True, 1.5, "few"],
        "max_failed_ratio": SHARE,
        "on_needs_review": [*CHOICE, None, "", TEMPLATE],
        "min_confidence": SHARE,
        "hold_below": [*SHARE, ""],
        "approval_timeout": SPAN,
        "schema_contract": CHOICE,
    },
    Execution: {
        "chunk_size": [*WHOLE, 1001],
        "max_attempts": [*WHOLE, 11],
        "transfer": CHOICE,
        "expires_in": [*WHOLE, 7 * 24 * 3600 + 1, dt.timedelta(hours=1)],
        "timeout": SPAN,
        "on_timeout": [*CHOICE, None, "", TEMPLATE],
        "cancel_on_kill": [1, 0, "yes", None, "", TEMPLATE],
        "missing_after": SPAN,
        "poke_interval": SPAN,
    },
    Reprocess: {"which": REPROCESS, "repetition": ["a" * 201, "a\x00b", True, ["x"]]},
    S3: {**OF_A_SOURCE, "address": [*SOURCE, "gs://inbox/", " abfs://inbox/{{ ds }}/", ["https://h/a.pdf"]]},
    GCS: {**OF_A_SOURCE, "address": [*SOURCE, "s3://inbox/", "file:///inbox/"]},
    Azure: {**OF_A_SOURCE, "address": [*SOURCE, "s3://inbox/"]},
    Files: OF_A_SOURCE,
    Arrivals: {
        "queue": [
            *("inbox", "arn:aws:sqs:eu-west-1:123456789012:inbox", "https://sqs/in box", "", None, True, 5),
            *(TEMPLATE, "{{ var.value.x", "{{ ds }}", "{{ var.value.x }}/{{ run_id }}"),
        ],
        "name": ["a/b", "../b", "a b", "", ".", "a" * 101, None, True, TEMPLATE, "{{ var.value.x }}"],
        "address": [*SOURCE, "gs://inbox/", ["s3://inbox/a.pdf"], TEMPLATE, ["s3://inbox/", TEMPLATE]],
        "glob": [*GLOB, TEMPLATE],
        "at_least": [*WHOLE, TEMPLATE],
        "or_after": SPAN,
        "conn_id": [*CONN, TEMPLATE],
    },
    documents_to_warehouse: {
        "deployment": ["s3://u:p@acme-data/extend", None, TEMPLATE],
        "source": [*SOURCE, "", " ", None, []],
        "workflow": [],
        "budget": [None, {}, 5, Quality()],
        "quality": [None, {}, Budget()],
        "execution": [None, {}, Budget()],
        "reprocess": [],
        "dry_run": WORDS,
        "group_id": [*NAME, "a.b", "a b"],
    },
    reviews_to_warehouse: {"deployment": [None, "x"], "include_deleted": WORDS, "group_id": NAME},
    replay_to_warehouse: {
        "deployment": [None, "x"],
        "into": ["extend", DEPLOYMENT],
        "again": WORDS,
        "schema_contract": CHOICE,
        "group_id": NAME,
    },
}
#: Of what means nothing elsewhere, what means something here.
TAKEN_NUMBERS = {"glob", "repetition", "extend_conn_id", "conn_id"}
FIELDS = [(kind, name) for kind in REFUSED for name in REFUSED[kind]]


def make(kind: Callable[..., Any], **values: Any) -> None:
    with DAG("d", schedule=None):
        kind(**{**NEEDED[kind], **values})


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_wrong_value_is_refused_by_object_and_field(kind: Any, name: str) -> None:
    field = f"{kind.__name__}.{name}" if isinstance(kind, type) else name
    if name in ("workflow", "reprocess"):
        field = {"workflow": "Workflow.id", "reprocess": "Reprocess.which"}[name]
    taken = [-1] if name in TAKEN_NUMBERS else []
    for value in [*REFUSED[kind][name], *(each for each in NONSENSE if each not in taken)]:
        with pytest.raises(PipelineInputError) as refused:
            make(kind, **{name: value})
        said = str(refused.value)
        assert said.startswith(f"{field}: "), (value, said)
        assert "u:p@" not in said


def test_every_field_and_argument_is_looked_at() -> None:
    for kind, names in REFUSED.items():
        assert set(inspect.signature(kind).parameters) == set(names)
    objects = {getattr(extend_pipeline, name) for name in extend_pipeline.__all__}
    assert objects - {extend_pipeline.day_folders, landed_table} == set(REFUSED)


def test_every_wrong_field_is_named_at_once_and_the_value_shown() -> None:
    with pytest.raises(PipelineInputError) as refused:
        Budget(max_documents=0, max_credits=-1)
    assert str(refused.value) == (
        "Budget.max_documents: must be greater than or equal to 1, is 0; "
        "Budget.max_credits: must be greater than 0, is -1"
    )


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (S3, {"address": ["s3://inbox/5% #1+1?.pdf", "s3://inbox/scan[1], final.pdf"]}),
        (S3, {"address": ("s3://inbox/a/", "s3://inbox/b/")}),
        (S3, {"address": TEMPLATE, "glob": TEMPLATE, "modified_from": TEMPLATE, "conn_id": TEMPLATE}),
        (S3, {"modified_from": "20260101", "modified_to": dt.date(2026, 1, 2)}),
        (S3, {"modified_from": 20260101, "modified_to": "2026-01-01T12:00:00+02:00"}),
        (Files, {"address": "s3://inbox/a/\ngs://inbox/b/\nhttps://host/c.pdf", "glob": "**/*.{pdf,PDF}"}),
        (Arrivals, {"queue": "{{ var.value.queue }}", "at_least": "{{ var.json.arrivals.at_least }}"}),
        (Arrivals, {"address": ("s3://inbox/a/", "s3://{{ conn.aws_default.host }}/"), "glob": "*.pdf"}),
        (documents_to_warehouse, {"source": Arrivals("https://sqs/inbox")}),
        (documents_to_warehouse, {"source": Arrivals("https://sqs/inbox"), "reprocess": TEMPLATE}),
        (Workflow, {"id": TEMPLATE, "version": 7, "priority": "5"}),
        (Workflow, {"metadata": {"extend:usage_tags": ["night"], "customer": TEMPLATE, "nested": {"a": 1}}}),
        (Workflow, {"metadata": '{"customer": 17}'}),
        (Budget, {"limit": "25", "max_credits": Decimal("1.5"), "max_documents": TEMPLATE}),
        (Budget, {"limit": "", "max_documents": "None"}),
        (Quality, {"max_failed": 0, "max_failed_ratio": 0, "min_confidence": 1}),
        (Quality, {"hold_below": TEMPLATE, "schema_contract": TEMPLATE}),
        (Execution, {"chunk_size": "None", "timeout": dt.timedelta(days=30)}),
        (Reprocess, {"which": TEMPLATE, "repetition": "once"}),
        (Reprocess, {"which": "failed", "repetition": " "}),
        (Reprocess, {"repetition": 2026}),
        (Deployment, {"disk": TEMPLATE}),
        (Deployment, {"disk": "shared"}),
        (Deployment, {"workspace": TEMPLATE, "extend_conn_id": "", "warehouse": Warehouse(TEMPLATE)}),
        (documents_to_warehouse, {"dry_run": "True", "reprocess": TEMPLATE}),
        (documents_to_warehouse, {"source": None, "reprocess": "failed"}),
        (documents_to_warehouse, {"source": TEMPLATE, "workflow": TEMPLATE}),
        (documents_to_warehouse, {"deployment": Deployment("s3://aws_default@inbox/documents-of-extend")}),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_right_value_is_taken(kind: Any, values: dict[str, Any]) -> None:
    make(kind, **values)


@pytest.mark.parametrize("end", ["2026-01-02", "2026-01-01", "2026-01-02T01:00:00+02:00"])
def test_window_that_ends_before_it_begins_is_refused(end: str) -> None:
    with pytest.raises(PipelineInputError, match=r"^S3\.modified_to: must be later than modified_from"):
        S3("s3://inbox/", modified_from="2026-01-02", modified_to=end)


def test_holding_has_a_threshold_of_its_own() -> None:
    assert Quality(hold_below=0.5).to_settings() == {
        "max_failed": None,
        "max_failed_ratio": None,
        "schema_contract": "evolve",
        "min_confidence": 0.5,
        "on_low_confidence": "hold",
        "on_needs_review": "land",
    }
    assert Quality(min_confidence=0.5).to_settings()["on_low_confidence"] == "flag"
    with pytest.raises(PipelineInputError, match=r"^Quality\.min_confidence: must be left out"):
        Quality(min_confidence=0.5, hold_below=0.5)


def test_repetition_of_anything_but_all_is_refused_at_parse_time_and_rendered() -> None:
    with pytest.raises(PipelineInputError, match=r"^Reprocess\.repetition: .*'failed'"):
        Reprocess("failed", repetition="once")
    with pytest.raises(PipelineInputError, match=r"Reprocess\.repetition: .*'none'"):
        rendered(reprocess=Reprocess(TEMPLATE, repetition="once"), rendering={"reprocess": "none"})


def rendered(rendering: dict[str, Any], **values: Any) -> Settings:
    """Return the settings that the first task makes of a call, with some values rendered."""
    with DAG("d", schedule=None) as dag:
        documents_to_warehouse(**{**NEEDED[documents_to_warehouse], **values})
    discover: Any = dag.get_task("documents_to_warehouse.discover")
    given = discover.op_args[0]
    return Settings.from_rendered({**given, **rendering}, label=config.label)


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        *[("workspace", "Deployment.workspace"), ("dataset", "Warehouse.dataset")],
        ("disk", "Deployment.disk"),
        *[("workflow_id", "Workflow.id"), ("priority", "Workflow.priority"), ("limit", "Budget.limit")],
        *[("max_failed", "Quality.max_failed"), ("chunk_size", "Execution.chunk_size")],
        *[("glob", "source.glob"), ("aws_conn_id", "S3.conn_id"), ("source_conn_id", "source.conn_id")],
        *[("warehouse_conn_id", "Warehouse.conn_id"), ("dry_run", "dry_run"), ("source", "source")],
    ],
)
def test_rendered_value_is_refused_by_object_and_field_too(setting: str, field: str) -> None:
    with pytest.raises(PipelineInputError, match=rf"nothing was sent to Extend\. {field}: "):
        rendered({setting: ["x"]})


def test_first_task_gets_what_the_objects_say() -> None:
    settings = rendered(
        {},
        deployment=Deployment(
            "file:///data/extend", extend_conn_id="e", warehouse=Warehouse("w", dataset="d"), disk="shared"
        ),
        source=S3("s3://inbox/a/", glob="*.pdf", modified_from="2026-01-01", conn_id="a"),
        workflow=Workflow("wf", version=3, priority=5, metadata={"customer": 17}),
        budget=Budget(limit=1, max_documents=2, max_credits=3),
        quality=Quality(max_failed=4, max_failed_ratio=0.5, hold_below=0.6, schema_contract="freeze"),
        execution=Execution(
            chunk_size=7, max_attempts=8, transfer="upload", expires_in=9, poke_interval=dt.timedelta(hours=1)
        ),
        reprocess=Reprocess("all", repetition="r"),
        dry_run=True,
    )
    assert settings.model_dump(exclude={"source", "modified_from", "pipeline"}) == {
        "workspace": "file:///data/extend",
        "disk": "shared",
        "extend_conn_id": "e",
        "warehouse_conn_id": "w",
        "dataset": "d",
        "arrivals": None,
        "aws_conn_id": "a",
        "source_conn_id": None,
        "glob": "*.pdf",
        "modified_to": None,
        "workflow_id": "wf",
        "version": "3",
        "priority": 5,
        "metadata": {"customer": 17},
        "limit": 1,
        "max_documents": 2,
        "max_credits": 3.0,
        "max_failed": 4,
        "max_failed_ratio": 0.5,
        "min_confidence": 0.6,
        "on_low_confidence": "hold",
        "on_needs_review": "land",
        "schema_contract": "freeze",
        "chunk_size": 7,
        "max_attempts": 8,
        "transfer": "upload",
        "expires_in": 9,
        "poke_interval": 3600.0,
        "reprocess": "all",
        "repetition": "r",
        "dry_run": True,
    }
    assert settings.source[0].uri == "s3://inbox/a/"
    assert settings.modified_from == dt.datetime(2026, 1, 1)  # noqa: DTZ001


def test_settings_that_shape_the_dag_reach_its_tasks() -> None:
    hours = dict(zip(("timeout", "missing_after", "poke_interval"), (5, 2, 1), strict=True))
    spans: dict[str, Any] = {name: dt.timedelta(hours=each) for name, each in hours.items()}
    with DAG("d", schedule=None) as dag:
        documents_to_warehouse(
            Deployment("file:///w", extend_conn_id="e", warehouse=Warehouse(pool="writers"), pool="batches"),
            source="s3://inbox/",
            workflow="w",
            quality=Quality(on_needs_review="wait", hold_below=0.5, approval_timeout=dt.timedelta(hours=7)),
            execution=Execution(on_timeout="cancel", cancel_on_kill=False, **spans),
            group_id="g",
        )
    tasks: dict[str, Any] = {task.task_id.rpartition(".")[2]: task for task in dag.tasks}
    assert {task_id.partition(".")[0] for task_id in dag.task_ids} == {"g"}
    pools = {name: tasks[name].pool for name in ("submit", "wait", "plan", "load", "held", "release")}
    assert pools == {
        **dict.fromkeys(("submit", "wait"), "batches"),
        **dict.fromkeys(("plan", "load", "held", "release"), "writers"),
    }
    wait = tasks["wait"]
    assert (wait.timeout, wait.missing_after, wait.poke_interval) == (5 * 3600, dt.timedelta(hours=2), 3600)
    assert (wait.on_timeout, wait.cancel_on_kill, wait.on_needs_review) == ("cancel", False, "wait")
    assert (wait.extend_conn_id, tasks["submit"].cancel_on_kill) == ("e", False)
    assert tasks["collect"].timeout == dt.timedelta(hours=5)
    assert tasks["approve"].response_timeout == dt.timedelta(hours=7)


@pytest.mark.parametrize(
    ("source", "connections"),
    [
        (S3("s3://inbox/", conn_id="mine"), ("mine", None)),
        (GCS("gs://inbox/", conn_id="mine"), ("aws_default", "mine")),
        (Azure("abfs://inbox/", conn_id="mine"), ("aws_default", "mine")),
        (Files("sftp://inbox/a/", conn_id="mine"), ("aws_default", "mine")),
        ("s3://inbox/", ("aws_default", None)),
        (Arrivals("https://sqs/inbox", conn_id="mine"), ("mine", None)),
    ],
)
def test_connection_opens_the_store_of_its_source(source: Any, connections: Any) -> None:
    settings = rendered({}, source=source)
    assert (settings.aws_conn_id, settings.source_conn_id) == connections


def test_objects_are_frozen() -> None:
    for kind in NEEDED:
        if isinstance(kind, type):
            made = kind(**NEEDED[kind])
            name = dataclasses.fields(made)[0].name
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(made, name, "x")


def test_arrivals_are_not_sent_again() -> None:
    source = Arrivals("https://sqs/inbox")
    for which in ("all", "failed"):
        with pytest.raises(PipelineInputError, match=r"^source: what has arrived is sent once"):
            make(documents_to_warehouse, source=source, reprocess=which)
    with pytest.raises(PipelineInputError, match="source: what has arrived is sent once"):
        rendered({"reprocess": "all"}, source=source, reprocess=TEMPLATE)


def test_arrivals_are_watched_as_the_author_says() -> None:
    arrivals = Arrivals(
        "{{ var.value.queue }}",
        name="inbox",
        address=("s3://inbox/a/", "s3://inbox/b/"),
        glob="*.pdf",
        at_least=7,
        or_after=dt.timedelta(minutes=1),
        conn_id="a",
    )
    asset = arrivals.asset(Deployment("{{ var.value.extend_workspace }}"))
    (watcher,) = asset.watchers
    assert (asset.name, watcher.name) == ("inbox", "inbox")
    where, arguments = watcher.trigger.serialize()
    assert where == "extend_pipeline.arrivals.trigger.ArrivalsTrigger"
    assert arguments == {
        "arrivals": "inbox",
        "queue": "{{ var.value.queue }}",
        "address": ["s3://inbox/a/", "s3://inbox/b/"],
        "glob": "*.pdf",
        "at_least": 7,
        "or_after": 60.0,
        "aws_conn_id": "a",
        "workspace": "{{ var.value.extend_workspace }}",
    }
    assert rendered({}, source=arrivals).arrivals == "inbox"


@pytest.mark.parametrize(
    ("workspace", "says"),
    [
        ("{{ var.value.x }}/{{ ds }}", "which knows var and conn, and no ds"),
        ("s3://inbox/extend", "contains the other"),
    ],
)
def test_arrivals_need_a_workspace_that_a_trigger_can_use(workspace: str, says: str) -> None:
    arrivals = Arrivals("https://sqs/inbox", address="s3://inbox/")
    with pytest.raises(PipelineInputError, match=rf"^Deployment\.workspace: .*{says}"):
        arrivals.asset(Deployment(workspace))
    with pytest.raises(PipelineInputError, match=r"^deployment: must be a Deployment"):
        arrivals.asset(workspace)  # type: ignore[arg-type]


def test_backfill_is_patient_and_takes_changes() -> None:
    patient, usual = Execution.backfill(expires_in=7200), Execution()
    assert patient.timeout > usual.timeout
    assert patient.poke_interval > usual.poke_interval
    assert patient.missing_after > usual.missing_after
    assert (patient.expires_in, patient.chunk_size) == (7200, usual.chunk_size)
    with pytest.raises(PipelineInputError, match=r"^Execution\.timeout: "):
        Execution.backfill(timeout=5)


def test_metadata_keys_of_the_provider_are_reserved() -> None:
    assert METADATA_KEY in RESERVED_METADATA


@pytest.mark.parametrize(
    ("source", "workspace"),
    [
        ("s3://inbox", "s3://aws_default@inbox/extend"),
        ("s3://inbox/ext", "s3://inbox/extend"),
        (["s3://inbox/extend/in/a.pdf"], "s3://inbox/extend"),
        ("s3://inbox/extend/in/", "s3://inbox/extend/"),
        ("file:///data/", "file:///data/extend"),
        (["s3://other/", "file:///data/extend/"], "file:///data/extend"),
    ],
)
def test_workspace_within_a_source_is_refused(source: Any, workspace: str) -> None:
    with pytest.raises(PipelineInputError, match=r"^Deployment\.workspace: .* contains the other"):
        make(documents_to_warehouse, source=source, deployment=Deployment(workspace), workflow=TEMPLATE)


@pytest.mark.parametrize("wrapped", [lambda output: output, Files])
def test_output_of_another_task_is_a_source_behind_that_task(wrapped: Any) -> None:
    with DAG("d", schedule=None) as dag:
        listed = wrapped(EmptyOperator(task_id="listed").output)
        documents_to_warehouse(**{**NEEDED[documents_to_warehouse], "source": listed})
    assert dag.get_task("listed").downstream_task_ids == {"documents_to_warehouse.discover"}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *[(Deployment, "pool"), (Warehouse, "pool"), (Quality, "on_needs_review")],
        *[(Execution, name) for name in ("timeout", "on_timeout", "cancel_on_kill", "missing_after")],
    ],
)
def test_output_of_another_task_shapes_no_dag(kind: Any, name: str) -> None:
    with DAG("d", schedule=None):
        output = EmptyOperator(task_id="listed").output
        with pytest.raises(PipelineInputError, match=rf"^{kind.__name__}\.{name}: must not be a template"):
            kind(**{**NEEDED[kind], name: output})


def test_asset_of_a_table_needs_a_warehouse_that_is_known() -> None:
    here = Deployment(TEMPLATE, warehouse=Warehouse("w", dataset="d"))
    assert landed_table(here, "invoice").uri == "x-extend://w/d/invoice"
    with pytest.raises(PipelineInputError, match=r"^Warehouse\.dataset: must not be a template"):
        landed_table(Deployment(TEMPLATE, warehouse=Warehouse("w", dataset=TEMPLATE)), "invoice")


@pytest.mark.parametrize("kind", [kind for kind in NEEDED if isinstance(kind, type)])
def test_field_left_out_means_what_an_empty_template_means(kind: Any) -> None:
    """An object's default is what the settings take where a template renders nothing."""
    written = {name: value for name, value in kind(**NEEDED[kind]).to_settings().items() if value is not None}
    for name in written.keys() - {"workspace", "source", "workflow_id", "reprocess", "arrivals"}:
        assert Settings.model_fields[name].get_default() == written[name], name
