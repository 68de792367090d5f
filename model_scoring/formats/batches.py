"""What passes between a format and whoever scores: a batch as read, and a batch to be written.

A reader of a line format has ``read_lines`` and ``read_line``, a reader of files ``read_file`` and ``read_values``; a
writer has ``line`` and ``block``. The rows of ``registry.py`` name them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from model_scoring.formats.json_text import encode
from model_scoring.outcome import Failure

__all__ = ["FileReader", "LineReader", "OutcomeWriter", "ReadBatch", "failure_line", "joined"]

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class ReadBatch(NamedTuple):
    """Records as read. ``texts`` and ``items`` have one entry for each record, in order.

    A text is JSON, the record's own where it came as JSON; an item is the parsed record, or the ``Failure`` of what is
    none. A failure whose ``record`` is a dict could be read; its text is that record's.
    """

    texts: list[bytes]
    items: list[Any]
    blank_lines: int
    byte_order_marks: int
    # Of a format with cells: the lines themselves, where what a line holds is written as it stands; None elsewhere.
    rows: Sequence[bytes | None] | None = None

    @classmethod
    def of_each(cls, read: Iterable[tuple[bytes, Any, bool]]) -> "ReadBatch":
        """What a reader's ``read_line`` has given for each line."""
        texts: list[bytes] = []
        items: list[Any] = []
        blank_lines = byte_order_marks = 0
        for text, item, marked in read:
            byte_order_marks += marked
            if item is None:
                blank_lines += 1
            else:
                texts.append(text)
                items.append(item)
        return cls(texts, items, blank_lines, byte_order_marks)


class LineReader(Protocol):
    """Reads records that are a line each."""

    # With more, what becomes of lines that fit into a batch might not.
    lines_at_once: int

    def read_lines(self, lines: list[bytes]) -> ReadBatch:
        """Parses lines without their LF. Never raises for what a line holds."""
        ...

    def read_line(self, line: bytes) -> tuple[bytes, dict[str, Any] | Failure | None, bool]:
        """The record's text, the record (a ``Failure`` for what is none, None for a blank line), and whether a byte
        order mark stood before it."""
        ...


class FileReader(Protocol):
    """Reads files that cannot be read by line."""

    def read_file(self, path: str, source: str, batch_size: int) -> Iterator[list[dict[str, Any]]]:
        """Lists of at most ``batch_size`` records of a file on this machine, in order and with bounded memory.

        Raises ``CorruptInputError``, which names the file ``source``, when it cannot be read to its end.
        """
        ...

    def read_values(self, values: list[dict[str, Any]]) -> ReadBatch:
        """The batch of these records, with their text. Never raises for what a record holds."""
        ...


class OutcomeWriter(Protocol):
    """Writes a line for each record."""

    def line(self, record: bytes | None, raw: bytes | None, prediction: bytes | None, error: bytes | None) -> bytes:
        """One line without its end, from JSON texts; ``raw`` is the bytes, as they came, of what is no record."""
        ...

    def refused(self, encoded: list[bytes]) -> dict[int, str]:
        """Of a batch's predictions (their JSON text), by position, those that cannot be written, and why."""
        ...

    def block(self, read: ReadBatch, encoded: list[bytes], failures: dict[int, Failure], *, detailed: bool) -> bytes:
        """The lines of a batch: its records, their predictions' JSON text, and the failures by position.

        ``detailed`` says that failures are written with their reason.
        """
        ...


def failure_line(line: Callable[..., bytes], text: bytes, failure: Failure, *, detailed: bool) -> bytes:
    """The line that a writer's ``line`` makes of a failure; ``text`` is that of its record, if it is one."""
    raw = failure.record if isinstance(failure.record, bytes) else None
    error = encode(failure.as_value()) if detailed else None
    return line(None if raw is not None else text, raw, None, error)


def joined(keys: list[bytes], middle: bytes, values: list[bytes], end: bytes) -> bytes:
    """``key middle value end`` for each pair, in one pass over a flat list: a third of the cost of a join each."""
    parts = [middle] * (4 * len(keys))
    parts[0::4] = keys
    parts[2::4] = values
    parts[3::4] = [end] * len(keys)
    return b"".join(parts)
