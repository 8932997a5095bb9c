"""All that tasks import, for the process that Airflow forks them from: ``[scheduler] mp_forkserver_preload``.

Not for a place where this project's modules change under a running scheduler: tasks would not see that. What
to preload there is in docs/deploying.md.
"""

# ruff: noqa: F401, TID253

from __future__ import annotations

import gc

import airflow.dag_processing.dagbag
import airflow.executors.local_executor
import airflow.providers.amazon.aws.hooks.s3
import airflow.providers.http.hooks.http
import airflow.providers.standard.decorators.python
import airflow.sdk.execution_time.task_runner
import duckdb

import extend_pipeline.dag.documents
import extend_pipeline.sources.s3.store
import extend_pipeline.warehouse.duckdb_file
import extend_provider.hooks.extend_async

# Otherwise each task's garbage collector goes through all of these objects once. That takes 0.2 s of CPU
# (measured), and copies their memory.
gc.collect()
gc.freeze()
