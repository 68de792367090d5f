"""Parquet: records in, of whole files. Through pyarrow, a batch of rows at a time.

Only the columns that are wanted are read. Values that JSON does not have are in ``values.py``; of a time, what is
smaller than a microsecond is cut off, and a timestamp with a zone is given in UTC. A file that is cut off or damaged
raises ``CorruptInputError``.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
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
# Rows that are read at a time. Texts that the file keeps once for many rows have their true size only when they are
# read; of so few it is bearable, whatever the footer says of their average.
READ_ROWS = 256
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
                rows = _rows_a_batch(metadata, min(batch_size, READ_ROWS))
                read = file.iter_batches(batch_size=rows, columns=wanted, use_threads=False)
                missing = metadata.num_rows
                for batch in _gathered(read, batch_size):
                    missing -= batch.num_rows
                    yield _records(batch)
                if missing:
                    raise ValueError(f"its footer tells of {missing} records that it does not hold")
        except (MemoryError, FileNotFoundError, PermissionError):
            raise
        except pa.ArrowNotImplementedError as error:
            raise InputError(f"{source}: pyarrow cannot read it: {describe(error)}") from error
        except (pa.ArrowException, OSError, ValueError) as error:
            raise CorruptInputError(source, f"it is not readable as Parquet: {describe(error)}") from error


def _gathered(batches: Iterable[pa.RecordBatch], batch_size: int) -> Iterator[pa.RecordBatch]:
    """The batches, joined to some of ``batch_size`` rows or ``BATCH_BYTES``, whichever comes first."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for part in chain.from_iterable(map(_bounded, map(_decoded, batches))):
        if held and (rows + part.num_rows > batch_size or size + part.nbytes > BATCH_BYTES):
            yield pa.concat_batches(held)
            held, rows, size = [], 0, 0
        held.append(part)
        rows += part.num_rows
        size += part.nbytes
    if held:
        yield pa.concat_batches(held)


def _decoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with each text in its place: columns that pandas calls categories keep theirs beside."""
    if not any(map(pa.types.is_dictionary, batch.schema.types)):
        return batch
    columns = [each.dictionary_decode() if pa.types.is_dictionary(each.type) else each for each in batch.columns]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def _bounded(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch, in halves and their halves until it takes no more than ``BATCH_BYTES``."""
    half = batch.num_rows // 2
    if not half or batch.nbytes <= BATCH_BYTES:
        yield batch
        return
    halves = [batch.slice(0, half), batch.slice(half)]
    # Halves that are as large as the whole share what they hold: categories within a list.
    if 2 * sum(each.nbytes for each in halves) < 3 * batch.nbytes:
        yield from chain.from_iterable(map(_bounded, halves))
    else:
        yield batch


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
        columns = list(map(_values, batch.columns))
        records = [readable(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]
    return records


def _values(column: Any) -> list[Any]:
    """The values of a column; ``Unreadable`` for those that Python does not have."""
    try:
        values: list[Any] = _with_python_type(column).to_pylist(maps_as_pydicts="strict")
    except (OverflowError, ValueError, KeyError) as error:
        if len(column) == 1:
            return [Unreadable(f"{column.type}: {describe(error)}")]
        half = len(column) // 2
        return _values(column.slice(0, half)) + _values(column.slice(half))
    return values


def _with_python_type(column: Any) -> Any:
    kind = _python_type(column.type)
    if kind.equals(column.type):
        return column
    # Digits are cut off; what does not fit raises and does not become another date.
    return column.cast(options=pc.CastOptions(target_type=kind, allow_time_truncate=True))


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
        return pa.map_(_python_type(kind.key_type), kind.item_field.with_type(_python_type(kind.item_type)))
    # Not list views: pyarrow 26 loses the last one in a cast. Their times in nanoseconds fail, as Python has none.
    makers = {types.is_list: pa.list_, types.is_large_list: pa.large_list}
    for is_kind, make in makers.items():
        if is_kind(kind):
            return make(kind.value_field.with_type(_python_type(kind.value_type)))
    if types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_python_type(kind.value_type)), kind.list_size)
    return kind
