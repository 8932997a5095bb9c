"""From S3 through Extend into warehouse tables.

A DAG calls :func:`documents_to_warehouse`, :func:`reviews_to_warehouse` for what reviewers have decided
since, and :func:`replay_to_warehouse` to rebuild tables. A DAG that works on what has landed is scheduled on
:func:`landed_table`. They take the objects of :mod:`extend_pipeline.config`; :func:`day_folders` writes the
folders of some days as a source. Everything is imported on first use, so that the modules that know nothing
of Airflow stay cheap to import.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from extend_pipeline.config import (
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
    )
    from extend_pipeline.dag.documents import documents_to_warehouse
    from extend_pipeline.dag.lineage import landed_table
    from extend_pipeline.dag.replay import replay_to_warehouse
    from extend_pipeline.dag.reviews import reviews_to_warehouse
    from extend_pipeline.sources.addresses import day_folders

__all__ = [
    "GCS",
    "S3",
    "Arrivals",
    "Azure",
    "Budget",
    "Deployment",
    "Execution",
    "Files",
    "Quality",
    "Reprocess",
    "Warehouse",
    "Workflow",
    "day_folders",
    "documents_to_warehouse",
    "landed_table",
    "replay_to_warehouse",
    "reviews_to_warehouse",
]

#: Where the functions live; every other name is an object of ``config``.
_HOMES = {
    "day_folders": "sources.addresses",
    "documents_to_warehouse": "dag.documents",
    "landed_table": "dag.lineage",
    "replay_to_warehouse": "dag.replay",
    "reviews_to_warehouse": "dag.reviews",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'config')}"), name)
