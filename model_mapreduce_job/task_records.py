"""TaskRecords: how a task comes by its records, whichever the format of its input.

Both ways of a task, blocks and pairs, begin with batches as they are read from a file: lines, or records of a format
whose files are read whole. ``read`` makes records of a batch, ``pairs`` pairs.
"""

from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

from ml_model_abc import MLModel
from model_mapreduce_job.counters import TaskCounters
from model_mapreduce_job.layout import Layout, reader_of_files, reader_of_lines, without_headers
from model_mapreduce_job.protocols import as_value, text_of
from model_mapreduce_job.task_input import input_files, read_batches
from model_scoring.formats.batches import ReadBatch
from model_scoring.formats.json_text import Record, with_text
from model_scoring.formats.partitions import PartitionFields
from model_scoring.formats.registry import INPUT_FORMATS
from model_scoring.outcome import Failure
from model_scoring.record_schema import described_schema

__all__ = ["TaskRecords"]

Batches = Iterable[tuple[str, list[Any]]]


class TaskRecords:
    """The records of one task, as the job's ``options`` and ``layout`` say."""

    def __init__(self, model: MLModel, options: Namespace, layout: Layout | None, counters: TaskCounters) -> None:
        self._options = options
        self._layout = layout
        self._counters = counters
        self._source = ""
        self._partitions = (
            PartitionFields(described_schema(model.input_schema, "input")) if options.partition_fields else None
        )
        if INPUT_FORMATS[options.input_format].by_line:
            self._files = None
            reader = reader_of_lines(model, options, layout)
            self._read_batch: Callable[[list[Any]], ReadBatch] = reader.read_lines
            self._at_once = reader.lines_at_once
        else:
            self._files = reader_of_files(model, options, layout)
            self._read_batch = self._files.read_values
            self._at_once = options.batch_size

    def batches(self, stdin: BinaryIO, source: str, *, from_start: bool) -> Iterator[tuple[str, list[Any]]]:
        """What ``read`` takes, with the name of the file; ``stdin`` has lines of ``source``, from its start or not.

        Raises ``InputError`` and ``OSError``.
        """
        arguments = self._options.args
        if self._files is None:
            return self.of(read_batches(arguments, stdin, source, self._options.batch_size, from_start=from_start))
        return self.of(input_files(arguments, stdin))

    def of(self, given: Iterable[Any]) -> Iterator[tuple[str, list[Any]]]:
        """The same of ``Lines``, or of the paths and names of files where the format's files are read whole."""
        if self._files is not None:
            batches = self._whole_files(given)
        elif INPUT_FORMATS[self._options.input_format].has_columns:
            assert self._layout is not None
            batches = without_headers(given, self._options, self._layout, self._counters.add_headers)
        else:
            batches = ((each.source, each.lines) for each in given)
        for self._source, batch in batches:
            for start in range(0, len(batch), self._at_once):
                yield self._source, batch[start : start + self._at_once]

    def _whole_files(self, files: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[Any]]]:
        assert self._files is not None
        for path, source in files:
            self._counters.add_file()
            for values in self._files.read_file(path, source, self._options.batch_size):
                yield source, values

    def read(self, batch: list[Any]) -> ReadBatch:
        """The records of the batch that was yielded last."""
        read = self._read_batch(batch)
        return read if self._partitions is None else self._partitions.add(self._source, read)

    def pairs(self, batches: Batches, read_line: Callable[[bytes], Any]) -> Iterator[tuple[Any, Any]]:
        """Pairs of which ``RecordProtocol`` reads; ``read_line`` is what reads a line."""
        for source, batch in batches:
            pairs: Iterable[tuple[Any, Any]]
            if self._files is None:
                pairs = map(read_line, batch)
            else:
                read = self._read_batch(batch)
                pairs = ((None, as_value(*each, False)) for each in zip(read.texts, read.items, strict=True))
            if self._partitions is None:
                yield from pairs
                continue
            fields = self._partitions.fields(source)
            for key, value in pairs:
                yield key, _with_fields(fields, value)


def _with_fields(fields: dict[str, bytes], value: Any) -> Any:
    text, item = PartitionFields.add_to(fields, text_of(value), value)
    if item is value:
        return value
    if isinstance(item, Failure):
        return as_value(text, item, False)
    return with_text(item, text, value.marked) if type(value) is Record else item
