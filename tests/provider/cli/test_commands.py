"""The package of the commands: what Airflow loads at each of its own commands."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from extend_provider import cli

MODULES = sorted(Path(cli.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_a_module_imports_nothing_heavy(module: Path) -> None:
    """What only the run of a command needs is imported there."""
    body = ast.parse(module.read_text()).body
    imported = {node.module for node in body if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in body if isinstance(node, ast.Import) for alias in node.names}
    others = {str(name) for name in imported if str(name).split(".")[0] not in sys.stdlib_module_names}
    assert others <= {"airflow.cli.cli_config", "extend_provider.cli", "extend_provider.cli.options"}
