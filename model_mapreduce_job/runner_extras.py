"""What the launcher asks of a runner beyond mrjob's own methods, and the answer for runners that are mrjob's alone.

Our runners answer themselves. Beside one of mrjob's own stands an object that answers for it with what that runner can
do; the runner stays as it is.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from mrjob.runner import MRJobRunner
from mrjob.step import StepFailedException

from model_mapreduce_job.hadoop_runner import HadoopRunner
from model_mapreduce_job.runners import LocalInputRunner
from model_scoring.formats.lines import read_blocks

__all__ = ["MrjobExtras", "RunnerExtras", "cloud_errors", "extras_of"]


class RunnerExtras(Protocol):
    """What the launcher asks of a runner, in the order in which it asks."""

    # What is wrong when the tasks' counts are unknown; "" where that may be.
    without_counts: str
    # The first failure of each kind, by kind.
    examples: dict[str, dict[str, Any]]

    def check_paths(self) -> None:
        """Raises ``CommandLineError`` where input is missing or the output folder is not free."""

    def first_files(self, *, all_of_them: bool = False) -> Iterator[tuple[str, Iterable[bytes]]]:
        """Files of the input, in order, each with its bytes, decompressed.

        Not all where asking for one takes long: a few, or with ``all_of_them`` as many as can be waited for.
        """
        ...

    def input_names(self) -> Iterator[str]:
        """The names of all files of the input."""
        ...

    def failure_report(self, error: StepFailedException) -> tuple[str, int | None]:
        """What is known of a failed step, and the exit code that it stands for, None where nothing says so."""
        ...

    def abandon(self, text: str) -> None:
        """Leaves nothing of a job that failed that could be taken for output."""

    def interrupted(self) -> None:
        """Ends what would go on without the launcher."""

    def fetch_examples(self, wanted: int) -> None:
        """Fills ``examples``, as far as they are to be had."""

    def mark_succeeded(self) -> None:
        """Writes ``_SUCCESS`` into the output folder."""

    def mark_failed(self, text: str) -> None:
        """Says in the output folder that it is not that of a job that succeeded, where others may come upon it."""

    def tidy_up(self) -> None:
        """Comes last, whatever the end: keeps from the runner's clean-up what others still need."""


class MrjobExtras:
    """For a runner of mrjob's own: what its file systems can tell."""

    without_counts = ""

    def __init__(self, runner: MRJobRunner) -> None:
        self._runner = runner
        self.examples: dict[str, dict[str, Any]] = {}

    def check_paths(self) -> None:
        """Raises ``OSError`` where input is missing; the runner looks for old output itself."""
        self._runner._check_input_paths()

    def input_names(self) -> Iterator[str]:
        """The names of all files of the input."""
        return (path for path, _ in self.first_files(all_of_them=True))

    def first_files(self, *, all_of_them: bool = False) -> Iterator[tuple[str, Iterable[bytes]]]:
        """The files that the input paths name."""
        for path in self._runner._get_input_paths():
            yield path, read_blocks(path) if Path(path).is_file() else filter(None, self._runner.fs.cat(path))

    def failure_report(self, error: StepFailedException) -> tuple[str, int | None]:
        """mrjob's words; it has logged what it knows."""
        code = re.search(r"(?:exit (?:code|status)|failed with code) (-?\d+)", str(error))
        return str(error), int(code[1]) if code else None

    def abandon(self, text: str) -> None:
        """Nothing."""

    def interrupted(self) -> None:
        """Nothing."""

    def fetch_examples(self, wanted: int) -> None:
        """None."""

    def mark_succeeded(self) -> None:
        """Nothing: the engine has written its own ``_SUCCESS``."""

    def mark_failed(self, text: str) -> None:
        """Nothing."""

    def tidy_up(self) -> None:
        """Nothing."""


def extras_of(runner: MRJobRunner) -> RunnerExtras:
    """What answers for ``runner``."""
    if isinstance(runner, LocalInputRunner | HadoopRunner) or runner.alias == "spark":
        answering: RunnerExtras = runner
        return answering
    if runner.alias == "emr":
        from model_mapreduce_job.emr_extras import EmrExtras

        return EmrExtras(runner)
    return MrjobExtras(runner)


def cloud_errors(alias: str | None) -> AbstractContextManager[None]:
    """While it is entered, what a cloud refuses is told as an error of ours, with the remedy."""
    if alias != "emr":
        return nullcontext()
    from model_mapreduce_job.aws_errors import told_with_remedy

    return told_with_remedy()
