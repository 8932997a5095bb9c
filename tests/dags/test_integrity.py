"""What a DAG file must be before anybody runs it: importable, cheap, silent, described."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DAGS = Path(__file__).parents[2] / "dags"
FILES = sorted(DAGS.glob("*.py"))

#: Runs in a process of its own: parses all DAG files with every way to the outside closed.
PARSE_SEALED = """
import json, socket, sys, time

def closed(*arguments, **options):
    raise AssertionError("a DAG file opened a connection while it was parsed")

started = time.process_time()
from airflow.sdk import DAG
baseline = time.process_time() - started

from airflow.sdk import Connection, Variable
socket.socket.connect = closed
socket.create_connection = closed
Variable.get = classmethod(closed)
Connection.get = classmethod(closed)

import importlib.util
started = time.process_time()
for number, file in enumerate(sys.argv[1:]):
    spec = importlib.util.spec_from_file_location(f"parsed_{number}", file)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
own = time.process_time() - started

heavy = ["duckdb", "boto3", "botocore", "pyarrow", "pandas", "dlt", "aiohttp", "requests", "s3fs"]
loaded = [name for name in heavy if name in sys.modules]
print(json.dumps({"baseline": baseline, "own": own, "loaded": loaded}))
"""


@pytest.fixture(scope="module")
def dag_bag() -> Any:
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=str(DAGS))


def test_every_file_imports_and_holds_a_dag(dag_bag: Any) -> None:
    assert dag_bag.import_errors == {}
    named = {"extend_arrivals", "extend_nightly", "extend_on_demand", "extend_replay", "extend_reviews"}
    assert named <= set(dag_bag.dags)


def test_every_dag_is_described_owned_tagged_and_retried(dag_bag: Any) -> None:
    for dag in dag_bag.dags.values():
        assert dag.tags
        assert dag.doc_md
        assert dag.description
        assert dag.default_args["retries"] >= 2
        for task in dag.tasks:
            assert task.owner not in ("", "airflow")
            assert task.retries >= 2
            assert task.has_retry_policy


def test_arrivals_start_runs_by_a_watcher_that_airflow_can_store(dag_bag: Any) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    stored = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag_bag.dags["extend_arrivals"]))
    ((_, asset),) = stored.timetable.asset_condition.iter_assets()
    (watcher,) = asset.watchers
    assert watcher.trigger["classpath"] == "extend_pipeline.arrivals.trigger.ArrivalsTrigger"
    assert watcher.trigger["kwargs"]["queue"] == "{{ var.value.extend_arrivals_queue }}"


def test_nightly_runs_over_intervals_that_have_a_length(dag_bag: Any) -> None:
    dag = dag_bag.dags["extend_nightly"]
    assert type(dag.timetable).__name__ == "CronDataIntervalTimetable"
    assert not dag.catchup


def test_form_describes_every_field_in_sections(dag_bag: Any) -> None:
    params = dag_bag.dags["extend_on_demand"].params
    for name in params:
        param = params.get_param(name)
        assert param.description, name
        assert param.schema.get("title"), name
        assert param.schema.get("type"), name
    sections = [params.get_param(name).schema["section"] for name in params]
    assert list(dict.fromkeys(sections)) == ["Source", "Workflow", "Bounds", "Advanced"]
    assert sections == sorted(sections, key=list(dict.fromkeys(sections)).index)


def test_dags_share_one_deployment(dag_bag: Any) -> None:
    first = {"discover", "find"}
    for dag in dag_bag.dags.values():
        (settings,) = [task.op_args[0] for task in dag.tasks if task.task_id.rpartition(".")[2] in first]
        assert settings["workspace"] == "{{ var.value.extend_workspace }}"


def test_parsing_is_sealed_and_loads_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PARSE_SEALED, *map(str, FILES)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},  # with dags/, as Airflow has it
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured["loaded"] == []
    # All files, and all of the project that they import, against Airflow's own import in the same process.
    assert measured["own"] < measured["baseline"]
