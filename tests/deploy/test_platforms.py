"""The files of each platform name what there is, and their steps run, as commands, where an Airflow is."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from extend_provider import __version__
from fixtures.airflow.commands import run_commands
from fixtures.dockerfiles import ignored, instructions
from fixtures.guides import ROOT, Place, make_place

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COMPOSE = ROOT / "deploy" / "docker" / "compose.yaml"


def requirements(file: Path) -> list[Requirement]:
    """Return what a requirements file asks for, without its options and comments."""
    lines = [line.strip() for line in file.read_text().splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "--"))]


# Astro


def test_astros_image_brings_airflow_33_and_the_rest_is_asked_for() -> None:
    (source,) = [given for name, given in instructions(ROOT / "Dockerfile") if name == "FROM"]
    assert re.fullmatch(r"astrocrpublic\.azurecr\.io/runtime:3\.3-\d+", source)
    needed = {*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["pipeline"]}
    asked = {str(requirement) for requirement in requirements(ROOT / "requirements.txt")}
    assert asked == {text for text in needed if not text.startswith("apache-airflow>")}
    assert [line for line in (ROOT / "packages.txt").read_text().splitlines() if line] == []
    assert yaml.safe_load((ROOT / ".astro" / "config.yaml").read_text()) == {"project": {"name": "extend"}}


@pytest.mark.parametrize(
    ("path", "left_out"),
    [
        ("pyproject.toml", False),
        ("README.md", False),
        ("dags/extend_nightly.py", False),
        ("plugins/.airflowignore", False),
        ("include/extend_pipeline/group.py", False),
        ("include/sandbox/airflow_settings.py", True),
        ("plugins/extend_provider/__pycache__/api.pyc", True),
        ("airflow_settings.yaml", True),
        ("constraints.txt", True),
        (".env", True),
        ("tests/conftest.py", True),
        (".venv/bin/python", True),
    ],
)
def test_an_image_gets_what_is_run_and_no_secret(path: str, left_out: bool) -> None:
    assert ignored(path) is left_out


@pytest.mark.full
def test_astros_steps_leave_an_airflow_that_runs_the_project_from_its_place(tmp_path: Path) -> None:
    place = make_place(tmp_path / "astro")
    for path in sorted(place.project.rglob("*"), reverse=True):
        if ignored(str(path.relative_to(place.project))):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    place.run("pip install --no-deps -r requirements.txt")  # what the image does, and it changes nothing
    for name, given in instructions(ROOT / "Dockerfile"):
        if name == "RUN":
            place.run(given)
    found = place.run(
        "cd / && python -c 'import extend_pipeline.dag.documents; print(extend_pipeline.__file__)'"
    )
    assert found.strip() == str(place.project / "include" / "extend_pipeline" / "__init__.py")
    told = place.run(
        "python -c 'from importlib.metadata import entry_points; "
        '(found,) = [e for e in entry_points(group="apache_airflow_provider") if "extend" in e.value]; '
        'types = {t["connection-type"] for t in found.load()()["connection-types"]}; '
        'print(sorted({"extend", "duckdb"} & types))\''
    )
    assert told.strip() == "['duckdb', 'extend']"


# Docker Compose


def test_the_official_images_steps_install_the_extras_and_move_nothing(tmp_path: Path) -> None:
    place = make_place(tmp_path / "docker")
    steps = instructions(ROOT / "deploy" / "docker" / "Dockerfile")
    copied = [given.split()[1:-1] for name, given in steps if name == "COPY"]
    assert all((ROOT / source).exists() and not ignored(source) for sources in copied for source in sources)
    (install,) = [given for name, given in steps if name == "RUN" and given.startswith("pip")]
    version = dict(line.split("==") for line in place.constraints.read_text().split())["apache-airflow"]
    place.run(
        f"export AIRFLOW_VERSION={version} EXTRAS=pipeline,postgres\n"
        + install.replace("/opt/extend", str(place.project)).replace(
            "${HOME}/constraints.txt", str(place.constraints)
        )
    )
    assert (
        place.run("cd / && python -c 'import extend_provider as e; print(e.__version__)'").strip()
        == __version__
    )


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load(COMPOSE.read_text())


def test_compose_has_every_component_and_names_what_there_is(compose: Any) -> None:
    services = compose["services"]
    commands = {name: service.get("command") for name, service in services.items()}
    assert {"api-server", "scheduler", "dag-processor", "triggerer"} <= {
        command for command in commands.values() if isinstance(command, str)
    }
    for name, service in services.items():
        build = service.get("build")
        if build:
            context = (COMPOSE.parent / build["context"]).resolve()
            assert context == ROOT
            assert (context / build["dockerfile"]).is_file()
        for other, wanted in service.get("depends_on", {}).items():
            condition = wanted["condition"]
            assert (condition == "service_healthy") is ("healthcheck" in services[other]), name
        for volume in service.get("volumes", ()):
            assert volume.split(":")[0] in compose["volumes"], name


def test_compose_sets_options_that_airflow_has(compose: Any) -> None:
    from airflow.configuration import conf

    environment = compose["services"]["scheduler"]["environment"]
    for name in environment:
        _, section, option = name.split("__")
        if option.startswith("MP_") and section in ("SCHEDULER", "TRIGGERER", "DAG_PROCESSOR"):
            section = "CORE"  # which describes what each component may override
        assert option.lower() in conf.configuration_description[section.lower()]["options"], name
    secret = {name for name, value in environment.items() if value.startswith("${")}
    assert secret == {
        "AIRFLOW__CORE__FERNET_KEY",
        "AIRFLOW__API__SECRET_KEY",
        "AIRFLOW__API_AUTH__JWT_SECRET",
    }


def test_compose_makes_both_pools(compose: Any, airflow_database: None, tmp_path: Path) -> None:
    *_, script = compose["services"]["init"]["command"]
    first, *rest = script.splitlines()
    assert first == "airflow db migrate"
    _, stored = run_commands(rest, tmp_path)
    assert stored["pools"]["extend"][::2] == [4, True]
    assert stored["pools"]["extend_warehouse"][::2] == [2, False]


# MWAA, Cloud Composer


def test_mwaa_installs_the_wheel_that_its_zip_brings() -> None:
    file = ROOT / "deploy" / "mwaa" / "requirements.txt"
    (ours,) = requirements(file)
    assert (ours.name, ours.extras) == ("airflow-provider-extend", {"pipeline"})
    assert (
        ours.url
        == f"file:///usr/local/airflow/plugins/airflow_provider_extend-{__version__}-py3-none-any.whl"
    )
    (option,) = re.findall(r"^--constraint \"(.+)\"$", file.read_text(), re.MULTILINE)
    assert re.fullmatch(
        r"https://raw\.githubusercontent\.com/apache/airflow/constraints-3\.3\.\d+/constraints-3\.1[123]\.txt",
        option,
    )


def test_mwaas_requirements_install(installed: Place, wheel: Path, tmp_path: Path) -> None:
    place = make_place(tmp_path / "mwaa")
    shutil.copy(wheel, tmp_path)
    file = place.project / "deploy" / "mwaa" / "requirements.txt"
    text = file.read_text().replace("/usr/local/airflow/plugins", str(tmp_path))
    file.write_text(re.sub(r'"https://raw[^"]+"', f'"{place.constraints}"', text))
    place.run("pip install -r deploy/mwaa/requirements.txt")
    assert (
        place.run("cd / && python -c 'import extend_provider as e; print(e.__version__)'").strip()
        == __version__
    )


def test_composer_asks_for_a_name_and_a_version_only(installed: Place, tmp_path: Path) -> None:
    file = ROOT / "deploy" / "composer" / "requirements.txt"
    assert file.read_text() == f"airflow-provider-extend[pipeline]=={__version__}\n"
    place = make_place(tmp_path / "composer")
    place.run(f"pip install --find-links {installed.project / 'dist'} -r deploy/composer/requirements.txt")
    assert (
        place.run("cd / && python -c 'import extend_provider as e; print(e.__version__)'").strip()
        == __version__
    )
