"""What a benchmark prints: a table for people, or a JSON list of flat rows for ``python -m bench``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def tell(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print rows to stdout; a row may lack columns that others have."""
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
    else:
        show(rows, Console(width=160))


def show(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print rows as a table."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(*columns)
    for row in rows:
        table.add_row(*(_text(row.get(name, "")) for name in columns))
    console.print(table)


def _text(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)
