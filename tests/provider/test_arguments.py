"""Every argument of the operators and the sensor: what means nothing is refused when the DAG is parsed."""

from __future__ import annotations

import inspect
import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from extend_provider.exceptions import ExtendInputError
from extend_provider.operators.run_workflow import ExtendRunWorkflowOperator
from extend_provider.operators.submit_batch import ExtendSubmitBatchOperator
from extend_provider.sensors.batch import ExtendBatchSensor

INPUT = {"file": {"text": "t"}}
NEEDED: dict[Any, dict[str, Any]] = {
    ExtendSubmitBatchOperator: {"workflow_id": "workflow_1", "inputs": [INPUT]},
    ExtendRunWorkflowOperator: {"workflow_id": "workflow_1", "raw_texts": ["t"]},
    ExtendBatchSensor: {"batch_id": "batch_1", "run_count": 1},
}
TEMPLATE = "{{ params.x }}"
#: What means nothing for any argument.
NONSENSE: list[Any] = [object(), b"x", Path("/data"), -1]

FLAG: list[Any] = [1, 0, "yes", "", None, TEMPLATE]
CHOICE: list[Any] = ["LAND", "", None, True, 1, ["leave"]]
SPAN: list[Any] = [0, True, math.nan, math.inf, "1h", timedelta(0), None]
COUNT: list[Any] = [True, 1.5, "3", math.nan]
SHARE: list[Any] = [True, 1.01, "half", math.nan]
CONN: list[Any] = ["", " ", "a b", None, True, 5, "https://key:secret@host"]
WORKFLOW: list[Any] = ["", " ", None, 5, True]

REFUSED: dict[Any, dict[str, list[Any]]] = {
    ExtendSubmitBatchOperator: {
        "workflow_id": WORKFLOW,
        "inputs": [
            [],
            None,
            "text",
            5,
            [{}],
            [{"file": "s3://b/a.pdf"}],
            [{"file": {"url": "s3://b/a.pdf"}}],
            [INPUT] * 1001,
        ],
        "version": ["latest", 1.5, True],
        "priority": [0, 101, 1.5, True, "high"],
        "on_clear": [*CHOICE, TEMPLATE],
        "on_changed_inputs": [*CHOICE, TEMPLATE],
        "on_refused_input": [*CHOICE, TEMPLATE],
        "cancel_on_kill": FLAG,
        "deferrable": FLAG,
        "extend_conn_id": CONN,
    },
    ExtendRunWorkflowOperator: {
        "workflow_id": WORKFLOW,
        "files": [[{"url": "https://h/a.pdf"}]],
        "raw_texts": [[], [""], [5], None],
        "name": [5, True, ["n"]],
        "version": ["latest", 1.5, True],
        "priority": [0, 101, 1.5, True, "high"],
        "metadata": [["a"], "a", 5, {"a": math.nan}, {"a": "x" * 10241}],
        "secrets": [["a"], "a", 5],
        "wait_for_completion": FLAG,
        "on_clear": [*CHOICE, TEMPLATE],
        "on_changed_inputs": [*CHOICE, TEMPLATE],
        "deferrable": FLAG,
        "on_needs_review": CHOICE,
        "timeout": [*SPAN, TEMPLATE],
        "on_timeout": [*CHOICE, TEMPLATE],
        "cancel_on_kill": FLAG,
        "poll_interval": [*SPAN, TEMPLATE],
        "max_poll_errors": COUNT,
        "extend_conn_id": CONN,
    },
    ExtendBatchSensor: {
        "batch_id": [5, True, ["batch_1"]],
        "run_count": [True, 1.5, "many", "", None, math.nan],
        "on_needs_review": CHOICE,
        "on_timeout": [*CHOICE, TEMPLATE],
        "cancel_on_kill": FLAG,
        "deferrable": FLAG,
        "max_failed": COUNT,
        "max_failed_ratio": SHARE,
        "missing_after": [0, True, math.nan, "1h", timedelta(0), TEMPLATE],
        "max_poll_errors": COUNT,
        "extend_conn_id": CONN,
        "timeout": [math.nan, math.inf],
        "poke_interval": [0, math.nan, math.inf],
    },
}


@pytest.mark.parametrize(("kind", "argument"), [(kind, name) for kind in REFUSED for name in REFUSED[kind]])
def test_an_invalid_argument_is_refused_by_its_name(kind: Any, argument: str) -> None:
    for value in [*REFUSED[kind][argument], *NONSENSE]:
        with pytest.raises(ExtendInputError) as refused:
            kind(task_id="t", **{**NEEDED[kind], argument: value})
        assert argument in str(refused.value), (value, str(refused.value))
        assert "secret@" not in str(refused.value)


def test_every_argument_is_checked() -> None:
    for kind, arguments in REFUSED.items():
        named = {
            name
            for name, parameter in inspect.signature(kind.__init__).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name != "default_args"
        }
        assert named - {"self", "kwargs"} <= set(arguments), kind
