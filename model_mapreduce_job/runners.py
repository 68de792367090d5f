"""The inline and local runners: mrjob's, without its copies and with order, whole input and whole output.

They override private methods of mrjob 0.7.4, its last release; ``requirements.txt`` pins it. What differs from mrjob:
input is read where it lies, in pieces, instead of being copied line by line; folders are read in order and without
hidden files; part files are put in place only when all are written; they are read back in order and in blocks; what
tasks print reaches the user; tasks on this machine are forked from the launcher where that is safe.
"""

import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from subprocess import Popen
from typing import Any

from mrjob.inline import InlineMRJobRunner
from mrjob.local import LocalMRJobRunner, _TaskFailedException
from mrjob.parse import parse_mr_job_stderr
from mrjob.sim import SimMRJobRunner
from mrjob.step import StepFailedException

from model_mapreduce_job.command_line import CommandLineError
from model_mapreduce_job.examples import parse_example
from model_mapreduce_job.forking import GRACE_SECONDS, POLL_SECONDS, fork_is_safe, run_forked
from model_mapreduce_job.local_input import check_local_input, check_whole_file, files_below
from model_mapreduce_job.output_folder import part_blocks
from model_mapreduce_job.summary import NOT_RUN
from model_mapreduce_job.task_input import PIECES_VARIABLE, Piece, deal_pieces, write_pieces
from model_scoring.formats.lines import read_blocks
from model_scoring.formats.registry import INPUT_FORMATS
from model_scoring.settings import LAUNCHER_SETTINGS, Settings

__all__ = ["InlineRunner", "LocalInputRunner", "LocalRunner", "runner_class"]

# How much of what tasks print is passed on to the user, in lines.
SHOWN_LINES = 200
# How much of it is held at a time.
STDERR_LINES = 10_000


class LocalInputRunner(SimMRJobRunner):  # type: ignore[misc]  # mrjob has no types
    """What both runners do differently from mrjob; what the launcher sets on them is set by ``prepare``."""

    without_counts = NOT_RUN

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.examples: dict[str, dict[str, Any]] = {}
        self.when_started: Callable[[], None] = lambda: None
        self._job: Any = None
        self._in_blocks = False
        self._settings_name = ""
        self._shown = 0

    def prepare(self, job: Any, settings: Settings) -> None:
        """Tells the runner whose tasks it runs; to be called before ``run()``."""
        self._job = job
        self._in_blocks = job.scores_in_blocks()
        self._settings_name = settings.name

    @classmethod
    def _default_opts(cls) -> dict[str, Any]:
        # What mrjob keeps of a failed job is as large as its output; the error has named what is needed to find it.
        return {**super()._default_opts(), "cleanup_on_failure": ["LOCAL_TMP"]}

    # --- input

    def input_files(self) -> list[str]:
        """The files of the input, in order: folders are walked by name, names that start with _ or . left out."""
        return [file for path in self._get_input_paths() for file in files_below(path)]

    def input_names(self) -> Iterator[str]:
        """The names of all files of the input."""
        return iter(self.input_files())

    def first_files(self, *, all_of_them: bool = False) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The files of the input, in order, each with its bytes, decompressed."""
        return ((path, read_blocks(path)) for path in self.input_files())

    def _check_input_path(self, path: str) -> None:
        check_local_input(path)
        if not INPUT_FORMATS[self._job.options.input_format].by_line:
            for file in files_below(path):
                check_whole_file(file, fetched=False)

    def _input_paths_for_step(self, step_num: int) -> list[str]:
        if step_num == 0 and not self._uses_input_manifest():
            return self.input_files()
        if step_num == 0:
            return list(super()._input_paths_for_step(step_num))
        return sorted(map(str, Path(self._output_dir_for_step(step_num - 1)).glob("part-*")))

    def _split_mapper_input(self, input_paths: Iterable[str], step_num: int) -> list[dict[str, Any]]:
        mapper = self._get_step(step_num).get("mapper", {})
        if step_num or self._uses_input_manifest() or mapper.get("type") != "script" or "pre_filter" in mapper:
            copies: list[dict[str, Any]] = super()._split_mapper_input(input_paths, step_num)
            return copies
        paths = list(input_paths)
        # A mapper of a subclass may ask for the name of its input file, so it gets one file.
        one_each = [[Piece(path)] for path in paths] or [[]]
        by_line = INPUT_FORMATS[self._job.options.input_format].by_line
        dealt = deal_pieces(paths, self._tasks(), by_line=by_line) if self._in_blocks else one_each
        for pieces, file in zip(dealt, self._yield_split_fileobjs("mapper", step_num), strict=False):
            with file:
                write_pieces(pieces, file)
        return [_described(pieces) for pieces in dealt]

    def _tasks(self) -> int:
        return 1

    def _env_for_task(self, task_type: str, step_num: int, task_num: int, map_split: Any = None) -> dict[str, str]:
        env: dict[str, str] = super()._env_for_task(task_type, step_num, task_num, map_split)
        env[PIECES_VARIABLE] = "1" if map_split and map_split.get("pieces") else ""
        env[LAUNCHER_SETTINGS] = self._settings_name
        if env.get("PYTHONPATH"):
            # A task runs in a folder of its own, where a relative path leads nowhere.
            env["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, env["PYTHONPATH"].split(os.pathsep)))
        return env

    # --- output

    def check_paths(self) -> None:
        """Raises ``CommandLineError`` where input is missing or the output folder is not empty.

        A part file of an earlier job among those of this one would double or replace records.
        """
        self._check_input_paths()
        wanted = self._output_dir
        folder = Path((wanted or "").removeprefix("file://"))
        if not wanted or "://" in wanted.removeprefix("file://"):
            return
        if (folder.is_symlink() and not folder.exists()) or (folder.exists() and not folder.is_dir()):
            raise CommandLineError(f"--output-dir {wanted} is no folder. Remove it or name another.")
        if folder.is_dir() and any(folder.iterdir()):
            raise CommandLineError(f"--output-dir {wanted} exists and is not empty. Remove it or name another folder.")

    def tidy_up(self) -> None:
        """Nothing."""

    def mark_succeeded(self) -> None:
        """Writes the empty file ``_SUCCESS`` into the output folder."""
        Path(self.get_output_dir(), "_SUCCESS").touch()

    def mark_failed(self, text: str) -> None:
        """Nothing: the folder has no ``_SUCCESS``, and whoever ran the job here has read why."""

    def abandon(self, text: str) -> None:
        """Nothing: ``_run`` has removed what there was."""

    def interrupted(self) -> None:
        """Nothing: tasks on this machine end with the launcher."""

    def _run(self) -> None:
        wanted: str | None = self._output_dir
        if wanted is None:
            super()._run()
            return
        folder = Path(wanted.removeprefix("file://"))
        created = not folder.exists()
        staging = folder / "_temporary"
        self._output_dir: str | None = str(staging)
        try:
            super()._run()
            for part in sorted(staging.iterdir()):
                part.rename(folder / part.name)
            staging.rmdir()
        except BaseException:
            shutil.rmtree(folder if created else staging, ignore_errors=True)
            raise
        self._output_dir = str(folder)

    def cat_output(self) -> Iterator[bytes]:
        """The output in blocks, part after part in order."""
        return part_blocks(Path(self.get_output_dir()))

    # --- what tasks say

    def failure_report(self, error: StepFailedException) -> tuple[str, int | None]:
        """That a task has failed, and its exit code; its own words have been passed on."""
        code = re.search(r"exit code (-?\d+)", str(error))
        return f"{error}. What its tasks wrote is above.", int(code[1]) if code else None

    def fetch_examples(self, wanted: int) -> None:
        """Nothing: the examples have come with what the tasks wrote."""

    def _parse_task_counters(self, task_type: str, step_num: int) -> None:
        for path in sorted(Path(self._step_dir(step_num), task_type).glob("*/stderr")):
            with path.open("rb") as stderr:
                while lines := list(islice(stderr, STDERR_LINES)):
                    for line in parse_mr_job_stderr(lines, self._counters[step_num])["other"]:
                        self._pass_on(line.rstrip("\n"))

    def _pass_on(self, line: str) -> None:
        example = parse_example(line)
        if example is not None:
            self.examples.setdefault(example["kind"], example)
        elif line.strip():
            self._shown += 1
            if self._shown <= SHOWN_LINES:
                print(line, file=sys.stderr)
            elif self._shown == SHOWN_LINES + 1:
                print(f"(more than {SHOWN_LINES} lines from tasks; the rest is not shown)", file=sys.stderr)

    def _run_streaming_step(self, step: Any, step_num: int) -> None:
        if not self._forks():
            self.when_started()
        super()._run_streaming_step(step, step_num)

    def _forks(self) -> bool:
        return False

    def _log_counters(self, step_num: int) -> None:
        """Nothing: the summary says it, and says it once."""


class InlineRunner(LocalInputRunner, InlineMRJobRunner):  # type: ignore[misc]  # mrjob has no types
    """Runs all tasks in the launcher's own process."""

    def _log_cause_of_error(self, ex: BaseException) -> None:
        """Nothing: the error itself goes out, and what mrjob would name is the list of pieces, no file of the user."""


class LocalRunner(LocalInputRunner, LocalMRJobRunner):  # type: ignore[misc]  # mrjob has no types
    """Runs tasks side by side, as many as there are cores, each in a process of its own.

    A task of a job in blocks, with no set-up of its own, is forked from the launcher, which has loaded the model
    already; where a fork is not safe, and for every other job, a task is a new process, as with mrjob.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._processes: set[Popen[bytes]] = set()
        self._fork: bool | None = None

    @classmethod
    def _default_opts(cls) -> dict[str, Any]:
        # mrjob would pack itself into an archive and unpack it again for each task, beside where it is installed.
        return {**super()._default_opts(), "bootstrap_mrjob": False}

    def _tasks(self) -> int:
        return max(1, int(self._num_cores()))

    def _num_reducers(self, step_num: int) -> int:
        return max(1, self._tasks() // 2)  # mrjob makes twice as many tasks of them

    def _forks(self) -> bool:
        if self._fork is None:
            own_start = any(self._opts[name] for name in ("setup", "py_files", "cmdenv", "task_python_bin"))
            self._fork = self._in_blocks and not own_start and fork_is_safe()
        return self._fork

    def _run_multiple(self, funcs: Iterable[Callable[[], None]], num_processes: int | None = None) -> None:
        if self._forks():
            run_forked(list(funcs), self._tasks(), self.when_started, self._failed)
            return
        with ThreadPoolExecutor(self._tasks()) as pool:
            futures = [pool.submit(func) for func in funcs]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                for future in futures:
                    future.cancel()
                for process in list(self._processes):
                    process.terminate()
                ended = time.monotonic() + GRACE_SECONDS
                while self._processes and time.monotonic() < ended:
                    time.sleep(POLL_SECONDS)
                for process in list(self._processes):
                    process.kill()
                raise

    def _invoke_task_func(self, task_type: str, step_num: int, task_num: int) -> Callable[..., None]:
        if self._forks():
            return self._forked_task(self._args_for_task(step_num, task_type))
        args = self._substep_args(step_num, task_type)

        def invoke(stdin: Any, stdout: Any, stderr: Any, wd: str, env: dict[str, str]) -> None:
            process = Popen(args, stdin=stdin, stdout=stdout, stderr=stderr, cwd=wd, env=env)  # noqa: S603  # mrjob built them
            self._processes.add(process)
            try:
                code = process.wait()
            finally:
                self._processes.discard(process)
            if code:
                self._failed(task_num, code, task_type, step_num)

        return invoke

    def _forked_task(self, args: list[str]) -> Callable[..., None]:
        task_class = type(self._job)

        def invoke(stdin: Any, stdout: Any, stderr: Any, wd: str, env: dict[str, str]) -> None:
            os.dup2(stderr.fileno(), 2)
            os.dup2(2, 1)
            sys.stdout = sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
            os.environ.clear()
            os.environ.update(env)
            os.chdir(wd)
            task = task_class(args)
            task._stdin, task._stdout = stdin, stdout
            task.execute()

        return invoke

    def _failed(self, task_num: int, code: int, task_type: str = "mapper", step_num: int = 0) -> None:
        raise _TaskFailedException(
            reason=f"exit code {code}",
            step_num=step_num,
            num_steps=self._num_steps(),
            task_type=task_type,
            task_num=task_num,
        )

    def _log_cause_of_error(self, ex: BaseException) -> None:
        """Nothing: what the failed task wrote has been passed on as it stands."""


def runner_class(alias: str) -> Any:
    """The runner of ours for ``alias``, None for a runner that is mrjob's alone."""
    if alias == "hadoop":
        from model_mapreduce_job.hadoop_runner import HadoopRunner

        return HadoopRunner
    if alias == "spark":
        from model_mapreduce_job.spark_runner import SparkRunner

        return SparkRunner
    return {"inline": InlineRunner, "local": LocalRunner}.get(alias)


def _described(pieces: list[Piece]) -> dict[str, Any]:
    first = pieces[0] if pieces else Piece("")
    length = sum(piece.length or Path(piece.path).stat().st_size for piece in pieces)
    return {"file": first.path, "start": first.start, "length": length, "pieces": True}
