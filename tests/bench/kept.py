"""Results of parts, kept as files, so that a part that fails or an interrupted run costs only itself."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from bench.parts import END_TO_END, Part

#: Seconds that a stopped part has to stop what it has started.
STOP_SECONDS = 60
LOOK_SECONDS = 0.5

Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What one part has measured.

    :param part: name of the part.
    :param command: what repeats it, run in ``tests``.
    :param when: the day.
    :param machine: cores, kind of processor and versions.
    :param seconds: how long it took.
    :param rows: the rows; those that it had kept if it has failed.
    :param error: how it failed; None if it has not.
    """

    part: str
    command: str
    when: str
    machine: str
    seconds: int
    rows: list[Row]
    error: str | None = None


def run(part: Part, folder: Path, *, quick: bool, tell: Callable[[str], None] = lambda _: None) -> Result:
    """Run a part in a process of its own, and keep its result, its rows so far and its log in a folder.

    :param tell: called with the last line that the part has written.
    :raises KeyboardInterrupt: it was interrupted; its result is kept.
    """
    arguments = [*((part.quick or ()) if quick else part.whole)]
    command = ["-m", f"bench.{part.module}", *arguments, "--json"]
    rows_so_far = folder / f"{part.name}.rows.json"
    rows_so_far.unlink(missing_ok=True)
    keeping = ["--keep", str(rows_so_far)] if part.module == END_TO_END else []
    answer, log = folder / f"{part.name}.out", folder / f"{part.name}.log"
    started = time.monotonic()
    interrupted = False
    try:
        with answer.open("wb") as out, log.open("wb") as errors:
            error = _waited(
                [sys.executable, *command, *keeping], out, errors, part.minutes * 60, lambda: tell(_last(log))
            )
    except KeyboardInterrupt:
        interrupted, error = True, "was interrupted"
    rows = _rows(answer)
    if rows is None:
        rows, error = _rows(rows_so_far) or [], error or "printed no rows"
    result = Result(
        part=part.name,
        command=f"python {' '.join(command)}",
        when=f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        machine=machine(),
        seconds=round(time.monotonic() - started),
        rows=rows,
        error=error,
    )
    (folder / f"{part.name}.json").write_text(json.dumps(dataclasses.asdict(result), indent=1) + "\n")
    if interrupted:
        raise KeyboardInterrupt
    return result


def load(folder: Path, parts: Iterable[Part]) -> dict[str, Result]:
    """Return the results that a folder has, by part."""
    files = {part.name: folder / f"{part.name}.json" for part in parts}
    return {name: Result(**json.loads(file.read_text())) for name, file in files.items() if file.exists()}


def machine() -> str:
    """Describe this machine and what is installed, in one line."""
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("apache-airflow", "duckdb", "moto", "aiohttp")
    )
    return f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, {versions}"


def _waited(
    command: list[str], out: IO[bytes], errors: IO[bytes], seconds: float, look: Callable[[], None]
) -> str | None:
    """Run a command for so many seconds at most; return how it failed, None if it has not."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(command, stdout=out, stderr=errors, env=environment, start_new_session=True)
    deadline = time.monotonic() + seconds
    try:
        while process.poll() is None and time.monotonic() < deadline:
            look()
            time.sleep(LOOK_SECONDS)
        if process.poll() is None:
            return f"was stopped after {seconds / 60:g} minutes"
        return f"ended with status {process.returncode}" if process.returncode else None
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Interrupt a process, so that it stops what it has started; kill its whole session if it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
            return
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _rows(file: Path) -> list[Row] | None:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, list) else None


def _last(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return lines[-1].strip() if lines else ""
