from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import duckdb
import pytest

from extend_pipeline.documents import EMPTY_FILE
from extend_pipeline.warehouse import WarehouseError
from extend_pipeline.warehouse.session import Session
from extend_pipeline.warehouse.transform import flatten
from fixtures.warehouse_files import contents, land, provenance, warehouse
from fixtures.warehouse_runs import document, extract_step, raw_lines, run
from pipeline.warehouse.transform.test_landing import parts_of_one_document

FIRST, SECOND, THIRD = document(1), document(2), document(3)
BEFORE = [FIRST, SECOND], raw_lines(run(FIRST), run(SECOND))
#: A new table, a new column, one that gets wider, one beside another, a new document, a document with fewer
#: items, one whose value does not fit, a document that was split, and a validation.
SCHEMA = {
    "type": "object",
    "properties": {
        "pages": {"type": "number"},
        "invoice_number": {"type": "integer"},
        "new": {"type": "string"},
        "list": {"type": "array", "items": {}},
    },
}
VALIDATION = {"stepType": "VALIDATION", "result": {"valid": False, "blocks": [{"id": "b", "valid": False}]}}
CHILD = {"id": "file_2", "parentFileId": "file_1", "metadata": {"parentSplit": {"startPage": 2}}}
AFTER = (
    [FIRST, SECOND, THIRD],
    raw_lines(
        run(FIRST, {"pages": "secret-4111"}, updatedAt="2026-11-23T00:00:00Z"),
        run(SECOND, {}, updatedAt="2026-11-23T00:00:00Z"),
        run(
            THIRD,
            steps=[
                {
                    **extract_step({"pages": 1.5, "invoice_number": 7, "list": [1]}, schema=SCHEMA),
                    "files": [CHILD],
                },
                VALIDATION,
            ],
        ),
    ),
)
#: Of what lands after it.
LATER = provenance(raw_uri="raw/2")


def parts_of_every_kind() -> list[tuple[list[Any], list[bytes], Any]]:
    """Parts whose landing, in this order, writes, changes, repeats and leaves alone."""
    skipped = document(9, status="SKIPPED", reason=EMPTY_FILE, message="It has 0 bytes.")
    return [
        (*BEFORE, provenance()),
        (*AFTER, LATER),
        *parts_of_one_document(),
        ([skipped], [], provenance("batch_9")),
        (*AFTER, LATER),
    ]


class Crash(BaseException):
    """What no handler for faults catches."""


def crash_at(number: int, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> list[str]:
    """Let statement ``number`` of the next load fail once it has run; return the list of those run."""
    ran: list[str] = []
    original = Session.pages

    def pages(self: Session, statement: str, *arguments: Any) -> Any:
        rows = list(original(self, statement, *arguments))
        ran.append(statement)
        if len(ran) == number:
            raise error(statement)
        return iter(rows)

    monkeypatch.setattr(Session, "pages", pages)
    return ran


def test_a_load_that_breaks_after_any_statement_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "warehouse.duckdb"
    land(file, *BEFORE)
    before = contents(file)
    number = 0
    while True:
        number += 1
        with monkeypatch.context() as patched, warehouse(file) as opened:
            ran = crash_at(number, patched, Crash)
            try:
                opened.land(*AFTER, provenance=provenance(raw_uri="raw/2"))
            except Crash as crash:
                broken_after = str(crash)
            else:
                break
        if broken_after == "commit":
            break
        assert contents(file) == before, f"after {broken_after!r}"
    assert ran[-1] == "commit"
    assert number > 60
    after = contents(file)
    assert after != before

    fresh = tmp_path / "fresh.duckdb"
    land(fresh, *BEFORE)
    land(fresh, *AFTER, origin=provenance(raw_uri="raw/2"))
    assert after == contents(fresh)


def test_a_load_can_be_repeated_on_the_connection_that_it_broke_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "warehouse.duckdb"
    with warehouse(file) as opened:
        with monkeypatch.context() as patched:
            crash_at(30, patched, Crash)
            with pytest.raises(Crash):
                opened.land(*BEFORE, provenance=provenance())
        assert opened.land(*BEFORE, provenance=provenance()).documents == 2


#: Lets a process of its own die by SIGKILL after statement 1, the next one after statement 2, and so on, and
#: looks at the file after each; says how many died before one had committed.
KILLED_AT_EVERY_STATEMENT = """
    import os, signal, sys
    from pathlib import Path
    import duckdb  # before the processes part, so that each is quick
    from extend_pipeline.warehouse.session import Session
    from pipeline.warehouse.transform.test_crash import AFTER
    from fixtures.warehouse_files import contents, land, provenance

    file, fresh = map(Path, sys.argv[1:])
    before, scratch = contents(file), contents(fresh)
    pages = Session.pages

    def die_after(number):
        ran = []
        def dying(self, statement, *arguments):
            rows = list(pages(self, statement, *arguments))
            ran.append(statement)
            if len(ran) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return iter(rows)
        Session.pages = dying
        land(file, *AFTER, origin=provenance(raw_uri="raw/2"))

    for number in range(1, 1000):
        child = os.fork()
        if child == 0:
            die_after(number)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
        found = contents(file)
        if found != before:
            assert found == scratch, f"neither old nor new after statement {number}"
            break
    print(number)
"""


def test_a_process_that_is_killed_after_any_statement_leaves_the_old_or_the_new_state(tmp_path: Path) -> None:
    file, fresh = tmp_path / "warehouse.duckdb", tmp_path / "fresh.duckdb"
    for path in (file, fresh):
        land(path, *BEFORE)
    land(fresh, *AFTER, origin=provenance(raw_uri="raw/2"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", textwrap.dedent(KILLED_AT_EVERY_STATEMENT), str(file), str(fresh)]
    killed = subprocess.run(command, env=environment, timeout=300, check=True, capture_output=True, text=True)
    assert int(killed.stdout) > 60
    land(file, *AFTER, origin=provenance(raw_uri="raw/2"))
    assert contents(file) == contents(fresh)


def test_an_error_names_part_and_statement_and_never_a_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "warehouse.duckdb"
    # DuckDB quotes the text that a cast breaks on. No cast of the package can break; this one does.
    fields = flatten.field_rows()
    monkeypatch.setattr(
        flatten, "field_rows", lambda: f"SELECT * REPLACE (value::INT AS value) FROM ({fields})"
    )
    with pytest.raises(WarehouseError) as caught:
        land(file, *AFTER, origin=provenance(raw_uri="raw/2"))
    message = str(caught.value)
    assert "Part raw/2" in message
    assert "ConversionException in statement 'insert into fields'" in message
    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert not any(isinstance(error, duckdb.Error) for error in chain)
    assert "4111" not in message + caplog.text
