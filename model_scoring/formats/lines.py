"""Lines of a file, in batches: the whole file, compressed or not, or a range of it.

Lines end at LF only; the last one may lack it. gzip, bzip2 and zstandard are read whole: every member or frame,
checksums included; a truncated or damaged file raises ``CorruptInputError`` naming it. Memory holds one batch and one
block.
"""

import bz2
import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from model_scoring.errors import CorruptInputError, MissingPackageError

__all__ = ["COMPRESSED", "batch_lines", "decompressed", "is_compressed", "read_blocks", "split_blocks"]

# Names of files that are decompressed end with one of these.
COMPRESSED = (".gz", ".bz2", ".zst")

BLOCK_BYTES = 1 << 20

# A batch of wide records ends here, before it has the number of records asked for.
BATCH_BYTES = 8 << 20


def is_compressed(path: str) -> bool:
    """Whether the name says that the file is compressed in a way known here."""
    return path.lower().endswith(COMPRESSED)


def read_blocks(path: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
    """The bytes of the file, decompressed, or ``length`` bytes of an uncompressed file from ``start`` on.

    Raises ``CorruptInputError``, and ``OSError`` when the file cannot be opened.
    """
    with Path(path).open("rb") as file:
        if not is_compressed(path):
            if start:
                file.seek(start)
            yield from _plain_blocks(file, length)
            return
        yield from decompressed(file, path)


def decompressed(stream: BufferedReader, path: str) -> Iterator[bytes]:
    """The bytes of an open stream, decompressed as its ``path`` says; raises ``CorruptInputError``."""
    if not is_compressed(path):
        yield from split_blocks(stream)
        return
    damage: tuple[type[Exception], ...]
    if path.lower().endswith(".gz"):
        blocks, damage = _gzip_blocks(stream), (OSError, zlib.error)
    elif path.lower().endswith(".bz2"):
        blocks, damage = _streams(stream, bz2.BZ2Decompressor), (OSError,)
    else:
        zstd = _zstd(path)
        # Windows of any size, as `zstd --long=31` makes them: two gigabytes at most.
        options = {zstd.DecompressionParameter.window_log_max: 31}
        blocks, damage = _streams(stream, lambda: zstd.ZstdDecompressor(options=options)), (zstd.ZstdError,)
    try:
        yield from blocks
    except EOFError as error:
        raise CorruptInputError(path, "the compressed data is truncated") from error
    except damage as error:
        raise CorruptInputError(path, f"the compressed data is damaged ({error})") from error


def _zstd(path: str) -> Any:
    try:
        from backports import zstd
    except ImportError as error:
        raise MissingPackageError(f"{path}, which is compressed with zstandard,", "backports.zstd", "zstd") from error
    return zstd


def split_blocks(stream: BinaryIO) -> Iterator[bytes]:
    """The bytes of an open stream."""
    return iter(lambda: stream.read(BLOCK_BYTES), b"")


def _plain_blocks(file: BinaryIO, length: int | None) -> Iterator[bytes]:
    if length is None:
        yield from split_blocks(file)
        return
    while length > 0 and (block := file.read(min(BLOCK_BYTES, length))):
        length -= len(block)
        yield block


def _gzip_blocks(file: BufferedReader) -> Iterator[bytes]:
    _require_data(file)
    yield from split_blocks(gzip.GzipFile(fileobj=file))  # type: ignore[arg-type]  # it has the read() that is used


def _streams(file: BufferedReader, new_decompressor: Callable[[], Any]) -> Iterator[bytes]:
    # Not bz2.open: after the first stream it takes damaged data for the end of the file.
    _require_data(file)
    decompressor = new_decompressor()
    data = b""
    while True:
        if decompressor.eof:
            data = decompressor.unused_data or file.read(BLOCK_BYTES)
            if not data:
                return
            decompressor = new_decompressor()
        elif decompressor.needs_input:
            data = file.read(BLOCK_BYTES)
            if not data:
                raise EOFError
        yield decompressor.decompress(data, BLOCK_BYTES)
        data = b""


def _require_data(file: BufferedReader) -> None:
    if not file.peek(1):
        raise EOFError


def batch_lines(blocks: Iterable[bytes], batch_size: int) -> Iterator[list[bytes]]:
    """Lines without their LF, at most ``batch_size`` at a time."""
    lines: list[bytes] = []
    unfinished: list[bytes] = []  # the pieces of a line longer than a block are joined once
    held = 0
    for block in blocks:
        held += len(block)
        first, *rest = block.split(b"\n")
        unfinished.append(first)
        if not rest:
            continue
        lines.append(b"".join(unfinished))
        unfinished = [rest.pop()]
        lines += rest
        full = len(lines) if held >= BATCH_BYTES else len(lines) - len(lines) % batch_size
        if full:
            yield from _split(lines[:full], batch_size)
            del lines[:full]
            held = 0
    if unfinished and any(unfinished):
        lines.append(b"".join(unfinished))
    yield from _split(lines, batch_size)


def _split(lines: list[bytes], batch_size: int) -> Iterator[list[bytes]]:
    for position in range(0, len(lines), batch_size):
        yield lines[position : position + batch_size]
