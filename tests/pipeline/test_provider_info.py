"""What Airflow is told of the distribution: the provider, with what the pipeline adds."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import airflow
import jsonschema

from extend_pipeline.get_provider_info import get_provider_info
from extend_provider.get_provider_info import get_provider_info as get_extend_info

INFO = get_provider_info()


def test_airflow_finds_it_by_the_distributions_only_entry_point() -> None:
    (found,) = (e for e in entry_points(group="apache_airflow_provider") if "extend" in e.value)
    assert found.load()() == INFO


def test_provider_info_satisfies_airflows_schema() -> None:
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(INFO, schema)


def test_everything_of_the_provider_is_in_it() -> None:
    extend = get_extend_info()
    assert INFO["connection-types"][0] == extend["connection-types"][0]
    assert {key: INFO[key] for key in extend if key != "connection-types"} == {
        key: value for key, value in extend.items() if key != "connection-types"
    }


def test_the_converter_that_it_names_exists() -> None:
    (uris,) = INFO["asset-uris"]
    module, name = uris["to_openlineage_converter"].rsplit(".", 1)
    assert callable(getattr(importlib.import_module(module), name))


def test_airflow_reads_it_in_every_process_so_it_imports_nothing() -> None:
    script = "import sys; import extend_pipeline.get_provider_info; print(sorted(sys.modules))"
    modules = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert "airflow" not in modules
    assert "extend_provider.client" not in modules
    assert "extend_pipeline.warehouse" not in modules
