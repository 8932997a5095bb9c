"""Taking large JSON values apart in time that grows with their length.

For each container in an array, DuckDB's ``json_tree`` searches the array from its beginning again, and a MAP
compares each new key with all others. Short values are over before that matters. A large one is broken up,
level by level, by ``json_each``, which reads on where it was; ``json_tree`` then gets the small parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from extend_pipeline.warehouse.files import StagedFile
from extend_pipeline.warehouse.transform.values.places import CONTAINERS, beside_nodes

if TYPE_CHECKING:
    from extend_pipeline.warehouse.session import Session

#: The longest JSON text that is taken apart at once, in bytes.
LONGEST: Final = 32 * 1024
#: How many levels of a value are broken up: each is a statement, and what lies deeper is no long list.
DEEPEST: Final = 32
#: The table of parts, and what numbers them.
_PARTS: Final = ("_parts", "part_no")


def may_be_in(page: StagedFile) -> bool:
    """Return True if a value of the page may be larger than :data:`LONGEST`."""
    return page.longest > LONGEST


def is_large(text: str) -> str:
    """Return the condition that a JSON text is broken up."""
    return f"strlen({text}) > {LONGEST}"


def _is_broken() -> str:
    return f"({is_large('value')} AND level < {DEEPEST})"


def stage_parts(session: Session, column: str) -> None:
    """Stage ``_parts``: the page's large values in this column of ``_page``, broken up.

    It has a row per scalar and per container met on the way; a container has its JSON in ``value``. One that
    is still large has its children in further rows, the others are to be taken apart with
    :func:`part_nodes`.
    """
    session.stage(
        "_parts",
        f"""SELECT row_number() OVER () AS part_no, 0 AS level, result_no, group_id, '$' AS place,
                   json_type({column}) AS json_type, NULL::VARCHAR AS text,
                   {column}::JSON AS value
            FROM _page WHERE {is_large(column)} AND json_type({column}) IN {CONTAINERS}""",
    )
    for level in range(DEEPEST):
        broken = f"(FROM _parts WHERE level = {level} AND {_is_broken()})"
        if not session.rows("look for large parts", f"SELECT 1 FROM {broken} LIMIT 1"):
            break
        session.run(
            "break up large parts",
            f"""INSERT INTO _parts
                SELECT row_number() OVER () + (SELECT max(part_no) FROM _parts), {level + 1},
                       page.result_no, page.group_id, page.place || substr(node.fullkey, 2),
                       node.type, node.atom ->> '$', CASE WHEN node.type IN {CONTAINERS} THEN node.value END
                FROM {beside_nodes(broken, "value", "json_each", *_PARTS)}""",
        )


def part_nodes() -> str:
    """Return every place of the values in ``_parts``, as ``_nodes`` has them."""
    return f"""
        SELECT result_no, group_id, json_type, place, text
        FROM _parts WHERE value IS NULL OR {_is_broken()}
        UNION ALL
        SELECT page.result_no, page.group_id, node.type, page.place || substr(node.fullkey, 2),
               node.atom ->> '$'
        FROM {beside_nodes(f"(FROM _parts WHERE NOT {_is_broken()})", "value", "json_tree", *_PARTS)}
    """


def part_containers(some: str) -> str:
    """Return ``result_no``, ``place`` and the JSON ``whole`` of each container in ``_parts``.

    :param some: the relation of the values, by ``result_no``, that are asked for.
    """
    small = f"(FROM _parts SEMI JOIN ({some}) USING (result_no) WHERE NOT {_is_broken()})"
    return f"""
        SELECT result_no, place, value AS whole
        FROM _parts SEMI JOIN ({some}) USING (result_no) WHERE value IS NOT NULL
        UNION ALL
        SELECT page.result_no, page.place || substr(node.fullkey, 2), node.value
        FROM {beside_nodes(small, "value", "json_tree", *_PARTS)}
        WHERE node.type IN {CONTAINERS} AND node.fullkey <> '$'
    """


def metadata_entries(metadata: str) -> str:
    """Return the entries of large metadata: a row per ``key``, with its JSON in ``entry``.

    Metadata that is no object, or repeats a key, is no map: it has one row without a key.

    :param metadata: the relation that ``flatten.metadata_rows`` returns.
    """
    nodes = beside_nodes(f"(FROM {metadata} WHERE {is_large('metadata')})", "metadata", "json_each", metadata)
    return f"""
        WITH node AS (SELECT page.result_no, node.key, node.value FROM {nodes}),
        map AS (
            SELECT result_no FROM {metadata} WHERE json_type(metadata) = 'OBJECT' AND result_no NOT IN
                (SELECT result_no FROM node GROUP BY result_no HAVING count(*) > count(DISTINCT key))
        )
        SELECT result_no, node.key, node.value AS entry FROM node SEMI JOIN map USING (result_no)
        UNION ALL
        SELECT result_no, NULL, NULL FROM {metadata} ANTI JOIN map USING (result_no)
        WHERE {is_large("metadata")}
    """
