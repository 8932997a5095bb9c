"""``docs/deploying.md``: what can be run of it runs, and of the rest each program is known."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from fixtures.airflow.commands import run_commands
from fixtures.guides import ROOT, SHELL, Place, blocks, lines

GUIDE = ROOT / "docs" / "deploying.md"
#: Needs an account, Docker, or somebody's own names.
ELSEWHERE = (
    *("astro ", "aws ", "docker ", "gcloud ", "helm ", "kubectl ", "python -m twine ", "printf "),
    "REPOSITORY=",
)


def test_the_readme_and_the_guide_install_the_same_way() -> None:
    assert blocks(GUIDE, "pip") == [blocks(ROOT / "README.md", "In your own Airflow")[0]]


@pytest.mark.parametrize("section", ["Docker Compose", "Kubernetes", "MWAA", "Cloud Composer"])
def test_what_needs_no_account_runs(installed: Place, section: str) -> None:
    for block in blocks(GUIDE, section):
        if not block.startswith(ELSEWHERE):
            installed.run(block)
        else:
            assert all(line.startswith(ELSEWHERE) for line in block.replace("\\\n", "").splitlines())


def test_the_secrets_of_compose_are_keys(installed: Place) -> None:
    (block,) = (text for text in blocks(GUIDE, "Docker Compose") if ".env" in text)
    file = installed.project / "deploy" / "docker" / ".env"
    file.unlink(missing_ok=True)
    installed.run(block)
    secrets = dict(line.split("=", 1) for line in file.read_text().splitlines())
    assert set(secrets) == {"FERNET_KEY", "API_SECRET_KEY", "JWT_SECRET"}
    assert {len(base64.urlsafe_b64decode(secret)) for secret in secrets.values()} == {32}


def test_the_pool_that_the_astro_cli_cannot_make_whole(airflow_database: None, tmp_path: Path) -> None:
    shells = SHELL.findall(GUIDE.read_text())
    (line,) = (line for block in shells for line in lines(block, "astro dev run"))
    _, stored = run_commands([line.replace("astro dev run", "airflow")], tmp_path)
    assert stored["pools"]["extend"][::2] == [4, True]


def test_every_platform_of_the_table_has_a_section() -> None:
    text = GUIDE.read_text()
    table = [line for line in text.splitlines() if line.startswith("| [")]
    assert len(table) == 6
    for line in table:
        name = line[3:].partition("]")[0]
        assert f"\n## {name}\n" in text
