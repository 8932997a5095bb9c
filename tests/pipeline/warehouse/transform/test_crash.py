from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import duckdb
import pytest

from extend_pipeline.warehouse.records import WarehouseError
from extend_pipeline.warehouse.transform.values import flatten
from fixtures.warehouse.crashes import (
    FEW_OR_EVERY,
    LEAST_STATEMENTS,
    break_loads,
    dying_after,
    one_of_each_kind,
)
from fixtures.warehouse.files import contents, land, provenance, warehouse
from fixtures.warehouse.parts import AFTER, BEFORE, LATER


@FEW_OR_EVERY
def test_a_load_that_breaks_after_any_statement_leaves_what_was_there(tmp_path: Path, every: bool) -> None:
    file, fresh = tmp_path / "warehouse.duckdb", tmp_path / "fresh.duckdb"
    for path in (file, fresh):
        land(path, *BEFORE)
    with dying_after() as ran:
        land(fresh, *AFTER, origin=LATER)
    assert len(ran) > LEAST_STATEMENTS
    break_loads(
        lambda: land(file, *AFTER, origin=LATER),
        lambda: contents(file),
        result=lambda: contents(file),
        few=one_of_each_kind(ran, since="begin"),
        every=every,
    )
    assert contents(file) == contents(fresh)


def test_a_load_can_be_repeated_on_the_connection_that_it_broke_on(tmp_path: Path) -> None:
    with warehouse(tmp_path / "warehouse.duckdb") as opened:
        with dying_after(30) as ran:
            opened.land(*BEFORE, provenance=provenance())
        assert len(ran) == 30
        assert opened.land(*BEFORE, provenance=provenance()).documents == 2


#: Lets a process of its own die by SIGKILL after statement 1, the next one some statements later, and so on,
#: and looks at the file after each; says after which statement one had committed.
KILLED_AFTER_STATEMENTS = """
    import os, signal, sys
    from pathlib import Path
    import duckdb  # before the processes part, so that each is quick
    from extend_pipeline.warehouse.session import Session
    from fixtures.warehouse.parts import AFTER
    from fixtures.warehouse.files import contents, land, provenance

    file, fresh = map(Path, sys.argv[1:3])
    step = int(sys.argv[3])
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

    for number in range(1, 1000, step):
        child = os.fork()
        if child == 0:
            die_after(number)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) in (-signal.SIGKILL, 0), status
        found = contents(file)
        if found != before:
            assert found == scratch, f"neither old nor new after statement {number}"
            break
    print(number)
"""


@FEW_OR_EVERY
def test_a_process_that_is_killed_after_any_statement_leaves_the_old_or_the_new_state(
    tmp_path: Path, every: bool
) -> None:
    file, fresh = tmp_path / "warehouse.duckdb", tmp_path / "fresh.duckdb"
    for path in (file, fresh):
        land(path, *BEFORE)
    land(fresh, *AFTER, origin=provenance(raw_uri="raw/2"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    program = textwrap.dedent(KILLED_AFTER_STATEMENTS)
    command = [sys.executable, "-c", program, str(file), str(fresh), "1" if every else "6"]
    killed = subprocess.run(
        command, env=environment, timeout=1500, check=True, capture_output=True, text=True
    )
    assert int(killed.stdout) > LEAST_STATEMENTS
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
