"""Pieces: every line of every file in exactly one task, in order."""

import gzip
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_mapreduce_job import task_input
from model_mapreduce_job.task_input import PIECES_VARIABLE, Piece, deal_pieces, input_files, read_batches, write_pieces
from model_scoring.formats.lines import batch_lines, read_blocks


def lines_of(pieces: list[Piece]) -> list[bytes]:
    return [
        line
        for piece in pieces
        for lines in batch_lines(read_blocks(piece.path, piece.start, piece.length), 100)
        for line in lines
    ]


@settings(max_examples=200, deadline=None)
@given(
    files=st.lists(
        st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=30), max_size=6
    ),
    ends=st.lists(st.booleans(), min_size=6, max_size=6),
    tasks=st.integers(1, 8),
    smallest=st.integers(1, 200),
)
def test_every_line_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[bytes]], ends: list[bool], tasks: int, smallest: int
) -> None:
    folder = tmp_path_factory.mktemp("pieces")
    paths = []
    for number, lines in enumerate(files):
        path = folder / f"{number}{'.gz' if number == 3 else ''}"
        data = b"\n".join(lines) + (b"\n" if ends[number] and lines else b"")
        path.write_bytes(gzip.compress(data) if number == 3 else data)
        paths.append(str(path))
    usual, task_input.SMALLEST_PIECE = task_input.SMALLEST_PIECE, smallest
    try:
        dealt = deal_pieces(paths, tasks)
    finally:
        task_input.SMALLEST_PIECE = usual
    assert 1 <= len(dealt) <= tasks
    expected = [line for path in paths for line in lines_of([Piece(path)])]
    assert [line for pieces in dealt for line in lines_of(pieces)] == expected


def test_work_is_dealt_out_evenly(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 99 + b"\n")
    (tmp_path / "large").write_bytes((b"x" * 99 + b"\n") * 80_000)
    dealt = deal_pieces([str(tmp_path / "large")], 4)
    assert [piece.length for pieces in dealt for piece in pieces] == [2_000_000] * 4


def test_small_input_gets_one_task_and_none_gets_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1\n")
    (tmp_path / "b").write_bytes(b"2\n")
    assert deal_pieces([str(tmp_path / "a"), str(tmp_path / "b")], 8) == [
        [Piece(str(tmp_path / "a")), Piece(str(tmp_path / "b"))]
    ]
    assert deal_pieces([], 8) == [[]]


def test_what_is_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = tmp_path / 'na\nme "é"'
    odd.write_bytes(b"1\n2\n3\n")
    manifest = BytesIO()
    write_pieces([Piece(str(odd), 2, 2), Piece(str(odd))], manifest)
    manifest.seek(0)
    monkeypatch.setenv(PIECES_VARIABLE, "1")
    assert list(read_batches([], manifest, "unused", 2)) == [
        (str(odd), [b"2"], False),
        (str(odd), [b"1", b"2"], True),
        (str(odd), [b"3"], False),
    ]


def test_paths_and_standard_input(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1\n")
    assert list(read_batches([str(tmp_path / "a"), "-"], BytesIO(b"2"), "from the hall", 10)) == [
        (str(tmp_path / "a"), [b"1"], True),
        ("from the hall", [b"2"], True),
    ]
    assert list(read_batches([], BytesIO(b"3\n4\n"), "from the hall", 1, from_start=False)) == [
        ("from the hall", [b"3"], False),
        ("from the hall", [b"4"], False),
    ]


def test_files_of_a_format_that_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(input_files(["fetched", "hdfs:///data/a"], BytesIO())) == [("fetched", "hdfs:///data/a")]
    assert list(input_files([], BytesIO())) == []
    for name in "ab":
        (tmp_path / name).write_bytes(b"x" * (3 << 20))
    paths = [str(tmp_path / "a"), str(tmp_path / "b")]
    dealt = deal_pieces(paths, 5, by_line=False)
    assert [piece for pieces in dealt for piece in pieces] == [Piece(path) for path in paths]
    manifest = BytesIO()
    write_pieces([Piece(path) for path in paths], manifest)
    manifest.seek(0)
    monkeypatch.setenv(PIECES_VARIABLE, "1")
    assert list(input_files([], manifest)) == [(path, path) for path in paths]
