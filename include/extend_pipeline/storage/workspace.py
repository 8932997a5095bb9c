"""The workspace: files between tasks, so that XCom carries only references.

    <workspace>/runs/<dag>/<run>/<group>/…     settings, listing and plan of one discovery
    <workspace>/batches/<workflow>/<version>/  chunks with their ledgers, named by content
    <workspace>/repetitions/                   which reprocessing is open
    <workspace>/raw/<pipeline>/…               runs as Extend returned them, see raw_zone.py, raw_index.py
    <workspace>/reviews/                       when Extend was last asked for the runs in review
    <workspace>/inbox/                         webhooks, if the connection to Extend names this address
    <workspace>/replays/                       which datasets are being rebuilt from the raw zone

Any address of Airflow's object storage works: ``file:///…`` on one machine, ``s3://<conn id>@bucket/…`` if
workers share no disk. A file appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, Literal, cast

from airflow.sdk import ObjectStoragePath

from extend_pipeline.documents import Document
from extend_pipeline.exceptions import PipelineInputError
from extend_provider.batch.disk import on_disk

#: The level of gzip: its own default, 9, takes three times as long for 4 % (measured with runs).
COMPRESSION: Final = 6


def run_folder(workspace: str, *, dag_id: str, run_id: str, group_id: str) -> ObjectStoragePath:
    """Return a new folder for the files of one task group in one DAG run.

    Each discovery has a folder of its own, because other runs may use chunks of an earlier one.
    """
    discovery = f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"
    return ObjectStoragePath(workspace) / "runs" / dag_id / run_id / group_id / discovery


def batch_folder(workspace: str, *, workflow_id: str, version: str | None, key: str) -> ObjectStoragePath:
    """Return the folder of the chunk with this content key."""
    return ObjectStoragePath(workspace) / "batches" / workflow_id / (version or "latest") / key


@contextlib.contextmanager
def written_whole(path: ObjectStoragePath) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name only when the block ends without an error.

    An object store shows an object when it is complete, but a client that fails half-way may still complete
    it, so the content is first written to the local disk.
    """
    if path.protocol in ("", "file"):
        local = Path(path.path)
        local.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(prefix=f".{local.name}.", dir=local.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(partial).replace(local)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise
    else:
        with tempfile.TemporaryFile() as file:
            yield cast("BinaryIO", file)
            file.seek(0)
            with opened(path, "wb") as remote:
                shutil.copyfileobj(file, remote)


def write_json_once(path: ObjectStoragePath, value: Any) -> bool:
    """Write one JSON value unless the file exists already; return whether this call wrote it.

    Of several callers at the same moment exactly one gets True: a hard link on a local disk, a conditional
    request on S3 (``If-None-Match``) and Google Cloud Storage.
    """
    data = json.dumps(value, ensure_ascii=False).encode()
    try:
        if path.protocol in ("", "file"):
            _link_new(Path(path.path), data)
        else:
            path.fs.pipe_file(path.path, data, mode="create")
    except FileExistsError:
        return False
    return True


def _link_new(path: Path, data: bytes) -> None:
    """Create a local file whole; raise FileExistsError if it exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)


def opened(path: ObjectStoragePath, mode: Literal["rb", "wb"]) -> BinaryIO:
    """Open a file of the workspace, without Airflow's own ``open``.

    That one reports each file to the hook lineage as an input or output of the task; these files are the
    pipeline's bookkeeping. For the cost see :mod:`extend_provider.batch.disk`.
    """
    place = on_disk(path)
    return cast("BinaryIO", place.open(mode) if isinstance(place, Path) else place.fs.open(place.path, mode))


def write_json(path: ObjectStoragePath, value: Any) -> None:
    """Write one JSON value."""
    with written_whole(path) as file:
        file.write(json.dumps(value, ensure_ascii=False).encode())


def read_json(path: ObjectStoragePath) -> Any | None:
    """Read one JSON value, or None where there is no such file.

    A file that exists but cannot be read raises an error: it never counts as absent.
    """
    try:
        with opened(path, "rb") as file:
            return json.loads(file.read())
    except FileNotFoundError:
        return None


def copy_whole(source: ObjectStoragePath, target: ObjectStoragePath) -> None:
    """Copy a file."""
    with opened(source, "rb") as file, written_whole(target) as copy:
        shutil.copyfileobj(file, copy)


def check_write_once(workspace: str) -> None:
    """Check that a conditional write does not replace a file that exists.

    The protection against paying twice rests on conditional writes, and not every store with an S3 interface
    honours ``If-None-Match``.

    :raises PipelineInputError: if the second write succeeds.
    """
    probe = ObjectStoragePath(workspace) / "probes" / f"{uuid.uuid4().hex}.json"
    try:
        if write_json_once(probe, {}) and not write_json_once(probe, {}):
            return
    finally:
        probe.unlink(missing_ok=True)
    raise PipelineInputError(
        f"The workspace {workspace} ignores the condition that a file must not exist yet (If-None-Match), so "
        "two tasks could send the same documents. Nothing was sent. Use a workspace in a store that honours "
        "it: S3, Google Cloud Storage, or a disk that all workers share."
    )


def write_lines(path: ObjectStoragePath, lines: Iterable[bytes]) -> int:
    """Write lines, each without its end, and return how many there were."""
    count = 0
    with written_whole(path) as file:
        for count, line in enumerate(lines, start=1):  # noqa: B007 - the last number is the count
            file.write(line + b"\n")
    return count


def write_documents(path: ObjectStoragePath, documents: Iterable[Document]) -> int:
    """Write documents as JSON lines and return how many there were."""
    return write_lines(path, (document.to_json() for document in documents))


def read_documents(path: ObjectStoragePath) -> Iterator[Document]:
    """Yield the documents of a file."""
    with opened(path, "rb") as file:
        for line in file:
            yield Document.from_json(line)


@contextlib.contextmanager
def compressed_writer(path: ObjectStoragePath) -> Iterator[IO[bytes]]:
    """Open a gzip file for writing; it appears when the block ends without an error."""
    with (
        written_whole(path) as file,
        gzip.GzipFile(fileobj=file, mode="wb", mtime=0, compresslevel=COMPRESSION) as compressed,
    ):
        yield cast("IO[bytes]", compressed)


def read_compressed_lines(path: ObjectStoragePath) -> Iterator[bytes]:
    """Yield the lines of a gzip file."""
    with opened(path, "rb") as file, gzip.open(file) as lines:
        yield from lines
