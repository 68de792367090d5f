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
    named = {_short(each["name"]): each for each in _all(schema) if isinstance(each, dict) and "name" in each}
    lists = [each for each in _all(schema) if isinstance(each, dict) and each.get("type") == "array"]
    return not all(_takes_bytes(each["items"], named) for each in lists)


def _all(schema: Any) -> Iterator[Any]:
    yield schema
    for each in _inner(schema):
        yield from _all(each)


def _inner(schema: Any) -> Iterator[Any]:
    """The schemas that a schema is made of; of a name, none."""
    if isinstance(schema, list):
        yield from schema
    elif isinstance(schema, dict):
        yield from (field["type"] for field in schema.get("fields", ()))
        yield from (schema[name] for name in ("type", "items", "values") if name in schema)


def _takes_bytes(schema: Any, named: dict[str, Any]) -> bool:
    """Whether each value takes bytes in the file; ``named`` are the schemas that names may stand for."""
    if isinstance(schema, str):
        # A type that holds itself does so in a union or a list, which take some.
        others = {name: each for name, each in named.items() if name != _short(schema)}
        return schema != "null" and (_short(schema) not in named or _takes_bytes(named[_short(schema)], others))
    if isinstance(schema, list):
        return True
    if "fields" in schema:
        return any(_takes_bytes(field["type"], named) for field in schema["fields"])
    return bool(schema["size"]) if schema["type"] == "fixed" else _takes_bytes(schema["type"], named)


def _short(name: str) -> str:
    return name.rpartition(".")[2]
