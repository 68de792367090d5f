"""MLModelMapReduceJob: a map-only MapReduce job that predicts with a hosted model.

Importing this module finds the settings and loads the models, once for each process; each map task is one. What a
task does with its records is in ``task.py``, what the launcher does around the tasks in ``launcher.py``.

A subclass may override ``mapper``, the protocols and ``steps`` as mrjob's documentation says. While it overrides
nothing of the mapper and no step follows, a task reads and writes whole blocks.
"""

import threading
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from model_mapreduce_job import command_line
from model_mapreduce_job.distutils_stand_in import import_mrjob
from model_scoring.output_guard import claim_stdin, claim_stdout

_IS_SCRIPT = __name__ == "__main__"
_ASKS_FOR_HELP = command_line.asks_for_help(_IS_SCRIPT)
# As a script the process is ours: nothing that a model prints may reach its output, from the loading of models on.
_STDOUT = claim_stdout() if _IS_SCRIPT and not _ASKS_FOR_HELP else None

import_mrjob()

from mrjob.compat import jobconf_from_env  # noqa: E402
from mrjob.job import MRJob  # noqa: E402
from mrjob.step import MRStep  # noqa: E402

from model_mapreduce_job.counters import TaskCounters  # noqa: E402
from model_mapreduce_job.hadoop_settings import with_whole_lines  # noqa: E402
from model_mapreduce_job.layout import check_settled, outcome_writer, reader_of_lines, settled  # noqa: E402
from model_mapreduce_job.model_manager import ModelManager  # noqa: E402
from model_mapreduce_job.protocols import OutcomeProtocol, PairProtocol, RecordProtocol  # noqa: E402
from model_mapreduce_job.task import ScoringTask  # noqa: E402
from model_mapreduce_job.task_input import Lines  # noqa: E402
from model_mapreduce_job.task_records import TaskRecords  # noqa: E402
from model_mapreduce_job.task_scorer import TaskScorer  # noqa: E402
from model_scoring.errors import UnknownModelError  # noqa: E402
from model_scoring.formats.registry import INPUT_FORMATS  # noqa: E402
from model_scoring.settings import LAUNCHER_SETTINGS, Settings, find_settings  # noqa: E402

__all__ = ["MLModelMapReduceJob", "model_manager", "settings"]

_ROOT = Path(__file__).resolve().parent.parent
_PACKAGES = [_ROOT / name for name in ("model_mapreduce_job", "model_scoring", "iris_model")]

with command_line.reported_errors(_IS_SCRIPT):
    # Help has to work where the settings do not.
    settings = Settings("none", ()) if _ASKS_FOR_HELP else find_settings("model_mapreduce_job.config")
    model_manager = ModelManager()
    model_manager.load_models(settings.models)


class MLModelMapReduceJob(MRJob):  # type: ignore[misc]  # mrjob has no types
    """Predicts each record of the input with the model that ``--model_qualified_name`` names.

    Input: files of ``--input_format``. Output: one line for each record, in the order of the input on the inline and
    local runners.
    Raises ``ValueError`` when no loaded model has the name.
    """

    INPUT_PROTOCOL = RecordProtocol
    INTERNAL_PROTOCOL = PairProtocol
    OUTPUT_PROTOCOL = PairProtocol

    # What a node needs that has none of our packages; the inline and local runners find them where they are.
    DIRS: ClassVar[list[str]] = [f"{folder}#{folder.name}" for folder in _PACKAGES if folder.is_dir()]
    FILES: ClassVar[list[str]] = [str(_ROOT / "ml_model_abc.py")]

    def __init__(self, args: list[str] | None = None) -> None:
        super().__init__(args)
        name = self.options.model_qualified_name
        model = model_manager.get_model(name)
        if model is None:
            raise UnknownModelError(name, [known["qualified_name"] for known in model_manager.get_models()])
        self._model = model
        self._layout = settled(self.options)
        has_headers = self._layout is not None and self._layout.header_of is not None
        self._counters = TaskCounters(model, self._count, has_headers=has_headers)
        self._writer = outcome_writer(model, self.options, self._layout)
        scorer = self.make_scorer(self.options)
        self._task = ScoringTask(self.options, self._counters, scorer, self._writer, write_message=self._write_message)

    def make_scorer(self, options: Namespace) -> TaskScorer:
        """What scores batches with this job's model as ``options`` say; to be closed after use."""
        spec = model_manager.get_spec(options.model_qualified_name)
        return TaskScorer(self._model, spec, options, self._write_message, self._descriptors)

    # --- command line

    def configure_args(self) -> None:
        """Adds the options of ``command_line.py``."""
        super().configure_args()
        command_line.add_options(self)

    def load_args(self, args: list[str]) -> None:
        """Parses ``args``; ends with a usage message (``ValueError`` where ``args`` were given) for what cannot be."""
        super().load_args(args)
        command_line.check_options(self)

    @classmethod
    def run(cls, output: BinaryIO | None = None) -> None:
        """Runs the job or the task that the command line asks for; errors end the process with a documented exit code.

        ``output`` is what ``claim_stdout()`` has returned, where it has been called already.
        """
        with command_line.reported_errors(True):
            job = cls()  # ends here when it is asked for help
            job._stdout = output or claim_stdout()
            if job.is_task():
                job._stdin = claim_stdin()
            with command_line.signals_interrupt(not job.is_task()), command_line.exits_are_errors():
                job.execute()
            job.stdout.flush()  # mrjob leaves that to the end of the process, which knows only sys.stdout

    def run_job(self) -> None:
        """Runs all steps, checks that no record was lost, and prints a summary to standard error."""
        from model_mapreduce_job.launcher import launch

        launch(self, self._model)

    def _runner_class(self) -> Any:
        from model_mapreduce_job.runners import runner_class

        return runner_class(self.options.runner or "inline") or super()._runner_class()

    def make_runner(self) -> Any:
        """The runner that the command line asks for, ready to run this job."""
        command_line.check_configuration(self.options.runner, self.options.conf_paths)
        runner = super().make_runner()
        if self._runs_here():
            runner.prepare(self, settings)
        else:
            from model_mapreduce_job.shipping import check_environment, environment_archive

            archive = environment_archive(runner._opts["upload_archives"])
            if archive is not None:
                check_environment(archive, settings)
        return runner

    def _runner_kwargs(self) -> dict[str, Any]:
        kwargs: dict[str, Any] = super()._runner_kwargs()
        if not self._runs_here():
            # The launcher's choice of settings is the tasks' choice, whatever a configuration file sets there.
            kwargs["cmdenv"] = {**(kwargs.get("cmdenv") or {}), LAUNCHER_SETTINGS: settings.name}
            kwargs["steps"] = list(map(with_whole_lines, kwargs["steps"]))
            if not INPUT_FORMATS[self.options.input_format].by_line:
                # A task gets the name of a file instead of lines, and the file is fetched for it.
                kwargs["steps"][0]["input_manifest"] = True
        if self.options.runner == "emr":
            from model_mapreduce_job.shipping import for_emr

            kwargs = for_emr(kwargs)
        return kwargs

    def dirs(self) -> list[str]:
        """The folders to ship: none where the tasks run on this machine."""
        return [] if self._runs_here() else super().dirs()

    def files(self) -> list[str]:
        """The files to ship: none where the tasks run on this machine."""
        return [] if self._runs_here() else super().files()

    def _runs_here(self) -> bool:
        return self.options.runner in (None, "inline", "local")

    # --- the prediction step

    def mapper(self, key: Any, record: Any) -> Iterator[tuple[Any, Any]]:
        """Yields the record and its prediction, or what ``--on_failure`` says instead of a prediction.

        For one record; tasks work in batches unless a subclass overrides this. ``record`` is a dict or, for a line
        that is no record, a ``Failure``.
        """
        yield self._task.score_one(record, self._source(), written_as_json=self._writes_json())

    def map_pairs(self, pairs: Iterable[tuple[Any, Any]], step_num: int = 0) -> Iterator[tuple[Any, Any]]:
        """Runs the mapper of a step over pairs; the prediction step in batches."""
        step = self._get_step(step_num, MRStep)
        if not self._predicts(step):
            if step_num == 0 and self.INPUT_PROTOCOL is RecordProtocol:  # a mapper that may call this class's
                pairs = self._task.counted(pairs)
            yield from super().map_pairs(pairs, step_num)
            self._counters.flush()
            self._task.close()
            return
        yield from (step["mapper_init"] or tuple)() or ()
        yield from self._task.score_pairs(pairs, self._source(), written_as_json=self._writes_json())
        yield from (step["mapper_final"] or tuple)() or ()

    def run_mapper(self, step_num: int = 0) -> None:
        """Runs a map task: reads its input, writes its output."""
        step = self._get_step(step_num, MRStep)
        if step_num != 0 or step["mapper_raw"]:
            super().run_mapper(step_num)
            return
        records = self._records()
        from_start = jobconf_from_env("mapreduce.map.input.start") in (None, "0")
        batches = records.batches(self.stdin, self._source(), from_start=from_start)
        if self.scores_in_blocks():
            for block in self._task.scored_blocks(batches, records.read):
                self.stdout.write(block)
                self.stdout.flush()
            return
        for line in self._mapped(records, batches, step_num):
            self.stdout.write(line + b"\n")
        self.stdout.flush()

    def map_lines(self, given: Iterable[Lines], step_num: int = 0) -> Iterator[bytes]:
        """The lines, without their ends, that a map task of the first step writes for these."""
        records = self._records()
        batches = records.of(given)
        if not self.scores_in_blocks():
            yield from self._mapped(records, batches, step_num)
            return
        for block in self._task.scored_blocks(batches, records.read):
            lines = block.split(b"\n")
            lines.pop()
            yield from lines

    def _records(self) -> TaskRecords:
        check_settled(self._layout)
        return TaskRecords(self._model, self.options, self._layout, self._counters)

    def _mapped(self, records: TaskRecords, batches: Iterable[tuple[str, list[Any]]], step_num: int) -> Iterator[bytes]:
        read, write = self.pick_protocols(step_num, "mapper")
        if self.INPUT_PROTOCOL is not RecordProtocol:
            read = _without_cr(read)
        for key, value in self.map_pairs(records.pairs(batches, read), step_num):
            yield write(key, value)

    def scores_in_blocks(self) -> bool:
        """Whether the job is this class's prediction step and nothing else, so that a task may work on blocks."""
        steps = self.steps()
        if len(steps) != 1 or not isinstance(steps[0], MRStep) or not self._predicts(steps[0]):
            return False
        alone = steps[0].description(0) == {"type": "streaming", "mapper": {"type": "script"}}
        alone = alone and not steps[0]["mapper_init"] and not steps[0]["mapper_final"]
        return alone and all(getattr(type(self), name) is getattr(MLModelMapReduceJob, name) for name in _BLOCK_NAMES)

    def counts_add_up(self) -> bool:
        """Whether each record must have come out once: whether a prediction step runs this class's own mapper."""
        return any(isinstance(step, MRStep) and self._predicts(step) for step in self.steps())

    def lines_are_records(self) -> bool:
        """Whether Hadoop's counts of the prediction step must be ours: nothing else adds to its lines or drops some."""
        return all(
            step.description(number)["mapper"] == {"type": "script"}
            and not step["mapper_init"]
            and not step["mapper_final"]
            for number, step in enumerate(self.steps())
            if isinstance(step, MRStep) and self._predicts(step)
        )

    def _predicts(self, step: MRStep) -> bool:
        mapper = step["mapper"]
        return getattr(mapper, "__func__", None) is MLModelMapReduceJob.mapper and not step["mapper_raw"]

    def input_protocol(self) -> Any:
        """The protocol of ``--input_format``, unless a subclass has set its own."""
        if self.INPUT_PROTOCOL is RecordProtocol and INPUT_FORMATS[self.options.input_format].by_line:
            check_settled(self._layout)
            return RecordProtocol(reader_of_lines(self._model, self.options, self._layout))
        return super().input_protocol()

    def output_protocol(self) -> Any:
        """The protocol of ``--output_format``, unless a subclass has set its own."""
        if self._writer is not None and self.OUTPUT_PROTOCOL is PairProtocol:
            return OutcomeProtocol(self._writer)
        return super().output_protocol()

    def _writes_json(self) -> bool:
        return self.INTERNAL_PROTOCOL is PairProtocol and self.OUTPUT_PROTOCOL is PairProtocol

    def _source(self) -> str:
        return str(jobconf_from_env("mapreduce.map.input.file") or "standard input")

    # --- what goes to standard error

    def increment_counter(self, group: str, counter: str, amount: int = 1) -> None:
        """Counts; the line starts afresh, whatever a model has left unfinished on standard error."""
        with _STDERR:
            self.stderr.write(b"\n")
            super().increment_counter(group, counter, amount)

    def _count(self, group: str, counter: str, amount: int) -> None:
        self.increment_counter(group, counter, amount)  # looked up late: mrjob's harness for Spark replaces it

    def _write_message(self, message: str) -> None:
        with _STDERR:
            self.stderr.write(b"\n" + message.encode("utf-8", "backslashreplace") + b"\n")
            self.stderr.flush()

    def _descriptors(self) -> list[int]:
        """Those of the task's input and output, as far as these have any."""
        found = []
        for stream in (self.stdin, self.stdout):
            with suppress(AttributeError, OSError, ValueError):  # memory of a test's, or closed
                found.append(stream.fileno())
        return found


# Two threads may have something to say; a line of either reaches Hadoop whole. Not the job's own: jobs are pickled.
_STDERR = threading.Lock()


def _without_cr(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """``read`` for lines as mrjob's own loop has them, which takes CR for a part of their end."""
    return lambda line: read(line.rstrip(b"\r"))


# Whatever of these a subclass overrides, it expects to be called for each line or pair.
_BLOCK_NAMES = (
    "INPUT_PROTOCOL",
    "OUTPUT_PROTOCOL",
    "input_protocol",
    "output_protocol",
    "pick_protocols",
    "map_pairs",
    "mapper",
)


if _IS_SCRIPT:
    MLModelMapReduceJob.run(_STDOUT)
