"""What the launcher reads of the input before anything is submitted: its first lines, for the columns, and its first
records, for the preflight."""

import logging
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from mrjob.runner import MRJobRunner

from ml_model_abc import MLModel
from model_mapreduce_job.counters import TaskCounters
from model_mapreduce_job.layout import Layout, find_layout, first_line, settled
from model_mapreduce_job.runner_extras import RunnerExtras
from model_mapreduce_job.task_input import Lines
from model_mapreduce_job.task_records import TaskRecords
from model_scoring.formats.lines import batch_lines
from model_scoring.formats.partitions import partition_fields
from model_scoring.formats.registry import INPUT_FORMATS
from model_scoring.outcome import shorten
from model_scoring.record_schema import described_schema, properties

__all__ = ["FirstRecords", "first_records", "settle_layout"]

log = logging.getLogger("mrjob.launch")  # where mrjob's own --quiet reaches it

# Files whose first lines are read at the same time: on a cluster each takes a second.
AT_ONCE = 8
# A file that must be here to be read is fetched for a preflight up to this size.
FETCHED_BYTES = 64 << 20


class FirstRecords(NamedTuple):
    """The first records of the input, each with its file and its text; an item is a record or a ``Failure``."""

    paths: list[str]
    texts: list[bytes]
    items: list[Any]


def settle_layout(job: Any, model: MLModel, runner: MRJobRunner, extras: RunnerExtras) -> Layout:
    """Settles the columns of input and output, and has the tasks told; raises ``InputError``."""
    layout = settled(job.options)
    if layout is None:
        layout = _found_layout(job, model, runner, extras)
    if layout.columns:
        _warn_of_unknown(layout.columns, model)
    return layout


def _warn_of_unknown(columns: Iterable[str], model: MLModel) -> None:
    """Says so where no column is a field of the model; by an alias that its schema does not show one still may be."""
    fields = properties(described_schema(model.input_schema, "input"))
    if fields and not fields.keys() & set(columns):
        log.warning(
            "None of the columns (%s) is a field of the model's input schema (%s).",
            *(shorten(", ".join(names)) for names in (columns, fields)),
        )


def _found_layout(job: Any, model: MLModel, runner: MRJobRunner, extras: RunnerExtras) -> Layout:
    names: list[str] = []
    if job.options.partition_fields:
        names = list(dict.fromkeys(name for path in extras.input_names() for name in partition_fields(path)))
    layout = find_layout(model, job.options, _first_lines(extras), names)
    runner._extra_args += ["--layout", layout.as_text()]
    job.options.layout = layout.as_text()
    return layout


def _first_lines(extras: RunnerExtras) -> Iterator[tuple[str, bytes]]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        files = extras.first_files(all_of_them=True)
        for path, line in pool.map(lambda file: (file[0], first_line(file[1])), files):
            if line is not None:
                yield path, line


def first_records(job: Any, model: MLModel, extras: RunnerExtras, layout: Layout) -> FirstRecords:
    """As many records of the input's first files as ``--preflight`` asks for, as far as they are quickly had."""
    wanted = job.options.preflight
    found = FirstRecords([], [], [])
    records = TaskRecords(model, job.options, layout, TaskCounters(model, lambda *_: None))
    by_line = INPUT_FORMATS[job.options.input_format].by_line
    batches = _lines(extras, wanted) if by_line else _fetched(extras)
    for path, batch in records.of(batches):
        read = records.read(batch)
        room = wanted - len(found.items)
        found.paths.extend([path] * len(read.items[:room]))
        found.texts.extend(read.texts[:room])
        found.items.extend(read.items[:room])
        if len(found.items) >= wanted:
            break
    return found


def _lines(extras: RunnerExtras, wanted: int) -> Iterator[Lines]:
    for path, blocks in extras.first_files():
        first = True
        for lines in batch_lines(blocks, wanted):
            yield Lines(path, lines[:wanted], first)
            first = False


def _fetched(extras: RunnerExtras) -> Iterator[tuple[str, str]]:
    """Files as ``TaskRecords`` takes them: paths on this machine, and names."""
    for path, blocks in extras.first_files():
        if Path(path).is_file():
            yield path, path
            continue
        with tempfile.NamedTemporaryFile() as file:
            if _copied(blocks, file):
                yield file.name, path


def _copied(blocks: Iterable[bytes], file: Any) -> bool:
    for block in blocks:
        file.write(block)
        if file.tell() > FETCHED_BYTES:
            return False
    file.flush()
    return True
