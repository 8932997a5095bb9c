"""What a DAG author writes: a wrong value is refused while the DAG file is parsed, by object and field."""

from __future__ import annotations

import dataclasses
import datetime as dt
import inspect
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

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
    documents_to_warehouse,
    landed_table,
    replay_to_warehouse,
    reviews_to_warehouse,
)
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.settings import MAX_METADATA_BYTES, RESERVED_METADATA
from extend_provider.batch.ledger import METADATA_KEY
from fixtures.pipeline.authoring import DEPLOYMENT, NEEDED, TEMPLATE, make, rendered

#: What means nothing for any field.
NONSENSE: list[Any] = [object(), b"x", {"a": object()}, math.nan, lambda: "x", Path("/data"), -1]
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
    Reprocess: {
        "which": REPROCESS,
        "repetition": ["a" * 201, "a\x00b", True, ["x"]],
        "reasons": [1, True],
        "documents": [1, True],
    },
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


def test_objects_are_frozen() -> None:
    for kind in NEEDED:
        if isinstance(kind, type):
            made = kind(**NEEDED[kind])
            name = dataclasses.fields(made)[0].name
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(made, name, "x")


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


def test_asset_of_a_table_needs_a_warehouse_that_is_known() -> None:
    here = Deployment(TEMPLATE, warehouse=Warehouse("w", dataset="d"))
    assert landed_table(here, "invoice").uri == "x-extend://w/d/invoice"
    with pytest.raises(PipelineInputError, match=r"^Warehouse\.dataset: must not be a template"):
        landed_table(Deployment(TEMPLATE, warehouse=Warehouse("w", dataset=TEMPLATE)), "invoice")
