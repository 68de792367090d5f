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
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import compress, repeat
from typing import Any

import msgspec
from msgspec.structs import astuple

from model_scoring.formats.batches import BYTE_ORDER_MARK, ReadBatch, failure_line
from model_scoring.formats.cells import NON_FINITE, Cell, CellError, cell_kinds
from model_scoring.formats.json_text import UNREADABLE, decode, encode, failure_key
from model_scoring.outcome import Failure, shorten
from model_scoring.record_schema import QUOTED_ERRORS

__all__ = ["CsvLines", "CsvReader", "HeaderError", "TsvLines", "TsvReader", "parse_row"]

_ROW = rb'(?:[^"%b]*|"[^"]*(?:""[^"]*)*")(?:%b(?:[^"%b]*|"[^"]*(?:""[^"]*)*"))*'
_CELL = rb'(?:^|%b)(?:"([^"]*(?:""[^"]*)*)"|([^"%b]*))'
_OPEN = rb'(?:^|%b)"[^"]*(?:""[^"]*)*$'
# What is in a number, as JSON may spell it.
_NUMERIC = b"0123456789.+-eE"
_JSON_BOOLS = frozenset((b"true", b"false"))
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


class CsvReader:
    """Reads rows of ``columns``; ``described`` is the JSON Schema of the model's records, if it has one."""

    separator = b","
    _blanks = b" \t\r"

    def __init__(self, columns: Sequence[str], described: dict[str, Any] | None) -> None:
        self._rows = _Rows(self.separator)
        self._names = list(columns)
        self._cells = list(map(Cell, cell_kinds(columns, described)))
        self._keys = [encode(name) for name in columns]
        # What stands between the cells of usual rows, the quotes of texts included.
        quotes = [b'"' if cell.kind == "text" else b"" for cell in self._cells]
        starts = [b"{", *(quote + b", " for quote in quotes)]
        named = zip(starts, self._keys, quotes, strict=False)
        self._before = [b"%b%b: %b" % each for each in named]
        self._after = b"".join(quotes[-1:]) + b"}\n"

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
        if None in rows or set(map(len, rows)) != {len(self._names)} or self._may_be_blank(bare):
            return self._read_apart(lines, bare, rows)
        texts, items, odd = self._convert(rows)
        if b'"' in joined:
            return ReadBatch(texts, items, 0, 0)
        written: list[bytes | None] = list(bare)
        for place in odd:
            written[place] = None
        return ReadBatch(texts, items, 0, 0, written)

    def _read_apart(self, lines: list[bytes], bare: list[bytes], rows: list[Any]) -> ReadBatch:
        """Reads the lines that are rows together and the others one by one."""
        width = len(self._names)
        is_row = [row is not None and len(row) == width for row in rows]
        if width == 1:
            is_row = [each and bool(line.strip(self._blanks)) for each, line in zip(is_row, bare, strict=True)]
        if not any(is_row):
            return ReadBatch.of_each(map(self.read_line, lines))
        together = self.read_lines(list(compress(lines, is_row)))
        read = iter(zip(together.texts, together.items, strict=True))
        each = [
            (*next(read), False) if usual else self.read_line(line) for line, usual in zip(lines, is_row, strict=True)
        ]
        return ReadBatch.of_each(each)

    def _may_be_blank(self, lines: list[bytes]) -> bool:
        """Whether a blank line passes for a row: only where a row is one cell."""
        return len(self._names) == 1 and not all(line.strip(self._blanks) for line in lines)

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

    def _convert(self, rows: list[list[bytes]]) -> tuple[list[bytes], list[Any], set[int]]:
        """The texts and records of rows of the right length, column by column as far as nothing is special in them.

        And the places of those where something is.
        """
        columns = list(zip(*rows, strict=True))
        special: set[int] = set()
        for cell, column in zip(self._cells, columns, strict=True):
            is_usual = _odd_one_out(cell, column)
            if is_usual is not None:
                special.update(number for number, each in enumerate(column) if not is_usual(each))
        if special:
            return self._convert_apart(rows, special)
        texts = self._texts(columns, len(rows))
        try:
            return texts, list(map(decode, texts)), set()
        except UNREADABLE:  # a number that JSON spells otherwise, or none
            odd = {place for place, text in enumerate(texts) if not _is_json(text)}
            return self._convert_apart(rows, odd)

    def _texts(self, columns: list[tuple[bytes, ...]], number: int) -> list[bytes]:
        """JSON text of each row, all put together in one pass: a third of the cost of a template for each."""
        step = 2 * len(columns) + 1
        parts = [b"}\n"] * (step * number)
        for place, (before, column) in enumerate(zip(self._before, columns, strict=True)):
            parts[2 * place :: step] = [before] * number
            parts[2 * place + 1 :: step] = column
        parts[step - 1 :: step] = [self._after] * number
        texts = b"".join(parts).split(b"\n")
        texts.pop()
        return texts

    def _convert_apart(self, rows: list[list[bytes]], special: set[int]) -> tuple[list[bytes], list[Any], set[int]]:
        usual = [number for number in range(len(rows)) if number not in special]
        texts: list[bytes] = [b""] * len(rows)
        items: list[Any] = [None] * len(rows)
        odd = special
        if usual:
            usual_texts, usual_items, more = self._convert([rows[place] for place in usual])
            for place, text, item in zip(usual, usual_texts, usual_items, strict=True):
                texts[place], items[place] = text, item
            odd = special | {usual[place] for place in more}
        for place in special:
            texts[place], items[place] = self._convert_row(rows[place])
        return texts, items, odd

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
        sentences = [f"{name}: {error}" for name, error in faults[:QUOTED_ERRORS]]
        if len(faults) > QUOTED_ERRORS:
            sentences.append(f"and {len(faults) - QUOTED_ERRORS} more")
        message = shorten("; ".join(sentences))
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


def _is_json(text: bytes) -> bool:
    try:
        decode(text)
    except UNREADABLE:
        return False
    return True


def _odd_one_out(cell: Cell, column: tuple[bytes, ...]) -> Callable[[bytes], Any] | None:
    """What tells the cells that stand in a record's text as they are, None where all of the column do."""
    together = b"".join(column)
    if cell.kind == "number":
        return _is_numeric if b"" in column or together.translate(None, _NUMERIC) else None
    if cell.kind == "text":
        return _is_simple if b"" in column or _NEEDS_ESCAPE.search(together) else None
    if cell.kind == "bool":
        return None if _JSON_BOOLS.issuperset(column) else _JSON_BOOLS.__contains__
    return _never


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

    def __init__(
        self, record: Sequence[str], prediction: Sequence[str], *, read_from: Sequence[str] | None = None
    ) -> None:
        """``read_from`` are the columns of the input where that is of the same format."""
        # Then a row of it is what is written of a record.
        self._keeps_rows = read_from is not None and list(read_from) == list(record)
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

    def block(self, read: ReadBatch, encoded: list[bytes], failures: dict[int, Failure], *, detailed: bool) -> bytes:
        """The lines of a batch: its records, their predictions' JSON text, and the failures by position."""
        predicted = set(encoded) - {b"null"}  # which stands in the place of a failure's
        ends = {each: b"%b%b%b\n" % (self.separator, self.predicted(each), self.separator) for each in predicted}
        lines = [b""] * (2 * len(encoded))
        lines[0::2] = self._records(read)
        lines[1::2] = [ends.get(each, b"\n") for each in encoded]
        for place, failure in failures.items():
            lines[2 * place] = failure_line(self.line, read.texts[place], failure, detailed=detailed)
        return b"".join(lines)

    def _records(self, read: ReadBatch) -> list[bytes]:
        """The records' cells; of what is no record, nothing."""
        rows = read.rows if self._keeps_rows and read.rows is not None else [None] * len(read.texts)
        return [
            self._cells_of(text, item) if row is None else row
            for row, text, item in zip(rows, read.texts, read.items, strict=True)
        ]

    def _cells_of(self, text: bytes, item: Any) -> bytes:
        return b"" if type(item) is Failure else self.separator.join(self._record(text))

    def header(self, names: Sequence[str]) -> bytes:
        """The line that names the columns, without its end."""
        return self.separator.join(self._text_cell(name) for name in names)

    def _cell(self, value: bytes) -> bytes:
        """The cell for JSON text."""
        if value[0] in _DIGITS:
            return value
        if value[0] == _QUOTE:
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


_DIGITS = frozenset(b"-0123456789")
_QUOTE = ord('"')
# In JSON they can only be white space between tokens.
_BLANKS = bytes.maketrans(b"\t\r", b"  ")


def _cells_reader(names: Sequence[str], cell: Callable[[bytes], bytes]) -> Callable[[bytes], list[bytes]]:
    """A function from the text of an object to the cells of these fields, empty where they are missing."""
    nothing = msgspec.Raw(b"null")
    fields = [(f"field_{number}", msgspec.Raw, nothing) for number in range(len(names))]
    rename = {field: name for (field, *_), name in zip(fields, names, strict=True)}
    try:
        kind = msgspec.defstruct("Cells", fields, rename=rename, gc=False)
    except ValueError:  # a name with a quote, a backslash or a control character, which a struct's field cannot have
        by_name = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
        return lambda text: [cell(bytes(each)) for each in map(by_name(text).get, names, repeat(nothing))]
    read = msgspec.json.Decoder(kind).decode
    return lambda text: [cell(bytes(each)) for each in astuple(read(text))]
