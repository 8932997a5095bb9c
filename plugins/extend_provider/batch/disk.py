"""Files that tasks share: on this machine's disk they are reached without Airflow's object storage.

Before Airflow's object storage opens its first file in a process, even a local one, it imports every
installed provider that has a file system or assets, with boto3 among them: 0.12 to 0.17 seconds of CPU, and
each task is a process of its own (measured on 3.3.2; ``airflow.sdk.io.fs._register_filesystems``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath


def on_disk(path: ObjectStoragePath) -> Path | ObjectStoragePath:
    """Return the plain path of a local file, and any other path as it is; both have the methods of a path."""
    return Path(path.path) if path.protocol in ("", "file") else path
