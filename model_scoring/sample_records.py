"""Sample records for a JSON Schema, for checking a model whose author hands in none.

Simple values that keep to the schema's bounds. A schema can ask for what cannot be guessed (a pattern, say): then
``Unguessable`` says where and what.
"""

import math
import re
from collections.abc import Callable
from typing import Any

from model_scoring.record_schema import resolve

__all__ = ["Unguessable", "sample_records"]

SAMPLES = 6

# Deeper than records are; a schema that refers to itself ends here.
DEPTH = 12

Node = dict[str, Any]


class Unguessable(Exception):  # noqa: N818  # it says what a part of a schema is, and never leaves check_model()
    """No value can be made for a part of a schema; the text names the part."""


def sample_records(described: Node) -> list[Any]:
    """Up to ``SAMPLES`` different values that should fit the JSON Schema ``described``.

    Raises ``Unguessable`` when none can be made.
    """
    found: list[Any] = []
    for variant in range(SAMPLES):
        record = _Sampler(described, variant).value(described, "the record", 0)
        if record not in found:
            found.append(record)
    return found


class _Sampler:
    """Makes one of several values: ``variant`` rotates through the choices that a schema leaves."""

    def __init__(self, root: Node, variant: int) -> None:
        self._root = root
        self._variant = variant

    def value(self, node: Any, where: str, depth: int, turn: int = 0) -> Any:
        """A value for ``node``, which is found at ``where``; ``turn`` tells the elements of one array apart."""
        if depth > DEPTH:
            raise Unguessable(f"{where} refers to itself")
        node = self._whole(node)
        choice = self._variant + turn
        listed = [node["const"]] if "const" in node else node.get("enum") or node.get("examples")
        if listed:
            return listed[choice % len(listed)]
        options = node.get("anyOf") or node.get("oneOf")
        if "default" in node and (choice == 0 or not (options or "type" in node)):
            return node["default"]
        if options:
            return self._any_of(options, where, depth, choice)
        return self._typed(node, where, depth, choice)

    def _whole(self, node: Any) -> Node:
        """``node`` with its references followed and the parts of an ``allOf`` put together."""
        if not isinstance(node, dict):
            return {}  # true: anything
        whole = {key: value for key, value in node.items() if key not in ("$ref", "allOf")}
        if "$ref" in node:
            whole = resolve(node, self._root) | whole
        for part in node.get("allOf", ()):
            whole = _merged(whole, self._whole(part))
        return whole

    def _any_of(self, options: list[Any], where: str, depth: int, choice: int) -> Any:
        reasons = []
        for offset in range(len(options)):
            try:
                return self.value(options[(choice + offset) % len(options)], where, depth + 1)
            except Unguessable as reason:
                reasons.append(str(reason))
        raise Unguessable("; ".join(reasons))

    def _typed(self, node: Node, where: str, depth: int, choice: int) -> Any:
        kind = node.get("type", "object" if "properties" in node else "integer")
        if isinstance(kind, list):
            kind = kind[choice % len(kind)]
        if kind == "object":
            return self._object(node, where, depth)
        if kind == "array":
            return self._array(node, where, depth)
        choices = _SCALARS[kind](node) if kind in _SCALARS else []
        if not choices:
            raise Unguessable(f"{where} must be {_summary(node)}")
        return choices[choice % len(choices)]

    def _object(self, node: Node, where: str, depth: int) -> Node:
        required = node.get("required", [])
        made: Node = {}
        for name, field in node.get("properties", {}).items():
            if name in required:
                made[name] = self.value(field, name, depth + 1)
            elif self._variant % 2 == 0:
                self._add_optional(made, name, field, depth)
        for number in range(node.get("minProperties", 0) - len(made)):
            made[f"key{number}"] = self.value(node.get("additionalProperties"), f"an entry of {where}", depth + 1)
        return made

    def _add_optional(self, made: Node, name: str, field: Any, depth: int) -> None:
        try:
            made[name] = self.value(field, name, depth + 1)
        except Unguessable:
            return  # a record can do without it

    def _array(self, node: Node, where: str, depth: int) -> list[Any]:
        first = node.get("prefixItems", [])
        size = max(node.get("minItems", 0), len(first))
        if not size and node.get("maxItems", 1) > 0:
            size = self._variant % 2 + 1 if node.get("maxItems", 2) > 1 else 1
        nodes = [*first, *[node.get("items")] * (size - len(first))]
        return [self.value(each, f"an item of {where}", depth + 1, turn) for turn, each in enumerate(nodes)]


def _merged(one: Node, other: Node) -> Node:
    merged = one | other
    for key in ("properties", "required"):
        if key in one and key in other:
            merged[key] = one[key] | other[key] if key == "properties" else [*one[key], *other[key]]
    return merged


def _numbers(node: Node) -> list[float]:
    if "multipleOf" in node:
        return _steps(node["multipleOf"], node)
    low, high = _range(node)
    return _fitting(node, [low + (high - low) * share for share in (0.5, 0.0, 1.0, 0.25, 0.75)])


def _integers(node: Node) -> list[float]:
    return _steps(node.get("multipleOf", 1), node)


def _steps(step: float, node: Node) -> list[float]:
    first = math.ceil(_range(node)[0] / step)
    return _fitting(node, [step * (first + count) for count in range(10)])


def _range(node: Node) -> tuple[float, float]:
    lowest = [node[key] for key in ("minimum", "exclusiveMinimum") if key in node]
    highest = [node[key] for key in ("maximum", "exclusiveMaximum") if key in node]
    width = 10 * node.get("multipleOf", 1)
    low = max(lowest) if lowest else min(highest) - width if highest else 0
    return low, min(highest) if highest else low + width


def _fitting(node: Node, numbers: list[float]) -> list[float]:
    low, high = _range(node)
    above, below = node.get("exclusiveMinimum", -math.inf), node.get("exclusiveMaximum", math.inf)
    return [number for number in numbers if low <= number <= high and above < number < below]


_FORMATS = {
    "date": "2024-02-29",
    "date-time": "2024-02-29T12:30:00Z",
    "duration": "PT1H",
    "email": "someone@example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "time": "12:30:00Z",
    "uri": "https://example.com/",
    "uuid": "5f0c2d0e-6f3a-4c39-9d55-2b8a1b0c7e11",
}


def _strings(node: Node) -> list[str]:
    shortest, longest = node.get("minLength", 0), node.get("maxLength", math.inf)
    if node.get("format") in _FORMATS:
        candidates = [_FORMATS[node["format"]]]
    else:
        length = max(shortest, min(longest, 3))
        candidates = ["abc" * length, "b" * length, "A" * length, "1" * length, "a", "A", "1"]
        candidates = [candidate[: max(length, 1)] for candidate in candidates] if length else [""]
    pattern = node.get("pattern")
    return [
        candidate
        for candidate in candidates
        if shortest <= len(candidate) <= longest and (pattern is None or re.search(pattern, candidate))
    ]


_SCALARS: dict[str, Callable[[Node], list[Any]]] = {
    "boolean": lambda _: [True, False],
    "integer": _integers,
    "null": lambda _: [None],
    "number": _numbers,
    "string": _strings,
}


def _summary(node: Node) -> str:
    shown = {key: value for key, value in node.items() if key not in ("title", "description")}
    return ", ".join(f"{key} {value}" for key, value in shown.items())
