"""SQL that takes a page of extracted values apart: typed rows, fields with their evidence, problems.

Every function returns text. The statements read these temporary tables:

* ``_sources``: one row per extraction of the part, with the file that it was made from;
* ``_page``: one row per extraction, ``result_no`` numbering them, with ``value``, ``metadata`` and, if a
  person has reviewed it, ``initial``, the value before that, as JSON;
* ``_declared``: one row per place that a schema declares, see :func:`declared_places`;
* ``_nodes``: one row per place of each value;
* ``_places``: these places, each once, with what is declared there: they are few, and their rows many;
* ``_evidence``: one row per field that Extend says something of.
"""

# Every name in the statements is quoted and every text made a literal by sql.py.
# ruff: noqa: S608

from __future__ import annotations

import json
from collections.abc import Iterator, Set
from typing import Any, Final

from extend_pipeline.warehouse import tables
from extend_pipeline.warehouse.dictionary import Column, Table
from extend_pipeline.warehouse.names import Path
from extend_pipeline.warehouse.sql import (
    is_rounded,
    literal,
    names,
    pointer,
    quoted,
    read_lines,
    read_texts,
    typed,
)
from extend_pipeline.warehouse.staging import StagedFile
from extend_pipeline.warehouse.table_plan import ColumnType

PAGE_COLUMNS: Final = {
    "result_no": "BIGINT",
    "seq": "BIGINT",
    "result_idx": "BIGINT",
    "group_id": "BIGINT",
    "value": "VARCHAR",
    "metadata": "VARCHAR",
    "initial": "VARCHAR",
}
SAMPLE_COLUMNS: Final = {
    "sample_no": "BIGINT",
    "group_id": "BIGINT",
    "sample": "JSON",
    "kind": "VARCHAR",
    "type": "VARCHAR",
    "table_name": "VARCHAR",
    "column_name": "VARCHAR",
}
_CONTAINERS: Final = "('OBJECT', 'ARRAY')"
#: Most numbers, told cheaply: they are too short for what a number could be too large or too exact for.
_FITS: Final = """(
    json_type IN ('BIGINT', 'UBIGINT', 'DOUBLE') AND length(text) <= 10 AND NOT contains(text, 'e')
    AND (type IN ('DECIMAL', 'DOUBLE') OR type = 'INTEGER' AND json_type <> 'DOUBLE'))"""
#: The columns of ``_evidence`` that ``fields`` has, in its order.
_EVIDENCE: Final = """ocr_confidence, logprobs_confidence, review_score, page, reference_text, polygon,
    citations"""
#: What is read of Extend's metadata of a field; ``page`` is a number in 2025-04-21, later an object.
_ABOUT: Final = (
    "STRUCT(ocrConfidence DOUBLE, logprobsConfidence DOUBLE, reviewAgentScore DOUBLE, "
    "citations STRUCT(fileId VARCHAR, page JSON, referenceText VARCHAR, polygon JSON)[])"
)


def page_stages(file: StagedFile) -> Iterator[tuple[str, str]]:
    """Yield the tables that a page is taken apart into, each with its rows, in the order they are made in."""
    yield "_page", page_rows(file)
    yield "_nodes", node_rows()
    yield "_places", place_rows()
    yield "_evidence", evidence_rows()


def page_rows(file: StagedFile) -> str:
    """Return the extractions of a page that belong to the runs that land, with their keys."""
    return f"""
        SELECT page.*, {names(tables.KEY)}, landing.run_id, landing.landed_at, source.file_id
        FROM {read_texts(file, PAGE_COLUMNS)} AS page
        JOIN _landing AS landing ON landing.seq = page.seq
        JOIN _sources AS source ON source.seq = page.seq AND source.group_id = page.group_id
                                  AND source.result_idx = page.result_idx
    """


def source_rows(steps: StagedFile) -> str:
    """Return ``_sources``: the file that each extraction of the part was made from."""
    columns = {"seq": "BIGINT", "group_id": "BIGINT", "result_idx": "BIGINT", "file_id": "VARCHAR"}
    return f"SELECT {names(list(columns))} FROM {read_lines(steps, columns)} WHERE group_id IS NOT NULL"


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


def node_rows() -> str:
    """Return every place of every value of the page, and a scalar's text."""
    return f"""
        SELECT page.result_no, page.group_id, node.type AS json_type, node.fullkey AS place,
               node.path AS parent, node.atom ->> '$' AS text
        FROM {_beside_nodes("_page", "value")}
    """


def place_rows() -> str:
    """Return every place of ``_nodes`` once, its path, and what is declared there."""
    return f"""
        SELECT node.group_id, node.place, {_path("node.place")} AS path,
               declared.kind, declared.type, declared.table_name, declared.column_name,
               parent.kind AS parent_kind
        FROM (SELECT DISTINCT group_id, place, parent FROM _nodes) AS node
        LEFT JOIN _declared AS declared
          ON declared.group_id = node.group_id AND declared.shape = {_shape("node.place")}
        LEFT JOIN _declared AS parent
          ON parent.group_id = node.group_id AND parent.shape = {_shape("node.parent")}
             AND node.place <> '$'
    """


def evidence_rows() -> str:
    """Return what Extend says of each field: its confidences, and its first citation."""
    structure = literal(json.dumps(f"MAP(VARCHAR, {_ABOUT})"))
    page = "first_citation.page"
    numbers = ", ".join(
        f"CASE WHEN isfinite(about.{key}) THEN about.{key} END AS {name}"
        for name, key in (
            ("ocr_confidence", "ocrConfidence"),
            ("logprobs_confidence", "logprobsConfidence"),
            ("review_score", "reviewAgentScore"),
        )
    )
    return f"""
        SELECT result_no, path, {numbers},
               {typed(f"coalesce({page} ->> 'number', {page} ->> '$')", tables.FIELDS["page"])} AS page,
               first_citation.fileId AS cited_file_id, first_citation.referenceText AS reference_text,
               first_citation.polygon AS polygon, len(about.citations) AS citations
        FROM (
            SELECT result_no, entry.key AS path, entry.value AS about,
                   entry.value.citations[1] AS first_citation
            FROM (
                SELECT result_no, unnest(map_entries(from_json(metadata, {structure}))) AS entry
                FROM _page
            )
        )
    """


def table_rows(table: Table, group_id: int) -> str:
    """Return the rows of one generated table for the page's extractions by one extractor and schema."""
    keys = names(tables.RESULT)
    relation = f"SELECT {keys}, value AS node FROM _page WHERE group_id = {group_id}"
    depth = 0
    for position in table.positions:
        end = table.path.index(None, depth)
        items = f"from_json(json_extract(node, {literal(pointer(table.path[depth:end]))}), '[\"JSON\"]')"
        relation = f"""
            SELECT * EXCLUDE (node, items), unnest(items) AS node,
                   unnest(range(len(items))) AS {quoted(position)}
            FROM (SELECT *, {items} AS items FROM ({relation}))
        """
        depth = end + 1
    values = [_value(column, number) for number, column in enumerate(table.columns, start=1)]
    paths = ", ".join(literal(pointer(column.path[len(table.path) :]) or "$") for column in table.columns)
    picks = [f"json_extract_string(node, [{paths}]) AS texts"] if table.columns else []
    if any(column.type is ColumnType.JSON for column in table.columns):
        picks.append(f"json_extract(node, [{paths}]) AS jsons")
    return f"""
        SELECT {", ".join([names(table.own_columns), *values])}
        FROM (SELECT {", ".join(["* EXCLUDE (node)", *picks])} FROM ({relation}))
    """


def field_rows() -> str:
    """Return one row per scalar of each value and per field that Extend gives evidence for.

    What a reviewer has taken out is a row too, with the machine's value alone.
    """
    return f"""
        SELECT {names(tables.KEY)}, run_id, extractor, result_idx,
               coalesce(file_id, cited_file_id) AS file_id, path, field.text AS value, {_EVIDENCE},
               CASE WHEN initial IS NULL THEN field.text ELSE machine.text END AS machine_value,
               initial IS NOT NULL AND field.text IS DISTINCT FROM machine.text AS edited
        FROM (
            SELECT result_no, path, text FROM _nodes JOIN _places USING (group_id, place)
            WHERE json_type NOT IN {_CONTAINERS}
        ) AS field
        FULL JOIN _evidence USING (result_no, path)
        FULL JOIN (
            SELECT result_no, {_path("node.fullkey")} AS path, node.atom ->> '$' AS text
            FROM {_beside_nodes("(FROM _page WHERE initial IS NOT NULL)", "initial")}
            WHERE node.type NOT IN {_CONTAINERS}
        ) AS machine USING (result_no, path)
        JOIN _page USING (result_no)
        JOIN _groups USING (group_id)
    """


def problem_rows(kinds: Set[ColumnType]) -> str:
    """Return what of the page's values is not declared, is of another type, or is kept less exactly.

    :param kinds: the types of all declared columns; a statement that knows of no other is sooner planned.
    """
    casts = "\n".join(
        f"WHEN {literal(kind)} THEN {typed('text', kind)} IS NULL"
        for kind in sorted(kinds - {ColumnType.TEXT, ColumnType.JSON})
    )
    wrong = f"WHEN CASE type {casts} ELSE false END THEN 'WRONG_TYPE'" if casts else ""
    of_containers = f"FROM misfit WHERE json_type IN {_CONTAINERS}"
    rounded = f"WHEN type = 'DECIMAL' AND {is_rounded('text')} THEN 'ROUNDED'"
    return f"""
        WITH misfit AS (
            SELECT * FROM (
                SELECT *, CASE
                    WHEN kind IS NULL AND parent_kind IN ('object', 'list') THEN 'UNKNOWN_FIELD'
                    WHEN kind IS NULL OR json_type = 'NULL' THEN NULL
                    WHEN kind = 'object' THEN CASE WHEN json_type <> 'OBJECT' THEN 'WRONG_TYPE' END
                    WHEN kind = 'list' THEN CASE WHEN json_type <> 'ARRAY' THEN 'WRONG_TYPE' END
                    WHEN json_type IN {_CONTAINERS} THEN CASE WHEN type <> 'JSON' THEN 'WRONG_TYPE' END
                    WHEN {_FITS} THEN NULL
                    {wrong}
                    {rounded if ColumnType.DECIMAL in kinds else ""}
                END AS code
                FROM _nodes JOIN _places USING (group_id, place)
            ) WHERE code IS NOT NULL
        ),
        container AS (
            SELECT page.result_no, node.fullkey AS place, node.value AS whole
            FROM {_beside_nodes(f"(FROM _page SEMI JOIN ({of_containers}) USING (result_no))", "value")}
            WHERE node.type IN {_CONTAINERS}
        )
        SELECT {names(tables.KEY)}, run_id, code, table_name, column_name, path,
               coalesce(text, whole::VARCHAR) AS value,
               CASE code WHEN 'UNKNOWN_FIELD' THEN 'The schema does not declare this field; it has no column.'
                         WHEN 'ROUNDED' THEN 'The column keeps nine digits after the decimal point.'
                         ELSE 'Not of type ' || coalesce(type, kind) || '; what it is stands in value.'
               END AS message,
               landed_at
        FROM misfit JOIN _page USING (result_no) LEFT JOIN container USING (result_no, place)
    """


def _beside_nodes(pages: str, column: str) -> str:
    """Return the join of extractions, ``page``, with every ``node`` of one of their values.

    The value is asked for by its number: DuckDB keeps whatever a lateral join depends on beside each of its
    rows, and of the value itself that would be as many copies as it has nodes.
    """
    own = f"SELECT own.{column} FROM _page AS own WHERE own.result_no = page.result_no"
    return f"{pages} AS page, LATERAL (SELECT tree.* FROM json_tree(({own})) AS tree) AS node"


def _value(column: Column, number: int) -> str:
    if column.type is ColumnType.JSON:
        return f"CASE WHEN json_type(jsons[{number}]) <> 'NULL' THEN jsons[{number}] END"
    return typed(f"texts[{number}]", column.type)


def _shape(place: str) -> str:
    """The place without positions: ``$.line_items[3].amount`` → ``$.line_items[].amount``.

    A quoted key is skipped, with what looks like a position in it; that it gets a ``[]`` too does no harm.
    """
    return rf"""regexp_replace({place}, '("(?:[^"\\]|\\.)*")|\[\d+\]', '\1[]', 'g')"""


def _path(place: str) -> str:
    """The place as Extend writes it: ``$."line items"[3].amount`` → ``line items[3].amount``."""
    bare = rf"""regexp_replace({place}, '\."((?:[^"\\]|\\.)*)"', '.\1', 'g')"""
    unescaped = rf"""replace(replace({bare}, '\"', '"'), '\\', '\')"""
    return f"substr(CASE WHEN contains({place}, '\"') THEN {unescaped} ELSE {place} END, 3)"


def _sample(path: Path) -> str:
    sample: Any = None
    for key in reversed(path):
        sample = [sample] if key is None else {key: sample}
    return json.dumps(sample)
