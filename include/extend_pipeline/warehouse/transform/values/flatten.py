"""SQL that takes a page of extracted values apart: typed rows, fields with their evidence, problems.

Every function returns a statement. The statements read these temporary tables:

* ``_page``: one row per extraction, ``result_no`` numbering them, with the file that it was made from,
  ``value`` and, if a person has reviewed it, ``initial``, the value before that, as JSON;
* ``_declared``: one row per place of a schema, see :mod:`~extend_pipeline.warehouse.transform.values.places`;
* ``_nodes``: one row per place of each value; ``_machine``: the same of ``initial``; ``_parts``: on the way
  to them, large values, see :mod:`~extend_pipeline.warehouse.transform.values.large_values`;
* ``_places``: these places, each once, with what is declared there; there are far fewer places than rows;
* ``_misfits``: the places whose value is a problem;
* ``_evidence`` and what leads from it to fields, see
  :mod:`extend_pipeline.warehouse.transform.values.evidence`.
"""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING, Final

from extend_pipeline.warehouse.files import StagedFile, read_texts
from extend_pipeline.warehouse.schema import tables
from extend_pipeline.warehouse.schema.dictionary import Column, Table
from extend_pipeline.warehouse.schema.names import pointer
from extend_pipeline.warehouse.sql import ColumnType, is_rounded, literal, names, quoted, typed
from extend_pipeline.warehouse.transform.values import evidence, large_values
from extend_pipeline.warehouse.transform.values.places import CONTAINERS, beside_nodes, node_rows, place_rows

if TYPE_CHECKING:
    from extend_pipeline.warehouse.session import Session

PAGE_COLUMNS: Final = {
    "result_no": "BIGINT",
    "seq": "BIGINT",
    "result_idx": "BIGINT",
    "group_id": "BIGINT",
    "file_id": "VARCHAR",
    "value": "VARCHAR",
    "metadata": "VARCHAR",
    "initial": "VARCHAR",
}
#: A cheap test that most numbers pass: they are too short to be too large or too exact for their column.
_FITS: Final = """(
    json_type IN ('BIGINT', 'UBIGINT', 'DOUBLE') AND length(text) <= 10 AND NOT contains(text, 'e')
    AND (type IN ('DECIMAL', 'DOUBLE') OR type = 'INTEGER' AND json_type <> 'DOUBLE'))"""


def stage_page(session: Session, file: StagedFile) -> str:
    """Stage the tables that a page is taken apart into, in the order they are made in.

    :return: the relation of the ``metadata`` of the extractions in ``_page``, see :func:`metadata_rows`.
    """
    landing = session.stage("_page", page_rows(file))
    if file.reviewed:
        _stage_nodes(session, "_machine", "initial", file)
    _stage_nodes(session, "_nodes", "value", file)
    if not file.reviewed:
        session.stage("_machine", "FROM _nodes WHERE false")
    session.stage("_places", place_rows())
    return metadata_rows(file, whole=landing == file.lines)


def _stage_nodes(session: Session, name: str, column: str, file: StagedFile) -> None:
    """Stage every place of the page's values in this column; ``_parts`` is then of this column, too."""
    if not large_values.may_be_in(file):
        session.stage(name, node_rows(column))
        return
    large_values.stage_parts(session, column)
    small = node_rows(column, "result_no NOT IN (SELECT result_no FROM _parts)")
    session.stage(name, f"{small} UNION ALL {large_values.part_nodes()}")


def page_rows(file: StagedFile) -> str:
    """Return the extractions of a page that belong to the runs that land, with their keys."""
    return f"""
        SELECT page.* EXCLUDE (metadata) REPLACE (page.file_id ->> '$' AS file_id), {names(tables.KEY)},
               landing.run_id, landing.landed_at, landing.min_confidence
        FROM {read_texts(file, PAGE_COLUMNS)} AS page
        JOIN _landing AS landing ON landing.seq = page.seq
    """


def metadata_rows(file: StagedFile, *, whole: bool) -> str:
    """Return the relation of the ``metadata`` of the extractions in ``_page``.

    It is most of a page and is read once. No temporary table has it, because what such a table had is freed
    when the transaction ends, and not when the next page replaces it.

    :param whole: whether all extractions of the file are in ``_page``; a join would copy the metadata.
    """
    among = "" if whole else "SEMI JOIN _page USING (result_no)"
    return f"(SELECT result_no, group_id, metadata FROM {read_texts(file, PAGE_COLUMNS)} {among})"


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

    A value that a reviewer has removed is a row, too, with the machine's value alone.
    """
    scalar = f"json_type NOT IN {CONTAINERS} AND NOT (place = '$' AND json_type = 'NULL')"
    return f"""
        SELECT {names(tables.KEY)}, run_id, extractor, result_idx,
               coalesce(file_id, cited_file_id) AS file_id, coalesce(path, said_of) AS path, text AS value,
               {evidence.COLUMNS}, CASE WHEN initial IS NULL THEN text ELSE machine_text END AS machine_value,
               initial IS NOT NULL AND text IS DISTINCT FROM machine_text AS edited
        FROM (SELECT result_no, place, text FROM _nodes WHERE {scalar})
        FULL JOIN ({evidence.said_rows()}) USING (result_no, place)
        FULL JOIN (SELECT result_no, place, text AS machine_text FROM _machine WHERE {scalar})
            USING (result_no, place)
        JOIN _page USING (result_no)
        JOIN _groups USING (group_id)
        LEFT JOIN (SELECT group_id, place, path FROM _places) USING (group_id, place)
    """


def misfit_rows(kinds: Set[ColumnType]) -> str:
    """Return ``_misfits``: the page's values that are not declared, are of another type, or lose digits.

    :param kinds: the types of all declared columns; fewer types make the statement quicker to plan.
    """
    casts = "\n".join(
        f"WHEN {literal(kind)} THEN {typed('text', kind)} IS NULL"
        for kind in sorted(kinds - {ColumnType.TEXT, ColumnType.JSON})
    )
    wrong = f"WHEN CASE type {casts} ELSE false END THEN 'WRONG_TYPE'" if casts else ""
    rounded = f"WHEN type = 'DECIMAL' AND {is_rounded('text')} THEN 'ROUNDED'"
    return f"""
        SELECT * FROM (
            SELECT *, CASE
                WHEN kind IS NULL AND parent_kind IN ('object', 'list') THEN 'UNKNOWN_FIELD'
                WHEN kind IS NULL OR json_type = 'NULL' THEN NULL
                WHEN kind = 'object' THEN CASE WHEN json_type <> 'OBJECT' THEN 'WRONG_TYPE' END
                WHEN kind = 'list' THEN CASE WHEN json_type <> 'ARRAY' THEN 'WRONG_TYPE' END
                WHEN json_type IN {CONTAINERS} THEN CASE WHEN type <> 'JSON' THEN 'WRONG_TYPE' END
                WHEN {_FITS} THEN NULL
                {wrong}
                {rounded if ColumnType.DECIMAL in kinds else ""}
            END AS code
            FROM _nodes JOIN _places USING (group_id, place)
        ) WHERE code IS NOT NULL
    """


def problem_rows(*, large: bool = False) -> str:
    """Return the rows of ``problems`` about ``_misfits``, each with what the value is.

    :param large: whether ``_parts`` has the large values of the page.
    """
    of_containers = f"FROM _misfits WHERE json_type IN {CONTAINERS}"
    whole = f"_page SEMI JOIN ({of_containers}) USING (result_no)"
    if large:
        whole += " ANTI JOIN _parts USING (result_no)"
    return f"""
        WITH container AS (
            SELECT page.result_no, node.fullkey AS place, node.value AS whole
            FROM {beside_nodes(f"(FROM {whole})", "value")}
            WHERE node.type IN {CONTAINERS}
            {f"UNION ALL {large_values.part_containers(of_containers)}" if large else ""}
        )
        SELECT {names(tables.KEY)}, run_id, code, table_name, column_name, path,
               coalesce(text, whole::VARCHAR) AS value,
               CASE code WHEN 'UNKNOWN_FIELD' THEN 'The schema does not declare this field; it has no column.'
                         WHEN 'ROUNDED' THEN 'The column keeps nine digits after the decimal point.'
                         ELSE 'Not of type ' || coalesce(type, kind) || '; what it is stands in value.'
               END AS message,
               landed_at
        FROM _misfits JOIN _page USING (result_no) LEFT JOIN container USING (result_no, place)
    """


def _value(column: Column, number: int) -> str:
    if column.type is ColumnType.JSON:
        return f"CASE WHEN json_type(jsons[{number}]) <> 'NULL' THEN jsons[{number}] END"
    return typed(f"texts[{number}]", column.type)
