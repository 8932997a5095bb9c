"""Every command and snippet of the documents runs, here or in the test that its line names."""

from __future__ import annotations

import datetime as dt
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from extend_pipeline.__main__ import main
from fixtures.airflow.commands import run_commands
from fixtures.airflow.dag_runs import Outside
from fixtures.guides import ROOT, messages, quotations
from sandbox.documents import generate

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "AGENTS.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
BLOCK = re.compile(
    r"(?:<!-- example: (?P<path>\S+) -->\n\n?)?^ *```(?P<kind>\w+)\n(?P<text>.*?)^ *```$", re.DOTALL | re.M
)

#: Commands that another test runs, by how they begin.
ELSEWHERE = {
    "python -m pip ": "tests/deploy/conftest.py",
    "AIRFLOW_VERSION=": "tests/deploy/conftest.py",
    "PYTHON_VERSION=": "tests/deploy/conftest.py",
    "airflow backfill create ": "tests/dags/test_lookback.py",
    "airflow extend cancel ": "tests/provider/cli/test_cancel.py",
    "airflow extend webhooks ": "tests/docs/test_webhooks.py",
    "uvicorn ": "tests/docs/test_webhooks.py",
}
#: Its commands ask for what is not on this machine: an account, Docker, a registry. They are checked
#: by tests/deploy/test_guide.py.
DEPLOYING = ROOT / "docs" / "deploying.md"


def blocks(kind: str) -> list[tuple[Path, re.Match[str]]]:
    """Return the documents' blocks of a language."""
    found = ((file, block) for file in DOCUMENTS for block in BLOCK.finditer(file.read_text()))
    return [(file, block) for file, block in found if block["kind"] == kind]


def commands(begin: str = "") -> Iterator[str]:
    """Return the commands of all shell blocks that begin so, continued lines joined.

    Blocks for AWS, whose arguments have several lines, are run as a whole by tests/docs/test_webhooks.py.
    """
    for file, block in blocks("bash"):
        if file != DEPLOYING and not block["text"].startswith("aws "):
            for line in block["text"].replace("\\\n", " ").splitlines():
                if line.strip().startswith(begin):
                    yield line.strip()


def words(command: str) -> list[str]:
    """Take a command apart as a shell does."""
    return shlex.split(command, comments=True)


def test_every_command_is_run_somewhere() -> None:
    here = [f"airflow {command} " for command in ("connections", "pools", "variables", "dags trigger")]
    here += ["make ", "python -m extend_pipeline ", ".venv/bin/python -m sandbox.documents "]
    known = (*here, *ELSEWHERE)
    assert [line for line in commands() if not line.startswith(known)] == []
    assert [begin for begin in known if not any(line.startswith(begin) for line in commands())] == []


@pytest.mark.parametrize("path", [block["path"] for _, block in blocks("python") if block["path"]])
def test_an_example_is_the_file_that_is_tested(path: str) -> None:
    shown = [block["text"] for _, block in blocks("python") if block["path"] == path]
    assert {(ROOT / path).read_text()} == {*shown}


def test_python_is_an_example_or_is_run_below() -> None:
    others = [file.name for file, block in blocks("python") if not block["path"]]
    assert others == ["tables.md"]


@pytest.mark.parametrize("command", commands("make "))
def test_make_knows_the_target(command: str) -> None:
    target = [word for word in words(command)[1:] if "=" not in word]
    subprocess.run(["make", "--dry-run", *target], cwd=ROOT, check=True, capture_output=True)


def test_airflow_takes_the_settings(airflow_database: None, tmp_path: Path) -> None:
    typed = [
        line
        for begin in ("airflow connections ", "airflow pools ", "airflow variables ")
        for line in commands(begin)
    ]
    # Each connection under a name of its own: the documents add some of them more than once.
    named = [
        re.sub(r"(?<=connections add )\S+", f"conn_{number}", line)
        for number, line in enumerate(typed)
        if "connections delete" not in line
    ]
    printed, stored = run_commands(
        ["airflow connections add warehouse_default --conn-type duckdb", *named], tmp_path
    )
    assert "invalid" not in printed.lower()
    assert {"extend", "extend_warehouse"} <= set(stored["pools"])
    assert len(stored["connections"]) >= sum("connections add" in line for line in named)


@pytest.mark.parametrize("command", commands("airflow dags trigger "))
def test_a_trigger_fits_the_form(command: str) -> None:
    from airflow.cli.cli_parser import get_parser
    from airflow.dag_processing.dagbag import DagBag

    options = get_parser().parse_args(words(command)[1:])
    dag: Any = DagBag(str(ROOT / "dags")).dags[options.dag_id]
    given = json.loads(options.conf)
    assert set(given) <= set(dag.params)
    for name, value in given.items():
        dag.params.get_param(name).resolve(value)


def test_sample_mail_is_written_where_the_command_says(tmp_path: Path) -> None:
    (command,) = commands(".venv/bin/python -m sandbox.documents ")
    typed = command.replace(".venv/bin/python", sys.executable).replace("/tmp/mail", str(tmp_path))
    subprocess.run(words(typed), check=True, capture_output=True)
    assert any((tmp_path / "documents").rglob("*.pdf"))


def test_what_is_shown_works_on_a_night_that_has_landed(
    outside: Outside, run_dag: Callable[..., Any], tmp_path: Path
) -> None:
    night = dt.datetime(2026, 11, 20, 2, tzinfo=dt.UTC)
    for sample in generate([night.date() - dt.timedelta(days=1)], per_day=12, seed=5):
        outside.put(sample.key, sample.data)
    assert run_dag("extend_nightly", logical_date=night).state == "success"

    (queries,) = (block["text"] for file, block in blocks("sql") if file.name == "README.md")
    assert all(outside.rows(query) for query in queries.split(";\n") if query)

    (code,) = (block["text"] for _, block in blocks("python") if not block["path"])
    copy = tmp_path / "read.duckdb"
    copy.write_bytes(outside.warehouse.read_bytes())
    exec(code.replace("/data/warehouse.read.duckdb", str(copy)), {})

    for command in commands("python -m extend_pipeline "):
        assert main(words(command)[3:]) == 0, command
    counted = "SELECT count(*) FROM {}.documents"
    assert outside.rows(counted.format("rebuilt")) == outside.rows(counted.format("extend"))


def test_the_other_queries_are_those_of_the_mailroom() -> None:
    assert {file.name for file, _ in blocks("sql")} == {"README.md", "tables.md"}


def symptoms() -> str:
    """Return the table of symptoms."""
    text = (ROOT / "docs" / "operations.md").read_text()
    (section,) = re.findall(r"^## When something is wrong$(.*?)^## ", text, re.DOTALL | re.M)
    return "\n".join(line for line in section.splitlines() if line.startswith("| "))


def test_symptoms_quote_what_the_code_says() -> None:
    said = messages()
    quoted = quotations(symptoms())
    assert len(quoted) > 20
    assert [part for part in quoted if not any(part in message for message in said)] == []


LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def anchors(file: Path) -> set[str]:
    """Return what a document's headings may be linked by."""
    headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=lambda file: file.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    for path, anchor in LINK.findall(text):
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)
def test_a_module_that_is_named_exists(document: Path) -> None:
    packages = [
        path.as_posix()
        for part in ("plugins", "include", "tests", "dags")
        for path in ROOT.glob(f"{part}/**/*.py")
    ]
    for named in set(re.findall(r"`([\w/]+\.py)`", document.read_text())):
        assert any(path.endswith(f"/{named}") for path in packages), named


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
