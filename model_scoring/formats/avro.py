"""Avro: object container files, records in. Through fastavro, block by block.

A record is what the file's schema, which must be that of a record, says; values that JSON does not have are in
``values.py``. A file that is cut off, or has anything that cannot be decoded, raises ``CorruptInputError``.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import fastavro
from fastavro import _read_py
from fastavro.read import LOGICAL_READERS

from model_scoring.errors import CorruptInputError, InputError
from model_scoring.formats.lines import BATCH_BYTES
from model_scoring.formats.values import Unreadable, read_values, readable
from model_scoring.outcome import describe

__all__ = ["AvroReader"]

MAGIC = b"Obj\x01"
SYNC_BYTES = 16
# What the interpreter needs to read records as deep as may be, at some six frames for each level.
FRAMES = 10_000


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
            held = 0
            for records, size in self._blocks(file, source):
                for record in records:
                    batch.append(record)
                    held += size // len(records)
                    if len(batch) == batch_size or held >= BATCH_BYTES:
                        yield batch
                        batch, held = [], 0
            if batch:
                yield batch

    @staticmethod
    def _blocks(file: BinaryIO, source: str) -> Iterator[tuple[list[Any], int]]:
        """The records of each block, and its bytes."""
        if file.read(len(MAGIC)) != MAGIC:
            raise CorruptInputError(source, "it is no Avro object container file")
        file.seek(0)
        try:
            # A text that is no UTF-8 is its record's failure, not the file's.
            blocks: Any = fastavro.block_reader(file, handle_unicode_errors="surrogateescape")
            schema = blocks.writer_schema
            if not isinstance(schema, dict) or schema.get("type") != "record":
                raise InputError(f"{source}: its Avro schema is not that of a record: {str(schema)[:100]}")
            _check_end(file, blocks._header["sync"], source)
            recursive = _is_recursive(schema)
            if recursive:
                # The compiled reader overflows the stack, and ends the process, where data is nested deep enough.
                file.seek(0)
                blocks = _read_py.block_reader(file, handle_unicode_errors="surrogateescape")
            for block in blocks:
                size = len(block.bytes_.getbuffer())
                with _room_for_frames(FRAMES if recursive else 0):
                    records = _records(block)
                yield records, size
        except (InputError, GeneratorExit):
            raise
        except RecursionError as error:
            raise CorruptInputError(source, "it has a record that is nested too deep to be read") from error
        except MemoryError as error:  # a length that damage has made
            raise CorruptInputError(source, "it has a value that does not fit into memory") from error
        except Exception as error:  # fastavro raises whatever the bytes lead it into
            told = describe(error) or type(error).__name__
            raise CorruptInputError(source, f"it is not readable as Avro: {told}") from error


def _records(block: Any) -> list[Any]:
    """The records of a block, a ``Failure`` for one with a value that Python does not have.

    Raises ``ValueError`` where the block's number of records is not that of what is in it: fastavro believes it.
    """
    if block.num_records < 0:
        raise ValueError("a block has a negative number of records")
    with _guarded_values() as met:
        records = list(block)
    if block.bytes_.read(1):
        raise ValueError("a block holds more than its records")
    return list(map(readable, records)) if met else records


def _is_recursive(schema: Any, within: frozenset[str] = frozenset()) -> bool:
    """Whether a type of the schema may hold itself, so that no schema bounds how deep its values are nested.

    By names without their namespaces: a schema that is taken for recursive and is not is read all the same.
    """
    if isinstance(schema, list):
        return any(_is_recursive(each, within) for each in schema)
    if isinstance(schema, str):
        return _short(schema) in within
    if "fields" in schema:
        within |= {_short(schema.get("name", ""))}
        return any(_is_recursive(field["type"], within) for field in schema["fields"])
    return any(_is_recursive(schema[name], within) for name in ("type", "items", "values") if name in schema)


def _short(name: str) -> str:
    return name.rpartition(".")[2]


@contextmanager
def _room_for_frames(frames: int) -> Iterator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, frames))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


@contextmanager
def _guarded_values() -> Iterator[list[Any]]:
    """While it is entered, what fastavro cannot make of a value is ``Unreadable``, and is put into the list."""
    met: list[Any] = []
    readers = LOGICAL_READERS.copy()
    LOGICAL_READERS.update({name: _guarded(name, reader, met) for name, reader in readers.items()})
    try:
        yield met
    finally:
        LOGICAL_READERS.update(readers)  # the model may use fastavro, too


def _guarded(name: str, reader: Callable[..., Any], met: list[Any]) -> Callable[..., Any]:
    def read(data: Any, *schemas: Any) -> Any:
        try:
            return reader(data, *schemas)
        except (OverflowError, ValueError) as error:
            met.append(data)
            return Unreadable(f"{name.partition('-')[2]}: {describe(error)}")

    return read


def _check_end(file: BinaryIO, sync: bytes, source: str) -> None:
    """Every block ends with the file's sync marker, and so does the header of a file without any."""
    here = file.tell()
    file.seek(-SYNC_BYTES, 2)
    if file.read() != sync:
        raise CorruptInputError(source, "the Avro data is truncated")
    file.seek(here)
