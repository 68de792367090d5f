"""TaskScorer: how a task scores its batches, as its options and the place where it runs ask.

With ``--isolate`` the model runs in a process of its own. So it does in a later attempt on Hadoop: the
first may have died with its model, and then somebody has to survive to say of which record. While a batch is being
scored on Hadoop, signs of life go out, or a task that waits for its model would be ended as idle.
"""

import os
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from mrjob.compat import jobconf_from_env

from ml_model_abc import MLModel
from model_mapreduce_job.task_input import PIECES_VARIABLE
from model_scoring.isolation import IsolatedScorer
from model_scoring.outcome import Failure
from model_scoring.scoring import BatchScorer
from model_scoring.settings import ModelSpec

__all__ = ["SignsOfLife", "TaskScorer", "attempt_number"]

# Hadoop's own limit for a silent task is ten minutes; clusters shorten it.
INTERVAL_SECONDS = 10.0
# After so long for one batch the model counts as hung, and Hadoop's limit for a silent task is left to end it.
PATIENCE_SECONDS = 3600.0
# A master that is itself started again counts its tasks' attempts from 1000 on, and from 2000.
ATTEMPTS_OF_A_MASTER = 1000
# What a streaming task's own Java takes of its container.
JAVA_BYTES = 320 << 20


def attempt_number() -> int | None:
    """Which attempt at its task this process is on Hadoop, from 0 on; None elsewhere."""
    if PIECES_VARIABLE in os.environ:  # the local runners name an attempt as well
        return None
    number = str(jobconf_from_env("mapreduce.task.attempt.id") or "").rpartition("_")[2]
    return int(number) if number.isdigit() else None


def _is_to_be_watched(attempt: int) -> bool:
    """Whether an attempt is isolated unasked: every later one, if the container has room for a second process.

    A lost node leads to a second attempt, too, and that one must not fail for want of memory. The third is isolated in
    any case.
    """
    attempt %= ATTEMPTS_OF_A_MASTER
    return attempt > 1 or (attempt == 1 and _has_room())


def _has_room() -> bool:
    try:
        allowed = int(jobconf_from_env("mapreduce.map.memory.mb") or 0) << 20
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return True
    return allowed <= 0 or 2 * pages * os.sysconf("SC_PAGE_SIZE") + JAVA_BYTES < allowed


class TaskScorer(AbstractContextManager["TaskScorer"]):
    """Scores the batches of one task. Nothing is started before the first of them, nothing is left when it is closed.

    ``write_line`` writes a line to the task's standard error, ``private`` returns the descriptors of its input and
    output, which the model's own process must not have.
    """

    def __init__(
        self,
        model: MLModel,
        spec: ModelSpec | None,
        options: Namespace,
        write_line: Callable[[str], None],
        private: Callable[[], Iterable[int]],
    ) -> None:
        attempt = attempt_number()
        # Whether a record that ends the model's process is given up, or the task with it.
        self.gives_up = bool(options.isolate)
        self._life = SignsOfLife(write_line, _interval()) if attempt is not None else None
        self._scorer: BatchScorer | IsolatedScorer
        if spec is not None and (options.isolate or _is_to_be_watched(attempt or 0)):
            self._scorer = IsolatedScorer(
                model,
                spec,
                record_timeout=options.record_timeout,
                private=private,
                while_waiting=self._life.give if self._life else lambda: None,
            )
        else:
            self._scorer = BatchScorer(model)

    def score_batch(self, items: list[Any]) -> tuple[list[Any], dict[int, Failure]]:
        """What ``BatchScorer.score_batch`` returns."""
        if self._life is None:
            return self._scorer.score_batch(items)
        if isinstance(self._scorer, BatchScorer):
            self._life.start_thread()
        with self._life:
            return self._scorer.score_batch(items)

    def close(self) -> None:
        """Ends the model's process and the thread, where there are any."""
        if isinstance(self._scorer, IsolatedScorer):
            self._scorer.close()
        if self._life is not None:
            self._life.stop_thread()

    def __exit__(self, *_: object) -> None:
        self.close()


class SignsOfLife:
    """Lines that tell Hadoop that a task is at work: one in ``interval`` seconds while a batch is being scored, which
    is while this is entered, for an hour at most.

    A parent that waits for its model's process calls ``give``. Where the model runs in this process a thread does; a
    model that holds the interpreter's lock all the while stops it, and ``--isolate`` is the way out.
    """

    def __init__(self, write_line: Callable[[str], None], interval: float) -> None:
        self._write_line = write_line
        self._interval = interval
        self._started: float | None = None
        self._given = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        self._given = self._started = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._started = None

    def give(self) -> None:
        """Writes a line when it is time for one."""
        now, started = time.monotonic(), self._started
        if started is not None and now - self._given >= self._interval and now - started < PATIENCE_SECONDS:
            self._given = now
            self._write_line(f"reporter:status:scoring a batch for {now - started:.0f} s")

    def start_thread(self) -> None:
        """Lets a thread call ``give``. Not for a task that forks: a fork would lack it, and be unsafe because of it."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._give_on, daemon=True)
            self._thread.start()

    def stop_thread(self) -> None:
        """Ends the thread."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None

    def _give_on(self) -> None:
        while not self._stop.wait(self._interval / 4):
            self.give()


def _interval() -> float:
    """Seconds between two signs of life: a third of what Hadoop allows, if that is little. 0 stands for no limit."""
    try:
        allowed = int(jobconf_from_env("mapreduce.task.timeout") or 0) / 1000
    except ValueError:
        allowed = 0.0
    return min(INTERVAL_SECONDS, allowed / 3) if allowed > 0 else INTERVAL_SECONDS
