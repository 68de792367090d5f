"""Avro: object container files, records in. Through fastavro, block by block.

A record is what the file's schema, which must be that of a record, says; values that JSON does not have are in
``values.py``. A file that is cut off, or has anything that cannot be decoded, raises ``CorruptInputError``.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import fastavro

from model_scoring.errors import CorruptInputError, InputError
from model_scoring.formats.values import read_values
from model_scoring.outcome import describe

__all__ = ["AvroReader"]

MAGIC = b"Obj\x01"
SYNC_BYTES = 16


class AvroReader:
    """Reads files; the fields are all that the file's own schema names, whichever ``columns`` are wanted."""

    def __init__(self, columns: Sequence[str] | None = None) -> None:
        self.read_values = read_values

    def read_file(self, path: str, source: str, batch_size: int) -> Iterator[list[Any]]:
        """Lists of at most ``batch_size`` records, in order; memory holds one block of the file and one batch.

        Raises ``CorruptInputError``, which names the file ``source``.
        """
        with Path(path).open("rb") as file:
            batch: list[Any] = []
            for record in self._records(file, source):
                batch.append(record)
                if len(batch) == batch_size:
                    yield batch
                    batch = []
            if batch:
                yield batch

    @staticmethod
    def _records(file: BinaryIO, source: str) -> Iterator[Any]:
        if file.read(len(MAGIC)) != MAGIC:
            raise CorruptInputError(source, "it is no Avro object container file")
        file.seek(0)
        try:
            blocks: Any = fastavro.block_reader(file)
            schema = blocks.writer_schema
            if not isinstance(schema, dict) or schema.get("type") != "record":
                raise InputError(f"{source}: its Avro schema is not that of a record: {str(schema)[:100]}")
            _check_end(file, blocks._header["sync"], source)
            for block in blocks:
                if block.num_records < 0:
                    raise ValueError("a block has a negative number of records")
                yield from block
                if block.bytes_.read(1):
                    raise ValueError("a block holds more than its records")
        except (InputError, GeneratorExit):
            raise
        except MemoryError as error:  # a length that damage has made
            raise CorruptInputError(source, "it has a value that does not fit into memory") from error
        except Exception as error:  # fastavro raises whatever the bytes lead it into
            told = describe(error) or type(error).__name__
            raise CorruptInputError(source, f"it is not readable as Avro: {told}") from error


def _check_end(file: BinaryIO, sync: bytes, source: str) -> None:
    """Every block ends with the file's sync marker, and so does the header of a file without any."""
    here = file.tell()
    file.seek(-SYNC_BYTES, 2)
    if file.read() != sync:
        raise CorruptInputError(source, "the Avro data is truncated")
    file.seek(here)
