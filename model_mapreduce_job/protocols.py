"""What lines become and what pairs are written as, whatever JSON library happens to be installed.

mrjob calls ``read`` for each line of input and ``write`` for each pair of output, both without the line's end. The
block way of ``task.py`` writes the same bytes; a test holds the two together.
"""

from dataclasses import replace
from typing import Any

from model_scoring.formats.batches import LineReader, OutcomeWriter
from model_scoring.formats.json_text import Record, decode, encode, failure_key, holds_nonfinite, record_key, with_text
from model_scoring.formats.ldjson import LdjsonReader
from model_scoring.formats.values import value_text
from model_scoring.outcome import Failure, Prediction

__all__ = [
    "BLANK",
    "NO_DETAIL",
    "OutcomeProtocol",
    "PairProtocol",
    "RecordProtocol",
    "as_value",
    "record_text",
    "text_of",
    "unreadable_key",
]

# The value read from a blank line, which is no record and no failure either.
BLANK = object()


class RecordProtocol:
    """A record a line. The key is None; the value is a ``Record``, a ``Failure`` for a line that is none, or ``BLANK``.
    Never raises."""

    def __init__(self, reader: LineReader | None = None) -> None:
        self._reader = reader or LdjsonReader()

    def read(self, line: bytes) -> tuple[None, Any]:
        return None, as_value(*self._reader.read_line(line))

    def write(self, key: Any, value: Any) -> bytes:
        return record_text(value)


def as_value(text: bytes, item: Any, marked: bool) -> Any:
    """The value of a pair for what a reader has read."""
    if item is None:
        return BLANK
    if not isinstance(item, Failure):
        return with_text(item, text, marked)
    if isinstance(item.record, bytes):
        return item
    return replace(item, record=with_text(item.record, text, marked))


class PairProtocol:
    """``key <tab> value``, both JSON.

    A key that is an object is read as a ``Record``, and a ``Record`` that has not been changed is written as its own
    text: so it stays the record as it came through any number of steps.
    """

    def read(self, line: bytes) -> tuple[Any, Any]:
        text, _, value = line.partition(b"\t")
        key = decode(text)
        return (with_text(key, text) if isinstance(key, dict) else key), decode(value)

    def write(self, key: Any, value: Any) -> bytes:
        return b"%b\t%b" % (record_text(key), record_text(value))


class OutcomeProtocol:
    """A line for each record, as one of the output formats has it."""

    def __init__(self, writer: OutcomeWriter) -> None:
        self._writer = writer

    def read(self, line: bytes) -> tuple[None, Any]:
        return None, decode(line)

    def write(self, key: Any, value: Any) -> bytes:
        if isinstance(value, Failure):
            error = None if key is NO_DETAIL else encode(value.as_value())
            if isinstance(value.record, bytes):
                return self._writer.line(None, value.record, None, error)
            return self._writer.line(record_text(value.record), None, None, error)
        if isinstance(value, Prediction):
            return self._writer.line(record_text(value.record), None, encode(value.prediction), None)
        # A pair that a subclass made itself.
        return self._writer.line(record_text(key), None, encode(value), None)


# The key of a failure whose reason is not wanted in the output.
NO_DETAIL = object()


def text_of(value: Any) -> bytes:
    """The text of what has been read as a record, ``b""`` where it has none of its own."""
    record = value.record if isinstance(value, Failure) else value
    if type(record) is Record:
        return record_key(record.text)
    return encode(record) if isinstance(record, dict) else b""


def record_text(value: Any) -> bytes:
    """``value`` as JSON text on one line. A ``Record`` still equal to its text is that text."""
    if type(value) is Record:
        if decode(value.text) == value:
            return record_key(value.text)
        if holds_nonfinite(value):  # as it was read, from a format that has such numbers
            return value_text(dict(value))
    return encode(value)


def unreadable_key(line: bytes) -> Any:
    """``failure_key`` as a value: the text of what is no record, or ``{"base64": "…"}``."""
    return decode(failure_key(line))
