"""Parquet: records in, of whole files. Through pyarrow, a batch of rows at a time.

Only the columns that are wanted are read. Values that JSON does not have are in ``values.py``; of a time, what is
smaller than a microsecond is cut off, and a timestamp with a zone is given in UTC. A file that is cut off or damaged
raises ``CorruptInputError``.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model_scoring.errors import CorruptInputError, InputError
from model_scoring.formats.lines import BATCH_BYTES
from model_scoring.formats.values import Unreadable, read_values, readable
from model_scoring.outcome import describe

__all__ = ["ParquetReader"]

# Of a column chunk that is held while its pages are read.
BUFFER_BYTES = 1 << 20
# For a value of a chunk of texts, on the average; with less it is taken for a number that stands for a text.
REPEATING_BYTES = 16
# By this name Python's timezone needs no database of zones.
UTC_OFFSET = "+00:00"


class ParquetReader:
    """Reads files; of their columns those that are wanted, or all."""

    def __init__(self, columns: Sequence[str] | None = None) -> None:
        self.read_values = read_values
        self._columns = columns

    def read_file(self, path: str, source: str, batch_size: int) -> Iterator[list[Any]]:
        """Lists of at most ``batch_size`` records, in order, a ``Failure`` for a record with a value Python has not.

        Raises ``CorruptInputError``, which names the file ``source``.
        """
        try:
            metadata = pq.read_metadata(path)
            with pq.ParquetFile(
                path,
                metadata=metadata,
                read_dictionary=_repeating_texts(metadata),
                buffer_size=BUFFER_BYTES,
                pre_buffer=False,
                page_checksum_verification=True,
                # Spark's own timestamps: in nanoseconds, pyarrow's default, the years end at 2262 and begin anew.
                coerce_int96_timestamp_unit="us",
            ) as file:
                names = file.schema_arrow.names
                if len(set(names)) < len(names):
                    raise InputError(f"{source}: two columns have the same name: {', '.join(sorted(names))}")
                wanted = None if self._columns is None else [name for name in names if name in set(self._columns)]
                rows = _rows_a_batch(metadata, batch_size)
                missing = metadata.num_rows
                for batch in file.iter_batches(batch_size=rows, columns=wanted, use_threads=False):
                    missing -= batch.num_rows
                    yield from map(_records, _bounded(batch))
                if missing:
                    raise ValueError(f"its footer tells of {missing} records that it does not hold")
        except (MemoryError, FileNotFoundError, PermissionError):
            raise
        except (pa.ArrowException, OSError, ValueError) as error:
            raise CorruptInputError(source, f"it is not readable as Parquet: {describe(error)}") from error


def _repeating_texts(metadata: pq.FileMetaData) -> list[str]:
    """The columns of texts or bytes that are kept once in the file for many rows: in memory, too, until they are cut
    into batches by their true size."""
    found: dict[str, bool] = {}
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for chunk in map(group.column, range(group.num_columns)):
            if chunk.physical_type == "BYTE_ARRAY" and "." not in chunk.path_in_schema:
                found[chunk.path_in_schema] = found.get(chunk.path_in_schema, False) or _repeats(chunk)
    return [name for name, repeats in found.items() if repeats]


def _repeats(chunk: pq.ColumnChunkMetaData) -> bool:
    """Whether most values of a chunk seem to be numbers that stand for those of its dictionary: nothing says so, but
    then a value takes little, or the dictionary much of the chunk. To read others so takes twice as long, no more."""
    if chunk.total_uncompressed_size < REPEATING_BYTES * chunk.num_values:
        return True
    dictionary = chunk.data_page_offset - chunk.dictionary_page_offset if chunk.has_dictionary_page else 0
    return bool(4 * dictionary > chunk.total_compressed_size)


def _bounded(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch, in halves and their halves until its texts take no more than ``BATCH_BYTES``."""
    coded = [column for column in batch.columns if pa.types.is_dictionary(column.type)]
    lengths = [pc.take(pc.binary_length(column.dictionary), column.indices) for column in coded if _is_text(column)]
    if batch.num_rows > 1 and sum(pc.sum(each).as_py() or 0 for each in lengths) > BATCH_BYTES:
        half = batch.num_rows // 2
        yield from _bounded(batch.slice(0, half))
        yield from _bounded(batch.slice(half))
    else:
        yield batch


def _is_text(coded: Any) -> bool:
    kind = coded.type.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_string(kind))


def _rows_a_batch(metadata: pq.FileMetaData, batch_size: int) -> int:
    """Fewer where the rows are wide."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    widest = max((group.total_byte_size // max(1, group.num_rows) for group in groups), default=0)
    return max(1, min(batch_size, BATCH_BYTES // max(1, widest)))


def _records(batch: pa.RecordBatch) -> list[Any]:
    names = batch.schema.names
    if not names:
        return [{} for _ in range(batch.num_rows)]
    try:
        cast = [_with_python_type(column) for column in batch.columns]
        # Asked for maps, pyarrow takes four times as long, whether there are any or not.
        flat = not any(map(pa.types.is_nested, batch.schema.types))
        rows = pa.RecordBatch.from_arrays(cast, names)
        records: list[Any] = rows.to_pylist() if flat else rows.to_pylist(maps_as_pydicts="strict")
    except (OverflowError, ValueError, KeyError):  # a date that Python does not have, two keys of one name, …
        columns = [[_value(column.slice(place, 1)) for place in range(batch.num_rows)] for column in batch.columns]
        records = [readable(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]
    return records


def _with_python_type(column: Any) -> Any:
    kind = _python_type(column.type)
    if pa.types.is_dictionary(column.type):
        return column.dictionary_decode()
    if kind.equals(column.type):
        return column
    # Digits are cut off; what does not fit raises and does not become another date.
    return column.cast(options=pc.CastOptions(target_type=kind, allow_time_truncate=True))


def _value(cell: Any) -> Any:
    """The one value of a column of one row."""
    try:
        return _with_python_type(cell)[0].as_py(maps_as_pydicts="strict")
    except (OverflowError, ValueError, KeyError) as error:
        return Unreadable(f"{cell.type}: {describe(error)}")


def _python_type(kind: Any) -> Any:
    """The type with times in microseconds, which is what Python has, and with zones that are UTC: they change how a
    timestamp is shown, not which it is."""
    types = pa.types
    if types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz and UTC_OFFSET)
    if types.is_time64(kind):
        return pa.time64("us")
    if types.is_duration(kind):
        return pa.duration("us")
    return _with_python_types(kind) if types.is_nested(kind) else kind


def _with_python_types(kind: Any) -> Any:
    types = pa.types
    if types.is_struct(kind):
        return pa.struct([field.with_type(_python_type(field.type)) for field in kind])
    if types.is_map(kind):
        return pa.map_(kind.key_type, kind.item_field.with_type(_python_type(kind.item_type)))
    makers = {types.is_list: pa.list_, types.is_large_list: pa.large_list}
    for is_kind, make in makers.items():
        if is_kind(kind):
            return make(kind.value_field.with_type(_python_type(kind.value_type)))
    if types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_python_type(kind.value_type)), kind.list_size)
    return kind
