"""Forked tasks, the stand-in for distutils, and names that must not be lost."""

import importlib
import os
import pkgutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import model_mapreduce_job
from model_mapreduce_job.distutils_stand_in import LooseVersion
from model_mapreduce_job.forking import fork_is_safe, run_forked


class EndedError(Exception):
    """Raised by the tests' ``failed``."""


def failed(number: int, code: int) -> None:
    raise EndedError(number, code)


def writing(path: Path) -> Callable[[], None]:
    def write() -> None:
        path.write_text(str(os.getpid()))

    return write


def test_every_task_runs_once_in_a_process_of_its_own(tmp_path: Path) -> None:
    started: list[bool] = []
    run_forked([writing(tmp_path / str(number)) for number in range(5)], 2, lambda: started.append(True), failed)
    processes = {path.read_text() for path in tmp_path.iterdir()}
    assert len(processes) == 5
    assert str(os.getpid()) not in processes
    assert started == [True]


def test_a_failing_task_ends_the_others(tmp_path: Path) -> None:
    import time

    def lasting() -> None:
        (tmp_path / "started").write_text(str(os.getpid()))
        time.sleep(60)

    def dying() -> None:
        while not (tmp_path / "started").exists():
            time.sleep(0.01)
        os._exit(7)

    with pytest.raises(EndedError) as raised:
        run_forked([lasting, dying], 2, lambda: None, failed)
    assert raised.value.args == (1, 7)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "started").read_text()), 0)


def test_a_task_that_takes_no_notice_of_signals_is_ended_by_force(tmp_path: Path) -> None:
    import signal
    import time

    def deaf() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (tmp_path / "started").write_text(str(os.getpid()))
        time.sleep(60)

    def dying() -> None:
        while not (tmp_path / "started").exists():
            time.sleep(0.01)
        os._exit(7)

    with pytest.raises(EndedError):
        run_forked([deaf, dying], 2, lambda: None, failed)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "started").read_text()), 0)


def test_a_killed_task_is_told_by_its_signal() -> None:
    with pytest.raises(EndedError) as raised:
        run_forked([lambda: os.kill(os.getpid(), 9)], 1, lambda: None, failed)
    assert raised.value.args == (0, -9)


def test_a_thread_of_somebody_elses_makes_forks_unsafe() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert not fork_is_safe()
    finally:
        stop.set()
        thread.join()


def test_forks_are_safe_after_loading_the_iris_model() -> None:
    code = (
        "from model_mapreduce_job.ml_model_map_reduce_job import model_manager\n"
        "from model_mapreduce_job.forking import fork_is_safe\n"
        "print(fork_is_safe())\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert ran.stdout.strip() == "True"


def test_loose_versions_compare_as_mrjob_needs_them() -> None:
    assert LooseVersion("0.20.205") < LooseVersion("0.21")
    assert LooseVersion("2.7.1") >= LooseVersion("2.7")
    assert LooseVersion("10.0") > "9.9"
    assert LooseVersion("3.4.2") == "3.4.2"


def test_distutils_is_not_replaced_for_anybody_else() -> None:
    code = (
        "import sys\n"
        "from model_mapreduce_job.distutils_stand_in import import_mrjob\n"
        "import_mrjob()\n"
        "assert not any(name.startswith('distutils') for name in sys.modules), 'left behind'\n"
        "import warnings; warnings.simplefilter('ignore')\n"
        "import distutils.core\n"
        "import mrjob.emr\n"
        "from mrjob.compat import version_gte\n"
        "print(version_gte('3.4.2', '2'), hasattr(distutils.core, 'setup'))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert ran.stdout.strip() == "True True"


def test_all_names_what_there_is() -> None:
    # The latter is a program of Spark's, and imports it.
    others = ("__main__", "spark_harness")
    names = [module.name for module in pkgutil.iter_modules(model_mapreduce_job.__path__) if module.name not in others]
    for name in names:
        module = importlib.import_module(f"model_mapreduce_job.{name}")
        for public in getattr(module, "__all__", []):
            assert hasattr(module, public), (name, public)
