"""Tasks as forks of the launcher.

A fork has the model loaded and its libraries imported, a second and more that a new process spends again. When it is
safe is for the hall's ``fork_safety.py`` to say.
"""

import os
import signal
import time
import traceback
import warnings
from collections.abc import Callable

from model_mapreduce_job.command_line import exit_code_of
from model_scoring.errors import ScoringError
from model_scoring.fork_safety import fork_is_safe
from model_scoring.output_guard import flush_output

__all__ = ["fork_is_safe", "run_forked"]

POLL_SECONDS = 0.005
# How long a task that is told to end may take to do so.
GRACE_SECONDS = 3.0


def run_forked(
    tasks: list[Callable[[], None]], at_once: int, started: Callable[[], None], failed: Callable[[int, int], None]
) -> None:
    """Runs each task in a fork, ``at_once`` at a time, and returns when all are done.

    ``started`` is called after the first of them. When one fails the others are ended and ``failed(number, exit
    code)`` is called, which must raise.
    """
    running: dict[int, int] = {}
    waiting = list(enumerate(tasks))
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                number, task = waiting.pop(0)
                running[_fork(task)] = number
            started()
            started = _nothing
            for process in list(running):
                ended, status = os.waitpid(process, os.WNOHANG)
                if ended:
                    number = running.pop(process)
                    if status:
                        failed(number, os.waitstatus_to_exitcode(status))
            time.sleep(POLL_SECONDS)
    finally:
        _end(list(running))


def _end(processes: list[int]) -> None:
    """Ends processes, by force those that take no notice."""
    for process in processes:
        os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while processes and time.monotonic() < deadline:
        processes = [process for process in processes if not os.waitpid(process, os.WNOHANG)[0]]
        time.sleep(POLL_SECONDS)
    for process in processes:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def _nothing() -> None:
    pass


def _fork(task: Callable[[], None]) -> int:
    flush_output()
    with warnings.catch_warnings():
        # Python 3.12 warns of every thread; fork_is_safe() has looked at whose they are.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process:
        return process
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        task()
        code = 0
    except ScoringError as error:
        os.write(2, f"\n{type(error).__name__}: {error}\n".encode("utf-8", "backslashreplace"))
        code = exit_code_of(error)
    except BaseException:  # this process ends here, whatever it is
        os.write(2, traceback.format_exc().encode("utf-8", "backslashreplace"))
    finally:
        flush_output()
        os._exit(code)
