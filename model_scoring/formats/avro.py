"""Avro: object container files, records in. Through fastavro, block by block.

A record is what the file's schema, which must be that of a record, says; values that JSON does not have are in
``values.py``. A file that is cut off, or has anything that cannot be decoded, raises ``CorruptInputError``.
"""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO
from zlib import crc32

import fastavro
from fastavro import _read_py
from fastavro.io.binary_decoder import BinaryDecoder
from fastavro.read import BLOCK_READERS, LOGICAL_READERS

from model_scoring.errors import CorruptInputError, InputError, MissingPackageError
from model_scoring.formats.avro_schema import has_list_of_nothing, is_recursive
from model_scoring.formats.lines import BATCH_BYTES
from model_scoring.formats.values import Unreadable, read_values, readable
from model_scoring.outcome import describe

__all__ = ["AvroReader"]

MAGIC = b"Obj\x01"
SYNC_BYTES = 16
CRC_BYTES = 4
# What fastavro needs beside itself to decompress blocks: the package, and the extra that brings it.
_NEEDS_PACKAGE = re.compile(r"(\w+) codec is supported but you need to install")
CODECS = {"snappy": ("cramjam", "avro"), "zstandard": ("backports.zstd", "zstd"), "lz4": ("lz4", None)}
# Records that are decoded at a time.
RECORDS = 4096
LONG_BITS = 64
# What the interpreter needs to read records as deep as may be, at some six frames for each level.
FRAMES = 10_000


class AvroReader:
    """Reads files; the fields are all that the file's own schema names, whichever ``columns`` are wanted."""

    def __init__(self, columns: Sequence[str] | None = None) -> None:
        self.read_values = read_values

    def read_file(self, path: str, source: str, batch_size: int) -> Iterator[list[Any]]:
        """Lists of at most ``batch_size`` records, in order; memory holds one block of the file and one batch.

        Raises ``CorruptInputError``, which names the file ``source``, and ``MissingPackageError``.
        """
        with Path(path).open("rb") as file:
            batch: list[Any] = []
            held = 0
            for records, size in self._blocks(file, source):
                for record in records:
                    batch.append(record)
                    held += size
                    if len(batch) == batch_size or held >= BATCH_BYTES:
                        yield batch
                        batch, held = [], 0
            if batch:
                yield batch

    @staticmethod
    def _blocks(file: BinaryIO, source: str) -> Iterator[tuple[list[Any], int]]:
        """The records of each block, some at a time, and the bytes of one on the average."""
        if file.read(len(MAGIC)) != MAGIC:
            raise CorruptInputError(
                source, "it is no Avro object container file, or cut off; is another input format meant?"
            )
        with _errors_named(source):
            blocks = _block_reader(file, source)
            recursive = is_recursive(blocks.writer_schema)
            if recursive:
                # The compiled reader overflows the stack, and ends the process, where data is nested deep enough.
                file.seek(0)
                blocks = _read_py.block_reader(file, handle_unicode_errors="surrogateescape")
            for block in blocks:
                size = len(block.bytes_.getbuffer()) // max(1, block.num_records)
                for records in _records(block, recursive=recursive):
                    yield records, size


def _checked_snappy(source: Any) -> BytesIO:
    """fastavro's reader of a block of snappy, but for the checksum at its end, which that one skips."""
    from cramjam import snappy  # as there: an Avro file need not be compressed by it

    block = _Decoder(getattr(source, "fo", source)).read_bytes()  # type: ignore[no-untyped-call]  # fastavro's
    data = bytes(snappy.decompress_raw(block[:-CRC_BYTES]))
    if crc32(data) != int.from_bytes(block[-CRC_BYTES:], "big"):
        raise ValueError("the checksum of a block is not that of its data")
    return BytesIO(data)


if find_spec("cramjam"):
    for each in (BLOCK_READERS, _read_py.BLOCK_READERS):
        each["snappy"] = _checked_snappy


def _block_reader(file: BinaryIO, source: str) -> Any:
    file.seek(0)
    # A text that is no UTF-8 is its record's failure, not the file's.
    blocks: Any = fastavro.block_reader(file, handle_unicode_errors="surrogateescape")
    schema = blocks.writer_schema
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise InputError(f"{source}: its Avro schema is not that of a record: {str(schema)[:100]}")
    if has_list_of_nothing(schema):
        raise InputError(f"{source}: its Avro schema has a list of what takes no bytes; nothing bounds how long it is")
    _check_end(file, blocks._header["sync"], source)
    return blocks


@contextmanager
def _errors_named(source: str) -> Iterator[None]:
    """Raises ``CorruptInputError`` or ``MissingPackageError`` for what fastavro raises."""
    try:
        yield
    except (InputError, GeneratorExit):
        raise
    except RecursionError as error:
        raise InputError(f"{source}: it has a record that is nested too deep to be read, or is damaged") from error
    except MemoryError as error:  # a length that damage has made
        raise CorruptInputError(source, "it has a value that does not fit into memory") from error
    except Exception as error:  # fastavro raises whatever the bytes lead it into
        told = describe(error) or type(error).__name__
        if (found := _NEEDS_PACKAGE.match(told)) and found[1] in CODECS:
            codec = f"{source}, whose Avro is compressed with {found[1]},"
            raise MissingPackageError(codec, *CODECS[found[1]]) from error
        raise CorruptInputError(source, f"it is not readable as Avro: {told}") from error


def _records(block: Any, *, recursive: bool) -> Iterator[list[Any]]:
    """The records of a block, some at a time, a ``Failure`` for one with a value that Python does not have.

    Raises ``ValueError`` where the block's number of records is not that of what is in it: fastavro believes it.
    """
    if block.num_records < 0:
        raise ValueError("a block has a negative number of records")
    records = _deep_records(block) if recursive else iter(block)
    while True:
        with _guarded_values() as met, _room_for_frames(FRAMES if recursive else 0):
            some = list(islice(records, RECORDS))
            some = list(map(readable, some)) if met else some
        if not some:
            break
        yield some
    if block.bytes_.read(1):
        raise ValueError("a block holds more than its records")


def _deep_records(block: Any) -> Iterator[Any]:
    read: Any = _read_py.read_data
    decoder = _Decoder(block.bytes_)
    for _ in range(block.num_records):
        yield read(decoder, block.writer_schema, block._named_schemas, None, block.options)


class _Decoder(BinaryDecoder):
    """fastavro's in Python, with the bounds of the compiled one."""

    def __init__(self, file: BinaryIO) -> None:
        self.fo = file

    def read_long(self) -> int:
        number = 0
        shift = 0
        while True:
            byte: bytes = self.fo.read(1)
            if not byte:
                raise EOFError
            number |= (byte[0] & 0x7F) << shift
            if number >> LONG_BITS:
                raise ValueError(f"a number is longer than {LONG_BITS} bits")
            if byte[0] < 0x80:  # the last of a number has no high bit
                return (number >> 1) ^ -(number & 1)
            shift += 7

    read_int = read_long

    def read_utf8(self, handle_unicode_errors: str = "surrogateescape") -> str:
        data: bytes = self.read_bytes()  # type: ignore[no-untyped-call]  # fastavro's
        return data.decode(errors=handle_unicode_errors)


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
