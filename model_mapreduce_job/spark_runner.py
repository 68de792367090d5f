"""The runner for ``-r spark``: mrjob's, with our harness, its own ``_SUCCESS`` and errors that say what happened.

It overrides private methods of mrjob 0.7.4, its last release; ``requirements.txt`` pins it. What differs from mrjob:
lines are read as they are and tasks work on blocks (``spark_harness.py``), output is whole or not there, what a failed
task said is told first.
"""

import logging
import re
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mrjob.parse import is_uri
from mrjob.spark.runner import SparkMRJobRunner
from mrjob.step import StepFailedException

import model_scoring.errors
from model_mapreduce_job.command_line import FIRST_FILES, CommandLineError, exit_code_of
from model_mapreduce_job.counters import FAILURES, GROUP, LINES, PREDICTIONS
from model_mapreduce_job.examples import parse_example
from model_mapreduce_job.local_input import (
    SPECIAL,
    check_cluster_name,
    check_local_input,
    files_below,
    left_out,
    matching_paths,
)
from model_mapreduce_job.output_folder import check_output_name, part_blocks, refuse_output
from model_mapreduce_job.task_failure import damaged_input, exit_code
from model_scoring.errors import ScoringError
from model_scoring.formats.lines import read_blocks

__all__ = ["SparkRunner"]

log = logging.getLogger("mrjob.spark.runner")  # where mrjob's own --quiet and --verbose reach it

_OURS = re.compile(r"^(?:\w+\.)*(\w+Error): (.+)$")
# An exception of Java's, a line of its stack, and the file of which it tells.
_JAVA = re.compile(r"(Caused by: )?(java|org)\.\S+(Exception|Error)\b")
_STACK = re.compile(r"\s+(at |\.\.\. \d+ more)")
_READING = re.compile(r"Encountered error while reading file (\S+)\. ")
# Of what Spark says in the end, kept to tell why it failed.
KEPT_LINES = 400
SHOWN_LINES = 60


class SparkRunner(SparkMRJobRunner):  # type: ignore[misc]  # mrjob has no types
    """Runs a job on Spark: in this process's machine, or on the cluster that ``--spark-master`` names."""

    without_counts = ""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.examples: dict[str, dict[str, Any]] = {}
        self._wanted_output: str | None = kwargs.get("output_dir") and self._output_dir
        self._last_words: deque[str] = deque(maxlen=KEPT_LINES)

    @classmethod
    def _default_opts(cls) -> dict[str, Any]:
        # By this mrjob has the harness call what reads lines with their places.
        return {
            **super()._default_opts(),
            "emulate_map_input_file": True,
            "cleanup_on_failure": ["TMP"],
            "bootstrap_mrjob": False,
        }

    def _default_python_bin(self, local: bool = False) -> list[str]:
        here = (self._spark_master() or "local").startswith("local")
        return [sys.executable] if here else list(super()._default_python_bin(local))

    # --- before the job

    def check_paths(self) -> None:
        """Raises ``CommandLineError`` where Spark is missing, input cannot be read, or the output folder exists."""
        submit = self.get_spark_submit_bin()[0]
        if shutil.which(submit) is None:
            raise CommandLineError(
                f"-r spark needs Spark, and {submit} is not to be found. Install it: pip install "
                "'model-mapreduce-job[spark]', or set SPARK_HOME to where it is."
            )
        for path in self._input_paths:
            if _is_elsewhere(path):
                check_cluster_name(path)
                if not self.fs.exists(path):
                    raise CommandLineError(
                        f"input {path} does not exist. Name a file, a folder or a pattern that matches one."
                    )
            else:
                check_local_input(path)
                for file in files_below(path):
                    if "," in file:
                        raise CommandLineError(
                            f"input {file}: mrjob's harness takes a comma for the end of a path. Rename it."
                        )
        self._opts["check_input_paths"] = False
        for path in self._files():
            if path.lower().endswith(".zst"):
                raise CommandLineError(
                    f"input {path} is compressed with zstandard, which Spark reads by a library of Hadoop's that is "
                    "not part of it. Compress it with gzip or bzip2, or use another runner."
                )
        if self._wanted_output is not None:
            check_output_name(self._wanted_output)
            self._refuse_old_output(self._wanted_output)

    def _refuse_old_output(self, folder: str) -> None:
        if _is_elsewhere(folder):
            if self.fs.exists(folder):
                refuse_output(folder, [path.rpartition("/")[2] for path in self.fs.ls(folder)], f"remove {folder}")
            return
        local = Path(folder.removeprefix("file://"))
        if local.is_symlink() or local.exists():
            names = [path.name for path in local.iterdir()] if local.is_dir() else []
            refuse_output(folder, names, f"rm -r {local}")

    def _files(self) -> Iterator[str]:
        """The files of the input, in order."""
        for path in super()._get_input_paths():
            if not _is_elsewhere(path):
                yield from files_below(path)
                continue
            above = path.rstrip("/").count("/")
            yield from (each for each in self.fs.ls(path) if not left_out(each.split("/")[above:]))

    def first_files(self, *, all_of_them: bool = False) -> Iterator[tuple[str, Iterable[bytes]]]:
        """The files of the input, in order, each with its bytes, decompressed; a few of those elsewhere, or all."""
        elsewhere = 0
        for path in self._files():
            if not is_uri(path):
                yield path, read_blocks(path)
                continue
            elsewhere += 1
            if elsewhere > FIRST_FILES and not all_of_them:
                return
            yield path, filter(None, self.fs.cat(path))

    def input_names(self) -> Iterator[str]:
        """The names of all files of the input."""
        return self._files()

    def _get_input_paths(self) -> list[str]:
        found: list[str] = []
        for path in super()._get_input_paths():
            found += [path] if is_uri(path) else _for_spark(matching_paths(path))
        return found

    # mrjob would write %3D for the equals sign of a partition's folder, and Spark would look for a folder of that name.

    def _step_input_uris(self, step_num: int) -> list[str]:
        if step_num or self._upload_mgr:
            return list(super()._step_input_uris(step_num))
        return [path if is_uri(path) else f"file://{path}" for path in self._get_input_paths()]

    def _step_output_uri(self, step_num: int) -> str:
        folder = self._wanted_output
        if folder is None or is_uri(folder) or step_num < len(self._get_steps()) - 1:
            return str(super()._step_output_uri(step_num))
        return f"file://{Path(folder).absolute()}"

    # --- the job itself

    def _run(self) -> None:
        if not is_uri(self._spark_tmp_dir):
            Path(self._spark_tmp_dir).mkdir(parents=True, exist_ok=True)  # where the harness puts the counts
        super()._run()

    def _spark_harness_path(self) -> str:
        return str(Path(__file__).with_name("spark_harness.py"))

    def _jobconf_for_step(self, step_num: int) -> dict[str, Any]:
        # Spark hands to Hadoop's file formats what begins so, and takes nothing that is neither its own nor this.
        known = super()._jobconf_for_step(step_num).items()
        return {name if name.startswith("spark.") else f"spark.hadoop.{name}": value for name, value in known}

    def _run_spark_submit(
        self, spark_submit_args: list[str], env: dict[str, str], record_callback: Any
    ) -> tuple[int, dict[str, Any]]:
        # A session of its own: what Ctrl-C ends is the launcher, which ends Spark.
        process = subprocess.Popen(  # noqa: S603  # mrjob built them
            spark_submit_args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, start_new_session=True
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                self._heed(line.decode("utf-8", "replace").rstrip("\r\n"))
            return process.wait(), {}
        finally:
            if process.poll() is None:
                process.terminate()  # Spark's own hook ends its tasks
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
            process.stdout.close()
            process.wait()

    def _heed(self, line: str) -> None:
        """Takes the examples out of what Spark and its tasks write; ``--verbose`` shows all of it."""
        example = parse_example(line)
        if example is not None:
            self.examples.setdefault(example["kind"], example)
        elif line.strip() and not line.startswith("reporter:"):
            self._last_words.append(line)
            log.debug("  %s", line)

    def counters(self) -> list[dict[str, dict[str, int]]]:
        """What the tasks have counted; zero of everything where there was no line, for then there was no task."""
        nothing = {GROUP: {LINES: 0, PREDICTIONS: 0, FAILURES: 0}}
        known: list[dict[str, dict[str, int]]] = super().counters()
        return [nothing, *known[1:]] if known and not any(GROUP in step for step in known) else known

    # --- after it

    def failure_report(self, error: StepFailedException) -> tuple[str, int | None]:
        """What is known of a failure, the tasks' own words first, and the exit code that it stands for."""
        words = list(self._last_words)
        for line in words:
            if (found := _OURS.match(line)) and issubclass(kind := _kind(found[1]), ScoringError):
                return f"{found[1]}: {found[2]}", exit_code_of(kind.__new__(kind))
        first = next((place for place, line in enumerate(words) if line.startswith("Traceback")), len(words))
        shown = [line for line in words[first:] or words if not _STACK.match(line)][-SHOWN_LINES:]
        java = "\n".join(filter(_JAVA.match, words))
        file = _READING.search(java)
        code = re.search(r"exit status (-?\d+)", str(error))
        rows = [
            *damaged_input(java, file[1].removeprefix("file://") if file else None),
            f"Spark has failed{f', exit code {code[1]}' if code else ''}.",
        ]
        rows += ["What it said in the end (--verbose shows all of it):", *(f"  {line}" for line in shown)]
        return "\n".join(rows), exit_code(java)

    def abandon(self, text: str) -> None:
        """Removes what there is of the output folder, which was not there before."""
        folder = self._wanted_output
        if folder is None:
            return
        if _is_elsewhere(folder):
            self.fs.rm(folder)
        else:
            shutil.rmtree(folder.removeprefix("file://"), ignore_errors=True)

    def interrupted(self) -> None:
        """Removes the same; Spark has ended with the launcher."""
        self.abandon("")

    def fetch_examples(self, wanted: int) -> None:
        """Nothing: they have come with what the tasks wrote, as far as tasks write to this terminal."""

    def tidy_up(self) -> None:
        """Nothing."""

    def mark_succeeded(self) -> None:
        """Writes ``_SUCCESS`` into the output folder."""
        self._mark("_SUCCESS", "")

    def mark_failed(self, text: str) -> None:
        """Writes ``_FAILED``, and why."""
        self._mark("_FAILED", text)

    def _mark(self, name: str, text: str) -> None:
        folder = self._wanted_output
        if folder is None:
            return
        if _is_elsewhere(folder):
            self.fs.touchz(self.fs.join(folder, name))
        else:
            Path(folder.removeprefix("file://"), name).write_text(text, "utf-8")

    def cat_output(self) -> Iterator[bytes]:
        """The output in blocks, part after part in order."""
        folder = self.get_output_dir()
        if _is_elsewhere(folder):
            yield from super().cat_output()
            return
        yield from part_blocks(Path(folder.removeprefix("file://")))


def _is_elsewhere(path: str) -> bool:
    """Whether a path or URI is of no file system of this machine."""
    return is_uri(path) and not path.startswith("file://")


def _kind(name: str) -> Any:
    return getattr(model_scoring.errors, name, object)


def _for_spark(paths: list[str]) -> Iterator[str]:
    """The paths; files one by one, and quoted, where a name would be taken for a pattern."""
    for path in paths:
        files = list(files_below(path)) if Path(path).is_dir() else []
        for each in files if any(map(SPECIAL.search, files)) else [path]:
            yield re.sub(r"([\[\]{}*?\\])", r"\\\1", str(Path(each).absolute()))
