"""Promises under attack: each of these has once lost, doubled or hidden something."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mrjob.step import MRStep

from model_mapreduce_job.command_line import CommandLineError
from model_mapreduce_job.ml_model_map_reduce_job import MLModelMapReduceJob
from tests.model_mapreduce_job_tests.jobs import DATA, GOOD, IRIS, ROOT, SCRIPT, run_command, run_here

HOSTILE = ("--model_qualified_name", "hostile")
MODULE = "tests.model_mapreduce_job_tests.hostile"
LOCAL = {"inline": (), "forked": ("-r", "local"), "processes": ("-r", "local", "--cmdenv", "ANY=thing")}
VALUES = [b'{"value": %d}' % number for number in range(5)]
EXPECTED = b"".join(b"%b\t%b\n" % (line, line) for line in VALUES)


def run_hostile(model: str, *arguments: object, data: bytes = b"\n".join(VALUES)) -> Any:
    environment = {"APP_SETTINGS": f"{MODULE}.Settings", "HOSTILE": model}
    return run_command(*HOSTILE, *arguments, environment=environment, stdin=data)


@pytest.mark.parametrize("way", LOCAL)
@pytest.mark.parametrize("model", ["ReusesItsAnswer", "Forks", "ReadsStandardInput"])
def test_records_keep_their_own_predictions(model: str, way: str) -> None:
    ran = run_hostile(model, *LOCAL[way])
    assert (ran.returncode, ran.stdout) == (0, EXPECTED), ran.stderr


def test_a_map_task_keeps_its_input_to_itself() -> None:
    data = b"\n".join(VALUES * 40_000)
    ran = run_hostile("ReadsStandardInput", "--mapper", "--step-num=0", data=data)
    assert (ran.returncode, ran.stdout.count(b"\n")) == (0, 200_000)


def test_a_table_is_no_list_of_predictions() -> None:
    ran = run_hostile("AnswersATable")
    assert ran.returncode == 4
    assert b"predict_batch answered a dict, not a list of predictions" in ran.stderr
    assert ran.stdout == b"".join(line + b"\tnull\n" for line in VALUES)


@pytest.mark.parametrize("way", LOCAL)
def test_a_panic_costs_only_its_record(way: str) -> None:
    ran = run_hostile("Panics", *LOCAL[way])
    assert (ran.returncode, ran.stdout) == (0, EXPECTED.replace(b'2}\t{"value": 2}', b"2}\tnull")), ran.stderr


def test_an_exception_whose_text_exits() -> None:
    ran = run_hostile("ExitsInItsMessage", "--max_failure_ratio", 1)
    assert (ran.returncode, ran.stdout.count(b"null")) == (0, 5), ran.stderr


@pytest.mark.parametrize("model", ["BadVersion", "BadSchema"])
def test_a_model_that_cannot_be_used_is_named(model: str) -> None:
    ran = run_hostile(model)
    assert ran.returncode == 4
    assert f"{MODULE}.{model} cannot be used".encode() in ran.stderr
    assert b"Traceback" not in ran.stderr


@pytest.mark.parametrize("way", ["pairs", "blocks"])
def test_a_record_that_a_validator_changes_is_written_as_it_came(way: str, tmp_path: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text(
        "from model_mapreduce_job.ml_model_map_reduce_job import MLModelMapReduceJob\n"
        "class Job(MLModelMapReduceJob):\n"
        "    def map_pairs(self, pairs, step_num=0):\n"
        "        return super().map_pairs(pairs, step_num)\n"
        "if __name__ == '__main__':\n"
        "    Job.run()\n"
    )
    environment = {"APP_SETTINGS": f"{MODULE}.Settings", "HOSTILE": "ChangesItsRecord"}
    command = (str(script),) if way == "pairs" else (SCRIPT,)
    ran = run_command(*HOSTILE, command=command, environment=environment, stdin=b'{"Value":  1}')
    assert (ran.returncode, ran.stdout) == (0, b'{"Value":  1}\t{"value": 1}\n'), ran.stderr


@pytest.mark.parametrize("leave", ["sys.exit(0)", "os._exit(0)"])
@pytest.mark.parametrize("way", LOCAL)
def test_a_subclass_that_exits_with_status_0_is_no_success(way: str, leave: str, tmp_path: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text(
        "import os, sys\n"
        "from model_mapreduce_job.ml_model_map_reduce_job import MLModelMapReduceJob\n"
        "class Job(MLModelMapReduceJob):\n"
        "    def mapper(self, key, record):\n"
        "        yield from super().mapper(key, record)\n"
        f"        {leave}\n"
        "if __name__ == '__main__':\n"
        "    Job.run()\n"
    )
    ran = run_command(*IRIS, *LOCAL[way], "data/input.ldjson", command=(str(script),))
    assert (ran.returncode, ran.stdout) == (4, b""), ran.stderr
    assert leave.encode() in ran.stderr


def start(model: str, *arguments: object) -> subprocess.Popen[bytes]:
    environment = {"PYTHONPATH": "./", "APP_SETTINGS": f"{MODULE}.Settings", "HOSTILE": model}
    process = subprocess.Popen(
        [sys.executable, SCRIPT, *HOSTILE, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stderr
    while b"Running step" not in (line := process.stderr.readline()):
        assert line, "it ended before it began"
    return process


@pytest.mark.parametrize("way", LOCAL)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_to_the_launcher_leave_nothing_behind(way: str, number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"\n".join(VALUES))
    with start("Sleeps", *LOCAL[way], tmp_path / "in", "-o", tmp_path / "out") as process:
        time.sleep(0.5)
        process.send_signal(number)
        messages = process.stderr.read()  # type: ignore[union-attr]
        assert process.wait(30) == 128 + number, messages
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert not (tmp_path / "out").exists()


# --- files


def test_old_output_is_found_behind_a_uri(tmp_path: Path) -> None:
    (tmp_path / "part-00007").write_bytes(b"old")
    assert isinstance(run_here(*IRIS, "-o", f"file://{tmp_path}", stdin=GOOD).error, CommandLineError)


def test_output_dir_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"precious")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        assert isinstance(run_here(*IRIS, "-o", tmp_path / name, stdin=GOOD).error, CommandLineError)
    assert (tmp_path / "file").read_bytes() == b"precious"


def test_hidden_files_stay_hidden_behind_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "in_1" / "_temporary").mkdir(parents=True)
    for name in ("a", "_SUCCESS", ".a.crc", "_temporary/part-00000"):
        (tmp_path / "in_1" / name).write_bytes(GOOD)
    assert len(run_here(*IRIS, tmp_path / "in_*").lines) == 1


def test_standard_input_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="standard input"):
        MLModelMapReduceJob([*IRIS, "-", "-"])


@pytest.mark.parametrize("name", ["a.xz", "a.LZO", "b.zip"])
def test_compression_that_is_not_known_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(GOOD)
    assert isinstance(run_here(*IRIS, tmp_path / name).error, CommandLineError)


def test_upper_case_suffixes(tmp_path: Path) -> None:
    import gzip

    (tmp_path / "A.LDJSON.GZ").write_bytes(gzip.compress(GOOD))
    assert len(run_here(*IRIS, tmp_path / "A.LDJSON.GZ").lines) == 1


@pytest.mark.parametrize("kind", ["fifo", "dangling"])
def test_input_that_is_no_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "in"
    os.mkfifo(path) if kind == "fifo" else path.symlink_to(tmp_path / "nowhere")
    assert isinstance(run_here(*IRIS, path).error, CommandLineError)


def test_a_summary_is_of_this_job_or_not_there(tmp_path: Path) -> None:
    file = tmp_path / "summary.json"
    run_here(*IRIS, "--summary_file", file, DATA / "input.ldjson")
    assert json.loads(file.read_text())["status"] == "succeeded"
    run_here(*IRIS, "--summary_file", file, "--on_failure", "stop", DATA / "input.ldjson")
    assert not file.exists()
    assert run_here(*IRIS, "--summary_file", "/dev/null", DATA / "input.ldjson").error is None
    assert Path("/dev/null").is_char_device()
    with pytest.raises(ValueError, match="folder"):
        MLModelMapReduceJob([*IRIS, "--summary_file", str(tmp_path)])


def test_brackets_in_the_temporary_folder(tmp_path: Path) -> None:
    (tmp_path / "[x]").mkdir()
    for way in LOCAL.values():
        ran = run_command(*IRIS, *way, "data/input.ldjson", environment={"TMPDIR": str(tmp_path / "[x]")})
        assert (ran.returncode, ran.stdout.count(b"\n")) == (0, 15), ran.stderr


def test_closed_standard_streams() -> None:
    for redirection, code in ((">&-", 0), ("2>&-", 0), ("<&-", 0)):
        command = f'"{sys.executable}" {SCRIPT} {" ".join(IRIS)} data/input.ldjson {redirection}'
        ran = subprocess.run(
            ["sh", "-c", command], cwd=ROOT, env=os.environ | {"PYTHONPATH": "./"}, capture_output=True, check=False
        )
        assert ran.returncode == code, (redirection, ran.stderr)
        if redirection != ">&-":
            assert ran.stdout.count(b"\n") == 15


# --- counts


class OwnMapperOfAStep(MLModelMapReduceJob):
    def steps(self) -> list[MRStep]:
        return [MRStep(mapper=self.mine)]

    def mine(self, key: Any, record: Any) -> Any:
        yield from self.mapper(key, record)


def test_a_mapper_of_a_step_sees_no_blank_lines_and_is_counted() -> None:
    ran = run_here(*IRIS, stdin=b"\n".join([GOOD, b"", GOOD]), job_class=OwnMapperOfAStep)
    assert (ran.error, len(ran.lines)) == (None, 2)
    assert "blank lines" in ran.messages


class OwnMapper(MLModelMapReduceJob):
    def mapper(self, key: Any, record: Any) -> Any:
        yield from super().mapper(key, record)


def test_many_failures_among_predictions_are_not_hopeless() -> None:
    ran = run_here(*IRIS, stdin=b"\n".join([GOOD, *[b"{}"] * 10_001]), job_class=OwnMapper)
    assert (ran.error, len(ran.lines)) == (None, 10_002)


def test_counters_of_an_overridden_mapper_are_written_in_batches() -> None:
    job = OwnMapper([*IRIS, "--mapper", "--step-num=0"])
    from io import BytesIO

    job.sandbox(stdin=BytesIO((GOOD + b"\n") * 10_000))
    job.execute()
    assert job.stderr.getvalue().count(b"reporter:counter") < 20


def test_control_characters_do_not_reach_the_terminal() -> None:
    ran = run_here(*IRIS, stdin=GOOD + b"\n\x1b[2J\x00\r bad")
    assert "\x1b" not in ran.messages
    assert "\\x1b[2J\\x00\\r bad" in ran.messages
