"""SQL about the places in extracted values, their spellings, and what is declared there.

DuckDB spells a place ``$."line items"[3].amount``. Extend's metadata names it by a key, whose spelling is not
verified (contract, 3.8): ``line_items[3].amount``, ``line_items.3.amount``, mixtures of both, and quotes or
brackets around awkward names are all understood, see :func:`folded`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from extend_pipeline.warehouse.schema.dictionary import Table
from extend_pipeline.warehouse.schema.names import Path

CONTAINERS: Final = "('OBJECT', 'ARRAY')"
SAMPLE_COLUMNS: Final = {
    "sample_no": "BIGINT",
    "group_id": "BIGINT",
    "sample": "JSON",
    "kind": "VARCHAR",
    "type": "VARCHAR",
    "table_name": "VARCHAR",
    "column_name": "VARCHAR",
}


def declared_places(
    group_id: int, extracted: list[Table]
) -> Iterator[tuple[int, str, str, str | None, str, str | None]]:
    """Yield ``(group_id, sample, kind, type, table, column)`` for each place that a schema declares.

    ``sample`` is the smallest JSON value in which the place is the last one, so that DuckDB itself spells it;
    ``kind`` is ``object``, ``list``, ``column`` or ``discarded``.
    """
    for table in extracted:
        if table.path:
            yield group_id, _sample(table.path[:-1]), "list", None, table.name, None
        for path in table.objects:
            yield group_id, _sample(path), "object", None, table.name, None
        for path in table.discarded:
            yield group_id, _sample(path), "discarded", None, table.name, None
        for column in table.columns:
            yield group_id, _sample(column.path), "column", column.type, table.name, column.name


def declared_shapes(samples: str) -> str:
    """Return ``_declared``: the samples of a relation with the place spelt as ``_nodes`` spells it."""
    return f"""
        SELECT samples.* EXCLUDE (sample),
               {_shape("arg_max(place.fullkey, place.id)")} AS shape
        FROM ({samples}) AS samples, json_tree(samples.sample) AS place
        GROUP BY ALL
    """


def node_rows(column: str = "value", which: str = "true") -> str:
    """Return every place of every value of the page in this column, and a scalar's text.

    :param which: a condition on the extractions.
    """
    return f"""
        SELECT page.result_no, page.group_id, node.type AS json_type, node.fullkey AS place,
               node.atom ->> '$' AS text
        FROM {beside_nodes(f"(FROM _page WHERE {column} IS NOT NULL AND {which})", column)}
    """


def place_rows() -> str:
    """Return every place of ``_nodes`` and ``_machine`` once, with its spellings and its declared column."""
    return f"""
        SELECT node.group_id, node.place, {spelled("node.place")} AS path,
               {spelled(_dotted("node.place"))} AS dotted, {folded("node.place")} AS folded,
               declared.kind, declared.type, declared.table_name, declared.column_name,
               parent.kind AS parent_kind
        FROM (
            SELECT group_id, place FROM _nodes UNION SELECT group_id, place FROM _machine
        ) AS node
        LEFT JOIN _declared AS declared
          ON declared.group_id = node.group_id AND declared.shape = {_shape("node.place")}
        LEFT JOIN _declared AS parent
          ON parent.group_id = node.group_id AND parent.shape = {_shape(parent_of("node.place"))}
             AND node.place <> '$'
    """


def beside_nodes(
    pages: str, column: str, function: str = "json_tree", table: str = "_page", key: str = "result_no"
) -> str:
    """Return the join of extractions, ``page``, with every ``node`` of one of their values.

    The value is looked up by its number: DuckDB copies what a lateral join depends on into each of its rows,
    and the value itself would be copied once per node.

    :param pages: rows of ``table``.
    :param key: what numbers the rows of ``table``.
    """
    own = f"SELECT own.{column} FROM {table} AS own WHERE own.{key} = page.{key}"
    return f"{pages} AS page, LATERAL (SELECT tree.* FROM {function}(({own})) AS tree) AS node"


def spelled(place: str) -> str:
    """The place as ``fields`` has it: ``$."line items"[3].amount`` → ``line items[3].amount``."""
    bare = rf"""regexp_replace({place}, '\."((?:[^"\\]|\\.)*)"', '.\1', 'g')"""
    unescaped = rf"""replace(replace({bare}, '\"', '"'), '\\', '\')"""
    text = f"CASE WHEN contains({place}, '\"') THEN {unescaped} ELSE {place} END"
    return f"regexp_replace({text}, '^\\$\\.?', '')"


def folded(place: str) -> str:
    """The part that all spellings of a place share: names and positions, separated by dots.

    Characters that one of the spellings separates or quotes by are left out of names, too; should two places
    be the same without them, their spelling decides.
    """
    return rf"""trim(regexp_replace({place}, '[].[/$"''\\]+', '.', 'g'), '.')"""


def parent_of(place: str) -> str:
    """The place without its last key or position: ``$.line_items[3].amount`` → ``$.line_items[3]``."""
    return rf"""regexp_replace({place}, '(\."(?:[^"\\]|\\.)*"|\.[^."[]*|\[\d+\])$', '')"""


def _dotted(place: str) -> str:
    """The place with its positions between dots, ``$.line_items.3.amount``; quoted keys stay as they are."""
    marked = rf"""regexp_replace({place}, '("(?:[^"\\]|\\.)*")|\[(\d+)\]', '\1' || chr(1) || '\2', 'g')"""
    return f"""replace(replace({marked}, '"' || chr(1), '"'), chr(1), '.')"""


def _shape(place: str) -> str:
    """The place without positions: ``$.line_items[3].amount`` → ``$.line_items[].amount``.

    A quoted key is skipped, with what looks like a position in it; that it gets a ``[]`` too does no harm.
    """
    return rf"""regexp_replace({place}, '("(?:[^"\\]|\\.)*")|\[\d+\]', '\1[]', 'g')"""


def _sample(path: Path) -> str:
    sample: Any = None
    for key in reversed(path):
        sample = [sample] if key is None else {key: sample}
    return json.dumps(sample)
