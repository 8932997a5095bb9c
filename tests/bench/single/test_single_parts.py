"""What discovery and parsing ask for and import: counters of a quick run, which no machine changes."""

from __future__ import annotations

from typing import Any

from bench.single import discovery, parsing
from bench.stack.overhead import DAG_FILES, EMPTY, OURS


def test_discovery_asks_for_a_page_of_a_thousand_keys_once_and_planning_for_none() -> None:
    keys = 3000
    (row,) = discovery.compared(keys, ["discover and plan"])
    assert row["requests"] == keys // 1000
    # Every thousandth object is empty: it is found, and not sent.
    assert row["documents"] == keys - keys // 1000


def test_a_dag_file_imports_no_heavy_library() -> None:
    (nightly,) = parsing.measured([parsing.DAGS / "extend_nightly.py"], 1)
    assert nightly["heavy libraries"] == "none"
    assert nightly["modules imported"] < 400


def test_the_empty_dag_has_the_shape_of_ours(airflow_database: None) -> None:
    assert shape(DAG_FILES[EMPTY]) == shape(DAG_FILES[OURS])


def shape(file: str) -> dict[str, tuple[list[str], bool, str]]:
    """Return what follows each task, whether it is mapped, and when it runs."""
    from airflow.dag_processing.dagbag import DagBag

    bag: Any = DagBag(file)
    assert bag.import_errors == {}
    ((_, dag),) = bag.dags.items()
    return {
        task.task_id: (
            sorted(task.downstream_task_ids),
            task.get_closest_mapped_task_group() is not None,
            str(task.trigger_rule),
        )
        for task in dag.tasks
    }
