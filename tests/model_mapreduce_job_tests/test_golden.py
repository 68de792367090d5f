"""Bytes: every way through the job writes what an independent script has written (tests/make_golden.py)."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from model_mapreduce_job.ml_model_map_reduce_job import MLModelMapReduceJob
from tests.model_mapreduce_job_tests.jobs import DATA, GOLDEN, IRIS, run_command, run_here


class PairByPair(MLModelMapReduceJob):
    """Takes the way of subclasses: overriding anything of the mapper's input leaves the block way."""

    def pick_protocols(self, step_num: int, step_type: str):  # type: ignore[no-untyped-def]
        return super().pick_protocols(step_num, step_type)


class RecordByRecord(MLModelMapReduceJob):
    """The mapper is called for each record."""

    def mapper(self, key, record):  # type: ignore[no-untyped-def]
        yield from super().mapper(key, record)


WAYS = {"blocks": MLModelMapReduceJob, "pairs": PairByPair, "records": RecordByRecord}
FORMATS = {"pairs": (), "ldjson": ("--output_format", "ldjson", "--on_failure", "null")}


@pytest.mark.parametrize("name", ["input", "dirty"])
@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("batch_size", [1, 2, 7, 4096])
def test_every_way_and_batch_size(name: str, output_format: str, way: str, batch_size: int) -> None:
    ran = run_here(
        *IRIS,
        *FORMATS[output_format],
        "--batch_size",
        batch_size,
        DATA / f"{name}.ldjson",
        job_class=WAYS[way],
    )
    assert ran.error is None, ran.messages
    assert ran.output == (GOLDEN / f"{name}.{output_format}").read_bytes()


def test_the_block_way_is_taken_when_nothing_is_overridden_and_only_then() -> None:
    taken = {way: job_class(list(IRIS)).scores_in_blocks() for way, job_class in WAYS.items()}
    assert taken == {"blocks": True, "pairs": False, "records": False}


@pytest.mark.parametrize("runner", ["inline", "local"])
@pytest.mark.parametrize("output_format", FORMATS)
def test_runners_as_commands(runner: str, output_format: str) -> None:
    ran = run_command(*IRIS, *FORMATS[output_format], "-r", runner, "data/dirty.ldjson")
    assert (ran.returncode, ran.stdout) == (0, (GOLDEN / f"dirty.{output_format}").read_bytes())


def test_local_in_new_processes() -> None:
    ran = run_command(*IRIS, "-r", "local", "--cmdenv", "ANY=thing", "data/dirty.ldjson", "data/input.ldjson")
    golden = (GOLDEN / "dirty.pairs").read_bytes() + (GOLDEN / "input.pairs").read_bytes()
    assert (ran.returncode, ran.stdout) == (0, golden)


def test_a_map_task_by_itself() -> None:
    ran = run_command(*IRIS, "--mapper", "--step-num=0", "data/dirty.ldjson")
    assert (ran.returncode, ran.stdout) == (0, (GOLDEN / "dirty.pairs").read_bytes())


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some 6 MB of dirty records, enough for several pieces; the huge ones left out."""
    lines = [line for line in (DATA / "dirty.ldjson").read_bytes().split(b"\n") if len(line) < 1000]
    path = tmp_path_factory.mktemp("large") / "large.ldjson"
    path.write_bytes(b"\n".join(lines * 2500))
    return path


@pytest.fixture(scope="module")
def large_output(large: Path) -> bytes:
    return run_here(*IRIS, large).output


@pytest.mark.parametrize("more", [(), ("--cmdenv", "ANY=thing")], ids=["forked", "processes"])
def test_local_cuts_one_file_and_keeps_order(large: Path, large_output: bytes, more: tuple[str, ...]) -> None:
    ran = run_command(*IRIS, "-r", "local", *more, large)
    assert ran.stdout == large_output
    assert ran.stdout.count(b"\n") == large.read_bytes().count(b"\n") + 1 - 2500 * 4


def test_several_files_of_all_kinds_keep_their_order(large: Path, large_output: bytes, tmp_path: Path) -> None:
    inputs = (DATA / "input.ldjson").read_bytes()
    (tmp_path / "b.gz").write_bytes(gzip.compress(inputs) + gzip.compress(inputs))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "z.ldjson").write_bytes(inputs)
    (tmp_path / "a" / "_SUCCESS").write_bytes(b"not a record")
    (tmp_path / "a" / ".hidden").write_bytes(b"not a record")
    golden = (GOLDEN / "input.pairs").read_bytes()
    for runner in ("inline", "local"):
        ran = run_command(*IRIS, "-r", runner, tmp_path / "b.gz", large, tmp_path / "a")
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout == golden * 2 + large_output + golden


def test_exact_duplicates_come_out_as_often_as_they_went_in() -> None:
    lines = (DATA / "input.ldjson").read_bytes().splitlines()
    ran = run_here(*IRIS, stdin=b"\n".join(lines * 3))
    assert Counter(line.split(b"\t")[0] for line in ran.lines) == Counter(lines * 3)


def test_the_original_bytes_of_what_is_no_record_can_be_had_back() -> None:
    import base64

    raw = [b'tab\t, CR \r, quote "', b"\xff\x00\xfe", b'{"a": NaN}', b"\x85\xa0", "\u2028 é".encode(), b"x\r"]
    ran = run_here(*IRIS, "--max_failure_ratio", 1, stdin=b"\n".join(raw))
    keys = [json.loads(line.split(b"\t")[0]) for line in ran.lines]
    back = [base64.b64decode(key["base64"]) if isinstance(key, dict) else key.encode() for key in keys]
    assert back == raw
