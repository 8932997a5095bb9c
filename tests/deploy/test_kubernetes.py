"""The values for Airflow's Helm chart: keys that it has, no shared disk, no secret; and their image."""

from __future__ import annotations

import importlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk.definitions.connection import Connection
from jsonschema import Draft7Validator

from extend_pipeline.cli import sizing
from extend_pipeline.connection_types import DESTINATIONS
from extend_provider import __version__
from fixtures.airflow.commands import run_commands
from fixtures.dockerfiles import ignored, instructions
from fixtures.guides import ROOT, Place, blocks, lines, make_place

FOLDER = ROOT / "deploy" / "kubernetes"
GUIDE = ROOT / "docs" / "deploying.md"
OVERLAYS = {"CeleryExecutor": "values-celery.yaml", "KubernetesExecutor": "values-kubernetes.yaml"}

_PERSISTENCE = {"persistence.enabled": bool}
_RESOURCES = {"resources.requests.cpu": str, "resources.requests.memory": str, "resources.limits.memory": str}
_BUDGET = {"podDisruptionBudget.enabled": bool}


def _below(prefix: str, *groups: Mapping[str, type]) -> dict[str, type]:
    return {f"{prefix}.{key}": kind for group in groups for key, kind in group.items()}


#: What ``values.schema.json`` of the chart 1.22.0 has, of the keys that we use. The schema itself has 830 kB.
#: Below ``config`` the chart takes everything; that is checked against Airflow.
CHART_KEYS: dict[str, type] = {
    "executor": str,
    "airflowVersion": str,
    "defaultAirflowRepository": str,
    "defaultAirflowTag": str,
    "env": list,
    "secret": list,
    "fernetKeySecretName": str,
    "apiSecretKeySecretName": str,
    "jwtSecretName": str,
    "data.metadataSecretName": str,
    "postgresql.enabled": bool,
    "migrateDatabaseJob.args": list,
    "createUserJob.enabled": bool,
    **_below("scheduler", {"replicas": int}, _RESOURCES, _BUDGET),
    **_below("apiServer", {"replicas": int}, _RESOURCES, _BUDGET),
    **_below("triggerer", {"replicas": int}, _PERSISTENCE, _RESOURCES, _BUDGET),
    **_below("dagProcessor", _RESOURCES),
    **_below("workers.celery", {"replicas": int, "terminationGracePeriodSeconds": int}, _PERSISTENCE),
    **_below("workers.celery", _RESOURCES, _BUDGET, {"podDisruptionBudget.config.maxUnavailable": int}),
    **_below("workers.kubernetes", {"serviceAccount.create": bool}, _RESOURCES),
}
#: Options of providers that are in the official image and not here.
OPTIONS_OF_PROVIDERS = {
    ("kubernetes_executor", "worker_pods_creation_batch_size"),
}


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Merge values as Helm does: maps by key, everything else as a whole."""
    return one | {
        key: merged(one[key], value) if isinstance(value, dict) and key in one else value
        for key, value in other.items()
    }


def values_for(executor: str) -> dict[str, Any]:
    """Return the values with the overlay of an executor."""
    common, overlay = (
        yaml.safe_load((FOLDER / name).read_text()) for name in ("values.yaml", OVERLAYS[executor])
    )
    return merged(common, overlay)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the key paths that end in something else than a map."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else key)
    else:
        yield path, value


@pytest.fixture(params=OVERLAYS)
def executor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def values(executor: str) -> dict[str, Any]:
    return values_for(executor)


def test_each_overlay_has_its_executor(executor: str, values: dict[str, Any]) -> None:
    assert values["executor"] == executor
    workers = {"CeleryExecutor": {"celery"}, "KubernetesExecutor": {"kubernetes"}}
    assert set(values["workers"]) == workers[executor]


def test_the_chart_has_every_key() -> None:
    used = dict(
        leaf
        for executor in OVERLAYS
        for leaf in leaves(values_for(executor))
        if not leaf[0].startswith("config.")
    )
    assert {path: type(value) for path, value in used.items()} == CHART_KEYS


def test_the_values_fit_the_charts_schema(values: dict[str, Any]) -> None:
    place = os.environ.get("AIRFLOW_CHART")
    if not place:
        pytest.skip(
            "the chart is not here: set AIRFLOW_CHART to the folder that "
            "`helm pull apache-airflow/airflow --version 1.22.0 --untar` makes"
        )
    schema = json.loads((Path(place) / "values.schema.json").read_text())
    defaults = yaml.safe_load((Path(place) / "values.yaml").read_text())
    validator = Draft7Validator(schema)
    assert [error.message for error in validator.iter_errors(values)] == []
    assert [error.message for error in validator.iter_errors(merged(defaults, values))] == []
    # The schema lets unknown keys pass at its top level, and in some maps.
    assert [path for path in CHART_KEYS if not _has(schema, schema, path.split("."))] == []


def _has(schema: dict[str, Any], node: dict[str, Any], path: list[str]) -> bool:
    if not path:
        return True
    if "$ref" in node:
        node = {**schema["definitions"][node["$ref"].rpartition("/")[2]], **node}
    inner = node.get("properties", {}).get(path[0])
    if inner is None and isinstance(node.get("additionalProperties"), dict):
        inner = node["additionalProperties"]
    return inner is not None and _has(schema, inner, path[1:])


def test_airflow_has_every_option(values: dict[str, Any]) -> None:
    from airflow.configuration import conf

    options = {
        (section, option) for section, options in values["config"].items() for option in options
    } - OPTIONS_OF_PROVIDERS
    known = conf.configuration_description
    assert [each for each in options if each[1] not in known[each[0]]["options"]] == []
    module, _, name = values["config"]["core"]["hostname_callable"].rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))


def test_options_that_a_lost_machine_depends_on_have_the_defaults_of_the_guide() -> None:
    from airflow.configuration import conf
    from airflow.providers.celery.executors import default_celery

    found = re.findall(r"^\| `\[(\w+)\] (\w+)` \| ([\d,]+|true)", GUIDE.read_text(), re.MULTILINE)
    said = {(section, option): value.replace(",", "") for section, option, value in found}
    known = conf.configuration_description
    defaults = {each: known[each[0]]["options"][each[1]]["default"] for each in said}
    # The provider sets this one in its code, if nobody else does.
    broker = default_celery.get_default_celery_config(conf)["broker_transport_options"]
    defaults["celery_broker_transport_options", "visibility_timeout"] = broker["visibility_timeout"]
    assert {each: str(value).lower().removesuffix(".0") for each, value in defaults.items()} == said
    assert len(said) == 4


def test_no_disk_is_shared(values: dict[str, Any]) -> None:
    paths = dict(leaves(values))
    assert {value for path, value in paths.items() if path.endswith("persistence.enabled")} == {False}
    assert not any("file://" in str(value) or "duckdb" in str(value).lower() for value in paths.values())
    variables = {each["name"]: each["value"] for each in values["env"]}
    assert variables["AIRFLOW_VAR_EXTEND_WORKSPACE"].startswith("s3://aws_default@")
    logging = values["config"]["logging"]
    assert logging["remote_logging"] == "True"
    assert logging["remote_base_log_folder"].startswith("s3://")


def test_what_waits_survives_a_node(values: dict[str, Any]) -> None:
    for component in ("scheduler", "apiServer", "triggerer"):
        assert values[component]["replicas"] >= 2
        assert values[component]["podDisruptionBudget"]["enabled"] is True


def test_workers_are_as_large_as_the_sizing_says() -> None:
    values = values_for("CeleryExecutor")
    assert values["config"]["celery"]["worker_concurrency"] == sizing.SLOTS_PER_WORKER
    needed = sizing.SLOTS_PER_WORKER * sizing.TASK_MEGABYTES * 1e6
    limit = values["workers"]["celery"]["resources"]["limits"]["memory"]
    assert int(limit.removesuffix("Gi")) * 2**30 > 1.5 * needed
    pod = values_for("KubernetesExecutor")["workers"]["kubernetes"]["resources"]["limits"]["memory"]
    assert int(pod.removesuffix("Gi")) * 2**30 > 1.5 * sizing.TASK_MEGABYTES * 1e6


def test_a_job_makes_both_pools(values: dict[str, Any], airflow_database: None, tmp_path: Path) -> None:
    *_, script = values["migrateDatabaseJob"]["args"]
    first, *rest = script.splitlines()
    assert first == "airflow db migrate"
    assert "{{" not in script  # the chart would render it
    _, stored = run_commands(rest, tmp_path)
    assert stored["pools"]["extend"][::2] == [16, True]
    assert stored["pools"]["extend_warehouse"][::2] == [1, False]


def test_secrets_are_named_and_the_guide_makes_them(values: dict[str, Any], installed: Place) -> None:
    assert all(each["name"].startswith("AIRFLOW_VAR_EXTEND_") for each in values["env"])
    steps = blocks(GUIDE, "Kubernetes")
    (script,) = (block for block in steps if block.startswith("mkdir "))
    installed.run(script)
    made = {
        words[4]: installed.project / words[-1]
        for block in steps
        for line in lines(block, "kubectl create secret")
        if (words := line.split())
    }

    keys = {each["secretKey"]: each for each in values["secret"]}
    assert {each["secretName"] for each in keys.values()} == {"extend-connections"}
    stored = {file.name: file.read_text() for file in made["extend-connections"].iterdir()}
    assert set(stored) == set(keys)
    for conn_id, text in stored.items():
        assert keys[conn_id]["envName"] == f"AIRFLOW_CONN_{conn_id.upper()}"
        connection = Connection.from_json(text, conn_id=conn_id)
        assert connection.conn_type in {*DESTINATIONS, "aws", "extend"} - {"duckdb"}

    names = ("fernetKeySecretName", "apiSecretKeySecretName", "jwtSecretName")
    assert {values[name] for name in names} | {values["data"]["metadataSecretName"]} == {"airflow-secrets"}
    own = {file.name: file.read_text() for file in made["airflow-secrets"].iterdir()}
    assert set(own) == {"connection", "fernet-key", "api-secret-key", "jwt-secret"}
    assert all(text == text.strip() for text in own.values())


def test_the_guide_names_files_and_versions_that_are_there(values: dict[str, Any]) -> None:
    text = "\n".join(blocks(GUIDE, "Kubernetes"))
    assert set(re.findall(r"deploy/kubernetes/\S+", text)) == {
        "deploy/kubernetes/Dockerfile",
        "deploy/kubernetes/values.yaml",
        "deploy/kubernetes/values-celery.yaml",
    }
    assert f"{values['defaultAirflowRepository']}:{values['defaultAirflowTag']}" in text
    assert values["defaultAirflowTag"] == __version__
    versions = {
        re.search(r"^ARG AIRFLOW_VERSION=(\S+)$", file.read_text(), re.MULTILINE)[1]  # type: ignore[index]
        for file in (FOLDER / "Dockerfile", ROOT / "deploy" / "docker" / "Dockerfile")
    }
    assert versions == {values["airflowVersion"]}


def test_the_images_steps_build_the_wheel_and_install_it(tmp_path: Path) -> None:
    steps = instructions(FOLDER / "Dockerfile")
    bases = [given.split()[0] for name, given in steps if name == "FROM"]
    assert bases == ["apache/airflow:${AIRFLOW_VERSION}-python${PYTHON_VERSION}"] * 2
    sources = [
        source
        for name, given in steps
        if name == "COPY" and "--from" not in given
        for source in given.split()[1:-1]
    ]
    assert all((ROOT / source).exists() and not ignored(source) for source in sources)

    place = make_place(tmp_path / "image")
    version = dict(line.split("==") for line in place.constraints.read_text().split())["apache-airflow"]
    for command in (given for name, given in steps if name == "RUN"):
        here = command.replace("/tmp/extend", str(place.project)).replace("/tmp/dist", str(tmp_path / "dist"))
        here = here.replace("${HOME}/constraints.txt", str(place.constraints))
        place.run(f"export AIRFLOW_VERSION={version} EXTRAS=pipeline,postgres\n{here}")
    found = place.run("cd / && python -c 'import extend_pipeline as e; print(e.__file__)'").strip()
    assert Path(found).is_relative_to(place.environment)
