"""Tasks start faster from a process that has their modules, and end faster with short heartbeats."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from fixtures.guides import ROOT
from sandbox.stack.environment import HEARTBEATS, PRELOADED

START_METHOD = "AIRFLOW__SCHEDULER__MP_START_METHOD"
PRELOAD = "AIRFLOW__SCHEDULER__MP_FORKSERVER_PRELOAD"
WORKERS = "AIRFLOW__WORKERS__"
#: What belongs to the DAG file, which each task reads.
DAG_FILES = {"extend_deployment", "nightly"}

TASK = """
import gc, importlib.util, sys
before = set(sys.modules)
spec = importlib.util.spec_from_file_location("nightly", {file!r})
sys.modules["nightly"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
import extend_provider.hooks.extend, extend_provider.hooks.extend_async
import extend_pipeline.batches.collection, extend_pipeline.sources.s3.clients
import extend_pipeline.sources.s3.store, extend_pipeline.warehouse.duckdb_file, duckdb
print(gc.get_freeze_count(), *(set(sys.modules) - before))
"""

FORKED = """
import multiprocessing, os, sys
from airflow.utils.process_utils import set_component_mp_start_method

if __name__ == "__main__":
    set_component_mp_start_method("scheduler")
    task = multiprocessing.Process(target=exec, args=(os.environ["TASK"],))
    task.start()
    task.join()
    sys.exit(task.exitcode)
"""


def compose_environment() -> Mapping[str, str]:
    file = ROOT / "deploy" / "docker" / "compose.yaml"
    environment: Mapping[str, str] = yaml.safe_load(file.read_text())["services"]["scheduler"]["environment"]
    return environment


def guide_lines(*begin: str) -> list[str]:
    lines = (ROOT / "docs" / "deploying.md").read_text().splitlines()
    return [line for line in lines if line.startswith(begin)]


def guide_environment() -> Mapping[str, str]:
    lines = guide_lines("AIRFLOW__SCHEDULER__MP_", WORKERS)
    return dict(line.split("=", 1) for line in reversed(lines))  # the first of two is recommended


@pytest.mark.parametrize(
    "environment", [compose_environment(), guide_environment()], ids=["compose", "guide"]
)
def test_every_place_sets_the_same(environment: Mapping[str, str]) -> None:
    assert environment[START_METHOD] == "forkserver"
    assert environment[PRELOAD] == "extend_pipeline.preload"
    heartbeats = {name: value for name, value in environment.items() if name.startswith(WORKERS)}
    assert heartbeats == {f"{WORKERS}{name.upper()}": str(value) for name, value in HEARTBEATS.items()}


def test_a_task_imports_next_to_nothing(tmp_path: Path) -> None:
    program = tmp_path / "scheduler"  # a script without an ending, as `airflow` is
    program.write_text(FORKED)
    environment = {
        **os.environ,
        **guide_environment(),
        "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("dags", "include", "plugins")),
        "TASK": TASK.format(file=str(ROOT / "dags" / "extend_nightly.py")),
    }
    done = subprocess.run(
        [sys.executable, program], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    frozen, *names = done.stdout.splitlines()[-1].split()
    imported = {name for name in names if name not in DAG_FILES}
    assert len(imported) <= 10, imported  # 600 without
    assert int(frozen) > 100_000, "a task looks through all that was preloaded for garbage"


def test_where_the_project_changes_only_other_modules_are_preloaded() -> None:
    assert guide_lines(PRELOAD)[1] == f"{PRELOAD}={','.join(PRELOADED)}"
    assert not {name.partition(".")[0] for name in PRELOADED} & {"extend_pipeline", "extend_provider"}
