"""Where a map task's lines come from: files named on its command line, pieces of files, or its standard input.

The inline and local runners do not copy input into split files. They hand a task a list of pieces (path, start,
length), one JSON object a line, on its standard input, and say so in its environment.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from model_scoring.formats.lines import BLOCK_BYTES, batch_lines, is_compressed, read_blocks, split_blocks

__all__ = ["PIECES_VARIABLE", "Lines", "Piece", "deal_pieces", "input_files", "read_batches", "write_pieces"]

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


class Lines(NamedTuple):
    """A batch of lines: the name of the file they are from, and whether its first line is the first of them."""

    source: str
    lines: list[bytes]
    first: bool


def read_batches(
    paths: list[str], stdin: BinaryIO, source: str, batch_size: int, *, from_start: bool = True
) -> Iterator[Lines]:
    """Batches of lines.

    ``paths`` are read in order, ``-`` standing for ``stdin``; without any, ``stdin`` is read, which holds pieces where
    the environment says so and lines of ``source`` otherwise, from its start or from later on. Raises
    ``CorruptInputError`` and ``OSError``.
    """
    if not paths and os.environ.get(PIECES_VARIABLE):
        for piece in map(_parse_piece, stdin):
            blocks = read_blocks(piece.path, piece.start, piece.length)
            yield from _named(piece.path, blocks, batch_size, piece.start == 0)
        return
    for path in paths or ["-"]:
        if path == "-":
            yield from _named(source, split_blocks(stdin), batch_size, from_start)
        else:
            yield from _named(path, read_blocks(path), batch_size, True)


def _named(source: str, blocks: Iterable[bytes], batch_size: int, from_start: bool) -> Iterator[Lines]:
    for lines in batch_lines(blocks, batch_size):
        yield Lines(source, lines, from_start)
        from_start = False


def input_files(arguments: list[str], stdin: BinaryIO) -> Iterator[tuple[str, str]]:
    """The files of a task that reads whole files, each with its path on this machine and the name to tell.

    They are the pieces on ``stdin`` where the environment says so; otherwise the one file that a cluster's runner has
    fetched, whose path and name are the task's arguments.
    """
    if os.environ.get(PIECES_VARIABLE):
        for piece in map(_parse_piece, stdin):
            yield piece.path, piece.path
    elif arguments:
        yield arguments[0], arguments[-1]


def _parse_piece(line: bytes) -> Piece:
    return Piece(**json.loads(line))


def write_pieces(pieces: list[Piece], output: BinaryIO) -> None:
    """Writes what ``read_batches`` reads."""
    for piece in pieces:
        output.write(json.dumps(asdict(piece)).encode() + b"\n")


def deal_pieces(paths: list[str], tasks: int, *, by_line: bool = True) -> list[list[Piece]]:
    """Deals files out to at most ``tasks`` tasks, in order and about evenly; at least one task, if an empty one.

    Uncompressed files are cut at line ends where their format is ``by_line``; all others stay whole.
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
            if not by_line or is_compressed(path) or weight - start <= room or len(dealt) == tasks:
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
