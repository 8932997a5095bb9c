"""What keeps a role from planning and landing in Postgres, each with the statement that fixes it.

Postgres reports these one at a time, at the first statement that fails, and some not at all: a policy of
row-level security hides rows, and a document whose row is hidden would be sent, and paid for, again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from extend_pipeline.warehouse.schema import migrations, tables
from extend_pipeline.warehouse.schema.wide_tables import segments_of
from extend_pipeline.warehouse.sql import Columns, quoted

#: Runs a query with its parameters.
Ask = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]

_RIGHTS: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")
_DATABASE: Final = """
    SELECT current_user, current_database(), pg_is_in_recovery(),
           current_setting('transaction_read_only')::boolean,
           has_database_privilege(current_database(), 'CREATE'),
           has_database_privilege(current_database(), 'TEMPORARY'),
           space.oid IS NOT NULL,
           has_schema_privilege(space.oid, 'USAGE'), has_schema_privilege(space.oid, 'CREATE')
    FROM (SELECT 1) AS one LEFT JOIN pg_namespace AS space ON space.nspname = %s"""
_TABLES: Final = """
    SELECT relname, row_security_active(relation.oid), pg_has_role(relowner, 'USAGE'),
           relreplident <> 'f' AND NOT EXISTS (
               SELECT FROM pg_index WHERE indrelid = relation.oid AND indisvalid
                 AND CASE relreplident WHEN 'd' THEN indisprimary WHEN 'i' THEN indisreplident END
           ) AND EXISTS (
               SELECT FROM pg_publication_tables AS published JOIN pg_publication USING (pubname)
               WHERE published.schemaname = %s AND published.tablename = relname AND (pubupdate OR pubdelete)
           ),
           has_table_privilege(relation.oid, 'SELECT'), has_table_privilege(relation.oid, 'INSERT'),
           has_table_privilege(relation.oid, 'UPDATE'), has_table_privilege(relation.oid, 'DELETE')
    FROM pg_class AS relation
    WHERE relnamespace = to_regnamespace(quote_ident(%s)) AND relkind IN ('r', 'p') AND relname = ANY(%s)
    ORDER BY relname"""


def objections(ask: Ask, dataset: str, there: Mapping[str, Columns]) -> Iterator[str]:
    """Yield what is wrong with the database and the tables, see :meth:`Destination.objections`.

    :param there: the dataset's tables.
    """
    found = [*_of_database(ask, dataset)]
    found += _of_tables(ask, dataset, [*tables.FIXED, migrations.TABLE], changing=False)
    if not found and "dictionary" in there:
        generated = ask(f"SELECT DISTINCT table_name FROM {quoted(dataset)}.dictionary", [])
        segments = [name for (table,) in generated for name in segments_of(table, there)]
        found += _of_tables(ask, dataset, segments, changing=True)
    yield from found


def _of_database(ask: Ask, dataset: str) -> Iterator[str]:
    """Yield what is wrong with the server, the database and the schema."""
    ((role, database, standby, read_only, create, temporary, exists, usage, make),) = ask(
        _DATABASE, [dataset]
    )
    if standby:
        yield "the server is a standby, which is read-only. Set the primary as the connection's host."
    elif read_only:
        yield (
            "the role's transactions are read-only. See default_transaction_read_only: "
            f"ALTER ROLE {quoted(role)} SET default_transaction_read_only = off;"
        )
    if not temporary:
        yield (
            f"permission denied to create temporary tables in database {database}. "
            f"GRANT TEMPORARY ON DATABASE {quoted(database)} TO {quoted(role)};"
        )
    if not exists and not create:
        yield (
            f"permission denied for database {database}. "
            f"GRANT CREATE ON DATABASE {quoted(database)} TO {quoted(role)};"
        )
    missing = [right for right, given in (("USAGE", usage), ("CREATE", make)) if exists and not given]
    if missing:
        yield (
            f"permission denied for schema {dataset}. "
            f"GRANT {', '.join(missing)} ON SCHEMA {quoted(dataset)} TO {quoted(role)};"
        )


def _of_tables(ask: Ask, dataset: str, names: Sequence[str], *, changing: bool) -> Iterator[str]:
    """Yield what is wrong with tables.

    :param changing: columns are added to these tables, which only their owner can do.
    """
    ((role,),) = ask("SELECT current_user", [])
    for name, hidden, owned, silent, *rights in ask(_TABLES, [dataset, dataset, list(names)]):
        target = f"{quoted(dataset)}.{quoted(name)}"
        missing = [right for right, given in zip(_RIGHTS, rights, strict=True) if not given]
        if missing:
            yield (
                f"permission denied for table {name}. "
                f"GRANT {', '.join(missing)} ON TABLE {target} TO {quoted(role)};"
            )
        if hidden:
            seen = (
                f"TABLE {target} NO FORCE ROW LEVEL SECURITY" if owned else f"ROLE {quoted(role)} BYPASSRLS"
            )
            yield (
                f"row-level security may hide rows of table {name}; a document whose row is hidden would be "
                f"paid for twice. ALTER {seen};"
            )
        if silent:
            yield (
                f"table {name} is published and has no replica identity, so rows can be neither changed nor "
                f"deleted. ALTER TABLE {target} REPLICA IDENTITY FULL;"
            )
        if changing and not owned:
            yield (
                f"must be owner of table {name}, to add a column for each new field. "
                f"ALTER TABLE {target} OWNER TO {quoted(role)};"
            )
