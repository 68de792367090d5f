"""What only whole processes show: settings that travel, noise, deaths, terminals, pipes."""

import os
import pty
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.model_mapreduce_job_tests.jobs import GOLDEN, IRIS, ROOT, SCRIPT, run_command

OWN = "tests.model_mapreduce_job_tests.settings_of_a_user."
WAYS = {"inline": (), "forked": ("-r", "local"), "processes": ("-r", "local", "--cmdenv", "ANY=thing")}
VALUES = b'{"value": 1}\n{"value": 2}\n'


@pytest.mark.parametrize("way", WAYS)
def test_two_settings_load_two_different_sets_of_models(way: str) -> None:
    both, only = {"APP_SETTINGS": OWN + "Both"}, {"APP_SETTINGS": OWN + "OnlyFailing"}
    data = b'{"value": 1}'
    failing = ("--model_qualified_name", "failing", *WAYS[way])
    for environment in (both, only):
        ran = run_command(*failing, environment=environment, stdin=data)
        assert (ran.returncode, ran.stdout) == (0, data + b'\t{"double": 2.0}\n'), ran.stderr
    assert run_command(*IRIS, *WAYS[way], "data/input.ldjson", environment=both).returncode == 0
    ran = run_command(*IRIS, *WAYS[way], "data/input.ldjson", environment=only)
    assert ran.returncode == 4
    assert b"Known models: failing." in ran.stderr


def test_nothing_overrides_the_launchers_choice_on_the_way(tmp_path: Path) -> None:
    conf = tmp_path / "mrjob.conf"
    conf.write_text(
        "runners:\n  local:\n    cmdenv: {APP_SETTINGS: ProdConfig}\n    setup: [export APP_SETTINGS=ProdConfig]\n"
    )
    arguments = (
        "--model_qualified_name",
        "failing",
        "-r",
        "local",
        "--conf-path",
        conf,
        "--cmdenv",
        "APP_SETTINGS=BetaConfig",
    )
    ran = run_command(*arguments, environment={"APP_SETTINGS": OWN + "OnlyFailing"}, stdin=b'{"value": 1}')
    assert (ran.returncode, ran.stdout) == (0, b'{"value": 1}\t{"double": 2.0}\n'), ran.stderr


def test_the_choice_is_handed_to_cluster_runners() -> None:
    code = (
        "from model_mapreduce_job.ml_model_map_reduce_job import MLModelMapReduceJob as Job\n"
        "job = Job(['--no-conf', '--model_qualified_name', 'iris_model', '-r', 'hadoop', '--cmdenv', 'A=B'])\n"
        "kwargs = job._runner_kwargs()\n"
        "print(kwargs['cmdenv']['MODEL_SCORING_LAUNCHER_SETTINGS'], len(job.dirs()), len(job.files()))\n"
    )
    ran = run_command("-c", code, command=(), environment={"APP_SETTINGS": "BetaConfig"})
    assert ran.stdout.split() == [b"BetaConfig", b"3", b"1"], ran.stderr


def test_the_shipped_folders_and_files_exist() -> None:
    from model_mapreduce_job.ml_model_map_reduce_job import MLModelMapReduceJob as Job

    for path in [*(entry.split("#")[0] for entry in Job.DIRS), *Job.FILES]:
        assert Path(path).exists()


@pytest.mark.parametrize("way", WAYS)
def test_what_a_model_prints_never_reaches_the_output(way: str) -> None:
    ran = run_command(
        "--model_qualified_name",
        "noisy",
        *WAYS[way],
        "--batch_size",
        "1",
        environment={"APP_SETTINGS": OWN + "Noisy"},
        stdin=VALUES,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == b'{"value": 1}\t{"value": 1}\n{"value": 2}\t{"value": 2}\n'
    for noise in ("while importing", "while loading", "from Python", "on descriptor 1", "from C", "as a warning"):
        assert f"NOISE {noise}".encode() in ran.stderr, noise
    assert b"records                    2" in ran.stderr, "a line left unfinished must not swallow a counter"


def test_what_a_model_prints_in_a_map_task_by_itself() -> None:
    ran = run_command(
        "--model_qualified_name",
        "noisy",
        "--mapper",
        "--step-num=0",
        environment={"APP_SETTINGS": OWN + "Noisy"},
        stdin=VALUES,
    )
    assert ran.stdout == b'{"value": 1}\t{"value": 1}\n{"value": 2}\t{"value": 2}\n'
    assert b"NOISE at exit" in ran.stderr
    assert b"\nreporter:counter:model scoring,predictions,2\n" in ran.stderr


@pytest.mark.parametrize("way", ["forked", "processes"])
def test_a_task_that_dies_with_status_0_fails_the_job_loudly(way: str, tmp_path: Path) -> None:
    data = VALUES * 1000 + b'{"value": "die"}\n' + VALUES * 1000
    ran = run_command(
        "--model_qualified_name",
        "dying",
        *WAYS[way],
        "--batch_size",
        100,
        "-o",
        tmp_path / "out",
        environment={"APP_SETTINGS": OWN + "Dying"},
        stdin=data,
    )
    assert ran.returncode == 1
    assert b"LostRecordsError" in ran.stderr
    assert b"2,100 records were read and 2,000 written" in ran.stderr
    assert not (tmp_path / "out" / "_SUCCESS").exists()


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "many").write_bytes((ROOT / "data" / "input.ldjson").read_bytes() * 1000)
    with subprocess.Popen(
        [sys.executable, SCRIPT, *IRIS, "-q", "--mapper", "--step-num=0", tmp_path / "many"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "./"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        messages = process.stderr.read()
    assert process.returncode == 1
    assert b"Traceback" not in messages


@pytest.mark.parametrize("runner", ["inline", "local"])
def test_interrupted(runner: str, tmp_path: Path) -> None:
    settings = {"APP_SETTINGS": "tests.model_mapreduce_job_tests.slow_settings.Slow"}
    process = subprocess.Popen(
        [
            sys.executable,
            SCRIPT,
            "--model_qualified_name",
            "slow",
            "-r",
            runner,
            "data/input.ldjson",
            "-o",
            tmp_path / "out",
        ],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "./"} | settings,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  # a shell's background job ignores it
    )
    with process:
        check_interrupt(process)
    assert not (tmp_path / "out").exists()


def check_interrupt(process: subprocess.Popen[bytes]) -> None:
    assert process.stderr
    while b"Running step" not in process.stderr.readline():
        assert process.poll() is None
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    messages = process.stderr.read()
    assert process.wait(20) == 130, messages
    assert messages.rstrip().endswith(b"interrupted")
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def run_on_terminal(*arguments: object) -> tuple[bytes, bytes]:
    """Standard output, and what a terminal shows of standard error."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (40, 120))
    process = subprocess.Popen(
        [sys.executable, SCRIPT, *IRIS, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "./"},
        stdout=subprocess.PIPE,
        stderr=follower,
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            block = os.read(leader, 65536)
        except OSError:  # how Linux says that the other side has been closed
            break
        if not block:
            break
        shown += block
    output, _ = process.communicate()
    os.close(leader)
    return output, shown


@pytest.mark.parametrize("runner", ["inline", "local"])
def test_a_terminal_gets_a_progress_bar_and_a_pipe_does_not(runner: str) -> None:
    output, shown = run_on_terminal("-r", runner, "data/input.ldjson")
    assert output == (GOLDEN / "input.pairs").read_bytes()
    assert b" records/s" in shown.split(b"iris_model 0.1")[0]
    assert b"15.0/15.0" in shown or b"15/15" in shown, shown
    assert b"\r" not in run_command(*IRIS, "-r", runner, "data/input.ldjson").stderr


def test_imports_of_a_task() -> None:
    code = (
        "import sys\n"
        "from model_mapreduce_job.ml_model_map_reduce_job import MLModelMapReduceJob as Job\n"
        "Job(['--model_qualified_name', 'iris_model', '--mapper', '--step-num=0']).execute()\n"
        "unwanted = ('boto3', 'botocore', 'tqdm', 'setuptools', 'pkg_resources', 'hypothesis', 'sklearn.datasets',\n"
        "            'model_mapreduce_job.launcher', 'mrjob.emr')\n"
        "print([name for name in unwanted if name in sys.modules], file=sys.stderr)\n"
    )
    ran = run_command("-c", code, command=())
    assert ran.stderr.rstrip().endswith(b"[]"), ran.stderr
