"""Where a map task's lines come from: files named on its command line, pieces of files, or its standard input.

The inline and local runners do not copy input into split files. They hand a task a list of pieces (path, start,
length), one JSON object a line, on its standard input, and say so in its environment.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from model_scoring.formats.lines import BLOCK_BYTES, batch_lines, is_compressed, read_blocks, split_blocks

__all__ = ["PIECES_VARIABLE", "Piece", "deal_pieces", "read_batches", "write_pieces"]

PIECES_VARIABLE = "MODEL_MAPREDUCE_JOB_PIECES"

# Less than this is not worth a task of its own.
SMALLEST_PIECE = 1 << 20

# What a byte of a compressed file weighs when work is dealt out: text shrinks to about a fifth.
COMPRESSED_WEIGHT = 5


@dataclass(frozen=True, slots=True)
class Piece:
    """``length`` bytes of a file from ``start`` on, both at line ends; the whole file where ``length`` is None."""

    path: str
    start: int = 0
    length: int | None = None


def read_batches(paths: list[str], stdin: BinaryIO, source: str, batch_size: int) -> Iterator[tuple[str, list[bytes]]]:
    """Batches of lines, each with the name of the file they are from.

    ``paths`` are read in order, ``-`` standing for ``stdin``; without any, ``stdin`` is read, which holds pieces where
    the environment says so and lines of ``source`` otherwise. Raises ``CorruptInputError`` and ``OSError``.
    """
    if not paths and os.environ.get(PIECES_VARIABLE):
        for piece in map(_parse_piece, stdin):
            yield from _named(piece.path, read_blocks(piece.path, piece.start, piece.length), batch_size)
        return
    for path in paths or ["-"]:
        if path == "-":
            yield from _named(source, split_blocks(stdin), batch_size)
        else:
            yield from _named(path, read_blocks(path), batch_size)


def _named(source: str, blocks: Iterable[bytes], batch_size: int) -> Iterator[tuple[str, list[bytes]]]:
    for lines in batch_lines(blocks, batch_size):
        yield source, lines


def _parse_piece(line: bytes) -> Piece:
    return Piece(**json.loads(line))


def write_pieces(pieces: list[Piece], output: BinaryIO) -> None:
    """Writes what ``read_batches`` reads."""
    for piece in pieces:
        output.write(json.dumps(asdict(piece)).encode() + b"\n")


def deal_pieces(paths: list[str], tasks: int) -> list[list[Piece]]:
    """Deals files out to at most ``tasks`` tasks, in order and about evenly; at least one task, if an empty one.

    Uncompressed files are cut at line ends, compressed ones stay whole.
    """
    weights = [_weight(path) for path in paths]
    total = sum(weights)
    tasks = max(1, min(tasks, total // SMALLEST_PIECE))
    share = -(-total // tasks)
    dealt: list[list[Piece]] = [[]]
    room = share
    for path, weight in zip(paths, weights, strict=True):
        start = 0
        while True:
            if room <= 0 and len(dealt) < tasks:
                dealt.append([])
                room = share
            if is_compressed(path) or weight - start <= room or len(dealt) == tasks:
                dealt[-1].append(Piece(path) if start == 0 else Piece(path, start, weight - start))
                room -= weight - start
                break
            end = _line_end(path, start + room, weight)
            dealt[-1].append(Piece(path, start, end - start))
            room, start = 0, end
            if start >= weight:
                break
    return dealt


def _weight(path: str) -> int:
    size = Path(path).stat().st_size
    return size * COMPRESSED_WEIGHT if is_compressed(path) else size


def _line_end(path: str, position: int, size: int) -> int:
    """The first byte after the line that holds the byte before ``position``."""
    with Path(path).open("rb") as file:
        file.seek(position - 1)
        while block := file.read(BLOCK_BYTES):
            found = block.find(b"\n")
            if found >= 0:
                return file.tell() - len(block) + found + 1
    return size
