"""LDJSON: one JSON object a line, records in and predictions out.

Reading keeps the text of each record beside its parsed value: the text is what is written back, so that numbers wider
than 64 bits, number spelling, key order and unknown fields survive.

What may be changed here: how fast. The bytes are pinned by golden files.
"""

import sys
from collections.abc import Sequence
from typing import Any

from model_scoring.formats.batches import BYTE_ORDER_MARK, ReadBatch, failure_line, joined
from model_scoring.formats.json_text import (
    TOO_DEEP,
    UNREADABLE,
    decode,
    encode,
    failure_key,
    is_too_deep,
    may_be_deep,
    record_key,
)
from model_scoring.outcome import Failure, describe

__all__ = ["LdjsonLines", "LdjsonReader", "read_line", "read_lines"]


def read_lines(lines: list[bytes]) -> ReadBatch:
    """Parses ``lines`` (without their LF). Never raises for what a line holds."""
    try:
        items = list(map(decode, lines))
    except UNREADABLE:
        return _read_one_by_one(lines)
    if set(map(type, items)) - {dict} or may_be_deep(lines):
        return _read_one_by_one(lines)
    return ReadBatch(lines, items, 0, 0)


def _read_one_by_one(lines: list[bytes]) -> ReadBatch:
    return ReadBatch.of_each(map(read_line, lines))


def read_line(line: bytes) -> tuple[bytes, dict[str, Any] | Failure | None, bool]:
    """The record's text, the record (a ``Failure`` for what is none, None for a blank line), and whether a byte order
    mark stood before it."""
    text = line.removeprefix(BYTE_ORDER_MARK)
    return text, _read_text(text), len(text) < len(line)


def _read_text(text: bytes) -> dict[str, Any] | Failure | None:
    try:
        value = decode(text)
    except UNREADABLE as error:
        return Failure(text, "read", *_unreadable(text, error)) if text.strip() else None
    if type(value) is dict:
        return Failure(text, "read", "not_json", TOO_DEEP) if is_too_deep(text, value) else value
    return Failure(text, "read", "not_an_object", f"a record is a JSON object, this is {_JSON_NAMES[type(value)]}")


_JSON_NAMES = {
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def _unreadable(line: bytes, error: BaseException) -> tuple[str, str]:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as not_utf8:
        return "not_utf8", f"not UTF-8: {not_utf8.reason} at byte {not_utf8.start}"
    if isinstance(error, RecursionError):
        return "not_json", TOO_DEEP
    return "not_json", describe(error)


class LdjsonReader:
    """Reads lines; each says for itself what its fields are."""

    def __init__(self, columns: Sequence[str] = (), described: dict[str, Any] | None = None) -> None:
        """Neither is needed."""

    lines_at_once = sys.maxsize
    read_lines = staticmethod(read_lines)
    read_line = staticmethod(read_line)


class LdjsonLines:
    """Lines of ``--output_format ldjson``.

    ``record`` is the record as it came or null; ``raw`` the text of what is no record, or null (where it is not UTF-8,
    the text ``{"base64": "…"}``); ``prediction`` and ``error`` an object or null; ``model`` and ``version`` strings.
    """

    def __init__(self, model_name: str, version: str) -> None:
        self._head = b'{"record": '
        self._middle = b', "raw": null, "prediction": '
        self._tail = b', "error": null, "model": %b, "version": %b}' % (encode(model_name), encode(version))
        self._end = b', "model": %b, "version": %b}' % (encode(model_name), encode(version))

    def line(self, record: bytes | None, raw: bytes | None, prediction: bytes | None, error: bytes | None) -> bytes:
        """One line without its end, from JSON texts; ``raw`` is the bytes as they came."""
        return b'{"record": %b, "raw": %b, "prediction": %b, "error": %b%b' % (
            b"null" if record is None else record,
            b"null" if raw is None else _raw_text(raw),
            prediction or b"null",
            error or b"null",
            self._end,
        )

    def refused(self, encoded: list[bytes]) -> dict[int, str]:
        """None: a line takes any prediction."""
        return {}

    def block(self, read: ReadBatch, encoded: list[bytes], failures: dict[int, Failure], *, detailed: bool) -> bytes:
        """The lines of a batch: its records, their predictions' JSON text, and the failures by position."""
        block = self._joined(read.texts, encoded, failures, detailed)
        if b"\t" in block or b"\r" in block:
            block = self._joined(list(map(record_key, read.texts)), encoded, failures, detailed)
        return block

    def _joined(self, texts: list[bytes], encoded: list[bytes], failures: dict[int, Failure], detailed: bool) -> bytes:
        if not failures:
            block = self._head + joined(texts, self._middle, encoded, self._tail + b"\n" + self._head)
            return block[: -len(self._head)]
        lines = [self.line(text, None, prediction, None) for text, prediction in zip(texts, encoded, strict=True)]
        for place, failure in failures.items():
            lines[place] = failure_line(self.line, texts[place], failure, detailed=detailed)
        return b"\n".join([*lines, b""])


def _raw_text(raw: bytes) -> bytes:
    key = failure_key(raw)
    # Always a string: what stands in braces here cannot be a line's own text, for that would be a record.
    return encode(key.decode("ascii")) if key.startswith(b"{") else key
