"""What the guides tell people to type, and a place to type it in: a copy of the project beside an Airflow."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Airflow's constraints are published by URL, for a release and a Python.
CONSTRAINTS_URL = re.compile(r"https://raw\.githubusercontent\.com/apache/airflow/constraints-\S+?\.txt")
SHELL = re.compile(r"```bash\n(.*?)```", re.DOTALL)
#: What a platform gets, and nothing that only lies in a working copy.
_PROJECT = (
    *(".astro", "dags", "deploy", "docs", "include", "plugins"),
    *("Dockerfile", ".dockerignore", "README.md", "packages.txt", "pyproject.toml", "requirements.txt"),
)
_OURS = re.compile(r"_?airflow_provider_extend|__editable__")


def blocks(file: Path, heading: str) -> list[str]:
    """Return the shell blocks of a section, up to the next heading of any level."""
    section = re.split(rf"^#+ {re.escape(heading)}$", file.read_text(), maxsplit=1, flags=re.MULTILINE)[1]
    until = re.split(r"^#+ (?![^\n]*=)", _without_shell(section), maxsplit=1, flags=re.MULTILINE)[0]
    return SHELL.findall(section[: len(until)])


def _without_shell(text: str) -> str:
    """Blank out shell blocks: a comment in one looks like a heading."""
    return SHELL.sub(lambda found: "x" * len(found[0]), text)


def lines(block: str, program: str) -> list[str]:
    """Return the commands of a block that call a program, continued lines joined."""
    joined = block.replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.startswith(f"{program} ")]


@dataclasses.dataclass(frozen=True)
class Place:
    """An environment that has an Airflow but not our package, and a copy of the project.

    :ivar environment: the folder of the virtual environment.
    :ivar project: where commands are run.
    :ivar constraints: what stands for Airflow's own constraints.
    """

    environment: Path
    project: Path
    constraints: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.environment / "bin" / "python"

    def run(self, block: str, *, offline: bool = True) -> str:
        """Run a block as somebody would paste it, and return what it printed."""
        script = CONSTRAINTS_URL.sub(str(self.constraints), block)
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("PYTHONPATH", "VIRTUAL_ENV", "PIP_CONSTRAINT")
        }
        environment["PATH"] = f"{self.environment / 'bin'}:{environment['PATH']}"
        if offline:
            environment |= {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_CONFIG_FILE": os.devnull}
            environment.pop("PIP_FIND_LINKS", None)
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.project,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert ended.returncode == 0, f"{script}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout


def copy_project(folder: Path) -> Path:
    """Copy what a platform gets of the project."""
    folder.mkdir()
    for name in _PROJECT:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, folder / name)
    return folder


def make_place(folder: Path) -> Place:
    """Make a place without the network: what is installed here is there too, but for our package."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = folder / "environment"
    venv.create(environment, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = environment / "lib" / version / "site-packages"
    for installed in Path(sysconfig.get_path("purelib")).iterdir():
        if not _OURS.match(installed.name) and not (packages / installed.name).exists():
            (packages / installed.name).symlink_to(installed)
    for name in ("airflow", "pip"):
        script = environment / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "$(dirname "$0")/python" -m {name} "$@"\n')
        script.chmod(0o755)
    constraints = folder / "constraints.txt"
    constraints.write_text(
        "".join(
            f"{found.name}=={found.version}\n"
            for found in distributions()
            if found.name != "airflow-provider-extend"
        )
    )
    return Place(environment, copy_project(folder / "project"), constraints)
