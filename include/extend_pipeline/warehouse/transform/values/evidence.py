"""SQL about Extend's evidence: reading it, matching each entry to its field, reporting what has no field.

Every function returns a statement. The statements read ``_page``, ``_nodes``, ``_machine``, ``_places`` and
``_declared``, see :mod:`extend_pipeline.warehouse.transform.values.flatten`, and make of a page

* ``_evidence``: one row per entry of the metadata, with its ``key``, null for metadata that is no map;
* ``_found``: the entries that have a place in their extraction; ``ways`` counts the places that the key
  spells equally well.

If every key is spelled as expected and every entry can be read, the costlier statements do not run.
"""

from __future__ import annotations

import json
from typing import Final

from extend_pipeline.warehouse.schema import tables
from extend_pipeline.warehouse.sql import ColumnType, literal, names, typed
from extend_pipeline.warehouse.transform.values import large_values
from extend_pipeline.warehouse.transform.values.places import beside_nodes, folded, spelled

#: The columns of ``_evidence`` that ``fields`` has, in its order.
COLUMNS: Final = """ocr_confidence, logprobs_confidence, review_score, page, reference_text, polygon,
    cell_range, citations"""
#: What is read from Extend's metadata of a field; ``page`` is a number in 2025-04-21, later an object.
_ABOUT: Final = (
    "STRUCT(ocrConfidence VARCHAR, logprobsConfidence VARCHAR, reviewAgentScore VARCHAR, "
    "citations STRUCT(fileId VARCHAR, page JSON, referenceText VARCHAR, polygon JSON, "
    "cellRange VARCHAR)[])"
)
#: The known keys of a field's metadata.
_KNOWN: Final = "['ocrConfidence', 'logprobsConfidence', 'reviewAgentScore', 'citations', 'insights']"
_NOWHERE: Final = (
    "Extend says this of a field that the extraction does not have; in fields it has a row of its own."
)
_UNREADABLE: Final = (
    "Not what Extend is known to say of a field: a confidence is a number from 0 to 1, citations are a list, "
    "and a page is a number. What could not be read is null in fields."
)
_AMBIGUOUS: Final = "Extend's key for this can mean several fields of the extraction; one of them has it."


def said_rows() -> str:
    """Return the evidence with its place, or else with the path under which problems name it."""
    return f"""
        SELECT result_no, place, coalesce(path, key) AS said_of, cited_file_id, {COLUMNS}
        FROM _evidence LEFT JOIN _found USING (result_no, key) WHERE key IS NOT NULL
    """


def evidence_rows(metadata: str, *, large: bool = False) -> str:
    """Return Extend's evidence for each field: its confidences, and its first citation.

    :param metadata: the relation that ``flatten.metadata_rows`` returns.
    :param large: whether the page may have large metadata.
    """
    structure = literal(json.dumps(f"MAP(VARCHAR, {_ABOUT})"))
    small = f"WHERE NOT {large_values.is_large('metadata')}" if large else ""
    others = f"""
        UNION ALL
        SELECT result_no, group_id, contains(metadata, '"citations"') AS is_cited, node.key,
               from_json(node.entry, {literal(json.dumps(_ABOUT))})
        FROM ({large_values.metadata_entries(metadata)}) AS node JOIN {metadata} USING (result_no)
    """
    ocr, logprobs = (
        f"CASE WHEN try_cast({text} AS DOUBLE) BETWEEN 0 AND 1 THEN try_cast({text} AS DOUBLE) END"
        for text in ("about.ocrConfidence", "about.logprobsConfidence")
    )
    page = "about.citations[1].page"
    text = f"coalesce({page} ->> 'number', CASE WHEN json_type({page}) <> 'OBJECT' THEN {page} ->> '$' END)"
    return f"""
        SELECT * EXCLUDE (about, page_text, is_cited), NULL::VARCHAR AS path,
               {typed("page_text", tables.FIELDS["page"])} AS page,
               key IS NULL
               OR ocr_confidence IS NULL AND about.ocrConfidence IS NOT NULL
               OR logprobs_confidence IS NULL AND about.logprobsConfidence IS NOT NULL
               OR review_score IS NULL AND about.reviewAgentScore IS NOT NULL
               OR page IS NULL AND page_text IS NOT NULL AS unreadable,
               citations IS NULL AND (
                   is_cited OR about.ocrConfidence IS NULL AND about.logprobsConfidence IS NULL
                                      AND about.reviewAgentScore IS NULL) AS unclear
        FROM (
            SELECT *, {ocr} AS ocr_confidence, {logprobs} AS logprobs_confidence,
                   {typed("about.reviewAgentScore", ColumnType.DOUBLE)} AS review_score, {text} AS page_text,
                   about.citations[1].fileId AS cited_file_id,
                   about.citations[1].referenceText AS reference_text,
                   about.citations[1].polygon AS polygon,
                   about.citations[1].cellRange AS cell_range, len(about.citations) AS citations
            FROM (
                SELECT result_no, group_id, is_cited, entry.key AS key, entry.value AS about
                FROM (
                    SELECT result_no, group_id,
                           contains(metadata, '"citations"') AS is_cited,
                           unnest(coalesce(map_entries(from_json(metadata, {structure})),
                                           [{{'key': NULL, 'value': NULL}}])) AS entry
                    FROM {metadata} {small}
                )
                {others if large else ""}
            )
        )
    """


def exactly_found_rows() -> str:
    """Return the places of entries with unambiguous keys, spelled as in ``fields``: usually all."""
    return """
        SELECT result_no, key, place, 1 AS ways
        FROM (FROM _evidence WHERE NOT unreadable AND NOT unclear) JOIN (
            SELECT group_id, path AS key, any_value(place) AS place
            FROM _places GROUP BY ALL HAVING count(*) = 1
        ) USING (group_id, key) SEMI JOIN _nodes USING (result_no, place)
    """


def found_rows() -> str:
    """Return the place of each entry whose key leads to one that its extraction has, now or before a review.

    A key means the same place in all extractions of the page, unless another place, or another key for it, is
    among them: then each extraction is asked, and the better spelling counts.
    """
    return f"""
        WITH way AS (
            SELECT group_id, key, place, CASE key WHEN path THEN 0 WHEN dotted THEN 1 ELSE 2 END AS rank,
                   count(*) OVER (PARTITION BY group_id, key) > 1
                   OR count(*) OVER (PARTITION BY group_id, place) > 1 AS disputed
            FROM (
                SELECT group_id, key, {folded("key")} AS folded FROM _evidence GROUP BY ALL
            ) JOIN _places USING (group_id, folded)
        ),
        claim AS (
            SELECT result_no, key, place, rank, disputed
            FROM _evidence JOIN way USING (group_id, key)
            SEMI JOIN (
                SELECT result_no, place FROM _nodes UNION ALL SELECT result_no, place FROM _machine
            ) AS there USING (result_no, place)
        )
        SELECT result_no, key, place, 1 AS ways FROM claim WHERE NOT disputed
        UNION ALL
        SELECT result_no, key, place, ways
        FROM (
            SELECT *, count(*) OVER (PARTITION BY result_no, key, rank) AS ways FROM claim WHERE disputed
            QUALIFY row_number() OVER (PARTITION BY result_no, key ORDER BY rank, place) = 1
        )
        QUALIFY row_number() OVER (PARTITION BY result_no, place ORDER BY rank, key) = 1
    """


def absent_paths() -> str:
    """Return the statement that gives entries of declared fields without a value their path.

    An item that does not exist declares nothing.
    """
    segments = f"string_split({folded('key')}, '.')"
    numbers, rest = (
        f"list_filter({segments}, lambda segment: {no}regexp_full_match(segment, '\\d+'))"
        for no in ("", "NOT ")
    )
    pieces = f"string_split({spelled('shape')}, '[]')"
    path = """array_to_string(
        list_transform(pieces, lambda piece, n: concat(piece, '[' || numbers[n] || ']')), '')"""
    return f"""
        WITH lost AS (
            SELECT result_no, group_id, key, {numbers} AS numbers, array_to_string({rest}, '.') AS rest
            FROM _evidence ANTI JOIN _found USING (result_no, key)
        ),
        declared AS (
            SELECT DISTINCT group_id, {folded("shape")} AS rest, {pieces} AS pieces FROM _declared
        ),
        known AS (
            SELECT result_no, key, numbers, {path} AS path
            FROM lost JOIN declared USING (group_id, rest) WHERE len(pieces) = len(numbers) + 1
        ),
        there AS (
            SELECT DISTINCT result_no, path
            FROM _nodes SEMI JOIN known USING (result_no) JOIN _places USING (group_id, place)
        ),
        absent AS (
            SELECT known.result_no, key, known.path
            FROM known LEFT JOIN there
              ON there.result_no = known.result_no AND there.path = regexp_extract(known.path, '^.*\\]')
            WHERE numbers = [] OR there.path IS NOT NULL
            QUALIFY row_number() OVER (
                PARTITION BY known.result_no, known.path ORDER BY key <> known.path, key) = 1
        )
        UPDATE _evidence SET path = named.path
        FROM (FROM absent ANTI JOIN there USING (result_no, path)) AS named
        WHERE _evidence.result_no = named.result_no AND _evidence.key = named.key
    """


def problem_rows(metadata: str) -> str:
    """Return the page's evidence that leads to no field or to several, or that cannot be read.

    :param metadata: as of :func:`evidence_rows`.
    """
    odd = f"(FROM {metadata} SEMI JOIN odd USING (result_no))"
    return f"""
        WITH odd AS (
            SELECT result_no, key, path IS NULL AND place IS NULL AND key IS NOT NULL AS lost,
                   coalesce(ways, 1) > 1 AS ambiguous, unreadable, unclear
            FROM _evidence LEFT JOIN _found USING (result_no, key)
            WHERE lost OR ambiguous OR unreadable OR unclear
        ),
        entry AS (
            SELECT page.result_no, node.key, node.value AS entry
            FROM {beside_nodes(odd, "metadata", "json_each", metadata)}
        ),
        checked AS (
            SELECT *, unreadable OR unclear AND (
                       json_type(entry) NOT IN ('OBJECT', 'NULL')
                       OR coalesce(json_type(entry, '$.citations') <> 'NULL', false)
                       OR json_type(entry, '$.ocrConfidence') IS NULL
                          AND json_type(entry, '$.logprobsConfidence') IS NULL
                          AND json_type(entry, '$.reviewAgentScore') IS NULL
                          AND NOT list_has_all({_KNOWN}, json_keys(entry))) AS strange
            FROM odd LEFT JOIN entry USING (result_no, key)
        )
        SELECT {names(tables.KEY)}, run_id, code, NULL, NULL, key, coalesce(entry, metadata), message,
               landed_at
        FROM (
            SELECT *, 'UNREADABLE_EVIDENCE' AS code, {literal(_UNREADABLE)} AS message
            FROM checked WHERE strange
            UNION ALL
            SELECT *, 'EVIDENCE_WITHOUT_FIELD', {literal(_NOWHERE)} FROM checked WHERE lost
            UNION ALL
            SELECT *, 'AMBIGUOUS_EVIDENCE', {literal(_AMBIGUOUS)} FROM checked WHERE ambiguous
        ) JOIN _page USING (result_no) JOIN {metadata} USING (result_no)
    """
