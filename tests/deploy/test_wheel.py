"""The wheel: what is in it, what it says of itself, and that an Airflow which has it finds it."""

from __future__ import annotations

import json
import re
import zipfile
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

from extend_pipeline.connection_types import DESTINATIONS
from extend_provider import __version__
from fixtures.airflow.commands import run_commands
from fixtures.guides import ROOT, SHELL, Place, blocks, lines


def test_it_has_both_packages_and_nothing_of_the_sandbox_or_the_tests(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "extend_pipeline",
        "extend_provider",
        f"airflow_provider_extend-{__version__}.dist-info",
    }
    for package, folder in {"extend_provider": "plugins", "extend_pipeline": "include"}.items():
        source = ROOT / folder / package
        modules = {str(path.relative_to(source.parent)) for path in source.rglob("*.py")}
        assert modules <= set(names)
        assert f"{package}/py.typed" in names
    files = ROOT / "include/extend_pipeline/page/static"
    of_the_page = {str(path.relative_to(ROOT / "include")) for path in files.rglob("*") if path.is_file()}
    assert len(of_the_page) > 20
    assert of_the_page <= set(names)


def test_it_says_what_it_needs(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        info = f"airflow_provider_extend-{__version__}.dist-info"
        metadata = HeaderParser().parsestr(archive.read(f"{info}/METADATA").decode())
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
    assert (metadata["Name"], metadata["Version"]) == ("airflow-provider-extend", __version__)
    assert set(metadata["Requires-Python"].split(",")) == {">=3.11", "!=3.15.*"}
    assert "apache-airflow<4,>=3.3" in (metadata.get_all("Requires-Dist") or [])
    extras = set(metadata.get_all("Provides-Extra") or [])
    assert {
        "pipeline",
        "bigquery",
        "databricks",
        "postgres",
        "redshift",
        "snowflake",
        "gcs",
        "azure",
    } <= extras
    assert "dev" not in extras
    assert "provider_info = extend_pipeline.get_provider_info:get_provider_info" in entry_points


def test_an_airflow_that_has_it_imports_it_and_nothing_else_has_moved(installed: Place, wheel: Path) -> None:
    script = (
        "import json, extend_pipeline, extend_provider; from importlib.metadata import distributions; "
        "print(json.dumps([extend_pipeline.__file__, extend_provider.__file__, "
        "{d.name: d.version for d in distributions()}]))"
    )
    pipeline, provider, versions = json.loads(installed.run(f"cd / && python -c '{script}'"))
    assert Path(pipeline).is_relative_to(installed.environment)
    assert Path(provider).is_relative_to(installed.environment)
    assert versions.pop("airflow-provider-extend") == __version__
    before = dict(line.split("==") for line in installed.constraints.read_text().split())
    assert versions == before


def test_the_readmes_commands_are_stored_as_what_they_are(
    installed: Place, airflow_database: None, tmp_path: Path
) -> None:
    (block,) = (
        text for text in blocks(ROOT / "README.md", "In your own Airflow") if "connections add" in text
    )
    typed = [line.replace("$EXTEND_API_KEY", "sk_1") for line in lines(block, "airflow")]
    assert len(typed) == len(block.replace("\\\n", "").splitlines())
    printed, stored = run_commands(
        [*typed, "airflow providers list --output plain"],
        tmp_path,
        python=str(installed.python),
        PYTHONPATH="",
        AIRFLOW__CORE__PLUGINS_FOLDER=str(tmp_path),
        COLUMNS="250",
    )
    assert "airflow-provider-extend" in printed
    assert "invalid" not in printed
    types = {body["connection_id"]: body["conn_type"] for body in stored["connections"]}
    assert (
        types.items()
        >= {"extend_default": "extend", "aws_default": "aws", "warehouse_default": "duckdb"}.items()
    )
    assert stored["pools"]["extend"][::2] == [4, True]
    assert stored["pools"]["extend_warehouse"][::2] == [2, False]
    assert {"extend_source", "extend_workflow_id", "extend_workspace"} <= set(stored["variables"])


def test_no_connection_of_the_guides_is_stored_as_generic(
    installed: Place, airflow_database: None, tmp_path: Path
) -> None:
    guides = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    shells = [block for guide in guides for block in SHELL.findall(guide.read_text())]
    typed = [line for block in shells for line in lines(block, "airflow connections add")]
    kinds = {
        f"of_the_guides_{number}": line.partition("--conn-type ")[2].split()[0]
        for number, line in enumerate(typed)
    }
    assert set(kinds.values()) == {*DESTINATIONS, "aws", "extend", "wasb"} - {"snowflake"}
    named = (
        re.sub(r"(?<=connections add )\S+", conn_id, line) for conn_id, line in zip(kinds, typed, strict=True)
    )
    _, stored = run_commands(named, tmp_path, python=str(installed.python), PYTHONPATH="")
    found = {body["connection_id"]: body["conn_type"] for body in stored["connections"]}
    assert {conn_id: found.get(conn_id) for conn_id in kinds} == kinds


def test_the_wheel_goes_into_a_zip_as_mwaa_takes_it(installed: Place, wheel: Path) -> None:
    (build, *_) = blocks(ROOT / "docs" / "deploying.md", "MWAA")
    installed.run(build)
    with zipfile.ZipFile(installed.project / "dist" / "plugins.zip") as archive:
        assert archive.namelist() == [wheel.name]
