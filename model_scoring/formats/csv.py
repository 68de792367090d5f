"""CSV and TSV: a record a line, quoted as RFC 4180 says; records in and outcomes out.

A line is read by itself, for a file may be split between any two: a quoted cell cannot go on in the next line. What a
cell becomes is in ``cells.py``. Lines end at LF; a CR before it belongs to the end. A header is no business of this
module's: whoever reads the file leaves its first line out.

Written is a cell for each column of the record, for each of the prediction, and one for the error. The cell of a text
is that text, of any other value its JSON text, of null and of what is missing nothing; an empty text is ``""``. So that
a record stays one line, a text that holds a line end is written as JSON, too, and for unambiguity one that begins with
a double quote.

What may be changed here: how fast. Whatever is doubtful about a row sends it the slow way; both give the same.
"""

import re
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any

import msgspec

from model_scoring.formats.batches import BYTE_ORDER_MARK, ReadBatch, each_line
from model_scoring.formats.cells import NON_FINITE, Cell, CellError, cell_kinds
from model_scoring.formats.json_text import UNREADABLE, decode, encode, failure_key
from model_scoring.outcome import Failure

__all__ = ["CsvLines", "CsvReader", "HeaderError", "TsvLines", "TsvReader", "parse_row"]

_ROW = rb'(?:[^"%b]*|"[^"]*(?:""[^"]*)*")(?:%b(?:[^"%b]*|"[^"]*(?:""[^"]*)*"))*'
_CELL = rb'(?:^|%b)(?:"([^"]*(?:""[^"]*)*)"|([^"%b]*))'
_OPEN = rb'(?:^|%b)"[^"]*(?:""[^"]*)*$'
# What is in a number, as JSON may spell it.
_NUMERIC = b"0123456789.+-eE"
_NEEDS_ESCAPE = re.compile(rb'[\x00-\x1f"\\]')


class HeaderError(ValueError):
    """A line cannot be the header of a file."""


class _Rows:
    """Splits lines into cells."""

    def __init__(self, separator: bytes) -> None:
        self.separator = separator
        self._row = re.compile(_ROW.replace(b"%b", separator))
        self._cell = re.compile(_CELL.replace(b"%b", separator))
        self._open = re.compile(_OPEN.replace(b"%b", separator))

    def cells(self, line: bytes) -> list[bytes] | None:
        """The cells of a line, None where its quotes are not as RFC 4180 wants them."""
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
    rows = _Rows(separator)
    line = line.removeprefix(BYTE_ORDER_MARK).removesuffix(b"\r")
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
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise HeaderError(f"the name {min(twice)!a} stands in it twice")
    return names


class CsvReader:
    """Reads rows of ``columns``; ``described`` is the JSON Schema of the model's records, if it has one."""

    separator = b","
    _blanks = b" \t\r"

    def __init__(self, columns: Sequence[str], described: dict[str, Any] | None) -> None:
        self._rows = _Rows(self.separator)
        self._names = list(columns)
        self._cells = list(map(Cell, cell_kinds(columns, described)))
        self._keys = [encode(name) for name in columns]

    def read_lines(self, lines: list[bytes]) -> ReadBatch:
        """Parses lines without their LF. Never raises for what a line holds."""
        joined = b"\n".join(lines)
        if BYTE_ORDER_MARK in joined or not _is_utf8(joined):
            return ReadBatch.of_each(map(self.read_line, lines))
        bare = [line.removesuffix(b"\r") for line in lines] if b"\r" in joined else lines
        if b'"' in joined:
            rows: list[Any] = list(map(self._rows.cells, bare))
        else:
            separator = self.separator
            rows = [line.split(separator) for line in bare]
        if None in rows or set(map(len, rows)) != {len(self._names)}:
            return ReadBatch.of_each(map(self.read_line, lines))
        texts, items = self._convert(rows)
        return ReadBatch(texts, items, 0, 0)

    def read_line(self, line: bytes) -> tuple[bytes, dict[str, Any] | Failure | None, bool]:
        """The record's text, the record (a ``Failure`` for what is none, None for a blank line), and whether a byte
        order mark stood before it."""
        text = line.removeprefix(BYTE_ORDER_MARK)
        marked = len(text) < len(line)
        if not text.strip(self._blanks):
            return text, None, marked
        try:
            text.decode()
        except UnicodeDecodeError as error:
            return text, Failure(text, "read", "not_utf8", f"not UTF-8: {error.reason} at byte {error.start}"), marked
        cells = self._rows.cells(text.removesuffix(b"\r"))
        if cells is None:
            return text, Failure(text, "read", "quotes", self._rows.fault(text)), marked
        if len(cells) != len(self._names):
            message = f"the line has {len(cells)} cells and there are {len(self._names)} columns"
            return text, Failure(text, "read", "cell_count", message), marked
        return (*self._convert_row(cells), marked)

    def _convert(self, rows: list[list[bytes]]) -> tuple[list[bytes], list[Any]]:
        """The texts and records of rows of the right length, column by column as far as nothing is special in them."""
        columns = list(zip(*rows, strict=True))
        parts: list[bytes] = []
        special: set[int] = set()
        for place, (cell, column) in enumerate(zip(self._cells, columns, strict=True)):
            form, is_plain = _column_form(cell, column)
            parts.append(self._keys[place].replace(b"%", b"%%") + b": " + form)
            if is_plain is not None:
                special.update(number for number, each in enumerate(column) if not is_plain(each))
        if special:
            return self._convert_apart(rows, special)
        template = b"{" + b", ".join(parts) + b"}"
        texts = list(map(template.__mod__, map(tuple, rows)))
        try:
            return texts, list(map(decode, texts))
        except UNREADABLE:  # a number that JSON spells otherwise, or none
            return _transposed([self._convert_odd(text, row) for text, row in zip(texts, rows, strict=True)])

    def _convert_odd(self, text: bytes, row: list[bytes]) -> tuple[bytes, Any]:
        try:
            return text, decode(text)
        except UNREADABLE:
            return self._convert_row(row)

    def _convert_apart(self, rows: list[list[bytes]], special: set[int]) -> tuple[list[bytes], list[Any]]:
        usual = [number not in special for number in range(len(rows))]
        texts: list[bytes] = [b""] * len(rows)
        items: list[Any] = [None] * len(rows)
        if len(special) < len(rows):
            found = self._convert(list(compress(rows, usual)))
            for place, text, item in zip(compress(range(len(rows)), usual), *found, strict=True):
                texts[place], items[place] = text, item
        for place in special:
            texts[place], items[place] = self._convert_row(rows[place])
        return texts, items

    def _convert_row(self, row: list[bytes]) -> tuple[bytes, Any]:
        parts = []
        faults: list[tuple[str, CellError]] = []
        non_finite = {}
        for name, key, cell, text in zip(self._names, self._keys, self._cells, row, strict=True):
            if not text:
                continue
            try:
                parts.append(b"%b: %b" % (key, cell.text(text)))
                if cell.kind == "number" and text in NON_FINITE:
                    non_finite[name] = NON_FINITE[text]
            except CellError as error:
                faults.append((name, error))
                parts.append(b"%b: %b" % (key, encode(text.decode())))
        written = b"{%b}" % b", ".join(parts)
        record = decode(written) | non_finite
        if not faults:
            return written, record
        message = "; ".join(f"{name}: {error}" for name, error in faults)
        return written, Failure(record, "validate", faults[0][1].error_type, message, faults[0][0])


class TsvReader(CsvReader):
    """The same with tabs."""

    separator = b"\t"
    _blanks = b" \r"


def _is_utf8(text: bytes) -> bool:
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _transposed(pairs: list[tuple[bytes, Any]]) -> tuple[list[bytes], list[Any]]:
    return [text for text, _ in pairs], [item for _, item in pairs]


def _column_form(cell: Cell, column: tuple[bytes, ...]) -> tuple[bytes, Callable[[bytes], Any] | None]:
    """How a cell of the column is put into a record's text, and, where not all can be, what tells those that can."""
    together = b"".join(column)
    if cell.kind == "number":
        usual = not together.translate(None, _NUMERIC) and b"" not in column
        return b"%b", None if usual else _is_numeric
    if cell.kind == "text":
        usual = not _NEEDS_ESCAPE.search(together) and b"" not in column
        return b'"%b"', None if usual else _is_simple
    return b"%b", _never


def _is_numeric(cell: bytes) -> bool:
    return bool(cell) and not cell.translate(None, _NUMERIC)


def _is_simple(cell: bytes) -> bool:
    return bool(cell) and not _NEEDS_ESCAPE.search(cell)


def _never(_: bytes) -> bool:
    return False


# --- writing


class CsvLines:
    """Lines of outcomes: the cells of the record, of the prediction, and of the error.

    ``record`` and ``prediction`` are the names of the fields that are columns; without names of its own, the
    prediction is one cell. The error is a JSON object, with the field ``raw`` for the text of what is no record.
    """

    separator = b","

    def __init__(self, record: Sequence[str], prediction: Sequence[str]) -> None:
        self._record = _cells_reader(record, self._cell)
        self._prediction_names = frozenset(prediction)
        self._prediction = _cells_reader(prediction, self._cell)
        self._no_record = self.separator.join([b""] * len(record))
        self._no_prediction = self.separator.join([b""] * max(1, len(prediction)))
        self._quoted = re.compile(rb'["%b]' % self.separator)

    def line(self, record: bytes | None, raw: bytes | None, prediction: bytes | None, error: bytes | None) -> bytes:
        """One line without its end, from JSON texts; ``raw`` is the bytes, as they came, of what is no record."""
        if raw is not None:
            told = {} if error is None else decode(error)
            error = encode({**told, "raw": decode(failure_key(raw))})
        cells = [
            self._no_record if record is None else self.separator.join(self._record(record)),
            self._no_prediction if prediction is None else self.predicted(prediction),
            b"" if error is None else self._cell(error),
        ]
        return self.separator.join(cells)

    def predicted(self, prediction: bytes) -> bytes:
        """The cells of a prediction."""
        if not self._prediction_names:
            return self._cell(prediction)
        return self.separator.join(self._prediction(prediction))

    def refused(self, encoded: list[bytes]) -> dict[int, str]:
        """Of a batch's predictions, by position, those that do not fit the columns, and why."""
        if not self._prediction_names:
            return {}
        faults = {each: why for each in set(encoded) if (why := self._fault(decode(each)))}
        return {place: faults[each] for place, each in enumerate(encoded) if each in faults} if faults else {}

    def _fault(self, prediction: Any) -> str | None:
        if prediction is None:  # in the place of a failed record
            return None
        if not isinstance(prediction, dict):
            return "it is no object, and by the output schema it is one"
        more = prediction.keys() - self._prediction_names
        return f"its field {min(more)!r} has no column, for the output schema does not name it" if more else None

    def block(self, texts: list[bytes], encoded: list[bytes], failures: dict[int, Failure], *, detailed: bool) -> bytes:
        """The lines of a batch: the records' texts, their predictions' JSON text, and the failures by position."""
        if failures:
            return b"".join(each_line(self.line, texts, encoded, failures, detailed))
        written = {each: self.predicted(each) for each in set(encoded)}
        join, record, end = self.separator.join, self._record, self.separator + b"\n"
        lines = [join([*record(text), written[each]]) for text, each in zip(texts, encoded, strict=True)]
        return end.join(lines) + end if lines else b""

    def header(self, names: Sequence[str]) -> bytes:
        """The line that names the columns, without its end."""
        return self.separator.join(self._text_cell(name) for name in names)

    def _cell(self, value: bytes) -> bytes:
        """The cell for JSON text."""
        if value.startswith(b'"'):
            return self._text_cell(decode(value), value)
        if value == b"null":
            return b""
        return self._quote(value.translate(_BLANKS))

    def _text_cell(self, text: str, written: bytes = b"") -> bytes:
        if not text:
            return b'""'
        if text.startswith('"') or "\n" in text or "\r" in text:
            return self._quote(written or encode(text))
        return self._quote(text.encode())

    def _quote(self, cell: bytes) -> bytes:
        return b'"%b"' % cell.replace(b'"', b'""') if self._quoted.search(cell) else cell


class TsvLines(CsvLines):
    """The same with tabs."""

    separator = b"\t"


# In JSON they can only be white space between tokens.
_BLANKS = bytes.maketrans(b"\t\r", b"  ")


def _cells_reader(names: Sequence[str], cell: Callable[[bytes], bytes]) -> Callable[[bytes], list[bytes]]:
    """A function from the text of an object to the cells of these fields, empty where they are missing."""
    raw: Callable[[bytes], dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    nothing = msgspec.Raw(b"null")

    def read(text: bytes) -> list[bytes]:
        fields = raw(text)
        return [cell(bytes(fields.get(name, nothing))) for name in names]

    return read
