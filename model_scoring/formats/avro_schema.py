"""What an Avro schema leaves without bounds: how deep values are nested, and how many of them take no bytes."""

from collections.abc import Iterator
from typing import Any

__all__ = ["has_list_of_nothing", "is_recursive"]


def is_recursive(schema: Any, within: frozenset[str] = frozenset()) -> bool:
    """Whether a type of the schema may hold itself, so that no schema bounds how deep its values are nested.

    By names without their namespaces: a schema that is taken for recursive and is not is read all the same.
    """
    if isinstance(schema, str):
        return _short(schema) in within
    if isinstance(schema, dict) and "fields" in schema:
        within |= {_short(schema.get("name", ""))}
    return any(is_recursive(each, within) for each in _inner(schema))


def has_list_of_nothing(schema: Any) -> bool:
    """Whether it has an array whose items take no bytes: a few bytes of a file may tell of any number of them."""
    if isinstance(schema, dict) and schema.get("type") == "array" and not _takes_bytes(schema["items"]):
        return True
    return any(map(has_list_of_nothing, _inner(schema)))


def _inner(schema: Any) -> Iterator[Any]:
    """The schemas that a schema is made of; of a name, none."""
    if isinstance(schema, list):
        yield from schema
    elif isinstance(schema, dict):
        yield from (field["type"] for field in schema.get("fields", ()))
        yield from (schema[name] for name in ("type", "items", "values") if name in schema)


def _takes_bytes(schema: Any) -> bool:
    """Whether each value takes bytes in the file; of a name it is taken for granted."""
    if isinstance(schema, str):
        return schema != "null"
    if isinstance(schema, list):
        return True
    if "fields" in schema:
        return any(_takes_bytes(field["type"]) for field in schema["fields"])
    return bool(schema["size"]) if schema["type"] == "fixed" else _takes_bytes(schema["type"])


def _short(name: str) -> str:
    return name.rpartition(".")[2]
