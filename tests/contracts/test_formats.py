"""One suite for every format: what goes in comes out, any bytes give outcomes or one named error, memory is bounded.

A format of the input inherits ``InputContract`` and says how a file of it is written, by somebody else's library where
there is one; a format of the output inherits ``OutputContract`` and says how its lines are read.
"""

import csv
import io
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from model_scoring.errors import CorruptInputError, InputError
from model_scoring.formats.batches import ReadBatch
from model_scoring.formats.csv import CsvLines, TsvLines
from model_scoring.formats.json_text import decode, encode, failure_key
from model_scoring.formats.ldjson import LdjsonLines
from model_scoring.formats.lines import batch_lines, read_blocks
from model_scoring.formats.registry import INPUT_FORMATS, file_reader, line_reader
from model_scoring.formats.rows import HeaderError, parse_row
from model_scoring.outcome import Failure

WIDE = 12345678901234567890123
TEXTS = [
    "plain",
    "",
    " blanks around ",
    "ümläut, 漢字, 🌷, e\u0301",
    'a "quote"',
    '"',
    '""',
    '"quoted"',
    "comma, and ; and\ttab",
    "back\\slash",
    "{'a': 1}",
    '{"json": [1]}',
    "null",
    "NaN",
    "1_000",
    "0x10",
    "\u2028\u0085\x1c",
    "%s %(a)d {0}",
]
LINE_ENDS = ["two\nlines", "carriage\rreturn", "both\r\n", "\n"]
# The folder of a test is written anew for each example, and a test that is inherited is the same test for each format.
UNTROUBLED = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]
SLOW = settings(suppress_health_check=UNTROUBLED, deadline=None, max_examples=150)


class InputContract:
    """What holds for a format of the input."""

    name: str
    texts = TEXTS + LINE_ENDS
    has_wide_numbers = True
    has_nan = True
    empty_is_missing = False

    def write(self, path: Path, records: list[dict[str, Any]]) -> None:
        """Writes records, which have the same fields, all text or all numbers."""
        raise NotImplementedError

    def columns(self, records: list[dict[str, Any]]) -> list[str]:
        return list(records[0]) if INPUT_FORMATS[self.name].has_columns else []

    def described(self, records: list[dict[str, Any]]) -> dict[str, Any]:
        kinds = {str: "string", int: "number", float: "number", bool: "boolean"}
        return {"properties": {name: {"type": kinds[type(value)]} for name, value in records[0].items()}}

    def read(
        self, path: Path, columns: list[str], described: dict[str, Any] | None = None, batch_size: int = 100
    ) -> Iterator[tuple[bytes, Any]]:
        """Texts and items, as a task reads them."""
        if INPUT_FORMATS[self.name].by_line:
            reader = line_reader(self.name, columns, described)
            batches = map(reader.read_lines, batch_lines(read_blocks(str(path)), batch_size))
        else:
            files = file_reader(self.name, None)
            batches = map(files.read_values, files.read_file(str(path), "named", batch_size))
        for read in batches:
            assert len(read.texts) == len(read.items)
            yield from zip(read.texts, read.items, strict=True)

    def round_trip(self, tmp_path: Path, records: list[dict[str, Any]], batch_size: int = 100) -> list[Any]:
        self.write(tmp_path / "file", records)
        read = list(self.read(tmp_path / "file", self.columns(records), self.described(records), batch_size))
        for text, item in read:
            assert not isinstance(item, Failure), item
            assert b"\n" not in text
            assert _without_nan(decode(text)) == _without_nan(item)
        return [item for _, item in read]

    def test_texts(self, tmp_path: Path) -> None:
        records = [{"before": "x", "a": text, "after": "y"} for text in self.texts]
        expected = records
        if self.empty_is_missing:
            expected = [{name: text for name, text in record.items() if text} for record in records]
        assert self.round_trip(tmp_path, records) == expected
        assert self.round_trip(tmp_path, records, batch_size=1) == expected

    def test_numbers(self, tmp_path: Path) -> None:
        records = [{"a": value} for value in (0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63))]
        assert self.round_trip(tmp_path, records) == records

    def test_wide_numbers(self, tmp_path: Path) -> None:
        if self.has_wide_numbers:
            records = [{"a": WIDE}, {"a": -WIDE}, {"a": 0}]
            assert self.round_trip(tmp_path, records) == records

    def test_fractions(self, tmp_path: Path) -> None:
        records = [{"a": value} for value in (0.1, -0.0, 1e-300, 1.7976931348623157e308, 5e-324, 1 / 3)]
        assert repr(self.round_trip(tmp_path, records)) == repr(records)

    def test_nan(self, tmp_path: Path) -> None:
        if self.has_nan:
            records = [{"a": value} for value in (math.nan, math.inf, -math.inf, 1.5)]
            assert repr(self.round_trip(tmp_path, records)) == repr(records)

    def test_bools(self, tmp_path: Path) -> None:
        records = [{"a": True}, {"a": False}]
        assert self.round_trip(tmp_path, records) == records

    def test_the_widest_and_the_longest_record(self, tmp_path: Path) -> None:
        widest = [{f"field {number}": number for number in range(5000)}]
        assert self.round_trip(tmp_path, widest * 2) == widest * 2
        longest = [{"a": "x" * 10_000_000, "b": "y"}, {"a": "x", "b": "y"}]
        assert self.round_trip(tmp_path, longest) == longest

    def test_names_of_fields(self, tmp_path: Path) -> None:
        records = [{"a b": 1, "ü": 2, "100%": 3, "%b": 4, "A": 5, "a": 6}]
        assert self.round_trip(tmp_path, records * 3) == records * 3

    @pytest.mark.parametrize("batch_size", [1, 2, 7, 4096])
    def test_batch_sizes(self, tmp_path: Path, batch_size: int) -> None:
        records = [{"a": number, "b": f"text {number}"} for number in range(20)]
        assert self.round_trip(tmp_path, records, batch_size) == records

    def test_no_records(self, tmp_path: Path) -> None:
        self.write(tmp_path / "file", [])
        assert list(self.read(tmp_path / "file", ["a"])) == []

    def outcomes(self, path: Path) -> list[Any] | InputError:
        """The items of a file, or the error that names it."""
        try:
            return [item for _, item in self.read(path, ["a", "b"], {"properties": {"a": {"type": "number"}}})]
        except InputError as error:
            found = error
        assert str(found).startswith("named: ")
        return found

    def test_memory(self, tmp_path: Path) -> None:
        """A file of ten times the records takes no more."""
        used = []
        for thousands in (30, 300):
            path = tmp_path / f"{thousands}"
            self.write(path, [{"a": number, "b": f"{'text' * 10} {number}"} for number in range(thousands * 1000)])
            program = (
                "import sys; from tests.contracts.test_formats import *\n"
                f"n = sum(1 for _ in {type(self).__name__}().read(Path(sys.argv[1]), ['a', 'b'], batch_size=4096))\n"
                f"assert n == {thousands * 1000}, n\n"
                "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
            )
            done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, check=True)
            used.append(int(done.stdout) / 1024)
        assert used[1] - used[0] < 25, used


def _without_nan(record: dict[str, Any]) -> dict[str, Any]:
    """As the text has it."""
    names = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
    return {name: names.get(repr(value), value) for name, value in record.items()}


class LineContract(InputContract):
    """What holds for a format whose records are lines."""

    @SLOW
    @given(data=st.binary(max_size=200) | st.text(alphabet='ab,"\t\r\n1.é{}:', max_size=60).map(str.encode))
    @example(data=b'"')
    @example(data=b'""')
    @example(data=b',"\n')
    @example(data=b'a,"b\n')
    @example(data=b"\xef\xbb\xbf1,2")
    def test_any_bytes_give_an_outcome_a_line(self, tmp_path: Path, data: bytes) -> None:
        path = tmp_path / "file"
        path.write_bytes(data)
        reader = line_reader(self.name, ["a", "b"], {"properties": {"a": {"type": "number"}}})
        lines = [line for batch in batch_lines(read_blocks(str(path)), 100) for line in batch]
        read = reader.read_lines(lines)
        assert len(read.items) + read.blank_lines == len(lines)
        assert all(isinstance(item, dict | Failure) for item in read.items)
        one_by_one = [item for _, item, _ in map(reader.read_line, lines) if item is not None]
        assert repr(read.items) == repr(one_by_one)
        for text, item in zip(read.texts, read.items, strict=True):
            if isinstance(item, Failure) and isinstance(item.record, bytes):
                assert item.record == text
            else:
                assert isinstance(decode(text), dict)


class FileContract(InputContract):
    """What holds for a format whose files are read whole."""

    def some_file(self, tmp_path: Path) -> bytes:
        self.write(tmp_path / "whole", [{"a": number, "b": f"text {number}"} for number in range(50)])
        return (tmp_path / "whole").read_bytes()

    def test_a_truncated_file_is_named(self, tmp_path: Path) -> None:
        whole = self.some_file(tmp_path)
        for length in range(len(whole)):
            (tmp_path / "cut").write_bytes(whole[:length])
            found = self.outcomes(tmp_path / "cut")
            assert isinstance(found, CorruptInputError), (length, len(whole))

    def test_a_damaged_file_gives_records_or_is_named(self, tmp_path: Path) -> None:
        whole = self.some_file(tmp_path)
        named = 0
        for place in range(len(whole)):
            (tmp_path / "hurt").write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
            found = self.outcomes(tmp_path / "hurt")
            named += isinstance(found, InputError)
            if isinstance(found, list):
                assert len(found) == 50
        assert named > len(whole) / 3

    magic = b""

    @SLOW
    @given(data=st.binary(max_size=300))
    def test_any_bytes_are_named(self, tmp_path: Path, data: bytes) -> None:
        for content in (data, self.magic + data):
            (tmp_path / "file").write_bytes(content)
            assert isinstance(self.outcomes(tmp_path / "file"), CorruptInputError)


class TestLdjson(LineContract):
    name = "ldjson"
    has_nan = False

    def write(self, path: Path, records: list[dict[str, Any]]) -> None:
        path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")


# Usual and unusual ones of every kind.
CELLS = (
    *("", "1", "-2.50", "007", "+5", ".5", "5.", "1e999", "1-2", "NaN", "-Infinity", "1,2", "1_000", "[1", "]"),
    *(
        "true",
        "True",
        "FALSE",
        "0",
        "yes",
        "plain",
        "é",
        "back\\slash",
        '"',
        '""',
        'a "b"',
        "a\rb",
        "\0",
        "a\0,b",
        "a,b",
        "a\tb",
    ),
    *(" ", "[]", "[1, 2]", '{"a": [1]}', "}, {", ", }"),
)


class TestCsv(LineContract):
    name = "csv"
    delimiter = ","
    texts = TEXTS
    empty_is_missing = True

    def write(self, path: Path, records: list[dict[str, Any]]) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            # Ends lines with CR and LF, as RFC 4180 has it.
            writer = csv.writer(file, delimiter=self.delimiter)
            writer.writerows([map(_cell, record.values()) for record in records])

    @SLOW
    @given(st.lists(st.lists(st.text(alphabet='ab,"\t é1'), min_size=2, max_size=2), max_size=5))
    def test_cells_are_those_of_another_reader(self, tmp_path: Path, rows: list[list[str]]) -> None:
        records = [{"a": a, "b": b} for a, b in rows if a.strip() or b.strip()]
        self.write(tmp_path / "file", records)
        read = [item for _, item in self.read(tmp_path / "file", ["a", "b"], {})]
        assert read == [{name: cell for name, cell in record.items() if cell} for record in records]

    @SLOW
    @given(
        st.lists(
            st.lists(st.lists(st.sampled_from(CELLS), min_size=4, max_size=4), min_size=1, max_size=6), max_size=3
        ),
        st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, None]),
    )
    @example([[['"', "1", "1", "1"], ["007", "1", "1", "1"], ['"', "1", "1", "1"]]], csv.QUOTE_ALL)
    def test_rows_together_are_what_each_is_alone(self, batches: list[list[list[str]]], quoting: int | None) -> None:
        kinds = ("number", "boolean", "string", "array")
        described = {"properties": {kind: {"type": kind} for kind in kinds}}
        reader = line_reader(self.name, kinds, described)
        for rows in batches:  # one reader: what it has learnt of a batch must not show in the next
            lines = [self.row(row, quoting) for row in rows]
            read = reader.read_lines(lines)
            alone = [line_reader(self.name, kinds, described).read_line(line) for line in lines]
            alone = [each for each in alone if each[1] is not None]
            assert read.texts == [text for text, _, _ in alone]
            assert repr(read.items) == repr([item for _, item, _ in alone])

    def row(self, cells: list[str], quoting: int | None) -> bytes:
        if quoting is None:
            return self.delimiter.join(cells).encode()
        line = io.StringIO(newline="")
        csv.writer(line, delimiter=self.delimiter, quoting=quoting, lineterminator="").writerow(cells)
        return line.getvalue().encode()

    @pytest.mark.parametrize("line_end", LINE_ENDS[:1])
    def test_a_line_end_in_a_cell_fails_its_lines(self, tmp_path: Path, line_end: str) -> None:
        self.write(tmp_path / "file", [{"a": "1", "b": line_end}, {"a": "2", "b": "x"}])
        *torn, (_, whole) = self.read(tmp_path / "file", ["a", "b"])
        assert [item.error_type for _, item in torn] == ["quotes", "quotes"]
        assert "a quote is open" in torn[0][1].message
        assert "a file may be split at any line" in torn[0][1].message
        assert whole == {"a": "2", "b": "x"}

    @pytest.mark.parametrize(
        ("cell", "expected"),
        [
            ("1", 1), ("-1.50", -1.5), ("1e3", 1000.0), ("+5", 5), ("007", 7), (".5", 0.5), ("5.", 5), ("-.5e1", -5.0),
            ("-0", 0), ("00", 0), ("1E+2", 100.0), ("NaN", "nan"), ("Infinity", "inf"), ("-Infinity", "-inf"),
            ("nan", "nan"), ("inf", "inf"), ("-inf", "-inf"),
        ],
    )  # fmt: skip
    def test_numbers_by_their_spelling(self, cell: str, expected: Any) -> None:
        reader = line_reader(self.name, ["a", "b"], {"properties": {"a": {"type": "number"}}})
        line = f"{cell}{self.delimiter}x".encode()
        [item] = reader.read_lines([line]).items
        assert (repr(item["a"]) if isinstance(expected, str) else item["a"]) == expected
        assert reader.read_lines([line, b"1%bx" % self.delimiter.encode()]).items[1] == {"a": 1, "b": "x"}

    @pytest.mark.parametrize(
        "cell",
        [
            *("1_000", "0x10", "1,5", "\u0661", " 1", "1 ", "1e", "e1", "--1", ".", "+", "-", "1.2.3"),
            *("NAN", "+inf", "infinity", "1e400", "x", "'1'", "1'"),
        ],
    )
    def test_what_is_no_number_is_its_records_failure(self, cell: str) -> None:
        reader = line_reader(self.name, ["a", "b"], {"properties": {"a": {"type": "number"}}})
        quoted = f'"{cell}"' if "," in cell else cell
        good = b"1%bx" % self.delimiter.encode()
        read = reader.read_lines([good, f"{quoted}{self.delimiter}x".encode(), good])
        failure = read.items[1]
        assert isinstance(failure, Failure)
        assert (failure.stage, failure.error_type, failure.field) == ("validate", "number_parsing", "a")
        assert failure.message.startswith(f"a: {cell!a} is ")
        assert decode(read.texts[1]) == {"a": cell, "b": "x"}
        assert read.items[::2] == [{"a": 1, "b": "x"}] * 2

    def test_an_empty_cell_is_no_field(self) -> None:
        reader = line_reader(self.name, ["a", "b"], {"properties": {"a": {"type": "number"}}})
        join = self.delimiter.join
        lines = [join(cells).encode() for cells in (["", "x"], ["1", ""], ["", ""], ['""', '""'])]
        assert reader.read_lines(lines).items == [{"b": "x"}, {"a": 1}, {}, {}]

    def test_schemas_say_what_a_cell_becomes(self) -> None:
        described = {
            "$defs": {"Level": {"enum": [1, 2]}, "Name": {"type": "string"}},
            "properties": {
                "maybe": {"anyOf": [{"type": "number"}, {"type": "null"}]},
                "level": {"$ref": "#/$defs/Level"},
                "either": {"anyOf": [{"type": "integer"}, {"$ref": "#/$defs/Name"}]},
                "flag": {"type": "boolean"},
                "list": {"type": "array", "items": {}},
                "any": {},
            },
        }
        reader = line_reader(self.name, [*described["properties"], "unknown"], described)
        cells = ["1.5", "2", "3", "TRUE", "[1]", "4", "5"]
        expected = {"maybe": 1.5, "level": 2, "either": "3", "flag": True, "list": [1], "any": "4", "unknown": "5"}
        assert reader.read_lines([self.delimiter.join(cells).encode()]).items == [expected]
        cells[3:5] = ["yes", "[1"]
        [failure] = reader.read_lines([self.delimiter.join(cells).encode()]).items
        assert failure.error_type == "bool_parsing"
        assert failure.message == "flag: 'yes' is neither true nor false; list: '[1' is not a list or an object in JSON"

    def test_numbers_keep_their_spelling(self) -> None:
        reader = line_reader(self.name, ["a", "b"], {"properties": {"a": {"type": "number"}}})
        join = self.delimiter.join
        texts = reader.read_lines([join(cells).encode() for cells in (["1.50", "1.50"], [f"{WIDE}", "é"])]).texts
        assert texts == [b'{"a": 1.50, "b": "1.50"}', f'{{"a": {WIDE}, "b": "é"}}'.encode()]

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            (b"a%sb%sa", "the name 'a' stands in it twice"),
            (b'a%s"b', "a quote is open"),
            (b'a%sb"c', "a quote stands inside a cell"),
            (b'b",c', "a quote stands inside a cell"),
            (b"a%s\xff", "it is not UTF-8: invalid start byte at byte 2"),
            (b"", "it is blank"),
            (b"%s", "it is blank"),
            (b"a%sb\r1%s2\r", "a CR stands in it"),
        ],
    )
    def test_what_is_no_header(self, line: bytes, told: str) -> None:
        with pytest.raises(HeaderError, match=told):
            parse_row(line.replace(b"%s", self.delimiter.encode()), self.delimiter.encode())

    @pytest.mark.parametrize("others", [[], [b"1,2,3"]])
    def test_a_blank_line_is_none_whatever_stands_beside_it(self, others: list[bytes]) -> None:
        reader = line_reader(self.name, ["a"], {"properties": {"a": {"type": "number"}}})
        read = reader.read_lines([b"1", b"", b"2\r", b"\r", *others])
        assert read.items[:2] == [{"a": 1}, {"a": 2}]
        assert read.blank_lines == 2

    def test_a_header(self) -> None:
        line = f'\ufeffa{self.delimiter}"b ""c"""{self.delimiter}\r'.encode()
        assert parse_row(line, self.delimiter.encode()) == ["a", 'b "c"', ""]


class TestTsv(TestCsv):
    name = "tsv"
    delimiter = "\t"


def _cell(value: Any) -> Any:
    names = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
    return names.get(repr(value), value)


class TestAvro(FileContract):
    name = "avro"
    magic = b"Obj\x01"
    has_wide_numbers = False

    def write(self, path: Path, records: list[dict[str, Any]]) -> None:
        # A name in Avro is one of a programming language's.
        kinds = {str: "string", int: "long", float: "double", bool: "boolean"}
        first = records[0] if records else {"a": 1}
        fields = [{"name": name, "type": kinds[type(value)]} for name, value in first.items()]
        schema = {"type": "record", "name": "Row", "fields": fields}
        with path.open("wb") as file:
            fastavro.writer(file, schema, records, codec="deflate", sync_interval=2000, sync_marker=b"0123456789abcdef")

    def test_the_widest_and_the_longest_record(self, tmp_path: Path) -> None:
        widest = [{f"field_{number}": number for number in range(5000)}]
        assert self.round_trip(tmp_path, widest * 2) == widest * 2
        longest = [{"a": "x" * 10_000_000, "b": "y"}, {"a": "x", "b": "y"}]
        assert self.round_trip(tmp_path, longest) == longest

    def test_names_of_fields(self, tmp_path: Path) -> None:
        records = [{"a_b": 1, "A": 5, "a": 6}]
        assert self.round_trip(tmp_path, records * 3) == records * 3

    def test_a_truncated_file_is_named(self, tmp_path: Path) -> None:
        whole = self.some_file(tmp_path)
        blocks = {place + 16 for place in range(len(whole)) if whole.startswith(b"0123456789abcdef", place)}
        for length in range(len(whole)):
            (tmp_path / "cut").write_bytes(whole[:length])
            found = self.outcomes(tmp_path / "cut")
            # Where a block ends the file might.
            assert isinstance(found, CorruptInputError) or length in blocks, (length, len(whole))

    @pytest.mark.parametrize("codec", ["snappy", "bzip2", "xz"])
    def test_a_damaged_value_is_named_where_there_are_checksums(self, tmp_path: Path, codec: str) -> None:
        schema = {"type": "record", "name": "Row", "fields": [{"name": "a", "type": "long"}]}
        file = io.BytesIO()
        records = [{"a": 7919 * number} for number in range(200)]
        fastavro.writer(file, schema, records, codec=codec)
        whole = file.getvalue()
        for place in range(whole.rindex(whole[-16:], 0, -16) + 16, len(whole)):
            damaged = bytearray(whole)
            damaged[place] ^= 16
            (tmp_path / "file").write_bytes(damaged)
            found = self.outcomes(tmp_path / "file")
            assert isinstance(found, CorruptInputError) or found == records

    @pytest.mark.parametrize("bit", range(7))
    def test_a_damaged_count_is_named(self, tmp_path: Path, bit: int) -> None:
        self.write(tmp_path / "file", [{"a": number} for number in range(50)])
        content = bytearray((tmp_path / "file").read_bytes())
        place = content.index(b"0123456789abcdef") + 16
        content[place] ^= 1 << bit
        (tmp_path / "file").write_bytes(content)
        assert isinstance(self.outcomes(tmp_path / "file"), CorruptInputError)

    def test_a_value_that_python_does_not_have_fails_alone(self, tmp_path: Path) -> None:
        kinds = {
            "date": ({"type": "int", "logicalType": "date"}, 10**7),
            "when": ({"type": "long", "logicalType": "timestamp-millis"}, 2**63 - 1),
            "clock": ({"type": "long", "logicalType": "time-micros"}, 86_400_000_000),
            "id": ({"type": "string", "logicalType": "uuid"}, "none"),
            "list": ({"type": "array", "items": {"type": "int", "logicalType": "date"}}, [10**7]),
        }
        for name, (kind, odd) in kinds.items():
            plain = kind["type"] if name != "list" else {"type": "array", "items": "int"}
            fields = [{"name": "n", "type": "int"}, {"name": name, "type": plain}]
            good = {"id": "12345678-1234-5678-1234-567812345678", "list": [0]}.get(name, 0)
            records = [{"n": 1, name: odd}, {"n": 2, name: good}]
            file = io.BytesIO()
            fastavro.writer(file, {"type": "record", "name": "R", "fields": fields}, records, codec="null")
            typed = {"type": "record", "name": "R", "fields": [fields[0], {"name": name, "type": kind}]}
            header = io.BytesIO()
            fastavro.writer(header, typed, [], codec="null")
            sync = file.getvalue()[-16:]
            blocks = file.getvalue()[file.getvalue().index(sync) + 16 :]
            whole = header.getvalue()[:-16] + sync + blocks
            (tmp_path / "file").write_bytes(whole)
            failure, item = self.outcomes(tmp_path / "file")
            assert (failure.stage, failure.error_type, failure.field) == ("read", "no_value", name)
            assert failure.record == {"n": 1}
            assert item["n"] == 2

    def test_a_text_that_is_no_utf8_fails_alone(self, tmp_path: Path) -> None:
        self.write(tmp_path / "file", [{"a": "xxx"}, {"a": "yyy"}])
        with (tmp_path / "file").open("wb") as file:
            schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "bytes"}]}
            fastavro.writer(file, schema, [{"a": b"\xff"}, {"a": b"y"}], codec="null")
        content = (tmp_path / "file").read_bytes().replace(b'"type": "bytes"', b'"type":"string"')
        (tmp_path / "file").write_bytes(content)
        failure, item = self.outcomes(tmp_path / "file")
        assert isinstance(failure, Failure)
        assert item == {"a": "y"}

    def test_wide_records_make_small_batches(self, tmp_path: Path) -> None:
        self.write(tmp_path / "file", [{"a": "x" * 1_000_000}] * 30)
        batches = list(file_reader(self.name, None).read_file(str(tmp_path / "file"), "named", 4096))
        assert max(map(len, batches)) <= 9

    def test_nesting_without_bounds_fails_its_record_or_is_named(self, tmp_path: Path) -> None:
        held = {"name": "next", "type": ["null", "x.Link"]}
        schema = {"type": "record", "name": "x.Link", "fields": [{"name": "v", "type": "long"}, held]}
        fastavro.writer(file := io.BytesIO(), schema, [], codec="null", sync_marker=b"0123456789abcdef")

        def outcomes(*depths: int) -> Any:
            links = b"".join(b"\x02\x02" * (depth - 1) + b"\x02\x00" for depth in depths)
            length = io.BytesIO()
            fastavro.schemaless_writer(length, "long", len(links))
            block = bytes([2 * len(depths)]) + length.getvalue() + links + b"0123456789abcdef"
            (tmp_path / "file").write_bytes(file.getvalue() + block)
            return self.outcomes(tmp_path / "file")

        shallow, deep, failure, last = outcomes(1, 400, 401, 1)
        assert shallow == last == {"v": 1, "next": None}
        assert deep["next"]["next"]["v"] == 1
        assert isinstance(failure, Failure)
        for depth in (5_000, 100_000):
            assert "nested too deep to be read" in str(outcomes(1, depth))
        assert sys.getrecursionlimit() < 5_000

    def test_what_holds_itself_is_read_as_all_else(self, tmp_path: Path) -> None:
        """By another reader of fastavro's, which is less patient with texts and more with numbers."""
        fields = [{"name": "m", "type": {"type": "map", "values": "long"}}, {"name": "held", "type": ["null", "Link"]}]
        schema = {"type": "record", "name": "Link", "fields": fields}
        records = [{"m": {"key": 1}, "held": None}, {"m": {"more": 2}, "held": {"m": {}, "held": None}}]
        fastavro.writer(file := io.BytesIO(), schema, records, codec="null")
        (tmp_path / "file").write_bytes(file.getvalue())
        assert self.outcomes(tmp_path / "file") == records
        (tmp_path / "file").write_bytes(file.getvalue().replace(b"key", b"k\xffy"))
        failure, item = self.outcomes(tmp_path / "file")
        assert isinstance(failure, Failure)
        assert item == records[1]
        fastavro.writer(file := io.BytesIO(), schema, [], codec="null", sync_marker=b"0123456789abcdef")
        endless = b"\x02" + b"\xff" * 1000 + b"\x01"
        length = io.BytesIO()
        fastavro.schemaless_writer(length, "long", len(endless))
        block = b"\x02" + length.getvalue() + endless + b"0123456789abcdef"
        (tmp_path / "file").write_bytes(file.getvalue() + block)
        assert "a number is longer than 64 bits" in str(self.outcomes(tmp_path / "file"))

    def test_records_that_take_no_bytes_do_not_fill_the_memory(self, tmp_path: Path) -> None:
        schema = {"type": "record", "name": "Nothing", "fields": [{"name": "n", "type": "null"}]}
        fastavro.writer(file := io.BytesIO(), schema, [], codec="null", sync_marker=b"0123456789abcdef")
        count = io.BytesIO()
        fastavro.schemaless_writer(count, "long", 2**60)
        (tmp_path / "file").write_bytes(file.getvalue() + count.getvalue() + b"\x00" + b"0123456789abcdef")
        batches = file_reader(self.name, None).read_file(str(tmp_path / "file"), "named", 4096)
        assert next(batches) == [{"n": None}] * 4096
        batches.close()  # type: ignore[attr-defined]
        schema["fields"] = [{"name": "n", "type": {"type": "array", "items": "null"}}]
        with (tmp_path / "file").open("wb") as damaged:
            fastavro.writer(damaged, schema, [{"n": [None]}])
        assert "a list of what takes no bytes" in str(self.outcomes(tmp_path / "file"))
        empty = {"type": "record", "name": "E", "fields": []}
        fields = [{"name": "e", "type": empty}, {"name": "l", "type": {"type": "array", "items": "E"}}]
        with (tmp_path / "file").open("wb") as damaged:
            fastavro.writer(damaged, {"type": "record", "name": "R", "fields": fields}, [{"e": {}, "l": [{}]}])
        assert "a list of what takes no bytes" in str(self.outcomes(tmp_path / "file"))

    def test_a_record_of_two_values_that_cannot_be_is_no_record(self, tmp_path: Path) -> None:
        """One that Python does not have, and beside it one that JSON does not."""
        day = {"type": "int", "logicalType": "date"}
        fields = [{"name": "day", "type": day}, {"name": "note", "type": "string"}]
        schema = {"type": "record", "name": "R", "fields": fields}
        odd = {**schema, "fields": [{"name": "day", "type": "int"}, {"name": "note", "type": "bytes"}]}
        fastavro.writer(typed := io.BytesIO(), schema, [], codec="null")
        fastavro.writer(file := io.BytesIO(), odd, [{"day": 10**7, "note": b"\xff\xfe"}], codec="null")
        sync = file.getvalue()[-16:]
        rows = file.getvalue()[file.getvalue().index(sync) + 16 :]
        (tmp_path / "file").write_bytes(typed.getvalue()[:-16] + sync + rows)
        reader = file_reader(self.name, None)
        [values] = reader.read_file(str(tmp_path / "file"), "named", 10)
        read = reader.read_values(values)
        [failure] = read.items
        assert (failure.error_type, failure.record) == ("no_value", read.texts[0])

    def test_a_file_of_no_records_is_named(self, tmp_path: Path) -> None:
        with (tmp_path / "file").open("wb") as file:
            fastavro.writer(file, "string", ["a"])
        assert "its Avro schema is not that of a record" in str(self.outcomes(tmp_path / "file"))


class TestParquet(FileContract):
    name = "parquet"
    magic = b"PAR1"
    has_wide_numbers = False

    def write(self, path: Path, records: list[dict[str, Any]]) -> None:
        table = pa.Table.from_pylist(records) if records else pa.table({"a": pa.array([], pa.int64())})
        pq.write_table(table, path, write_page_checksum=True, compression="zstd")

    def items(self, tmp_path: Path, table: pa.Table, **how: Any) -> list[Any]:
        pq.write_table(table, tmp_path / "file", **how)
        found = self.outcomes(tmp_path / "file")
        assert isinstance(found, list), found
        return found

    def test_a_damaged_footer_is_named(self, tmp_path: Path) -> None:
        """pyarrow ends the process where it is asked about some of what can stand there."""
        table = pa.table({"a": ["x", "y", None] * 5, "l": [[1, None], None, []] * 5, "b": [True, None, False] * 5})
        pq.write_table(table, tmp_path / "file", write_page_checksum=True)
        whole = (tmp_path / "file").read_bytes()
        for place in range(len(whole) - 8 - int.from_bytes(whole[-8:-4], "little"), len(whole)):
            damaged = bytearray(whole)
            damaged[place] ^= 1
            (tmp_path / "file").write_bytes(damaged)
            assert isinstance(self.outcomes(tmp_path / "file"), InputError | list)

    def test_one_value_that_python_does_not_have_among_many(self, tmp_path: Path) -> None:
        days = pa.array([0, 10**7, 2], pa.int32()).cast(pa.date32())
        moments = pa.array([[0], [1_500], None], pa.list_(pa.timestamp("ns")))
        first, failure, last = self.items(tmp_path, pa.table({"day": days, "at": moments, "n": [1, 2, 3]}))
        assert (first["n"], str(first["day"]), *map(str, first["at"])) == (1, "1970-01-01", "1970-01-01 00:00:00")
        assert list(map(str, failure.record.pop("at"))) == ["1970-01-01 00:00:00.000001"]
        assert failure.record == {"n": 2}
        assert last["at"] is None

    @pytest.mark.parametrize("name", ["a", "a.b"])
    def test_texts_that_repeat_make_small_batches(self, tmp_path: Path, name: str) -> None:
        """The file keeps each once; in a batch each would be there as often as it occurs."""
        number = pa.array([0, 1, None] * 1000)
        column = pa.DictionaryArray.from_arrays(number, ["x" * 1_000_000, "y" * 900_000])
        pq.write_table(pa.table({name: column, "n": range(3000)}), tmp_path / "file", store_schema=False)
        place = 0
        for batch in file_reader(self.name, None).read_file(str(tmp_path / "file"), "named", 4096):
            assert sum(len(each[name] or "") for each in batch) <= 8 << 20
            for record in batch:
                assert (record["n"], record[name] and record[name][0]) == (place, ("x", "y", None)[place % 3])
                place += 1
        assert place == 3000

    @pytest.mark.parametrize("kind", [pa.string(), pa.binary(), pa.large_string(), pa.int64(), pa.timestamp("us")])
    def test_columns_that_are_coded(self, tmp_path: Path, kind: pa.DataType) -> None:
        """As pandas writes categories, and as any other writer does."""
        numbers = pa.array([1, 2, 1, None], pa.int64())
        values = (numbers if pa.types.is_timestamp(kind) else numbers.cast(pa.string())).cast(kind)
        for column in (values, values.dictionary_encode()):
            for stored in (True, False):
                items = self.items(tmp_path, pa.table({"a": column}), store_schema=stored)
                assert items == [{"a": each} for each in values.to_pylist()]

    def test_timestamps_of_spark_have_all_years(self, tmp_path: Path) -> None:
        times = [datetime.fromisoformat(text) for text in ("9999-12-31T01:00:00", "0001-01-01T00:00:00")]
        items = self.items(tmp_path, pa.table({"a": times}), use_deprecated_int96_timestamps=True)
        assert items == [{"a": each} for each in times]

    def test_a_value_that_python_does_not_have_fails_alone(self, tmp_path: Path) -> None:
        for kind in (pa.timestamp("ms"), pa.duration("ms"), pa.struct({"x": pa.timestamp("ms")})):
            odd = {"x": 2**63 - 1} if pa.types.is_struct(kind) else 2**63 - 1
            whole = pa.struct({"x": pa.int64()}) if pa.types.is_struct(kind) else pa.int64()
            column = pa.array([odd, None], whole)
            column = (
                column.view(kind)
                if not pa.types.is_struct(kind)
                else pa.StructArray.from_arrays([column.field("x").view(pa.timestamp("ms"))], ["x"])
            )
            failure, item = self.items(tmp_path, pa.table({"n": [1, 2], "a": column}), store_schema=True)
            assert (failure.error_type, failure.field, failure.record) == ("no_value", "a", {"n": 1}), kind
            assert item["n"] == 2

    def test_a_timestamp_without_a_zone_gets_none(self, tmp_path: Path) -> None:
        nested = pa.array([{"x": 0}], pa.struct({"x": pa.timestamp("us")}))
        listed = pa.array([[0]], pa.list_(pa.timestamp("ns")))
        mapped = pa.array([[("k", 1001)]], pa.map_(pa.string(), pa.timestamp("ns")))
        zoned = pa.array([0], pa.timestamp("us", "Europe/Berlin"))
        pq.write_table(pa.table({"n": nested, "l": listed, "m": mapped, "z": zoned}), tmp_path / "file")
        [(text, _)] = self.read(tmp_path / "file", [])
        assert decode(text) == {
            "n": {"x": "1970-01-01T00:00:00"},
            "l": ["1970-01-01T00:00:00"],
            "m": {"k": "1970-01-01T00:00:00.000001"},
            "z": "1970-01-01T00:00:00Z",
        }

    def test_two_columns_of_one_name_are_named(self, tmp_path: Path) -> None:
        pq.write_table(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), tmp_path / "file")
        assert "named: two columns have the same name: a, a" in str(self.outcomes(tmp_path / "file"))


# --- the output


OUTCOMES: list[tuple[Any, Any, Failure | None]] = [
    *(({"id": number, "text": text}, {"label": text}, None) for number, text in enumerate(TEXTS + LINE_ENDS)),
    ({"id": WIDE, "text": None}, {"label": None, "score": 0.1}, None),
    ({"text": {"a": ["ü", 1.5, None]}}, {"label": [1, {"b": "\n"}]}, None),
    ({}, {}, None),
    ({"id": 1.5, "text": True}, None, Failure({}, "validate", "float_type", 'a "reason", with\ttab\nand line')),
    (b'not, a "record"', None, Failure(b'not, a "record"', "read", "not_json", "why")),
    (b"\xff\x00", None, Failure(b"\xff\x00", "read", "not_utf8", "why")),
]


class OutputContract:
    """What holds for a format of the output: whoever reads its lines finds record, prediction and reason."""

    def writer(self) -> Any:
        raise NotImplementedError

    def parse(self, line: str) -> tuple[Any, Any, Any]:
        """Record, prediction and error of a line."""
        raise NotImplementedError

    def normal(self, value: Any) -> Any:
        """What a record or a prediction is read as."""
        return value

    def block(self, outcomes: list[Any], *, detailed: bool = True) -> bytes:
        texts = [b"" if isinstance(record, bytes) else encode(record) for record, _, _ in outcomes]
        encoded = [encode(prediction) for _, prediction, _ in outcomes]
        failures = {place: failure for place, (_, _, failure) in enumerate(outcomes) if failure is not None}
        items = [
            failures[place] if isinstance(record, bytes) else record for place, (record, *_) in enumerate(outcomes)
        ]
        written: bytes = self.writer().block(ReadBatch(texts, items, 0, 0), encoded, failures, detailed=detailed)
        return written

    def test_what_is_written_can_be_read(self) -> None:
        lines = self.block(OUTCOMES).decode().split("\n")
        assert lines.pop() == ""
        assert len(lines) == len(OUTCOMES)
        for line, (record, prediction, failure) in zip(lines, OUTCOMES, strict=True):
            assert "\r" not in line
            found_record, found_prediction, error = self.parse(line)
            raw = isinstance(record, bytes)
            assert found_record == (self.normal({}) if raw else self.normal(record))
            assert found_prediction == self.normal(prediction or {})
            told = None if failure is None else failure.as_value()
            assert error == (told if not raw else {**told, "raw": decode(failure_key(record))})

    def test_a_batch_is_its_lines(self) -> None:
        assert self.block(OUTCOMES) == b"".join(self.block([each]) for each in OUTCOMES)
        assert self.block([]) == b""

    def test_without_reasons_what_is_no_record_is_there_still(self) -> None:
        [line, _] = self.block(OUTCOMES[-2:-1], detailed=False).decode().split("\n")
        assert self.parse(line)[2] == {"raw": 'not, a "record"'}


class TestLdjsonOutput(OutputContract):
    def writer(self) -> LdjsonLines:
        return LdjsonLines("name", "1.0")

    def parse(self, line: str) -> tuple[Any, Any, Any]:
        found = json.loads(line)
        assert list(found) == ["record", "raw", "prediction", "error", "model", "version"]
        raw = found["raw"]
        if raw is not None and raw.startswith("{"):
            raw = json.loads(raw)
        error = found["error"] if raw is None else {**(found["error"] or {}), "raw": raw}
        return found["record"] or {}, found["prediction"] or {}, error


class TestCsvOutput(OutputContract):
    delimiter = ","

    def writer(self) -> CsvLines:
        return CsvLines(["id", "text"], ["label", "score"])

    def parse(self, line: str) -> tuple[Any, Any, Any]:
        [row] = csv.reader(io.StringIO(line), delimiter=self.delimiter, strict=True)
        identity, text, label, score, error = row
        record, prediction = {"id": identity, "text": text}, {"label": label, "score": score}
        return record, prediction, json.loads(error) if error else None

    def normal(self, value: Any) -> Any:
        names = ["label", "score"] if value.keys() & {"label", "score"} else ["id", "text"]
        return {name: self.cell(value.get(name)) for name in names}

    @staticmethod
    def cell(value: Any) -> str:
        if isinstance(value, str) and not value.startswith('"') and "\n" not in value and "\r" not in value:
            return value
        return "" if value is None else encode(value).decode()

    def test_what_is_written_can_be_read(self) -> None:
        lines = self.block(OUTCOMES).decode().split("\n")
        assert lines.pop() == ""
        assert len(lines) == len(OUTCOMES)
        for line, (record, prediction, failure) in zip(lines, OUTCOMES, strict=True):
            found_record, found_prediction, error = self.parse(line)
            raw = isinstance(record, bytes)
            given = {} if raw else record
            assert found_record == {name: self.cell(given.get(name)) for name in ("id", "text")}
            assert found_prediction == {name: self.cell((prediction or {}).get(name)) for name in ("label", "score")}
            told = None if failure is None else failure.as_value()
            assert error == (told if not raw else {**told, "raw": decode(failure_key(record))})

    def test_a_line_is_never_blank(self) -> None:
        """A reader that takes it for blank would leave the record out."""
        writer = self.writer()
        assert writer.line(b"{}", None, None, None).strip(writer.separator) == b'""'
        for prediction in ({"label": None}, {}):
            line = writer.line(b"{}", None, encode(prediction), None)
            assert self.block([({}, prediction, None)]) == line + b"\n"
            assert line.strip(writer.separator) == b'""'

    def test_an_empty_text_is_not_a_missing_one(self) -> None:
        line = self.block([({"text": ""}, {"label": ""}, None)])
        assert line == self.delimiter.join(["", '""', '""', "", "\n"]).encode()

    @SLOW
    @given(
        st.lists(
            st.lists(st.text(alphabet='ab1.e-+ é"\\,\t') | st.sampled_from(CELLS), min_size=2, max_size=2),
            min_size=1,
            max_size=5,
        ),
        st.sampled_from([{}, {"id": {"type": "number"}}, {"id": {"type": "boolean"}}]),
    )
    def test_rows_that_are_kept_are_what_would_be_written(self, rows: list[list[str]], fields: dict[str, Any]) -> None:
        lines = [self.delimiter.join(row).encode() for row in rows]
        format_name = "csv" if self.delimiter == "," else "tsv"
        read = line_reader(format_name, ["id", "text"], {"properties": fields}).read_lines(lines)
        failures = {place: item for place, item in enumerate(read.items) if isinstance(item, Failure)}
        encoded = [b"null" if place in failures else b'{"label": 1}' for place in range(len(read.items))]
        anew = self.writer().block(read, encoded, failures, detailed=True)
        keeping = type(self.writer())(["id", "text"], ["label", "score"], read_from=["id", "text"])
        assert keeping.block(read, encoded, failures, detailed=True) == anew

    def test_names_that_no_struct_can_have(self) -> None:
        writer = type(self.writer())(['a"b', "c"], [])
        read = ReadBatch([b'{"a\\"b": 1, "c": "x"}'], [{}], 0, 0)
        assert writer.block(read, [b"2"], {}, detailed=True) == self.delimiter.join(["1", "x", "2", "\n"]).encode()

    def test_a_prediction_that_does_not_fit_is_refused(self) -> None:
        encoded = [encode(each) for each in ({"label": 1}, {"other": 1}, [1], None, {})]
        assert self.writer().refused(encoded) == {
            1: "its field 'other' has no column, for the output schema does not name it",
            2: "it is no object, and by the output schema it is one",
        }

    def test_without_names_the_prediction_is_one_cell(self) -> None:
        writer = type(self.writer())(["a"], [])
        assert writer.refused([b"1", b"[1]"]) == {}
        read = ReadBatch([b'{"a": 1}'], [{"a": 1}], 0, 0)
        assert writer.block(read, [b"0.5"], {}, detailed=True) == self.delimiter.join(["1", "0.5", "\n"]).encode()


class TestTsvOutput(TestCsvOutput):
    delimiter = "\t"

    def writer(self) -> TsvLines:
        return TsvLines(["id", "text"], ["label", "score"])
