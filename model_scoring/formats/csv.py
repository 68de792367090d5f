"""CSV and TSV: a record a line, quoted as RFC 4180 says; records in and outcomes out.

How a line becomes cells is in ``rows.py``, what a cell becomes in ``cells.py``. Lines end at LF; a CR before it belongs
to the end. A header is no business of this module's: whoever reads the file leaves its first line out.

Written is a cell for each column of the record, for each of the prediction, and one for the error. The cell of a text
is that text, of any other value its JSON text, of null and of what is missing nothing; an empty text is ``""``. So that
a record stays one line, a text that holds a line end is written as JSON, too, and for unambiguity one that begins with
a double quote.

What may be changed here: how fast. Rows are read column by column; one with a cell that is not what it has to be is
read alone. Both ways give the same.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import compress, repeat
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import astuple

from model_scoring.formats.batches import BYTE_ORDER_MARK, ReadBatch, failure_line
from model_scoring.formats.cells import NON_FINITE, Cell, CellError, cell_kinds
from model_scoring.formats.json_text import UNREADABLE, decode, encode, failure_key
from model_scoring.formats.lines import BATCH_BYTES
from model_scoring.formats.rows import Rows
from model_scoring.outcome import Failure, shorten
from model_scoring.record_schema import QUOTED_ERRORS

__all__ = ["CsvLines", "CsvReader", "TsvLines", "TsvReader"]

# What is in a number, as JSON may spell it.
_NUMERIC = b"0123456789.+-eE"
_JSON_BOOLS = frozenset((b"true", b"false"))
_NEEDS_ESCAPE = re.compile(rb'[\x00-\x1f"\\]')


class CsvReader:
    """Reads rows of ``columns``; ``described`` is the JSON Schema of the model's records, if it has one."""

    separator = b","
    _blanks = b" \t\r"

    def __init__(self, columns: Sequence[str], described: dict[str, Any] | None) -> None:
        self._rows = Rows(self.separator)
        self._names = list(columns)
        self._fields = [
            _Field(name, Cell(kind)) for name, kind in zip(columns, cell_kinds(columns, described), strict=True)
        ]
        # A row's text has all names in it, which may take many times what its cells take.
        names_bytes = sum(len(field.before) + len(field.after) for field in self._fields)
        self.lines_at_once = max(1, BATCH_BYTES // max(1, names_bytes))

    def read_lines(self, lines: list[bytes]) -> ReadBatch:
        """Parses lines without their LF. Never raises for what a line holds."""
        joined = b"\n".join(lines)
        bare = [line.removesuffix(b"\r") for line in lines] if b"\r" in joined else lines
        rows: list[Any] = self._rows.of(bare)
        is_utf8 = _is_utf8(joined)
        marked = joined.startswith(BYTE_ORDER_MARK) or b"\n" + BYTE_ORDER_MARK in joined
        same = None not in rows and set(map(len, rows)) == {len(self._names)}
        if is_utf8 and same and not marked and not self._may_be_blank(bare):
            return self._read_rows(bare, rows)
        return self._read_apart(lines, bare, rows, is_utf8=is_utf8)

    def _read_rows(self, lines: list[bytes], rows: list[Any]) -> ReadBatch:
        """The batch of lines whose cells are ``rows``, as many as there are columns."""
        texts, items, odd = self._convert(rows)
        written: list[bytes | None] = list(lines)
        if b'"' in b"".join(lines):
            written = [None if b'"' in line else line for line in lines]
        for place in odd:
            written[place] = None
        return ReadBatch(texts, items, 0, 0, written)

    def _read_apart(self, lines: list[bytes], bare: list[bytes], rows: list[Any], *, is_utf8: bool) -> ReadBatch:
        """Reads the lines that are rows together and the others one by one."""
        width = len(self._names)
        is_row = [
            row is not None and len(row) == width and not line.startswith(BYTE_ORDER_MARK)
            for row, line in zip(rows, bare, strict=True)
        ]
        if not is_utf8:
            is_row = [each and _is_utf8(line) for each, line in zip(is_row, bare, strict=True)]
        if width == 1:
            is_row = [each and bool(line.strip(self._blanks)) for each, line in zip(is_row, bare, strict=True)]
        if not any(is_row):
            return ReadBatch.of_each(map(self.read_line, lines))
        together = self._read_rows(list(compress(bare, is_row)), list(compress(rows, is_row)))
        assert together.rows is not None
        usual = zip(together.texts, together.items, together.rows, strict=True)
        written: list[bytes | None] = []

        def each() -> Iterator[tuple[bytes, Any, bool]]:
            for line, is_usual in zip(lines, is_row, strict=True):
                if is_usual:
                    text, item, row = next(usual)
                    written.append(row)
                    yield text, item, False
                else:
                    read = self.read_line(line)
                    if read[1] is not None:
                        written.append(None)
                    yield read

        return ReadBatch.of_each(each())._replace(rows=written)

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
        """The texts and records of rows of the right length, column by column; and the places of those rows that are
        spelled otherwise than they would be written."""
        columns = list(zip(*rows, strict=True))
        try:
            parts, texts = self._parts(columns)
            items = list(map(decode, texts))
        except UNREADABLE:  # of what looks like numbers, one that JSON spells otherwise, or none
            for field, column in zip(self._fields, columns, strict=True):
                field.exact |= field.cell.kind == "number" and not _are_json(filter(_is_numeric, column))
            parts, texts = self._parts(columns)
            items = list(map(decode, texts))
        odd: set[int] = set()
        for part, column in zip(parts, columns, strict=True):
            if part.respelled:
                odd.update(place for place, each in enumerate(column) if each in part.respelled)
            if part.apart:
                apart = [place for place, each in enumerate(column) if each in part.apart]
                odd.update(apart)
                for place in apart:
                    texts[place], items[place] = self._convert_row(rows[place])
        return texts, items, odd

    def _parts(self, columns: list[tuple[bytes, ...]]) -> tuple[list["_Parts"], list[bytes]]:
        """What the columns add to the texts, and the JSON text of each row, all put together in one pass: a third of
        the cost of a template for each."""
        number = len(columns[0])
        step = 2 * len(columns) + 1
        pieces = [b"}\n"] * (step * number)
        parts = [field.parts(column) for field, column in zip(self._fields, columns, strict=True)]
        between = b"{"
        for place, (field, part) in enumerate(zip(self._fields, parts, strict=True)):
            pieces[2 * place :: step] = [between if part.framed else between + field.before] * number
            pieces[2 * place + 1 :: step] = part.pieces
            between = b"" if part.framed else field.after
        pieces[step - 1 :: step] = [between.removesuffix(b", ") + b"}\n"] * number
        joined = b"".join(pieces)
        if parts[-1].framed:
            # No cell holds a line feed: the comma is that behind the last field.
            joined = joined.replace(b", }\n", b"}\n")
        return parts, joined.split(b"\n")[:-1]

    def _convert_row(self, row: list[bytes]) -> tuple[bytes, Any]:
        parts = []
        faults: list[tuple[str, CellError]] = []
        non_finite = {}
        for field, text in zip(self._fields, row, strict=True):
            if not text:
                continue
            try:
                parts.append(b"%b: %b" % (field.key, field.cell.text(text)))
                if field.cell.kind == "number" and text in NON_FINITE:
                    non_finite[field.name] = NON_FINITE[text]
            except CellError as error:
                faults.append((field.name, error))
                parts.append(b"%b: %b" % (field.key, encode(text.decode())))
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


def _is_numeric(cell: bytes) -> bool:
    return bool(cell) and not cell.translate(None, _NUMERIC)


def _are_json(cells: Iterable[bytes]) -> bool:
    """Whether numeric cells, empty ones left out, are numbers as JSON spells them."""
    return _is_json(b"[%b]" % b",".join(filter(None, cells)))


class _Parts(NamedTuple):
    """What the cells of a column add to the texts of their rows.

    ``framed`` pieces have the field's name and a comma already. ``respelled`` are cells whose value is spelled
    otherwise; ``apart`` those whose rows have to be read alone, and which add nothing.
    """

    pieces: Sequence[bytes]
    framed: bool
    respelled: Collection[bytes] = ()
    apart: Collection[bytes] = ()


class _Field:
    """A column: its name, what its cells are, and how they become part of a record's text."""

    def __init__(self, name: str, cell: Cell) -> None:
        self.name = name
        self.cell = cell
        self.key = encode(name)
        # Of a column of numbers: whether some have turned out to be spelled otherwise than JSON does.
        self.exact = False
        # What stands around a cell that is its own JSON text, but for the quotes of a text.
        quote = b'"' if cell.kind == "text" else b""
        self.before = b"%b: %b" % (self.key, quote)
        self.after = quote + b", "

    def parts(self, column: tuple[bytes, ...]) -> _Parts:
        """For the cells of this column, from rows that follow each other."""
        if not self._are_plain(column):
            made = _Pieces(self)
            return _Parts(list(map(made.__getitem__, column)), True, made.respelled, made.apart)
        if b"" not in column:
            return _Parts(column, False)
        before, after = self.before, self.after
        return _Parts([b"%b%b%b" % (before, cell, after) if cell else b"" for cell in column], True)

    def _are_plain(self, column: tuple[bytes, ...]) -> bool:
        """Whether the cells can stand in the text as they are, as far as numbers show it before they are parsed."""
        kind = self.cell.kind
        if kind == "bool":
            return _JSON_BOOLS.issuperset(column)
        together = b"".join(column)
        if kind == "number":
            return not together.translate(None, _NUMERIC) and not (self.exact and not _are_json(column))
        return kind == "text" and not _NEEDS_ESCAPE.search(together)


class _Pieces(dict[bytes, bytes]):
    """For the cells of one column of a batch, name, value and a comma."""

    def __init__(self, field: _Field) -> None:
        super().__init__({b"": b""})
        self.respelled: set[bytes] = set()
        self.apart: set[bytes] = set()
        self._field = field

    def __missing__(self, cell: bytes) -> bytes:
        piece = self[cell] = self._made(cell)
        return piece

    def _made(self, cell: bytes) -> bytes:
        field, kind = self._field, self._field.cell.kind
        text = cell
        if kind != "number" or field.exact or cell.translate(None, _NUMERIC):
            try:
                text = field.cell.text(cell)
            except CellError:
                self.apart.add(cell)
                return b""
            if kind == "number" and cell in NON_FINITE:
                self.apart.add(cell)
                return b""
            if text != cell and (kind != "text" or b"\r" in cell):
                self.respelled.add(cell)
        return b"%b: %b, " % (field.key, text)


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
        line = self.separator.join(cells)
        return line if line.strip(self.separator) else line + _NOT_BLANK

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
        nothing = {end for end in ends.values() if not end.strip(self.separator + b"\n")}
        if nothing:
            for place in range(0, len(lines), 2):
                if lines[place + 1] in nothing and not lines[place].strip(self.separator):
                    lines[place + 1] = lines[place + 1].replace(b"\n", _NOT_BLANK + b"\n")
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
# At the end of a line of nothing but separators, which some readers of TSV take for a blank one.
_NOT_BLANK = b'""'
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
