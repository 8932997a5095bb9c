"""The ground every test stands on: an Airflow home of its own, and the stand-ins as real processes."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import hypothesis

# How long an example takes, or takes to be made up, says something about the machine alone.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

# Airflow reads these when it is first imported, which a test module may do at its top. Of tests that run side
# by side, each process has a home, and so a database, of its own.
_own_home = None
if "AIRFLOW_HOME" not in os.environ or "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["AIRFLOW_HOME"] = _own_home = tempfile.mkdtemp(prefix="extend-airflow-home-")
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
os.environ.setdefault("AIRFLOW__CORE__PLUGINS_FOLDER", str(Path(__file__).parents[1] / "plugins"))
os.environ.setdefault(
    "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST",
    json.dumps(
        [
            {
                "name": name,
                "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                "kwargs": {"path": str(Path(__file__).parents[1] / folder)},
            }
            for name, folder in {"dags-folder": "dags", "examples": "tests/dags/examples"}.items()
        ]
    ),
)
os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING")


def pytest_unconfigure() -> None:
    """Remove the home of this process."""
    if _own_home is not None:
        shutil.rmtree(_own_home, ignore_errors=True)


pytest_plugins = [
    "fixtures.engines.parsed",
    "fixtures.engines.bigquery",
    "fixtures.extend.api",
    "fixtures.extend.pacing",
    "fixtures.sources.s3",
    "fixtures.sources.sqs",
    "fixtures.sources.arrivals",
    "fixtures.sources.web",
    "fixtures.sources.gcs",
    "fixtures.airflow.quick",
    "fixtures.airflow.object_storage",
    "fixtures.airflow.dag_runs",
    "fixtures.airflow.stack",
    "fixtures.airflow.machines",
    "fixtures.engines.postgres",
    "fixtures.engines.redshift",
    "fixtures.engines.minilake",
    "fixtures.engines.databricks",
    "fixtures.tiers",
    "fixtures.webhooks.delivered",
    "fixtures.tasks.xcoms",
    "fixtures.webhooks.payload_host",
    "fixtures.webhooks.receiver",
    "fixtures.page.browser",
    "fixtures.page.server",
]
