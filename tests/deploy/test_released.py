"""The wheel beside Airflow as it is released: from PyPI, with constraints as Airflow publishes them."""

from __future__ import annotations

import subprocess
from importlib.metadata import distribution
from pathlib import Path

import pytest

from fixtures.environments import uv
from fixtures.guides import CONSTRAINTS_URL, ROOT, Place, blocks, copy_project

pytestmark = [pytest.mark.network, pytest.mark.timeout(1200)]

RELEASES = ("3.3.2", "3.4.0b2")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def found_python(version: str) -> str:
    """Return the interpreter of a version, or skip: this machine has none."""
    try:
        return uv("python", "find", "--no-python-downloads", version).strip()
    except subprocess.CalledProcessError:
        pytest.skip(f"Python {version} is not on this machine")


def constraints(airflow: str, python: str) -> str:
    """Return what stands for the constraints that Airflow publishes: what fits beside official providers."""
    providers = (
        "amazon[s3fs]",
        "http",
        "postgres",
        "snowflake",
        "databricks",
        "microsoft-azure",
        "openlineage",
    )
    wanted = [
        f"apache-airflow=={airflow}",
        f"apache-airflow-core=={airflow}",
        *(
            "apache-airflow-task-sdk>=1.0.0b1",
            "apache-airflow-ctl>=0.1.0b1",
        ),  # pre-releases of these count too
        *(f"apache-airflow-providers-{provider}" for provider in providers),
    ]
    return uv(
        *("pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python-version", python, "-"),
        given="\n".join(wanted),
    )


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("airflow", RELEASES)
def test_the_guide_installs_it_and_nothing_that_was_there_moves(
    airflow: str, python: str, tmp_path: Path
) -> None:
    environment = tmp_path / "environment"
    uv("venv", "--quiet", "--seed", "--python", found_python(python), str(environment))
    interpreter = str(environment / "bin" / "python")
    published = tmp_path / "constraints.txt"
    published.write_text(constraints(airflow, python))
    place = Place(environment, copy_project(tmp_path / "project"), published)
    installation = ("pip", "install", "--quiet", "--python", interpreter, "--constraint", str(published))
    uv(*installation, f"apache-airflow=={airflow}", f"apache-airflow-core=={airflow}")
    before = uv("pip", "freeze", "--quiet", "--python", interpreter).splitlines()

    (guide,) = (block for block in blocks(ROOT / "README.md", "In your own Airflow") if "pip wheel" in block)
    assert CONSTRAINTS_URL.search(guide)
    place.run(guide, offline=False)

    after = uv("pip", "freeze", "--quiet", "--python", interpreter).splitlines()
    assert set(before) <= set(after)
    assert f"apache-airflow=={airflow}" in after
    place.run("cd / && python -c 'import extend_pipeline.dag.documents, extend_provider.operators'")
    listed = place.run(f"cd / && AIRFLOW_HOME={tmp_path / 'home'} airflow providers list --output plain")
    assert "airflow-provider-extend" in listed


@pytest.mark.parametrize("python", PYTHONS)
def test_every_extra_fits_to_what_a_python_gets_of_airflow(python: str) -> None:
    project = f"airflow-provider-extend[pipeline,all] @ {ROOT.as_uri()}"
    told = uv(
        *("pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python-version", python, "-"),
        given=f"{project}\napache-airflow==3.3.2\n",
    )
    assert "apache-airflow==3.3.2" in told.splitlines()


@pytest.mark.parametrize("airflow", ["3.1.8", "3.2.1"])
def test_beside_an_airflow_that_is_too_old_it_cannot_be_installed(airflow: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        uv(
            *("pip", "compile", "--quiet", "--python-version", "3.12", "-"),
            given=f"airflow-provider-extend @ {ROOT.as_uri()}\napache-airflow=={airflow}\n",
        )
    assert "apache-airflow>=3.3" in refused.value.stderr


def test_constraints_of_the_repository_are_those_it_is_developed_with() -> None:
    pins = dict(
        line.partition(" ")[0].split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    assert pins["apache-airflow"] == distribution("apache-airflow").version
