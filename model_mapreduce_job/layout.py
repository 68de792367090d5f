"""Layout: which columns the input has and which the output gets, settled by the launcher and the same in every task.

The launcher reads the first line of the input's files where that names the columns, and hands the layout to the tasks
as one option. A task leaves that line out of its input where its part of a file starts at the file's beginning, and
looks whether it is the one that the launcher has read.
"""

import base64
import zlib
from argparse import Namespace
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from ml_model_abc import MLModel
from model_scoring.errors import InputError
from model_scoring.formats.batches import FileReader, LineReader, OutcomeWriter
from model_scoring.formats.csv import CsvLines, TsvLines
from model_scoring.formats.ldjson import LdjsonLines
from model_scoring.formats.registry import INPUT_FORMATS, file_reader, line_reader
from model_scoring.formats.rows import HeaderError, parse_row
from model_scoring.record_schema import described_schema, properties, reads_by_name, takes_other_fields

__all__ = [
    "Layout",
    "LayoutError",
    "check_settled",
    "find_layout",
    "first_line",
    "header_line",
    "outcome_writer",
    "reader_of_files",
    "reader_of_lines",
    "settled",
    "without_headers",
]

# Linux takes 128 KiB for one argument, and Hadoop makes one of a task's whole command.
LONGEST_ARGUMENT = 100_000
# A line that names columns ends within so many bytes.
LONGEST_HEADER = 16 << 20
# The columns' names in an output line that are ours.
ERROR, PREDICTION = "error", "prediction"
_WRITERS = {"csv": CsvLines, "tsv": TsvLines}


class LayoutError(InputError):
    """The columns of input or output cannot be settled."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What stands in a line, by column; names are unique in each of the three."""

    # Of the input's lines; empty where the format has no columns.
    columns: tuple[str, ...] = ()
    # Of a file whose first line names them, the one that the launcher has read first; None where there is no such line.
    header_of: str | None = None
    # Of the output's lines, where they have columns: fields of the record, fields of the prediction (none: all of it in
    # one cell), and the names of all, which differ where a record has a field of the same name.
    record: tuple[str, ...] = ()
    prediction: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def as_text(self) -> str:
        """The layout as an option's value, of characters that no shell and no runner takes for something else."""
        text = base64.urlsafe_b64encode(zlib.compress(msgspec.json.encode(self))).decode().rstrip("=")
        if len(text) > LONGEST_ARGUMENT:
            raise LayoutError(
                f"{len(self.columns or self.record):,} columns are more than a command line can name to tasks. Bring "
                "the input into LDJSON or Parquet, or leave columns out."
            )
        return text

    @classmethod
    def from_text(cls, text: str) -> "Layout":
        """What ``as_text`` has written."""
        try:
            packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            return msgspec.json.decode(zlib.decompress(packed), type=cls)
        except (ValueError, zlib.error) as error:
            raise LayoutError(f"--layout is the launcher's own option, and {text[:50]!r} is not its value") from error


def find_layout(
    model: MLModel, options: Namespace, first_lines: Iterable[tuple[str, bytes]], partition_names: list[str]
) -> Layout:
    """The layout of a job; ``first_lines`` are those of the input's files, by path, and are read only where they count.

    Raises ``InputError`` where files differ or nothing says what the columns are.
    """
    columns, header_of = _input_columns(options, first_lines)
    if options.output_format not in _WRITERS:
        return Layout(columns, header_of)
    record = list(columns or _named(options) or properties(described_schema(model.input_schema, "input")))
    record += [name for name in partition_names if name not in record]
    if not record:
        raise LayoutError(
            f"--output_format {options.output_format} needs to know the record's fields, and the model's input schema "
            "does not name them. Name those that are to be written: --columns a,b,c"
        )
    prediction = list(properties(described_schema(model.output_schema, "output")))
    names = list(record)
    for name in [*(prediction or [PREDICTION]), ERROR]:
        while name in names:
            name = f"{PREDICTION}_{name}"  # noqa: PLW2901  # until it is free
        names.append(name)
    return Layout(columns, header_of, tuple(record), tuple(prediction), tuple(names))


def _input_columns(options: Namespace, first_lines: Iterable[tuple[str, bytes]]) -> tuple[tuple[str, ...], str | None]:
    row = INPUT_FORMATS[options.input_format]
    if not row.has_columns:
        return (), None
    if options.columns is not None:
        return _named(options), None
    columns: tuple[str, ...] = ()
    header_of: str | None = None
    for path, line in first_lines:
        found = header_columns(line, options.input_format, path)
        if header_of is None:
            columns, header_of = found, path
        elif found != columns:
            raise differing(path, found, header_of, columns)
    return columns, header_of


def header_columns(line: bytes, input_format: str, path: str) -> tuple[str, ...]:
    """The columns that the first line of a file names; raises ``InputError``."""
    try:
        if len(line) > LONGEST_HEADER:
            raise HeaderError(f"it has more than {LONGEST_HEADER >> 20} MiB")
        return tuple(parse_row(line, INPUT_FORMATS[input_format].separator))
    except HeaderError as error:
        raise LayoutError(
            f"{path}: its first line does not name columns: {error}. Where no line does, name them: --columns a,b,c"
        ) from error


def differing(path: str, found: tuple[str, ...], other: str, columns: tuple[str, ...]) -> LayoutError:
    """The error for two files with different headers."""
    return LayoutError(
        f"{path} and {other} have different columns: {_listed(found)} and {_listed(columns)}. Score them in two jobs, "
        "or bring them into one order."
    )


def _listed(columns: tuple[str, ...]) -> str:
    text = ",".join(columns)
    return ascii(text if len(text) <= 200 else f"{text[:200]}…")


def _named(options: Namespace) -> tuple[str, ...]:
    return tuple(options.columns or ())


def first_line(blocks: Iterable[bytes]) -> bytes | None:
    """The first line of a file's bytes, None of an empty file."""
    found: list[bytes] = []
    held = 0
    for block in blocks:
        found.append(block)
        held += len(block)
        if b"\n" in block or held > LONGEST_HEADER:
            break
    if hasattr(blocks, "close"):
        blocks.close()  # or a command would go on reading the file
    return b"".join(found).partition(b"\n")[0] if found else None


# --- what reads and writes, in every process of a job


def settled(options: Namespace) -> Layout | None:
    """The layout that the launcher has settled, or none that is needed; None where it is still to be found."""
    if options.layout is not None:
        return Layout.from_text(options.layout)
    has_columns = INPUT_FORMATS[options.input_format].has_columns
    if options.output_format in _WRITERS or (has_columns and options.columns is None):
        return None
    return Layout(_named(options) if has_columns else ())


def check_settled(layout: Layout | None) -> None:
    """Raises ``InputError`` in a task that has not been told what it needs to know of columns."""
    if layout is None:
        raise LayoutError(
            "a task was not told the columns of input or output. run_job() tells it; who runs a runner by hand calls "
            "model_mapreduce_job.first_records.settle_layout before."
        )


def reader_of_lines(model: MLModel, options: Namespace, layout: Layout | None) -> LineReader:
    """The reader of a line format."""
    columns = () if layout is None else layout.columns
    # Only cells ask what the schema takes; other tasks do without the time that it takes to say so.
    has_columns = INPUT_FORMATS[options.input_format].has_columns
    described = described_schema(model.input_schema, "input") if has_columns else None
    return line_reader(options.input_format, columns, described)


def reader_of_files(model: MLModel, options: Namespace, layout: Layout | None) -> FileReader:
    """The reader of a format whose files are read whole; raises ``MissingPackageError``."""
    return file_reader(options.input_format, _wanted_fields(model, options, layout))


def _wanted_fields(model: MLModel, options: Namespace, layout: Layout | None) -> list[str] | None:
    """The fields that model and output need; None where that is the whole record."""
    if layout is not None and layout.record:
        written = list(layout.record)
    elif options.output_format == "pairs" and options.key_field:
        written = [options.key_field]
    else:
        return None
    described = described_schema(model.input_schema, "input")
    fields = list(properties(described))
    if not fields or takes_other_fields(described) or not reads_by_name(model.input_schema):
        return None
    return [*fields, *written]


def outcome_writer(model: MLModel, options: Namespace, layout: Layout | None) -> OutcomeWriter | None:
    """What writes outcomes; None for pairs."""
    if options.output_format == "pairs" or layout is None:
        return None
    if options.output_format == "ldjson":
        return LdjsonLines(model.qualified_name, f"{model.major_version}.{model.minor_version}")
    same = options.output_format == options.input_format
    return _WRITERS[options.output_format](layout.record, layout.prediction, read_from=layout.columns if same else None)


def header_line(options: Namespace, layout: Layout) -> bytes:
    """The line that names the output's columns, with its end; nothing where it has none."""
    if options.output_format not in _WRITERS:
        return b""
    return _WRITERS[options.output_format]((), ()).header(layout.names) + b"\n"


def without_headers(
    batches: Iterable[Any], options: Namespace, layout: Layout, count: Any
) -> Iterator[tuple[str, list[bytes]]]:
    """Batches of ``(source, lines)`` without the first line of each file, which must name the layout's columns, unless
    ``--columns`` does, and then must not.

    ``count`` is called with the number of lines left out.
    """
    for batch in batches:
        lines = batch.lines
        if options.columns is not None:
            if batch.first:
                _refuse_header(lines[0], options, batch.source)
            yield batch.source, lines
            continue
        if layout.header_of is None:
            raise LayoutError(
                f"{batch.source}: the launcher has found no line that names columns. Name them: --columns"
            )
        if batch.first:
            found = header_columns(lines[0], options.input_format, batch.source)
            if found != layout.columns:
                raise differing(batch.source, found, layout.header_of, layout.columns)
            count(1)
            lines = lines[1:]
        yield batch.source, lines


def _refuse_header(line: bytes, options: Namespace, path: str) -> None:
    try:
        found = header_columns(line, options.input_format, path)
    except LayoutError:
        return
    if found == _named(options):
        raise LayoutError(f"{path}: its first line names the columns. It is no record; leave out --columns.")
