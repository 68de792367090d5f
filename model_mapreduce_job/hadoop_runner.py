"""The runner for ``-r hadoop``: mrjob's, with fewer commands, and errors that say what happened.

It overrides private methods of mrjob 0.7.4, its last release; ``requirements.txt`` pins it. What comes before the job
is in ``hadoop_input.py``. While it runs and after it: what a failed task said is fetched from its container and told
before what Java says of it; an interrupted launcher ends its application; a failed job's output cannot be taken for a
whole one.
"""

import logging
import posixpath
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from mrjob.logs.step import _interpret_hadoop_jar_command_stderr, _is_counter_log4j_record
from mrjob.parse import is_uri
from mrjob.step import StepFailedException

from model_mapreduce_job.container_logs import LOG_SECONDS, attempt_logs, failed_attempt, stderr_lines
from model_mapreduce_job.counters import GROUP, LINES
from model_mapreduce_job.examples import parse_example
from model_mapreduce_job.hadoop_commands import PATIENCE, HadoopError
from model_mapreduce_job.hadoop_input import HadoopInputRunner
from model_mapreduce_job.summary import NOT_RUN
from model_mapreduce_job.task_failure import damaged_input, exit_code, java_side, told_by, with_local_paths
from model_scoring.formats.lines import split_blocks

__all__ = ["HadoopRunner"]

log = logging.getLogger("mrjob.hadoop")  # where mrjob's own --quiet and --verbose reach it

_SUBMITTED = re.compile(r"^Submitted application (\S+)")
_SPLITS = re.compile(r"^number of splits:(\d+)")
_RUNNING = re.compile(r"^Running job: (\S+)")
_ATTEMPT_FAILED = re.compile(r"^Task Id *: *(attempt_\S+), Status *: FAILED")
_END_OF_FAILED_JOB = re.compile(r"^(Job \S+ failed with state|Job not successful|Streaming Command Failed)")


class HadoopRunner(HadoopInputRunner):
    """Runs a job on the Hadoop cluster that the ``hadoop`` command of this machine knows."""

    without_counts = NOT_RUN

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.examples: dict[str, dict[str, Any]] = {}
        # What the client has said: of all steps, and of the one that was started last.
        self._applications: list[str] = []
        self._job: str | None = None
        self._splits: list[int | None] = []
        self._before = 0
        self._failed_attempts: list[tuple[str, str]] = []
        self._last_words: list[str] = []

    @classmethod
    def _default_opts(cls) -> dict[str, Any]:
        # What mrjob keeps of a failed job is as large as its input; the error has named what is needed to find it.
        # And a file of a few blocks needs no more tasks than blocks: Hadoop's own default is two.
        return {
            **super()._default_opts(),
            "cleanup_on_failure": ["TMP"],
            "jobconf": {"mapreduce.job.maps": "1"},
        }

    # --- the job itself

    def _run_hadoop(
        self, hadoop_args: list[str], env: dict[str, str], record_callback: Any
    ) -> tuple[int, dict[str, Any]]:
        self._used_hadoop_tmp |= self._wanted_output is None or self._num_steps() > 1
        self._job, self._failed_attempts, self._last_words = None, [], []
        self._before = len(self._applications)
        self._splits.append(None)
        # Counters, and the name of the application to end, are told at this level.
        env = {**env, "HADOOP_ROOT_LOGGER": "INFO,console", "HADOOP_LOGLEVEL": "INFO"}
        # A session of its own: Ctrl-C would end this client and leave the application running, and paid for.
        process = subprocess.Popen(  # noqa: S603  # mrjob built them
            hadoop_args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, start_new_session=True
        )
        try:
            told = _interpret_hadoop_jar_command_stderr(process.stdout, record_callback=self._heed)
            code = process.wait()
        except BaseException:
            self._end_application()
            raise
        finally:
            process.kill()
            process.wait()
        if code and not any("failed with state" in words for words in self._last_words):
            self._end_application()  # the client has given up, which does not end what it has started
        return code, told

    @property
    def _submitted(self) -> bool:
        """Whether the step that was started last has got as far as the cluster."""
        return len(self._applications) > self._before

    def _heed(self, record: dict[str, Any]) -> None:
        """Passes on what Hadoop's client says, but for Java's side of a failure: that comes after Python's."""
        message = record["message"]
        if found := _SUBMITTED.match(message):
            self._applications.append(found[1])
        if found := _RUNNING.match(message):
            self._job = found[1]
        if found := _SPLITS.match(message):
            self._splits[-1] = int(found[1])
        if found := _ATTEMPT_FAILED.match(message):
            self._failed_attempts.append((found[1], message.partition("\n")[2]))
            log.warning("  %s failed", found[1])
        elif _END_OF_FAILED_JOB.match(message) or record.get("level") in ("ERROR", "FATAL"):
            self._last_words.append(message)
        elif not _is_counter_log4j_record(record):
            log.log(getattr(logging, record.get("level") or "", logging.INFO), "  %s", message)

    def _end_application(self) -> None:
        for application in self._applications[-1:]:
            log.error("Ending %s...", application)
            if not self.hadoop.end_application(application):
                log.error("It could not be ended; do so yourself: yarn application -kill %s", application)

    def _log_counters(self, log_interpretation: dict[str, Any], step_num: int) -> None:
        """Nothing: the summary says it, and says it once."""

    def _pick_error(self, log_interpretation: dict[str, Any], step_type: str) -> None:
        """Nothing: ``failure_report`` says it."""

    def interrupted(self) -> None:
        """Says so in the output folder: ``_run_hadoop`` has ended the application, which may have been done by then."""
        self.abandon("The launcher has ended before the job.\n")

    def counters(self) -> list[dict[str, dict[str, int]]]:
        """The counters of each step; where there was nothing to read and no task has run, that none was read."""
        found: list[dict[str, dict[str, int]]] = super().counters()
        return [
            counted if splits != 0 else {GROUP: {LINES: 0}} for counted, splits in zip(found, self._splits, strict=True)
        ]

    # --- after the job

    def tidy_up(self) -> None:
        """Nothing."""

    def mark_succeeded(self) -> None:
        """Writes ``_SUCCESS`` into the output folder."""
        self._mark("_SUCCESS")

    def _mark(self, name: str, text: str = "") -> None:
        place = posixpath.join(str(self._output_dir), name)
        done = self.hadoop.run("fs", "-put", "-", place, stdin=text.encode())
        if done.returncode:
            raise HadoopError(f"{place} could not be written: {done.stderr.decode('utf-8', 'replace').strip()}")

    def mark_failed(self, text: str) -> None:
        """Writes ``_FAILED``; the reason for it counts for more than a mark that cannot be written."""
        if self._wanted_output is None:
            return
        try:
            self._mark("_FAILED", text)
        except HadoopError as error:
            log.warning("%s", error)

    def abandon(self, text: str) -> None:
        """Leaves nothing of a job that failed that could be taken for output: no folder, or one that says so.

        A folder with part files is not removed, and one that Hadoop has not taken for this job is not touched.
        """
        folder = self._wanted_output
        if folder is None or not self._submitted or len(self._splits) < self._num_steps():
            return
        if (
            self.hadoop.run("fs", "-rmdir", folder).returncode
            and not self.hadoop.run("fs", "-test", "-d", folder).returncode
        ):
            self.hadoop.run("fs", "-put", "-", posixpath.join(folder, "_FAILED"), stdin=text.encode())

    def cat_output(self) -> Iterator[bytes]:
        """The output in blocks, part after part in order, decompressed."""
        parts = posixpath.join(str(self._output_dir), "part-*")
        with self.hadoop.reading(f"the output in {self._output_dir}", "-text", parts) as stream:
            yield from split_blocks(stream)

    def fetch_examples(self, wanted: int) -> None:
        """Fills ``examples`` with the first failure of each kind, from the containers' logs, as far as they are had."""
        for application in self._applications if wanted else ():
            with (
                suppress(OSError),
                closing(stderr_lines(self.hadoop.path_of("yarn"), application, LOG_SECONDS)) as lines,
            ):
                for example in filter(None, map(parse_example, lines)):
                    self.examples.setdefault(example["kind"], example)
                    if len(self.examples) >= wanted:
                        return

    def failure_report(self, _error: StepFailedException) -> tuple[str, int | None]:
        """What is known of the job's failure (the task's own words, host, input and exit code first, Java's last), and
        the exit code that it stands for, None where nothing says so."""
        rows = []
        mapred = self.hadoop.path_of("mapred")
        heard, told = self._failed_attempts[-1] if self._failed_attempts else (None, "")
        attempt = failed_attempt(mapred, self._job, PATIENCE) or heard
        logs = None
        if attempt is not None:
            logs = attempt_logs(mapred, self._job, attempt, self._log_folders(), LOG_SECONDS)
        java = "\n".join([logs.java if logs and logs.java else told, *self._last_words]).strip("\n")
        rows += damaged_input(java, logs.split if logs else None)
        if attempt is not None and logs is not None:
            rows += told_by(attempt, logs, java)
        elif not self._submitted:
            rows.append("the job was not submitted; Hadoop's client said why.")
        rows += java_side(java)
        if self._submitted:
            rows.append(f"All logs: yarn logs -applicationId {self._applications[-1]}")
        return with_local_paths("\n".join(rows), self._upload_mgr.path_to_uri()), exit_code(java)

    def _log_folders(self) -> list[Path]:
        return [Path(path) for path in self._hadoop_log_dirs() if not is_uri(path)]

    def _cleanup_hadoop_tmp(self) -> None:
        if self._used_hadoop_tmp:
            self.hadoop.run("fs", "-rm", "-r", "-f", "-skipTrash", self._hadoop_tmp_dir)
