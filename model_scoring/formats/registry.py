"""The formats: a row for each, imported at first use.

A new format is a row here and a file beside it. What it needs installed is imported in its own file, and is one of
this project's extras.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from model_scoring.errors import MissingPackageError
from model_scoring.formats.batches import FileReader, LineReader

__all__ = ["INPUT_FORMATS", "InputFormat", "file_reader", "line_reader"]


@dataclass(frozen=True, slots=True)
class InputFormat:
    """Where a format's reader is, what it can and what it needs."""

    module: str
    reader: str
    # Whether a record is a line, so that a file may be split between any two.
    by_line: bool = True
    # Whether the columns are named by the file's first line, or by whoever reads it.
    has_columns: bool = False
    # What stands between two cells.
    separator: bytes = b""
    # The extra of this project that installs what is imported.
    extra: str | None = None


INPUT_FORMATS = {
    "ldjson": InputFormat("model_scoring.formats.ldjson", "LdjsonReader"),
    "csv": InputFormat("model_scoring.formats.csv", "CsvReader", has_columns=True, separator=b","),
    "tsv": InputFormat("model_scoring.formats.csv", "TsvReader", has_columns=True, separator=b"\t"),
    "avro": InputFormat("model_scoring.formats.avro", "AvroReader", by_line=False, extra="avro"),
    "parquet": InputFormat("model_scoring.formats.parquet", "ParquetReader", by_line=False, extra="parquet"),
}


def line_reader(name: str, columns: Sequence[str], described: dict[str, Any] | None) -> LineReader:
    """The reader of a line format; ``described`` is the JSON Schema of the model's records, if it has one."""
    made: LineReader = _reader(name)(columns, described)
    return made


def file_reader(name: str, columns: Sequence[str] | None) -> FileReader:
    """The reader of a format whose files are read whole; ``columns`` are the fields that are wanted, None for all.

    Raises ``MissingPackageError``.
    """
    made: FileReader = _reader(name)(columns)
    return made


def _reader(name: str) -> Any:
    row = INPUT_FORMATS[name]
    try:
        return getattr(import_module(row.module), row.reader)
    except ModuleNotFoundError as error:
        if row.extra is None or (error.name or "").startswith("model_scoring"):
            raise
        raise MissingPackageError(f"the format {name}", str(error.name), row.extra) from error
