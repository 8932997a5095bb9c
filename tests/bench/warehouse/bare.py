"""The barest DuckDB SQL for these very runs: every column typed by hand, nothing checked.

One odd value aborts it, a document without a run has no row, nobody learns of an unknown field, no ledger
says what has landed. It is what landing is measured against, not an example.

It has a gigabyte and two threads, unless it is to keep to the memory of a landing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

_CONFIDENCE = (
    "STRUCT(ocrConfidence DOUBLE, logprobsConfidence DOUBLE, "
    "citations STRUCT(page STRUCT(number BIGINT), referenceText VARCHAR, polygon JSON)[])"
)
_VALUE = (
    "STRUCT(invoice_number VARCHAR, invoice_date DATE, currency VARCHAR, "
    "vendor STRUCT(name VARCHAR, vat_id VARCHAR), net DECIMAL(38, 9), total DECIMAL(38, 9), "
    "line_items STRUCT(description VARCHAR, quantity DECIMAL(38, 9), amount DECIMAL(38, 9))[], "
    "taxes STRUCT(rate DECIMAL(38, 9), amount DECIMAL(38, 9))[])"
)
_RUN = """STRUCT(id VARCHAR, status VARCHAR, startTime TIMESTAMPTZ, endTime TIMESTAMPTZ,
    metadata STRUCT(document_id VARCHAR), usage STRUCT(credits DECIMAL(38, 9)),
    stepRuns STRUCT(result STRUCT(extractRun STRUCT(output {output})))[])"""

_TABLES = """
CREATE TABLE IF NOT EXISTS invoices (document_id VARCHAR, run_id VARCHAR, status VARCHAR,
    started_at TIMESTAMPTZ, ended_at TIMESTAMPTZ, credits DECIMAL(38, 9), invoice_number VARCHAR,
    invoice_date DATE, currency VARCHAR, vendor_name VARCHAR, vendor_vat_id VARCHAR, net DECIMAL(38, 9),
    total DECIMAL(38, 9));
CREATE TABLE IF NOT EXISTS line_items (document_id VARCHAR, idx BIGINT, description VARCHAR,
    quantity DECIMAL(38, 9), amount DECIMAL(38, 9));
CREATE TABLE IF NOT EXISTS taxes (document_id VARCHAR, idx BIGINT, rate DECIMAL(38, 9),
    amount DECIMAL(38, 9));
CREATE TABLE IF NOT EXISTS fields (document_id VARCHAR, path VARCHAR, value VARCHAR, ocr DOUBLE,
    logprobs DOUBLE, page BIGINT, reference_text VARCHAR, polygon JSON);
"""
_CHILDREN = """
INSERT INTO line_items SELECT document_id, idx, item.description, item.quantity, item.amount
FROM (SELECT document_id, unnest(value.line_items) AS item,
             unnest(range(len(value.line_items))) AS idx FROM part);
INSERT INTO taxes SELECT document_id, idx, tax.rate, tax.amount
FROM (SELECT document_id, unnest(value.taxes) AS tax, unnest(range(len(value.taxes))) AS idx FROM part);
"""
_EVIDENCE = """
SELECT document_id, entry.key AS path, entry.value.ocrConfidence, entry.value.logprobsConfidence,
       entry.value.citations[1].page.number, entry.value.citations[1].referenceText,
       entry.value.citations[1].polygon
FROM (SELECT document_id, unnest(map_entries(metadata)) AS entry FROM part)
"""


def land(file: Path, part: Path, *, every_field: bool, memory_mb: int = 1000, threads: int = 2) -> None:
    """Land a part.

    :param every_field: a row for each value, as the pipeline's ``fields`` has; else for those with evidence.
    """
    output = f"STRUCT(value {'JSON' if every_field else _VALUE}, metadata MAP(VARCHAR, {_CONFIDENCE}))"
    given = "value AS given, " if every_field else ""
    value = f"from_json(value, '\"{_VALUE}\"')" if every_field else "value"
    config: dict[str, Any] = {"memory_limit": f"{memory_mb}MB", "threads": threads}
    with duckdb.connect(str(file), config=config) as connection:
        connection.execute("SET preserve_insertion_order = false")
        connection.execute(_TABLES)
        connection.execute("BEGIN")
        connection.execute(f"""
            CREATE TEMP TABLE part AS
            SELECT run.metadata.document_id AS document_id, run, {value} AS value, {given}metadata
            FROM (SELECT run, run.stepRuns[1].result.extractRun.output.value AS value,
                         run.stepRuns[1].result.extractRun.output.metadata AS metadata
                  FROM read_json('{part}', format = 'newline_delimited',
                                 columns = {{run: '{_RUN.format(output=output)}'}}))
        """)
        for table in ("invoices", "line_items", "taxes", "fields"):
            connection.execute(f"DELETE FROM {table} USING part WHERE part.document_id = {table}.document_id")
        connection.execute("""
            INSERT INTO invoices
            SELECT document_id, run.id, run.status, run.startTime, run.endTime, run.usage.credits,
                   value.invoice_number, value.invoice_date, value.currency, value.vendor.name,
                   value.vendor.vat_id, value.net, value.total
            FROM part
        """)
        connection.execute(_CHILDREN)
        if every_field:
            connection.execute(f"""
                INSERT INTO fields
                SELECT document_id, path, text, about.* EXCLUDE (document_id, path)
                FROM (SELECT document_id, substr(node.fullkey, 3) AS path, node.atom ->> '$' AS text
                      FROM part, LATERAL (SELECT tree.* FROM json_tree((SELECT own.given FROM part AS own
                                          WHERE own.document_id = part.document_id)) AS tree) AS node
                      WHERE node.type NOT IN ('OBJECT', 'ARRAY'))
                FULL JOIN ({_EVIDENCE}) AS about USING (document_id, path)
            """)
        else:
            connection.execute(
                f"INSERT INTO fields SELECT about.document_id, about.path, NULL, "
                f"about.* EXCLUDE (document_id, path) FROM ({_EVIDENCE}) AS about"
            )
        connection.execute("COMMIT")
