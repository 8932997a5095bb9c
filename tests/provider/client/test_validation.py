"""What is refused before any request, and that the refusal names field, value and index but no content."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import XComArg
from hypothesis import given
from hypothesis import strategies as st

from extend_provider.client import validation
from fixtures.extend.refusal import refusal


class Resolvable(XComArg):
    def __init__(self) -> None:
        pass


@given(st.integers(1, 100))
def test_priorities_from_1_to_100_pass_as_number_and_as_rendered_digits(value: int) -> None:
    assert validation.priority(value) == validation.priority(f" {value} ") == value


@pytest.mark.parametrize("value", [0, 101, -1, True, 1.0, "0", "101", "high", "1.5", "１", [50]], ids=repr)
def test_other_priorities_are_refused_with_the_value(value: Any) -> None:
    assert f"priority is {value!r}" in refusal(validation.priority, value)


@pytest.mark.parametrize("check", [validation.priority, validation.version], ids=["priority", "version"])
@pytest.mark.parametrize("value", [None, "", " ", "None"], ids=repr)
def test_nothing_given_leaves_the_default_to_extend(check: Any, value: Any) -> None:
    assert check(value) is None


@pytest.mark.parametrize(
    ("value", "sent"), [(3, "3"), ("3", "3"), (" 12 ", "12"), ("draft", "draft")], ids=repr
)
def test_versions(value: Any, sent: str) -> None:
    assert validation.version(value) == sent


@pytest.mark.parametrize("value", ["v3", "Draft", "1.0", -1, 1.0, True, ["3"]], ids=repr)
def test_other_versions_are_refused_with_the_value(value: Any) -> None:
    message = refusal(validation.version, value)
    assert f"version is {value!r}" in message
    assert "Leave version out" not in message


@pytest.mark.parametrize("value", ["latest", " Latest "], ids=repr)
def test_latest_is_refused_with_the_hint_to_leave_it_out(value: str) -> None:
    assert "Leave version out" in refusal(validation.version, value)


@pytest.mark.parametrize("value", [None, "", "  ", "None", 7, ["workflow_1"]], ids=repr)
def test_a_workflow_id_must_be_given(value: Any) -> None:
    assert f"workflow_id is {value!r}" in refusal(validation.workflow_id, value)


def test_metadata_may_be_10_kb_of_utf8_json_and_not_a_byte_more() -> None:
    def of_size(size: int) -> dict[str, str]:
        filler = "é" * ((size - len('{"k":""}')) // 2)
        value = {"k": filler + "x" * (size - len('{"k":""}') - 2 * len(filler))}
        assert len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()) == size
        return value

    assert validation.metadata(of_size(10_240)) == of_size(10_240)
    message = refusal(validation.metadata, of_size(10_241))
    assert "metadata is 10,241 bytes" in message
    assert "é" not in message


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"k": object()}, id="object"),
        pytest.param({"k": float("nan")}, id="nan"),
        pytest.param({("a", "b"): 1}, id="tuple-key"),
        pytest.param({"k": "\ud800"}, id="lone-surrogate"),
        pytest.param([1], id="list"),
        pytest.param("text", id="text"),
    ],
)
def test_metadata_and_secrets_must_be_json_objects(value: Any) -> None:
    assert "metadata" in refusal(validation.metadata, value)
    assert "secrets" in refusal(validation.secrets, value)


def test_a_policy_must_be_one_of_its_names() -> None:
    assert validation.choice("land", "on_needs_review", ("land", "wait")) == "land"
    message = refusal(validation.choice, "ignore", "on_needs_review", ("land", "wait"))
    assert message == "on_needs_review is 'ignore'; it must be one of 'land', 'wait'."


@pytest.mark.parametrize("value", [0, 5, "5", " 1000 "], ids=repr)
def test_run_counts(value: Any) -> None:
    assert validation.run_count(value) == int(value)


@pytest.mark.parametrize("value", [None, "", "None", "five", -1, True, 1.5], ids=repr)
def test_other_run_counts_are_refused(value: Any) -> None:
    assert "run_count is" in refusal(validation.run_count, value)


@pytest.mark.parametrize("value", [None, "", "None", 5], ids=repr)
def test_a_batch_id_must_be_known_when_runs_were_submitted(value: Any) -> None:
    assert "run_count is 3" in refusal(validation.batch_id, value, 3)


@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan"), True, "5", timedelta(0)], ids=repr)
def test_durations_must_be_positive_and_finite(value: Any) -> None:
    assert "timeout is" in refusal(validation.positive_seconds, value, "timeout")


@pytest.mark.parametrize(
    "value",
    [
        "{{ params.priority }}",
        "{% if x %}3{% endif %}",
        Resolvable(),
        {"file": {"url": Resolvable()}},
        [1, {"a": ("{{ b }}",)}],
        lambda context, jinja_env: 3,
    ],
    ids=["jinja", "statement", "xcomarg", "nested-xcomarg", "nested-jinja", "callable"],
)
def test_templates_are_left_to_execution(value: Any) -> None:
    assert validation.is_templated(value)
    validation.check_literal(validation.priority, value)


@pytest.mark.parametrize("value", ["3", 3, None, {"a": [1]}, Path("a/b"), "a { brace"], ids=repr)
def test_literals_are_checked_at_once(value: Any) -> None:
    assert not validation.is_templated(value)
