"""The ground every test stands on: an Airflow home of its own, and the stand-ins as real processes."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

# Airflow reads these when it is first imported, which a test module may do at its top.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="extend-airflow-home-"))
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
os.environ.setdefault("AIRFLOW__CORE__DAGS_FOLDER", str(Path(__file__).parents[1] / "dags"))
os.environ.setdefault("AIRFLOW__CORE__PLUGINS_FOLDER", str(Path(__file__).parents[1] / "plugins"))
os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING")

pytest_plugins = ["fixtures.extend_api", "fixtures.s3", "fixtures.dag_runs"]
