"""What lines become and what pairs are written as, whatever JSON library happens to be installed.

mrjob calls ``read`` for each line of input and ``write`` for each pair of output, both without the line's end. The
block way of ``task.py`` writes the same bytes; a test holds the two together.
"""

from typing import Any

from model_scoring.formats.ldjson import Record, decode, encode, failure_key, read_line, record_key
from model_scoring.outcome import Failure, Prediction

__all__ = [
    "BLANK",
    "NO_DETAIL",
    "LdjsonLines",
    "LdjsonProtocol",
    "PairProtocol",
    "RecordProtocol",
    "record_text",
    "unreadable_key",
    "with_text",
]

# The value read from a blank line, which is no record and no failure either.
BLANK = object()


class RecordProtocol:
    """One JSON object a line. The key is None; the value is a ``Record``, a ``Failure`` for a line that is none, or
    ``BLANK``. Never raises."""

    def read(self, line: bytes) -> tuple[None, Any]:
        text, item, marked = read_line(line)
        if item is None:
            return None, BLANK
        if isinstance(item, Failure):
            return None, item
        return None, with_text(item, text, marked)

    def write(self, key: Any, value: Any) -> bytes:
        return record_text(value)


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


class LdjsonProtocol:
    """One object a line with stable types; see ``LdjsonLines`` for the fields."""

    def __init__(self, model_name: str, version: str) -> None:
        self._lines = LdjsonLines(model_name, version)

    def read(self, line: bytes) -> tuple[None, Any]:
        return None, decode(line)

    def write(self, key: Any, value: Any) -> bytes:
        if isinstance(value, Failure):
            error = None if key is NO_DETAIL else encode(value.as_value())
            if isinstance(value.record, bytes):
                return self._lines.line(None, value.record, None, error)
            return self._lines.line(record_text(value.record), None, None, error)
        if isinstance(value, Prediction):
            return self._lines.line(record_text(value.record), None, encode(value.prediction), None)
        # A pair that a subclass made itself.
        return self._lines.line(record_text(key), None, encode(value), None)


# The key of a failure whose reason is not wanted in the output.
NO_DETAIL = object()


class LdjsonLines:
    """Lines of ``--output_format ldjson``.

    ``record`` is the record as it came or null; ``raw`` the text of what is no record, or null (where it is not UTF-8,
    the text ``{"base64": "…"}``); ``prediction`` and ``error`` an object or null; ``model`` and ``version`` strings.
    """

    def __init__(self, model_name: str, version: str) -> None:
        self.head = b'{"record": '
        self.middle = b', "raw": null, "prediction": '
        self.tail = b', "error": null, "model": %b, "version": %b}' % (encode(model_name), encode(version))
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


def _raw_text(raw: bytes) -> bytes:
    key = failure_key(raw)
    # Always a string: what stands in braces here cannot be a line's own text, for that would be a record.
    return encode(key.decode("ascii")) if key.startswith(b"{") else key


def with_text(parsed: dict[str, Any], text: bytes, marked: bool = False) -> Record:
    """A record that remembers its text, and whether a byte order mark stood before it."""
    record = Record(parsed)
    record.text = text
    record.marked = marked
    return record


def record_text(value: Any) -> bytes:
    """``value`` as JSON text on one line. A ``Record`` still equal to its text is that text."""
    if type(value) is Record and decode(value.text) == value:
        return record_key(value.text)
    return encode(value)


def unreadable_key(line: bytes) -> Any:
    """``failure_key`` as a value: the text of what is no record, or ``{"base64": "…"}``."""
    return decode(failure_key(line))
