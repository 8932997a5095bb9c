"""The workspace: files between tasks, so that XCom carries references only.

    <workspace>/runs/<dag>/<run>/<group>/…     settings, candidates and plan of one discovery
    <workspace>/batches/<workflow>/<version>/  what is reserved, and was sent as which batch, keyed by content
    <workspace>/repetitions/                   which reprocessing is open
    <workspace>/raw/<pipeline>/…               the runs as Extend answered them, see raw_zone.py, raw_index.py
    <workspace>/replays/                       which datasets are being rebuilt from there

Any address that Airflow's object storage knows will do: ``file:///…`` on one machine,
``s3://<conn id>@bucket/…`` where workers share no disk. A file appears whole or not at all.
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
from typing import IO, Any, BinaryIO, Literal, cast

from airflow.sdk import ObjectStoragePath

from extend_pipeline.documents import Document
from extend_pipeline.exceptions import PipelineInputError


def run_folder(workspace: str, *, dag_id: str, run_id: str, group_id: str) -> ObjectStoragePath:
    """Return a new folder for the files of one task group in one DAG run.

    Each discovery has one of its own: others may hold chunks of an earlier one, which must stay as they are.
    """
    discovery = f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"
    return ObjectStoragePath(workspace) / "runs" / dag_id / run_id / group_id / discovery


def batch_folder(workspace: str, *, workflow_id: str, version: str | None, key: str) -> ObjectStoragePath:
    """Return the folder that says what became of the batch with this content key."""
    return ObjectStoragePath(workspace) / "batches" / workflow_id / (version or "latest") / key


@contextlib.contextmanager
def written_whole(path: ObjectStoragePath) -> Iterator[BinaryIO]:
    """Open a file for writing that comes into being under its name only when the block ends well.

    An object store shows an object when it is complete, but a client that fails half-way may still complete
    it; so what is written goes to the local disk first.
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
    """Open a file of the workspace."""
    return cast("BinaryIO", path.open(mode))  # type: ignore[no-untyped-call]  # Airflow's own lacks the types


def write_json(path: ObjectStoragePath, value: Any) -> None:
    """Write one JSON value."""
    with written_whole(path) as file:
        file.write(json.dumps(value, ensure_ascii=False).encode())


def read_json(path: ObjectStoragePath) -> Any | None:
    """Read one JSON value, or None where there is no such file.

    A file that is there but cannot be read raises: "nothing is known" and "it cannot be known" differ.
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
    """See that of two who write the same file at the same moment, one is told that it was second.

    What keeps documents from being paid for twice rests on it, and not every store that looks like S3 honours
    ``If-None-Match``.

    :raises PipelineInputError: if both are told that they were first.
    """
    probe = ObjectStoragePath(workspace) / "probes" / f"{uuid.uuid4().hex}.json"
    try:
        if write_json_once(probe, {}) and not write_json_once(probe, {}):
            return
    finally:
        probe.unlink(missing_ok=True)
    raise PipelineInputError(
        f"The workspace {workspace} lets a file be written that exists already, although it was asked not "
        "to (If-None-Match). Two tasks could then send the same documents. Nothing was sent; use a workspace "
        "in a store that honours it: S3, Google Cloud Storage, or a disk that all workers share."
    )


def write_documents(path: ObjectStoragePath, documents: Iterable[Document]) -> int:
    """Write documents as JSON lines and return how many there were."""
    count = 0
    with written_whole(path) as file:
        for count, document in enumerate(documents, start=1):  # noqa: B007 - the last number is the count
            file.write(document.to_json() + b"\n")
    return count


def read_documents(path: ObjectStoragePath) -> Iterator[Document]:
    """Read documents back, one at a time."""
    with opened(path, "rb") as file:
        for line in file:
            yield Document.from_json(line)


@contextlib.contextmanager
def compressed_writer(path: ObjectStoragePath) -> Iterator[IO[bytes]]:
    """Open a gzip file for writing; it appears when the block ends well."""
    with written_whole(path) as file, gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as compressed:
        yield cast("IO[bytes]", compressed)


def read_compressed_lines(path: ObjectStoragePath) -> Iterator[bytes]:
    """Read a gzip file line by line."""
    with opened(path, "rb") as file, gzip.open(file) as lines:
        yield from lines
