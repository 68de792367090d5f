"""What one task does with its records: ScoringTask, and the two ways through it.

``scored_blocks`` reads lines and gives lines, a batch at a time; it is the fast way and needs the task to itself.
``score_pairs`` takes and yields pairs as mrjob hands them round; it serves subclasses, reduce steps and the Spark
harness. Both write the same bytes. Neither knows where lines come from or go to.
"""

import gc
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from model_mapreduce_job.counters import TaskCounters, failure_likeness
from model_mapreduce_job.examples import example_line
from model_mapreduce_job.protocols import BLANK, NO_DETAIL, text_of, unreadable_key
from model_mapreduce_job.task_scorer import TaskScorer
from model_scoring.errors import ModelCrashedError, ModelError, RecordFailedError
from model_scoring.formats.batches import OutcomeWriter, ReadBatch, joined
from model_scoring.formats.json_text import (
    PredictionEncoder,
    Record,
    decode,
    encode,
    failure_key,
    key_reader,
    record_key,
    with_text,
)
from model_scoring.formats.lines import BATCH_BYTES
from model_scoring.isolation import is_crash
from model_scoring.outcome import Failure, Prediction, shown

__all__ = ["ScoringTask"]

# A task in which this many records from the first on all failed is broken, not unlucky.
HOPELESS_RECORDS = 10_000


class ScoringTask:
    """Scores the records of one task and counts what becomes of them.

    ``options`` are the job's: ``batch_size``, ``on_failure``, ``key_field``, ``max_failure_ratio``. ``scorer`` is
    closed when the task is done. ``writer`` writes the outcomes, None writes pairs. ``write_message`` gets lines for
    the task's standard error.
    """

    def __init__(
        self,
        options: Namespace,
        counters: TaskCounters,
        scorer: TaskScorer,
        writer: OutcomeWriter | None,
        *,
        write_message: Callable[[str], None],
    ) -> None:
        self._scorer = scorer
        self._options = options
        self._counters = counters
        self._write_message = write_message
        self._encoder = PredictionEncoder()
        self._read_key = key_reader(options.key_field) if options.key_field else None
        self._writer = writer
        self._kinds_shown: set[str] = set()
        self._likenesses_seen: set[Any] = set()
        self._failed = 0
        self._hopeful = options.max_failure_ratio is not None

    def scored_blocks(
        self, batches: Iterable[tuple[str, list[Any]]], read: Callable[[list[Any]], ReadBatch]
    ) -> Iterator[bytes]:
        """Scores ``batches``, each with the name of its source, and yields blocks of a line for each record.

        A batch is lines, or records of a file, as ``read`` takes them. A block counts as written when the next one is
        asked for.
        """
        with rare_collection(), self._scorer:
            yield from self._scored_blocks(batches, read)
        self._counters.finish()

    def _scored_blocks(
        self, batches: Iterable[tuple[str, list[Any]]], read_batch: Callable[[list[Any]], ReadBatch]
    ) -> Iterator[bytes]:
        for source, lines in batches:
            self._counters.add_lines(len(lines))
            read = read_batch(lines)
            self._counters.add_skipped(read.blank_lines, read.byte_order_marks)
            keys, items = self._keys(read.texts, read.items)
            predictions, failures = self._scorer.score_batch(items)
            encoded = self._encode(items, predictions, failures)
            if failures:
                self._judge(source, failures, read.texts)
            yield self._block(keys, encoded, failures, read)
            self._counters.add_outcomes(predictions, failures.values(), self._encoder.tally)
            self._counters.flush()
            self._hopeful = self._hopeful or len(failures) < len(items)
            # Freed before the next batch is read, last made first: so the allocator gives the next batch its memory in
            # the order it will be walked. In another order each failure scatters the records of all batches after it,
            # and every pass through them waits for memory: 5 % failures cost half as much again as none.
            del encoded, failures, predictions, items, keys, read, lines

    def score_pairs(
        self, pairs: Iterable[tuple[Any, Any]], source: str, *, written_as_json: bool
    ) -> Iterator[tuple[Any, Any]]:
        """Scores pairs whose values are what ``RecordProtocol`` reads, and yields a pair for each record.

        ``written_as_json`` says that a protocol of ours writes them, so that a prediction which is no JSON fails.
        """
        with self._scorer:
            yield from self._score_pairs(pairs, source, written_as_json)
        self._counters.finish()

    def _score_pairs(
        self, pairs: Iterable[tuple[Any, Any]], source: str, written_as_json: bool
    ) -> Iterator[tuple[Any, Any]]:
        for values in _batches((value for _, value in pairs), self._options.batch_size):
            self._counters.add_lines(len(values))
            records = [value for value in values if value is not BLANK]
            marked = sum(getattr(record, "marked", False) for record in records)
            self._counters.add_skipped(len(values) - len(records), marked)
            texts = list(map(text_of, records))
            keys, items = self._keys(texts, records)
            predictions, failures = self._score_writable(items, written_as_json)
            if failures:
                self._judge(source, failures, texts)
            for place, (record, prediction) in enumerate(zip(records, predictions, strict=True)):
                failure = failures.get(place)
                yield self.pair(record, prediction, failure, keys[place] if self._read_key else None)
            self._counters.add_outcomes(predictions, failures.values())
            self._counters.flush()
            self._hopeful = self._hopeful or len(failures) < len(items)

    def counted(self, pairs: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        """``pairs`` without blank lines, counted; for a mapper that is called for each record."""
        for number, (key, value) in enumerate(pairs, 1):
            self._counters.add_lines(1, flush=number % self._options.batch_size == 0)
            if value is BLANK:
                self._counters.add_skipped(1, 0)
            else:
                yield key, value

    def score_one(self, item: Any, source: str, *, written_as_json: bool) -> tuple[Any, Any]:
        """The pair for one record; its key, with ``--key_field``, as a value."""
        texts = [text_of(item)]
        [key], items = self._keys(texts, [item])
        predictions, failures = self._score_writable(items, written_as_json)
        if failures:
            self._judge(source, failures, texts)
        self._hopeful = self._hopeful or not failures
        self._counters.add_outcomes(predictions, failures.values())
        return self.pair(
            item, predictions[0], failures.get(0), decode(key) if self._read_key and not failures else None
        )

    def close(self) -> None:
        """Ends what scoring has started; for a task that has called ``score_one``."""
        self._scorer.close()

    def _score_writable(self, items: list[Any], written_as_json: bool) -> tuple[list[Any], dict[int, Failure]]:
        predictions, failures = self._scorer.score_batch(items)
        if written_as_json:
            self._encode(items, predictions, failures)
        return predictions, failures

    def _encode(self, items: list[Any], predictions: list[Any], failures: dict[int, Failure]) -> list[bytes]:
        """The JSON text of each prediction; those that cannot be written become failures."""
        encoded, unwritable = self._encoder.encode_batch(predictions, len(failures))
        if self._writer is not None:
            for place, why in self._writer.refused(encoded).items():
                unwritable[place] = Failure(None, "write", "ColumnError", f"the prediction cannot be written: {why}")
                encoded[place] = b"null"
                self._encoder.tally = None
        for place, failure in unwritable.items():
            failures[place] = replace(failure, record=items[place])
            predictions[place] = None
        return encoded

    def pair(self, item: Any, prediction: Any, failure: Failure | None, key: Any = None) -> tuple[Any, Any]:
        """The pair that is yielded for a record; ``key`` in place of the record where it has a prediction."""
        item = item.record if isinstance(item, Failure) and isinstance(item.record, dict) else item
        if type(item) is Record and decode(item.text) != item:
            item = with_text(decode(item.text), item.text, item.marked)  # a validator or the model has changed it
        if self._writer is not None:
            if failure is None:
                return None, Prediction(item, prediction)
            failure = replace(failure, record=failure.record if isinstance(failure.record, bytes) else item)
            return (None if self._options.on_failure == "detail" else NO_DETAIL), failure
        if failure is None:
            return (item if key is None else key), prediction
        detail = failure.as_value() if self._options.on_failure == "detail" else None
        return (unreadable_key(failure.record) if isinstance(failure.record, bytes) else item), detail

    def _keys(self, texts: list[bytes], items: list[Any]) -> tuple[list[bytes], list[Any]]:
        """What the output lines start with, and the items, those without the key field turned into failures."""
        if self._read_key is None:
            return texts, items
        keys: list[bytes] = []
        keyed: list[Any] = []
        for text, item in zip(texts, items, strict=True):
            key = None if isinstance(item, Failure) else self._read_key(text)
            keys.append(text if key is None else key)
            keyed.append(self._without_key(item) if key is None and not isinstance(item, Failure) else item)
        return keys, keyed

    def _without_key(self, record: Any) -> Failure:
        message = f"the record has no field {self._options.key_field!r}, which --key_field names"
        return Failure(record, "read", "key_field_missing", message)

    def _judge(self, source: str, failures: dict[int, Failure], texts: list[bytes]) -> None:
        """Shows the first failure of each kind; ends the task where the failures say or the user wants so."""
        if not self._scorer.gives_up:
            self._refuse_crashes(source, failures, texts)
        likenesses = set(map(failure_likeness, failures.values()))
        if not likenesses <= self._likenesses_seen:
            self._likenesses_seen |= likenesses
            self._show(source, failures, texts)
        self._failed += len(failures)
        if not self._hopeful and len(failures) == len(texts) and self._failed >= HOPELESS_RECORDS:
            raise ModelError(
                f"the first {self._failed:,} records of a task all failed, the last of them with "
                f"{failures[max(failures)].reason}. "
                "The model or its input is not what it should be; --max_failure_ratio 1 lets such a job go on."
            )

    def _refuse_crashes(self, source: str, failures: dict[int, Failure], texts: list[bytes]) -> None:
        for place in sorted(failures):
            if is_crash(failures[place]):
                raise ModelCrashedError(source, shown(texts[place]), failures[place].message)

    def _show(self, source: str, failures: dict[int, Failure], texts: list[bytes]) -> None:
        for place in sorted(failures):
            failure = failures[place]
            kind = self._counters.kinds.name(failure)
            if kind in self._kinds_shown:
                continue
            text = shown(failure.record if isinstance(failure.record, bytes) else texts[place])
            if self._options.on_failure == "stop":
                raise RecordFailedError(source, text, failure.reason)
            self._kinds_shown.add(kind)
            self._write_message(example_line(kind, failure, source, text))

    def _block(self, keys: list[bytes], encoded: list[bytes], failures: dict[int, Failure], read: ReadBatch) -> bytes:
        if self._writer is not None:
            return self._writer.block(read, encoded, failures, detailed=self._options.on_failure == "detail")
        if failures:
            keys, encoded = self._with_failures(keys, encoded, failures, read.texts)
        block = joined(keys, b"\t", encoded, b"\n")
        if block.count(b"\t") != len(keys) or b"\r" in block:
            block = joined(list(map(record_key, keys)), b"\t", encoded, b"\n")
        return block

    def _with_failures(
        self, keys: list[bytes], encoded: list[bytes], failures: dict[int, Failure], texts: list[bytes]
    ) -> tuple[list[bytes], list[bytes]]:
        keys, encoded = keys.copy(), encoded.copy()
        detailed = self._options.on_failure == "detail"
        for place, failure in failures.items():
            encoded[place] = encode(failure.as_value()) if detailed else b"null"
            keys[place] = failure_key(failure.record) if isinstance(failure.record, bytes) else texts[place]
        return keys, encoded


def _batches(values: Iterable[Any], batch_size: int) -> Iterator[list[Any]]:
    """Lists of at most ``batch_size`` values; fewer where the records are wide."""
    batch: list[Any] = []
    held = 0
    for value in values:
        batch.append(value)
        held += len(getattr(value, "text", b""))
        if len(batch) >= batch_size or held >= BATCH_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


@contextmanager
def rare_collection() -> Iterator[None]:
    """Lets the cyclic garbage collector run less often while it is entered.

    A batch is thousands of dicts that live until it is written and hold no cycles: looking through them, and through
    all that the libraries have loaded, costs a quarter of the time of a task. It still runs, for the model's sake.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
