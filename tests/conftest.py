"""The ground every test stands on: an Airflow home of its own, and the stand-ins as real processes."""

from __future__ import annotations

import os
import tempfile

# Airflow reads these when it is first imported, which a test module may do at its top.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="extend-airflow-home-"))
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
os.environ.setdefault("AIRFLOW__CORE__UNIT_TEST_MODE", "False")
os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING")

pytest_plugins = ["fixtures.extend_api", "fixtures.s3"]
