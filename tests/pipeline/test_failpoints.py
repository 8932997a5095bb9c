"""Each function at which the fault suite strikes exists: a rename fails here, not in an hour-long run."""

from __future__ import annotations

import ast
import functools
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

FAULTS = Path(__file__).parents[1] / "faults"
FUNCTION = re.compile(r"extend_(pipeline|provider)(\.\w+)+:\w+(\.\w+)*")


def functions() -> Iterator[str]:
    """Yield each ``package.module:Class.method`` in the suite's strings, f-strings included."""
    for file in sorted(FAULTS.glob("test_*.py")):
        tree = ast.parse(file.read_text())
        constants: dict[str, object] = {}
        for line in tree.body:
            match line:
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value)):
                    constants[name] = value
        for node in ast.walk(tree):
            match node:
                case ast.Constant(value=str(text)):
                    pass
                case ast.JoinedStr(
                    values=[ast.FormattedValue(value=ast.Name(id=name)), ast.Constant(value=str(rest))]
                ):
                    text = f"{constants.get(name)}{rest}"
                case _:
                    continue
            if FUNCTION.fullmatch(text):
                yield text


@pytest.mark.parametrize("function", sorted(set(functions())))
def test_failpoint_names_a_function(function: str) -> None:
    module, _, path = function.partition(":")
    assert callable(functools.reduce(getattr, path.split("."), importlib.import_module(module)))


def test_failpoints_of_all_tasks_are_found() -> None:
    """The four tasks of a chunk and the plan have some, whose names this test reads."""
    assert len(set(functions())) > 12


def test_pause_that_the_suite_shortens_exists() -> None:
    """``tests/faults/dags/faulty.py`` replaces it in the task's process."""
    assert "Backoff" in vars(importlib.import_module("extend_provider.batch.submission"))
