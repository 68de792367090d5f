"""Rows: a line is a row of cells, quoted as RFC 4180 says, whatever separates them. And the row that names the columns.

A line is read by itself, for a file may be split between any two: a quoted cell cannot go on in the next line.

What may be changed here: how fast.
"""

import re
from collections import Counter

from model_scoring.formats.batches import BYTE_ORDER_MARK

__all__ = ["HeaderError", "Rows", "parse_row"]

_ROW = rb'(?:[^"%b]*|"[^"]*(?:""[^"]*)*")(?:%b(?:[^"%b]*|"[^"]*(?:""[^"]*)*"))*'
_CELL = rb'(?:^|%b)(?:"([^"]*(?:""[^"]*)*)"|([^"%b]*))'
_OPEN = rb'(?:^|%b)"[^"]*(?:""[^"]*)*$'


class HeaderError(ValueError):
    """A line cannot be the header of a file."""


class Rows:
    """Splits lines into cells."""

    def __init__(self, separator: bytes) -> None:
        self.separator = separator
        self._row = re.compile(_ROW.replace(b"%b", separator))
        self._cell = re.compile(_CELL.replace(b"%b", separator))
        self._open = re.compile(_OPEN.replace(b"%b", separator))

    def of(self, lines: list[bytes]) -> list[list[bytes] | None]:
        """The cells of each line, None where its quotes are not as RFC 4180 wants them."""
        joined = b"\n".join(lines)
        if b'"' not in joined:
            separator = self.separator
            return [line.split(separator) for line in lines]
        return self._all_quoted_simply(joined) or list(map(self.cells, lines))

    def _all_quoted_simply(self, joined: bytes) -> list[list[bytes] | None] | None:
        """The same for lines all of which are well-formed and have no quote within a cell; None where that is not so,
        as far as it shows."""
        parts = joined.split(b'"')
        outside, inside = parts[0::2], parts[1::2]
        # The bytes beside quoted cells; none beside a quote that is doubled.
        borders = {outside[0][-1:], outside[-1][:1]} - {b""}
        for each in outside[1:-1]:
            borders.add(each[:1])
            borders.add(each[-1:])
        together = b"".join(inside)
        if len(parts) % 2 == 0 or b"\n" in together or b"\0" in joined or borders - {self.separator, b"\n"}:
            return None
        if self.separator not in together:
            return [line.split(self.separator) for line in b"".join(parts).split(b"\n")]
        parts[1::2] = [each.replace(self.separator, b"\0") for each in inside]
        rows: list[list[bytes] | None] = []
        for line in b"".join(parts).split(b"\n"):
            row = line.split(self.separator)
            rows.append([cell.replace(b"\0", self.separator) for cell in row] if b"\0" in line else row)
        return rows

    def cells(self, line: bytes) -> list[bytes] | None:
        """The cells of one line, as above."""
        if b'"' not in line:
            return line.split(self.separator)
        if not self._row.fullmatch(line):
            return None
        return [quoted.replace(b'""', b'"') or plain for quoted, plain in self._cell.findall(line)]

    def fault(self, line: bytes) -> str:
        """What is wrong with the quotes of a line."""
        split = "a cell with a line end in it cannot be read, because a file may be split at any line"
        if self._open.search(line):
            return f"a quote is open at the end of the line; {split}"
        return (
            "a quote stands inside a cell; RFC 4180 wants such a cell in quotes, and the quote in it doubled. If an "
            f"earlier line has opened the cell: {split}"
        )


def parse_row(line: bytes, separator: bytes) -> list[str]:
    """The names in a header, or in a list of columns; a byte order mark before and a CR after it left out.

    Raises ``HeaderError``.
    """
    rows = Rows(separator)
    line = line.removeprefix(BYTE_ORDER_MARK).removesuffix(b"\r")
    if b"\r" in line:
        raise HeaderError("a CR stands in it, and lines end at LF here; convert the file")
    try:
        line.decode()
    except UnicodeDecodeError as error:
        raise HeaderError(f"it is not UTF-8: {error.reason} at byte {error.start}") from error
    cells = rows.cells(line)
    if cells is None:
        raise HeaderError(rows.fault(line))
    names = [cell.decode() for cell in cells]
    if not any(names):
        raise HeaderError("it is blank")
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise HeaderError(f"the name {min(twice)!a} stands in it twice")
    return names
