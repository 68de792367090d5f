"""Cells: the text of one field, as CSV and paths have it, and what the model's input schema makes of it.

A cell is text. Where the schema takes text for its field, it stays text; where it takes numbers, true and false, or
lists and objects only, the cell must be one. What a cell becomes is JSON text, so that a record from a CSV file is the
same as one from LDJSON: a number keeps its spelling. An empty cell is no field.
"""

import math
import re
from collections.abc import Iterable
from typing import Any, Literal

from model_scoring.formats.json_text import UNREADABLE, decode, encode, is_deep
from model_scoring.record_schema import resolve

__all__ = ["Cell", "CellError", "Kind", "cell_kinds"]

Kind = Literal["text", "number", "bool", "json"]

_JSON_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_NUMBER = re.compile(rb"([+-]?)([0-9]*)(?:\.([0-9]*))?([eE][+-]?[0-9]+)?")
# As Spark, Java and JavaScript write them; as JSON they are strings.
NON_FINITE = {b"NaN": math.nan, b"Infinity": math.inf, b"-Infinity": -math.inf}
# As Python and pandas do.
_PYTHONS = {b"nan": b"NaN", b"inf": b"Infinity", b"-inf": b"-Infinity"}
NON_FINITE |= {short: NON_FINITE[name] for short, name in _PYTHONS.items()}
_BOOLS = {b"true": b"true", b"false": b"false", b"1": b"true", b"0": b"false"}

# What is left of a JSON Schema when its conditions are followed down to the types.
_TYPE_OF = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}


class CellError(ValueError):
    """A cell is not what its field has to be."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


class Cell:
    """Makes JSON text of the cells of one field."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def text(self, cell: bytes) -> bytes:
        """JSON text for a cell in UTF-8 that is not empty; raises ``CellError``."""
        return _TEXTS[self.kind](cell)


def _number_text(cell: bytes) -> bytes:
    if cell in NON_FINITE:
        return b'"%b"' % _PYTHONS.get(cell, cell)
    if not _JSON_NUMBER.fullmatch(cell):
        cell = _respelled(cell)
    try:
        decode(cell)
    except UNREADABLE as error:
        raise CellError("number_parsing", f"{_shown(cell)} is out of range") from error
    return cell


def _respelled(cell: bytes) -> bytes:
    """A decimal number that JSON would spell otherwise, like +5, 007, .5 and 5., as JSON spells it."""
    found = _NUMBER.fullmatch(cell)
    if found is None or not (found[2] or found[3]):
        raise CellError("number_parsing", f"{_shown(cell)} is not a number")
    sign, whole, fraction, exponent = found.groups()
    whole = whole.lstrip(b"0") or b"0"
    return sign.strip(b"+") + whole + (b"." + fraction if fraction else b"") + (exponent or b"")


def _bool_text(cell: bytes) -> bytes:
    text = _BOOLS.get(cell.lower())
    if text is None:
        raise CellError("bool_parsing", f"{_shown(cell)} is neither true nor false")
    return text


def _json_text(cell: bytes) -> bytes:
    try:
        value = decode(cell)
    except UNREADABLE:
        value = None
    if not isinstance(value, list | dict) or is_deep([value]):  # it is within a record
        raise CellError("json_parsing", f"{_shown(cell)} is not a list or an object in JSON")
    return cell.strip().translate(_LINE_ENDS)


def _plain_text(cell: bytes) -> bytes:
    return encode(cell.decode())


_TEXTS = {"text": _plain_text, "number": _number_text, "bool": _bool_text, "json": _json_text}
# White space between tokens, in valid JSON.
_LINE_ENDS = bytes.maketrans(b"\t\r\n", b"   ")


def _shown(cell: bytes) -> str:
    return ascii(cell.decode()[:100])


def cell_kinds(columns: Iterable[str], described: dict[str, Any] | None) -> list[Kind]:
    """For each column, what its cells have to be; ``described`` is the JSON Schema of a record, None for any."""
    root = described or {}
    fields = resolve(root, root).get("properties", {})
    return [_kind(_types(fields.get(column, True), root)) for column in columns]


def _kind(types: set[str]) -> Kind:
    if not types or "string" in types:
        return "text"
    if "number" in types:
        return "number"
    if "boolean" in types:
        return "bool"
    return "json" if types & {"array", "object"} else "text"


def _types(node: Any, root: dict[str, Any], depth: int = 0) -> set[str]:
    """The JSON types that a schema takes; empty where it takes any."""
    if not isinstance(node, dict) or depth > 20:
        return set()
    node = resolve(node, root)
    if "const" in node or "enum" in node:
        values = node.get("enum", [node.get("const")])
        return {_TYPE_OF.get(type(value), "null") for value in values}
    for name in ("anyOf", "oneOf"):
        if name in node:
            each = [_types(branch, root, depth + 1) for branch in node[name]]
            return set().union(*each) if all(each) else set()
    for branch in node.get("allOf", ()):
        if found := _types(branch, root, depth + 1):
            return found
    named = node.get("type", ())
    named = [named] if isinstance(named, str) else named
    return {"number" if name == "integer" else name for name in named}
