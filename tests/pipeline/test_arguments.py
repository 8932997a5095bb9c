"""Every argument of what a DAG calls: a value that means nothing is refused while the DAG file is parsed."""

from __future__ import annotations

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

from extend_pipeline import documents_to_warehouse, replay_to_warehouse, reviews_to_warehouse
from extend_pipeline.exceptions import PipelineInputError

NEEDED: dict[Any, dict[str, Any]] = {
    documents_to_warehouse: {
        "source": "s3://inbox/documents/",
        "workflow_id": "workflow_invoices",
        "workspace": "s3://aws_default@acme-data/extend",
    },
    reviews_to_warehouse: {"workspace": "file:///data/extend"},
    replay_to_warehouse: {"workspace": "file:///data/extend"},
}
#: What means nothing for any argument.
NONSENSE: list[Any] = [object(), b"x", {"a": 1}, math.nan, lambda: "x", Path("/data"), -1]
TEMPLATE = "{{ params.x }}"

WHOLE: list[Any] = [True, 0, 1.5, "many", "1e3", math.inf, [1]]
SHARE: list[Any] = [True, 1.01, "half", "nan", math.inf]
SPAN: list[Any] = [
    3600,
    "1h",
    True,
    dt.timedelta(0),
    dt.timedelta(seconds=-1),
    None,
    dt.timedelta.max,
    TEMPLATE,
]
NAME: list[Any] = ["", "  ", None, True, 5, TEMPLATE]
CONN: list[Any] = ["a b", "postgres://u:p@h/db", True, ["x"]]
DATASET: list[Any] = ["Analytics", "my-data", "1st", "a" * 64, "drop table", True]
WORKSPACE: list[Any] = [
    *("data/extend", "file://data/extend", "file:///", "file:///data/../x", "file://~/x", "https://host/x"),
    *("s3://", "s3://b", "s3:///folder", "", " ", None, True, 5),
]
WORDS: list[Any] = ["perhaps", 2, [True]]
MOMENT: list[Any] = [
    "yesterday",
    "20261",
    "1732147200",
    1732147200,
    0,
    True,
    1.5,
    "2026-13-01",
    "2026-2-1",
    [],
]
CHOICE: list[Any] = ["LAND", True, 1, ["land"]]

REFUSED: dict[Any, dict[str, list[Any]]] = {
    documents_to_warehouse: {
        "source": [
            *(
                "documents",
                "s3://",
                "file://data/in/",
                "file:///a/../b/",
                ["s3://inbox/", 5],
                [["s3://inbox/"]],
            ),
            *(
                "",
                " ",
                None,
                [],
                {"s3://inbox/"},
                5,
                True,
                [Path("/in")],
                ObjectStoragePath("s3://c@inbox/x"),
            ),
            *("s3://inbox/*.pdf", "s3://inbox/{a,b}/", "s3://inbox/a/,s3://inbox/b/", "s3://inbox/a?.pdf"),
            *("s3://inbox/[0-9]/", "s3://inbox/{ds}/", "s3://inbox/a,b/", ["s3://inbox/*.pdf"]),
            *(["s3://inbox/{a,b}.pdf"], ["s3://inbox/a.pdf,s3://inbox/b.pdf"], "https://host/*.pdf"),
        ],
        "workflow_id": ["", " ", None, 17, True, ["workflow_1"]],
        "workspace": [
            *WORKSPACE,
            "s3://inbox/documents/extend",
            "s3://conn@inbox/documents",
            "s3://c@inbox/documents/",
        ],
        "group_id": [*NAME, "a.b", "a b"],
        "version": ["latest", "1.0", True, 1.5],
        "priority": [True, 0, 101, 1.5, "high"],
        "glob": [
            *("s3://inbox/*.pdf", "!*.tmp", "\\*.pdf", "*.pdf,*.png", "*.pdf|*.png", "{pdf", "pdf}", "{pdf}"),
            *("scan[1].pdf", ["*.pdf"], True, "{a,b}" * 12),
        ],
        "modified_from": MOMENT,
        "modified_to": MOMENT,
        "limit": WHOLE,
        "max_documents": WHOLE,
        "max_credits": [True, 0, "0", "much", "nan", math.inf],
        "dry_run": WORDS,
        "reprocess": ["everything", 1, "ALL"],
        "repetition": ["a" * 201, "a\x00b", True, ["x"]],
        "max_attempts": [*WHOLE, 11],
        "chunk_size": [*WHOLE, 1001],
        "transfer": CHOICE,
        "expires_in": [*WHOLE, 7 * 24 * 3600 + 1, dt.timedelta(hours=1)],
        "on_needs_review": [*CHOICE, None, "", TEMPLATE],
        "min_confidence": SHARE,
        "on_low_confidence": [*CHOICE, None, "", TEMPLATE],
        "approval_timeout": SPAN,
        "schema_contract": CHOICE,
        "max_failed": [True, 1.5, "few"],
        "max_failed_ratio": SHARE,
        "timeout": SPAN,
        "on_timeout": [*CHOICE, None, "", TEMPLATE],
        "cancel_on_kill": [1, 0, "yes", None, "", TEMPLATE],
        "missing_after": SPAN,
        "poke_interval": SPAN,
        "extend_conn_id": CONN,
        "aws_conn_id": CONN,
        "source_conn_id": CONN,
        "warehouse_conn_id": CONN,
        "dataset": DATASET,
        "pool": NAME,
        "warehouse_pool": NAME,
    },
    reviews_to_warehouse: {
        "workspace": WORKSPACE,
        "group_id": NAME,
        "include_deleted": WORDS,
        "extend_conn_id": CONN,
        "warehouse_conn_id": CONN,
        "dataset": DATASET,
        "warehouse_pool": NAME,
    },
    replay_to_warehouse: {
        "workspace": WORKSPACE,
        "group_id": NAME,
        "dataset": DATASET,
        "warehouse_conn_id": CONN,
        "into_dataset": DATASET,
        "into_warehouse_conn_id": CONN,
        "again": WORDS,
        "schema_contract": CHOICE,
        "warehouse_pool": NAME,
    },
}
#: Of what means nothing elsewhere, what means something here.
TAKEN_NUMBERS = {"glob", "repetition", "extend_conn_id", "aws_conn_id", "source_conn_id"} | {
    *("warehouse_conn_id", "into_warehouse_conn_id"),
}


def define(function: Callable[..., Any], **arguments: Any) -> None:
    with DAG("d", schedule=None):
        function(**{**NEEDED[function], **arguments})


@pytest.mark.parametrize(
    ("function", "argument"), [(function, name) for function in REFUSED for name in REFUSED[function]]
)
def test_what_means_nothing_is_refused_by_its_name(function: Any, argument: str) -> None:
    taken = [-1] if argument in TAKEN_NUMBERS else []
    for value in [*REFUSED[function][argument], *(each for each in NONSENSE if each not in taken)]:
        with pytest.raises(PipelineInputError) as refused:
            define(function, **{argument: value})
        said = str(refused.value)
        assert f" {argument}: " in said, (value, said)
        assert "u:p@" not in said


def test_every_argument_is_looked_at() -> None:
    for function, arguments in REFUSED.items():
        assert set(inspect.signature(function).parameters) == set(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"source": ["s3://inbox/5% #1+1?.pdf", "s3://inbox/scan[1], final.pdf"]},
        {"source": ("s3://inbox/a/", "s3://inbox/b/")},
        {"source": TEMPLATE, "workflow_id": TEMPLATE, "workspace": TEMPLATE, "limit": TEMPLATE},
        {"modified_from": "20260101", "modified_to": dt.date(2026, 1, 2)},
        {"modified_from": 20260101, "modified_to": "2026-01-01T12:00:00+02:00"},
        {
            "limit": "25",
            "dry_run": "True",
            "reprocess": False,
            "version": 7,
            "priority": "5",
            "repetition": 2026,
        },
        {"limit": "", "version": None, "chunk_size": "None", "glob": " "},
        {"max_credits": Decimal("1.5"), "max_failed": 0, "max_failed_ratio": 0, "min_confidence": 1},
        {"glob": "**/*.{pdf,PDF}", "workspace": "file:///data/extend", "timeout": dt.timedelta(days=30)},
        {"workspace": "s3://aws_default@inbox/documents-of-extend"},
    ],
    ids=str,
)
def test_what_means_something_is_taken(arguments: dict[str, Any]) -> None:
    define(documents_to_warehouse, **arguments)


@pytest.mark.parametrize("end", ["2026-01-02", "2026-01-01", "2026-01-02T01:00:00+02:00"])
def test_a_window_that_ends_before_it_begins_is_refused(end: str) -> None:
    with pytest.raises(PipelineInputError, match="modified_to: must be later than modified_from"):
        define(documents_to_warehouse, modified_from="2026-01-02", modified_to=end)


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
def test_a_workspace_is_no_source(source: Any, workspace: str) -> None:
    with pytest.raises(PipelineInputError, match=r"workspace: .* lie within each other"):
        define(documents_to_warehouse, source=source, workspace=workspace, workflow_id=TEMPLATE)


def test_the_output_of_another_task_is_a_source_behind_that_task() -> None:
    with DAG("d", schedule=None) as dag:
        listed = EmptyOperator(task_id="listed").output
        documents_to_warehouse(**{**NEEDED[documents_to_warehouse], "source": listed})
    assert dag.get_task("listed").downstream_task_ids == {"documents_to_warehouse.discover"}


@pytest.mark.parametrize("argument", ["pool", "timeout", "on_timeout", "cancel_on_kill", "on_low_confidence"])
def test_the_output_of_another_task_shapes_no_dag(argument: str) -> None:
    with DAG("d", schedule=None):
        output = EmptyOperator(task_id="listed").output
        with pytest.raises(PipelineInputError, match=rf" {argument}: may not be a template"):
            documents_to_warehouse(**{**NEEDED[documents_to_warehouse], argument: output})
