"""What the launcher does around the tasks: it tries some records, runs the job, checks the counts and reports.

The order is what the promises rest on: nothing is submitted before the preflight, no output is passed on before the
counts add up, and ``_SUCCESS`` is written last.
"""

import codecs
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mrjob.runner import MRJobRunner
from mrjob.step import StepFailedException

from model_mapreduce_job.command_line import TaskFailedError, undisturbed
from model_mapreduce_job.counters import FailureKinds
from model_mapreduce_job.first_records import first_records, settle_layout
from model_mapreduce_job.layout import Layout, header_line
from model_mapreduce_job.progress import progress_bar
from model_mapreduce_job.runner_extras import RunnerExtras, cloud_errors, extras_of
from model_mapreduce_job.summary import Summary
from model_scoring.errors import LostRecordsError, ModelCrashedError, ModelError, RecordFailedError
from model_scoring.isolation import is_crash
from model_scoring.outcome import Failure, shown

__all__ = ["launch"]


def launch(job: Any, model: Any) -> None:
    """Runs ``job``, which predicts with ``model``, and writes its output and its summary.

    Raises a ``ScoringError`` when the job failed; the exit codes are in ``command_line.py``.
    """
    job.set_up_logging(
        quiet=job.options.quiet, verbose=job.options.verbose, stream=codecs.getwriter("utf-8")(job.stderr)
    )
    started = time.monotonic()
    version = f"{model.major_version}.{model.minor_version}"
    with cloud_errors(job.options.runner), job.make_runner() as runner, _tidied(extras_of(runner)) as extras:
        extras.check_paths()
        layout = settle_layout(job, model, runner, extras)
        _remove_old_summary(job.options.summary_file)
        if job.options.preflight:
            _preflight(job, model, extras, layout)
        with progress_bar(runner, job.stderr):
            _run(runner, extras)
        summary = Summary(model.qualified_name, version, time.monotonic() - started)
        summary.add_counters(_counters(runner))
        if job.counts_add_up():
            _check_sums(summary, extras, with_engine=job.lines_are_records())
        if job._should_cat_output():
            job.stdout.write(header_line(job.options, layout))
            for block in runner.cat_output():
                job.stdout.write(block)
            job.stdout.flush()
        if not job.options.quiet or job.options.summary_file:
            extras.fetch_examples(len(summary.failures_by_kind))
        summary.examples = extras.examples
        summary.seconds = time.monotonic() - started
        _finish(job, extras, summary)


@contextmanager
def _tidied(extras: RunnerExtras) -> Iterator[RunnerExtras]:
    try:
        yield extras
    finally:
        extras.tidy_up()


def _run(runner: MRJobRunner, extras: RunnerExtras) -> None:
    try:
        runner.run()
    except StepFailedException as error:
        told, code = extras.failure_report(error)
        extras.abandon(told)
        raise TaskFailedError(told, code if code in (2, 3, 4) else 1) from error
    except BaseException:  # the launcher's end, whatever it is of
        with undisturbed():
            extras.interrupted()
        raise


def _check_sums(summary: Summary, extras: RunnerExtras, *, with_engine: bool) -> None:
    try:
        summary.check_sums(without_counts=extras.without_counts, with_engine=with_engine)
    except LostRecordsError as error:
        extras.mark_failed(f"{error}\n")
        raise


def _counters(runner: MRJobRunner) -> list[dict[str, dict[str, int]]]:
    try:
        return runner.counters() or []
    except NotImplementedError:  # a runner that has none
        return []


def _finish(job: Any, extras: RunnerExtras, summary: Summary) -> None:
    error = summary.verdict(job.options.max_failure_ratio)
    if not job.options.quiet:
        job.stderr.write(f"\n{summary.as_text()}\n".encode())
        job.stderr.flush()
    if job.options.output_dir and error is None:
        extras.mark_succeeded()
    elif job.options.output_dir:
        extras.mark_failed(f"{error}\n")
    if job.options.summary_file:
        summary.write(job.options.summary_file, "succeeded" if error is None else type(error).__name__)
    if error is not None:
        raise error


def _remove_old_summary(path: str | None) -> None:
    """A job that ends before its summary must not be taken for the earlier one that wrote it."""
    if path and Path(path).is_file():
        Path(path).resolve().unlink()


# --- preflight


def _preflight(job: Any, model: Any, extras: RunnerExtras, layout: Layout) -> None:
    """Scores the first records of the input here, before anything is submitted."""
    read = first_records(job, model, extras, layout)
    # A record that ends the model's process must not take the launcher along.
    with job.make_scorer(Namespace(**{**vars(job.options), "isolate": True})) as scorer:
        _, failures = scorer.score_batch(read.items)
    found = list(failures.values())
    if not job.options.quiet:
        job.stderr.write(f"preflight: {len(read.items):,} records scored, {len(found):,} failed\n".encode())
        job.stderr.flush()
    crashed = [place for place, failure in failures.items() if is_crash(failure)]
    if crashed and not job.options.isolate:
        raise ModelCrashedError(read.paths[crashed[0]], shown(read.texts[crashed[0]]), failures[crashed[0]].message)
    if found and job.options.on_failure == "stop":
        first = failures[min(failures)]
        text = first.record if isinstance(first.record, bytes) else read.texts[min(failures)]
        raise RecordFailedError(read.paths[min(failures)], shown(text), first.reason)
    if found and len(found) == len(read.items) and job.options.max_failure_ratio is None:
        raise ModelError(
            f"preflight: none of the first {len(found):,} records could be predicted ({_kinds(model, found)}). "
            f"Nothing was submitted."
        )


def _kinds(model: Any, failures: list[Failure]) -> str:
    kinds = FailureKinds(model)
    first = {kinds.name(failure): failure.message for failure in reversed(failures)}
    return "; ".join(f"{kind}: {message}" for kind, message in first.items())
