"""From S3 through Extend into warehouse tables.

What a DAG calls is :func:`documents_to_warehouse`, and :func:`reviews_to_warehouse` for what reviewers have
decided since, and :func:`replay_to_warehouse` to rebuild tables; a DAG that works on what has landed is
scheduled on :func:`landed_table`. :func:`day_folders` writes the folders of some days as a source. They are
imported on first use, so that the modules that know nothing of Airflow stay cheap to import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from extend_pipeline.dag.assets import landed_table
    from extend_pipeline.dag.documents import documents_to_warehouse
    from extend_pipeline.dag.replay import replay_to_warehouse
    from extend_pipeline.dag.reviews import reviews_to_warehouse
    from extend_pipeline.sources.addresses import day_folders

__all__ = [
    "day_folders",
    "documents_to_warehouse",
    "landed_table",
    "replay_to_warehouse",
    "reviews_to_warehouse",
]


def __getattr__(name: str) -> Any:
    if name == "documents_to_warehouse":
        from extend_pipeline.dag.documents import documents_to_warehouse

        return documents_to_warehouse
    if name == "reviews_to_warehouse":
        from extend_pipeline.dag.reviews import reviews_to_warehouse

        return reviews_to_warehouse
    if name == "replay_to_warehouse":
        from extend_pipeline.dag.replay import replay_to_warehouse

        return replay_to_warehouse
    if name == "day_folders":
        from extend_pipeline.sources.addresses import day_folders

        return day_folders
    if name == "landed_table":
        from extend_pipeline.dag.assets import landed_table

        return landed_table
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
