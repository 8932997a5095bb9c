"""From an extractor's JSON Schema to tables and columns; values play no part.

An object's properties are columns of the table that it is in. A list is a table of its own with one row per
item. What has no fixed shape (objects without properties, lists of lists, alternatives, recursion) is a JSON
column. Extend's schemas use ``type``, ``properties``, ``items``, ``enum`` and ``extend:type``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Final

from extend_pipeline.warehouse.schema.names import Path
from extend_pipeline.warehouse.sql import ColumnType

Schema = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class SchemaColumn:
    """A declared value: its path from the extraction's root, its type and its description."""

    path: Path
    type: ColumnType
    description: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class SchemaTable:
    """One table.

    :param path: the list whose items are the rows, ending in None; empty for the extraction itself.
    :param columns: its columns, in the schema's order.
    :param objects: paths of the objects that its columns are taken from.
    """

    path: Path
    columns: tuple[SchemaColumn, ...]
    objects: tuple[Path, ...]


_SCALARS: Final[Mapping[str, ColumnType]] = {
    "string": ColumnType.TEXT,
    "integer": ColumnType.INTEGER,
    "number": ColumnType.DECIMAL,
    "boolean": ColumnType.BOOLEAN,
}
_TEXT_FORMATS: Final[Mapping[str, ColumnType]] = {
    "date": ColumnType.DATE,
    "date-time": ColumnType.TIMESTAMP,
}
#: What a currency object holds, for schemas that say no more than ``"extend:type": "currency"``.
_CURRENCY: Final[Schema] = {
    "amount": {"type": ["number", "null"]},
    "iso_4217_currency_code": {"type": ["string", "null"]},
}
#: The same for ``"extend:type": "signature"``.
_SIGNATURE: Final[Schema] = {
    "printed_name": {"type": ["string", "null"]},
    "signature_date": {"type": ["string", "null"], "extend:type": "date"},
    "is_signed": {"type": ["boolean", "null"]},
    "title_or_role": {"type": ["string", "null"]},
}
_OBJECTS: Final[Mapping[str, Schema]] = {"currency": _CURRENCY, "signature": _SIGNATURE}


def schema_tables(schema: Schema) -> tuple[SchemaTable, ...]:
    """Return the tables of an extraction: the extraction's own first, then one per list, parents first."""
    return tuple(_tables((), _Node.of(schema, schema)))


@dataclasses.dataclass(frozen=True, slots=True)
class _Node:
    """A schema whose references are resolved; ``types`` leaves ``null`` out."""

    schema: Schema
    types: frozenset[str]
    root: Schema
    references: frozenset[str] = frozenset()

    @classmethod
    def of(cls, schema: Any, root: Schema, references: frozenset[str] = frozenset()) -> _Node:
        """Follow ``$ref`` and the only alternative beside null of ``anyOf``, ``oneOf`` and ``allOf``."""
        if not isinstance(schema, Mapping):
            return cls({}, frozenset({"anything"}), root)
        reference = schema.get("$ref")
        if isinstance(reference, str):
            target = None if reference in references else _referenced(root, reference)
            return cls.of(target, root, references | {reference})
        for keyword in ("anyOf", "oneOf", "allOf"):
            if isinstance(schema.get(keyword), list):
                choices = [choice for choice in schema[keyword] if not _is_null(choice)]
                only = choices[0] if len(choices) == 1 else None
                return cls.of(only and {**_without(schema, keyword), **only}, root, references)
        return cls(schema, _types(schema), root, references)

    @property
    def properties(self) -> Mapping[str, Any]:
        """The object's declared properties; empty for anything but an object."""
        if self.types != {"object"}:
            return {}
        declared = self.schema.get("properties")
        if not declared:
            return _OBJECTS.get(str(self.schema.get("extend:type")), {})
        return declared if isinstance(declared, Mapping) else {}

    @property
    def column_type(self) -> ColumnType:
        """The type of the column that holds the value whole."""
        if not self.types <= _SCALARS.keys():
            return ColumnType.JSON
        if self.types == {"string"}:
            kind = self.schema.get("extend:type") or self.schema.get("format")
            return _TEXT_FORMATS.get(str(kind), ColumnType.TEXT)
        if self.types == {"integer", "number"}:
            return ColumnType.DECIMAL
        return _SCALARS[next(iter(self.types))] if len(self.types) == 1 else ColumnType.TEXT

    def child(self, schema: Any) -> _Node:
        """Return a schema below this one."""
        return _Node.of(schema, self.root, self.references)


def _tables(path: Path, node: _Node) -> Iterator[SchemaTable]:
    columns: list[SchemaColumn] = []
    objects: list[Path] = []
    lists: list[tuple[Path, _Node]] = []

    def visit(path: Path, node: _Node, *, is_item: bool) -> None:
        if node.properties:
            objects.append(path)
            for key, schema in node.properties.items():
                visit((*path, key), node.child(schema), is_item=False)
        elif node.types == {"array"} and not is_item:
            lists.append(((*path, None), node.child(node.schema.get("items"))))
        else:
            description = node.schema.get("description")
            columns.append(SchemaColumn(path, node.column_type, str(description) if description else None))

    visit(path, node, is_item=True)
    yield SchemaTable(path, tuple(columns), tuple(objects))
    for list_path, items in lists:
        yield from _tables(list_path, items)


def _types(schema: Schema) -> frozenset[str]:
    declared = schema.get("type")
    if isinstance(declared, str):
        return frozenset({declared})
    if isinstance(declared, list):
        return frozenset(str(item) for item in declared if item != "null") or frozenset({"string"})
    if "properties" in schema or schema.get("extend:type") in _OBJECTS:
        return frozenset({"object"})
    if "items" in schema:
        return frozenset({"array"})
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if isinstance(values, list) and values:
        return _types_of_values(values)
    return frozenset({"string"}) if "extend:type" in schema or "format" in schema else frozenset({"anything"})


def _types_of_values(values: list[Any]) -> frozenset[str]:
    words = {str: "string", bool: "boolean", int: "integer", float: "number"}
    return frozenset(words.get(type(item), "anything") for item in values if item is not None) or frozenset(
        {"string"}
    )


def _is_null(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") in ("null", ["null"])


def _without(schema: Schema, keyword: str) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != keyword}


def _referenced(root: Schema, reference: str) -> Any:
    """Return what ``#/$defs/name`` points to; None if it points nowhere, or out of the schema."""
    head, *keys = reference.split("/")
    target: Any = root if head == "#" else None
    for key in keys:
        name = key.replace("~1", "/").replace("~0", "~")
        target = target.get(name) if isinstance(target, Mapping) else None
    return target
