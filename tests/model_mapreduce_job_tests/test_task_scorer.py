"""Isolated tasks, attempts on Hadoop that are not the first, and signs of life."""

import os
import signal
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from model_mapreduce_job import task_scorer
from model_mapreduce_job.ml_model_map_reduce_job import MLModelMapReduceJob
from model_mapreduce_job.task_input import PIECES_VARIABLE
from model_mapreduce_job.task_scorer import SignsOfLife, attempt_number
from model_scoring.errors import ModelCrashedError
from tests.model_mapreduce_job_tests.jobs import IRIS, loaded, run_command, run_here
from tests.model_mapreduce_job_tests.test_hostile import EXPECTED, HOSTILE, LOCAL, MODULE, VALUES, run_hostile

LOST = EXPECTED.replace(b'2}\t{"value": 2}', b"2}\tnull")
INPUT_FILE = "hdfs://somewhere/records"


class RecordByRecord(MLModelMapReduceJob):
    def mapper(self, key: Any, record: Any) -> Any:
        yield from super().mapper(key, record)


class PairByPair(MLModelMapReduceJob):
    def pick_protocols(self, step_num: int, step_type: str) -> Any:
        return super().pick_protocols(step_num, step_type)


def run_attempt(model: str, number: int, *arguments: object, timeout: int = 600_000, data: bytes = b"") -> Any:
    """A map task by itself, as Hadoop starts it."""
    environment = {
        "APP_SETTINGS": f"{MODULE}.Settings",
        "HOSTILE": model,
        "mapreduce_task_attempt_id": f"attempt_1700000000000_0001_m_000000_{number}",
        "mapreduce_map_input_file": INPUT_FILE,
        "mapreduce_task_timeout": str(timeout),
    }
    arguments = (*HOSTILE, "--mapper", "--step-num=0", *arguments)
    return run_command(*arguments, environment=environment, stdin=data or b"\n".join(VALUES))


# --- --isolate and --record_timeout


@pytest.mark.parametrize("way", LOCAL)
def test_with_isolate_a_crash_costs_only_its_record(way: str) -> None:
    ran = run_hostile("Crashes", "--isolate", *LOCAL[way])
    assert (ran.returncode, ran.stdout) == (0, LOST), ran.stderr
    assert b"predict crash or timeout             1  e.g. the model's process was ended by SIGSEGV: " in ran.stderr


@pytest.mark.parametrize("way", LOCAL)
def test_with_a_record_timeout_a_hang_costs_only_its_record(way: str) -> None:
    ran = run_hostile("Hangs", "--record_timeout", 1, *LOCAL[way])
    assert (ran.returncode, ran.stdout) == (0, LOST), ran.stderr
    assert b"predict crash or timeout             1  e.g. the model took longer than 1 s: " in ran.stderr


@pytest.mark.parametrize("job_class", [MLModelMapReduceJob, PairByPair, RecordByRecord])
@pytest.mark.parametrize("size", [1, 2, 4096])
def test_every_way_through_a_task_is_isolated(job_class: type[MLModelMapReduceJob], size: int) -> None:
    with loaded({"module_name": MODULE, "class_name": "Crashes"}):
        arguments = (*HOSTILE, "--isolate", "--batch_size", size)
        ran = run_here(*arguments, stdin=b"\n".join(VALUES), job_class=job_class)
    assert (ran.error, ran.output) == (None, LOST)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_on_failure_detail_and_stop() -> None:
    ran = run_hostile("Crashes", "--isolate", "--on_failure", "detail")
    assert b'"error_type": "ModelCrashed", "message": "the model\'s process was ended by SIGSEGV"' in ran.stdout
    ran = run_hostile("Crashes", "--isolate", "--on_failure", "stop")
    assert (ran.returncode, ran.stdout) == (3, b"")
    assert b"RecordFailedError" in ran.stderr


def test_without_isolate_a_crash_ends_the_job() -> None:
    assert run_hostile("Crashes", "-r", "local").returncode == 1


def test_what_a_model_prints_in_its_own_process_never_reaches_the_output() -> None:
    environment = {"APP_SETTINGS": "tests.model_mapreduce_job_tests.settings_of_a_user.Noisy"}
    for way in LOCAL.values():
        arguments = ("--model_qualified_name", "noisy", "--isolate", *way)
        ran = run_command(*arguments, environment=environment, stdin=b"\n".join(VALUES))
        assert (ran.returncode, ran.stdout) == (0, EXPECTED), ran.stderr
        for noise in (b"from Python", b"on descriptor 1", b"from C, a line"):
            assert b"NOISE " + noise in ran.stderr


@pytest.mark.parametrize("seconds", ["0", "-1", "inf", "nan", "soon"])
def test_a_record_timeout_is_a_number_of_seconds(seconds: str) -> None:
    with pytest.raises(ValueError, match="is not a number of seconds above 0"):
        MLModelMapReduceJob([*IRIS, "--record_timeout", seconds])


def test_a_record_timeout_implies_isolation() -> None:
    assert MLModelMapReduceJob([*IRIS, "--record_timeout", "1.5"]).options.isolate
    assert not MLModelMapReduceJob([*IRIS]).options.isolate


# --- attempts on Hadoop


def test_the_first_attempt_dies_with_its_model() -> None:
    ran = run_attempt("Crashes", 0)
    assert (ran.returncode, ran.stdout) == (-signal.SIGSEGV, b"")


@pytest.mark.parametrize("size", [1, 4096])
def test_a_later_attempt_names_the_record_and_its_file(size: int) -> None:
    ran = run_attempt("Crashes", 1, "--batch_size", size)
    assert ran.returncode == 4
    assert b'{"value": 2}' not in ran.stdout
    assert (
        f"ModelCrashedError: a record of {INPUT_FILE} ends the model: the model's process was ended by SIGSEGV. "
        '--isolate goes on without such records. The record: {"value": 2}\n'
    ).encode() in ran.stderr


@pytest.mark.parametrize("job_class", [PairByPair, RecordByRecord])
def test_a_later_attempt_names_it_for_subclasses_too(
    job_class: type[MLModelMapReduceJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("mapreduce_task_attempt_id", "attempt_1700000000000_0001_m_000017_1")
    monkeypatch.setenv("mapreduce_map_input_file", INPUT_FILE)
    with loaded({"module_name": MODULE, "class_name": "Crashes"}):
        job = job_class([*HOSTILE, "--mapper", "--step-num=0"])
        job.sandbox(stdin=BytesIO(b"\n".join(VALUES)))
        with pytest.raises(ModelCrashedError, match=f'a record of {INPUT_FILE} ends .* The record: {{"value": 2}}'):
            job.execute()


def test_a_later_attempt_without_a_crash_gives_what_the_first_gives() -> None:
    first, later = run_attempt("ReusesItsAnswer", 0), run_attempt("ReusesItsAnswer", 3)
    assert (later.returncode, later.stdout) == (0, EXPECTED)
    assert (first.stdout, first.stderr) == (later.stdout, later.stderr)


def test_with_isolate_every_attempt_goes_on() -> None:
    for number in (0, 1):
        ran = run_attempt("Crashes", number, "--isolate")
        assert (ran.returncode, ran.stdout) == (0, LOST), ran.stderr


def test_attempts_are_known_on_hadoop_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert attempt_number() is None
    monkeypatch.setenv("mapreduce_task_attempt_id", "attempt_1700000000000_0001_m_000017_2")
    assert attempt_number() == 2
    monkeypatch.setenv("mapreduce_task_attempt_id", "what")
    assert attempt_number() is None
    monkeypatch.delenv("mapreduce_task_attempt_id")
    monkeypatch.setenv("mapred_task_id", "attempt_1700000000000_0001_m_000017_1")  # as older Hadoops say it
    assert attempt_number() == 1
    monkeypatch.setenv(PIECES_VARIABLE, "")
    assert attempt_number() is None


# --- signs of life


@pytest.mark.parametrize("arguments", [(), ("--isolate",)])
def test_a_slow_batch_on_hadoop_gives_signs_of_life(arguments: tuple[str, ...]) -> None:
    data = b'{"value": 0}\n{"value": 1}'
    ran = run_attempt("Crashes", 0, *arguments, timeout=900, data=data)
    assert (ran.returncode, ran.stdout.count(b"\n")) == (0, 2), ran.stderr
    signs = [line for line in ran.stderr.split(b"\n") if b"reporter:status" in line]
    assert 1 <= len(signs) <= 4
    assert all(line.startswith(b"reporter:status:scoring a batch for ") for line in signs)
    assert b"reporter:status" not in run_attempt("Crashes", 0, *arguments, data=data).stderr, "ten seconds are not over"


def test_the_local_runners_show_no_signs(tmp_path: Path) -> None:
    conf = "mapreduce.task.timeout=300"
    for way in LOCAL.values():
        ran = run_hostile("Crashes", *way, "-D", conf, data=b'{"value": 0}')
        assert (ran.returncode, b"status" in ran.stderr) == (0, False), ran.stderr


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_signs_of_life_end_after_an_hour_for_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(task_scorer, "time", clock)
    given: list[str] = []
    life = SignsOfLife(given.append, 10)
    life.give()
    for _ in range(2):
        with life:
            for _ in range(8000):
                life.give()
                clock.now += 1
        assert len(given) == 359
        assert given[0] == "reporter:status:scoring a batch for 10 s"
        assert given[-1] == "reporter:status:scoring a batch for 3590 s"
        clock.now += 100
        life.give()
        given.clear() if len(given) == 359 else pytest.fail("a sign while nothing was being scored")


def test_the_thread_ends_and_starts_again() -> None:
    given = threading.Event()
    life = SignsOfLife(lambda _: given.set(), 0.01)
    before = threading.active_count()
    for _ in range(2):
        given.clear()
        life.start_thread()
        life.start_thread()
        assert threading.active_count() == before + 1
        with life:
            assert given.wait(10)
        life.stop_thread()
        assert threading.active_count() == before


@pytest.mark.parametrize(
    ("said", "interval"), [("600000", 10), ("0", 10), ("", 10), ("never", 10), ("9000", 3), ("300", 0.1)]
)
def test_the_interval_is_a_third_of_what_hadoop_allows(
    said: str, interval: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("mapreduce_task_timeout", said)
    assert task_scorer._interval() == pytest.approx(interval)
