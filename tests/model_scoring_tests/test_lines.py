"""Lines: any bytes in any blocks; compressed files are read whole or not at all."""

import bz2
import gzip
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_scoring.errors import CorruptInputError
from model_scoring.formats import lines
from model_scoring.formats.lines import batch_lines, is_compressed, read_blocks, split_blocks

TEXT = b"one\ntwo\r\n\nfour\tfive\n" * 20
COMPRESSORS = {".gz": gzip.compress, ".bz2": bz2.compress}


def expected_lines(content):
    return content.removesuffix(b"\n").split(b"\n") if content else []


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return str(path)


def read(path, *bounds):
    return b"".join(read_blocks(path, *bounds))


@given(
    content=st.lists(st.sampled_from([b"\n", b"a", b"\r", b"\x00", b"\xff", b"bc"])),
    block=st.integers(1, 9),
    size=st.integers(1, 9),
)
def test_lines_are_the_same_in_any_blocks_and_batches(content, block, size):
    content = b"".join(content)
    blocks = [content[start : start + block] for start in range(0, len(content), block)]
    batches = list(batch_lines(blocks, size))
    assert [line for batch in batches for line in batch] == expected_lines(content)
    assert all(1 <= len(batch) <= size for batch in batches)
    assert all(len(batch) == size for batch in batches[:-1])


@given(content=st.binary())
def test_lines_end_at_lf_only(content):
    assert [line for batch in batch_lines([content], 3) for line in batch] == expected_lines(content)


def test_empty_blocks_change_nothing():
    assert list(batch_lines([b"", b"a", b"", b"b\n", b"", b"c"], 10)) == [[b"ab", b"c"]]
    assert list(batch_lines([], 10)) == list(batch_lines([b""], 10)) == []


def test_small_batches_of_many_lines_take_no_longer_than_their_number():
    began = time.process_time()
    assert sum(1 for _ in batch_lines([b"\n" * 300_000], 1)) == 300_000
    assert time.process_time() - began < 2  # quadratic: 7 s and more


def test_a_batch_of_wide_records_ends_early():
    wide = b"x" * (lines.BATCH_BYTES // 4 - 1) + b"\n"
    batches = list(batch_lines([wide] * 10, 4096))
    assert sum(map(len, batches)) == 10
    assert max(map(len, batches)) <= 4


def test_a_line_longer_than_any_block_is_one_line():
    assert list(batch_lines([b"x" * 1000] * 1000 + [b"\nend"], 5)) == [[b"x" * 1_000_000, b"end"]]


@pytest.mark.parametrize("path", ["a.gz", "b/c.ldjson.bz2"])
def test_compressed_files_are_known_by_name(path):
    assert is_compressed(path)
    assert not is_compressed(path + ".ldjson")


def test_a_range_of_a_plain_file(tmp_path):
    content = bytes(range(256)) * 10
    path = write(tmp_path, "a.ldjson", content)
    assert read(path) == content
    assert read(path, 100) == content[100:]
    assert read(path, 100, 50) == content[100:150]
    assert read(path, 2500, 5000) == content[2500:]
    assert read(path, 0, 0) == b""


def test_an_empty_plain_file_has_no_lines(tmp_path):
    assert list(batch_lines(read_blocks(write(tmp_path, "a.ldjson", b"")), 5)) == []


def test_a_stream_is_read_to_its_end(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(TEXT)
    with path.open("rb") as stream:
        assert b"".join(split_blocks(stream)) == TEXT


@pytest.mark.parametrize("suffix", COMPRESSORS)
@pytest.mark.parametrize("parts", [[TEXT], [TEXT, b"last"], [b"", TEXT, b"", b"x\n"], [b""], [b"x"] * 50])
def test_every_member_is_read(tmp_path, suffix, parts):
    content = b"".join(map(COMPRESSORS[suffix], parts))
    assert read(write(tmp_path, "a" + suffix, content)) == b"".join(parts)


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_what_is_larger_than_a_block_is_read_whole(tmp_path, suffix):
    content = bytes(range(251)) * 20_000
    compressed = COMPRESSORS[suffix](content)
    assert read(write(tmp_path, "a" + suffix, compressed * 2)) == content * 2
    noise = COMPRESSORS[suffix](b"\n" * 5_000_000)
    assert max(map(len, read_blocks(write(tmp_path, "b" + suffix, noise)))) <= lines.BLOCK_BYTES


def members(suffix):
    return [COMPRESSORS[suffix](TEXT), COMPRESSORS[suffix](b"second\n")]


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_a_file_truncated_anywhere_is_named(tmp_path, suffix):
    first, second = members(suffix)
    whole = first + second
    for size in range(len(whole)):
        path = write(tmp_path, "a" + suffix, whole[:size])
        if size == len(first):  # a whole file of one member: nobody could tell
            assert read(path) == TEXT
            continue
        with pytest.raises(CorruptInputError, match=r"a\.(gz|bz2): the compressed data is (truncated|damaged)"):
            read(path)


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_a_zero_byte_compressed_file_is_truncated(tmp_path, suffix):
    with pytest.raises(CorruptInputError, match="is truncated"):
        read(write(tmp_path, "a" + suffix, b""))


@pytest.mark.parametrize("suffix", COMPRESSORS)
@pytest.mark.parametrize("tail", [b"garbage", b"{}\n", b"\x1f\x8b", b"BZh9"])
def test_garbage_behind_the_data_is_damage(tmp_path, suffix, tail):
    with pytest.raises(CorruptInputError):
        read(write(tmp_path, "a" + suffix, b"".join(members(suffix)) + tail))


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_what_is_not_compressed_at_all_is_damage(tmp_path, suffix):
    with pytest.raises(CorruptInputError, match="is damaged"):
        read(write(tmp_path, "a" + suffix, TEXT))


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_a_damaged_byte_never_gives_other_data(tmp_path, suffix):
    first, second = members(suffix)
    whole = first + second
    found = 0
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        try:
            content = read(write(tmp_path, "a" + suffix, bytes(damaged)))
        except CorruptInputError:
            found += 1
        else:  # a byte of a header that says nothing about the data, such as its time
            assert content == TEXT + b"second\n"
    assert found > len(whole) * 3 // 4


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(str(tmp_path / "none.gz"))
