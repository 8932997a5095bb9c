"""CPU seconds and memory of processes with all that they start."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

#: Seconds between two looks at the memory; a look at twenty processes costs some 20 ms.
LOOK_SECONDS = 1.0


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and all its living descendants; none if it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    return []


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """Return the CPU seconds of processes; those of a child that has ended count for its parent."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def megabytes(processes: Iterable[psutil.Process]) -> float:
    """Return the memory of processes in MB; what several of them share counts once (PSS)."""
    return sum(map(_pss_kilobytes, processes)) / 1024


def peak_megabytes() -> int:
    """Return the most memory this process has had; ``getrusage`` would count what its parent had, too."""
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak) // 1024


def _pss_kilobytes(process: psutil.Process) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


class Usage:
    """Measures groups of processes for a block; a context manager.

    :param groups: by name, the first processes of each group; what they start belongs to it.
    :ivar cpu: CPU seconds of each group in the block.
    :ivar peak: the most memory of each group at a look, in MB.
    """

    def __init__(self, groups: Mapping[str, Iterable[int]]) -> None:
        self._groups = {name: list(pids) for name, pids in groups.items()}
        self.cpu: dict[str, float] = {}
        self.peak = dict.fromkeys(self._groups, 0.0)
        self._before: dict[str, float] = {}
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, name="usage", daemon=True)

    def __enter__(self) -> Self:
        self._before = {name: cpu_seconds(found) for name, found in self._processes()}
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._watch.join()
        self.cpu = {name: cpu_seconds(found) - self._before[name] for name, found in self._processes()}

    def _processes(self) -> Iterator[tuple[str, list[psutil.Process]]]:
        for name, pids in self._groups.items():
            yield name, [process for pid in pids for process in tree(pid)]

    def _look(self) -> None:
        while True:
            for name, found in self._processes():
                self.peak[name] = max(self.peak[name], megabytes(found))
            if self._over.wait(LOOK_SECONDS):
                return
