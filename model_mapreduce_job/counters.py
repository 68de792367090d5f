"""What a task counts, and under which names.

Hadoop ends a job with more than 120 counters, its own some 50 included, and adds up the names of all tasks. So every
name comes from a list that the model's code fixes and no data can lengthen: at most ``LIMIT`` for a job, in however
many tasks. What is not on the list folds into ``other``.
"""

import builtins
import json
from collections import Counter
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any

from ml_model_abc import MLModel, MLModelException, MLModelSchemaValidationException
from model_scoring.formats.json_text import encode
from model_scoring.isolation import is_crash
from model_scoring.outcome import Failure
from model_scoring.record_schema import described_schema, properties

__all__ = ["GROUP", "LIMIT", "FailureKinds", "Labels", "TaskCounters", "failure_likeness"]

GROUP = "model scoring"
LIMIT = 40

LINES = "lines"
BLANK_LINES = "blank lines"
BYTE_ORDER_MARKS = "byte order marks"
# One of these at most in a job, and then no byte order marks.
HEADER_LINES = "header lines"
FILES = "files"
PREDICTIONS = "predictions"
FAILURES = "failures"
FAILURE_PREFIX = "failures: "
LABEL_PREFIX = "label: "

# A schema with more fields than this is counted by what is wrong instead of where.
COUNTED_FIELDS = 6
# 5 totals, 5 + 7 + 9 + 1 failure kinds and as many labels, "other" included, make LIMIT.
COUNTED_LABELS = 13
LABEL_LENGTH = 40

# Four at most of any one format.
_READ_KINDS = (
    *("not_utf8", "key_field_missing"),
    *("not_json", "not_an_object"),  # ldjson
    *("quotes", "cell_count"),  # csv, tsv
    *("no_json", "no_value"),  # avro, parquet
)
_PREDICT_KINDS = (
    MLModelException,
    ArithmeticError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
_PREDICT_BASES = vars(builtins) | {kind.__name__: kind for kind in (MLModelException, MLModelSchemaValidationException)}


# All that the kind of a failure depends on.
failure_likeness = attrgetter("stage", "error_type", "field", "base_type")


class FailureKinds:
    """Names the kind of a failure of one model, from a list fixed by the model's input schema."""

    def __init__(self, model: MLModel) -> None:
        fields = list(properties(described_schema(model.input_schema, "input")))
        self._fields = frozenset(fields) if len(fields) <= COUNTED_FIELDS else None

    def count(self, failures: Iterable[Failure]) -> dict[str, int]:
        """How many failures there are of each kind."""
        counted: Counter[str] = Counter()
        for likeness, times in Counter(map(failure_likeness, failures)).items():
            counted[self.name(Failure(None, likeness[0], likeness[1], "", *likeness[2:]))] += times
        return counted

    def name(self, failure: Failure) -> str:
        """``stage kind``, for instance ``validate petal_width``."""
        if failure.stage == "write":
            return "write"
        return f"{failure.stage} {self._kind(failure)}"

    def _kind(self, failure: Failure) -> str:
        if failure.stage == "read":
            return failure.error_type if failure.error_type in _READ_KINDS else "other"
        if failure.stage == "predict":
            return _predict_kind(failure)
        if self._fields is not None:
            return _label(failure.field) if failure.field in self._fields else "other"
        return _validate_kind(failure.error_type)


def _validate_kind(error_type: str) -> str:
    """Pydantic's error types, of which there are a hundred, in three kinds."""
    if error_type == "missing":
        return "missing field"
    return "wrong type" if error_type.endswith(("_type", "_parsing")) else "wrong value"


def _predict_kind(failure: Failure) -> str:
    if is_crash(failure):
        return "crash or timeout"
    if failure.error_type in ("WrongNumberOfPredictions", "NoPrediction"):
        return "no prediction"
    raised = _PREDICT_BASES.get(failure.base_type or failure.error_type, object)
    return next((kind.__name__ for kind in _PREDICT_KINDS if issubclass(raised, kind)), "other")


class Labels:
    """The labels that a classifier's output schema names: the first field with a closed list of short values."""

    def __init__(self, model: MLModel) -> None:
        self._field = ""
        self._names: dict[Any, str] = {}
        for field, described in properties(described_schema(model.output_schema, "output")).items():
            values = _closed_list(described)
            if values and len(values) <= COUNTED_LABELS - 1:
                self._field = field
                self._names = {value: f"{LABEL_PREFIX}{field}={_label(value)}" for value in values}
                return

    def count(self, predictions: Iterable[Any], tally: Counter[bytes] | None) -> dict[str, int]:
        """How often each label occurs; from ``tally`` (JSON text by frequency) where there is one."""
        if not self._names:
            return {}
        counted: Counter[str] = Counter()
        if tally is not None:
            for text, times in tally.items():
                if text != b"null":
                    counted[self._name(json.loads(text))] += times
        else:
            for prediction in predictions:
                if prediction is not None:
                    counted[self._name(prediction)] += 1
        return counted

    def _name(self, prediction: Any) -> str:
        try:
            return self._names.get(self._label(prediction), f"{LABEL_PREFIX}other")
        except TypeError:  # a list or dict where a label was promised
            return f"{LABEL_PREFIX}other"

    def _label(self, prediction: Any) -> Any:
        """The label as JSON has it."""
        if isinstance(prediction, dict):
            value = prediction.get(self._field)
            return value if type(value) in _PLAIN else _in_json(value)
        written = _in_json(prediction)
        return written.get(self._field) if isinstance(written, dict) else None


def _in_json(value: Any) -> Any:
    """What JSON makes of an object, None where it makes nothing."""
    try:
        return json.loads(encode(value))
    except MemoryError:
        raise
    except Exception:  # a subclass's protocol writes it, in its own way
        return None


# Values that JSON has as they are, or that are missing.
_PLAIN = frozenset((str, int, bool, float, type(None)))


def _closed_list(described: dict[str, Any]) -> list[Any]:
    if described.get("type") == "boolean":
        return [False, True]
    values = described.get("enum", [described["const"]] if "const" in described else [])
    short = all(isinstance(value, str | int) and len(str(value)) <= LABEL_LENGTH for value in values)
    return list(values) if short else []


def _label(value: Any) -> str:
    """A name that fits one line of Hadoop's counter protocol, where a comma would end it."""
    text = value if isinstance(value, str) else json.dumps(value)
    return "".join(character if character.isprintable() and character != "," else "_" for character in text)


class TaskCounters:
    """Adds up the counts of one task and hands them on, once for each batch.

    Lines are handed on before they are parsed and outcomes after they are written, so that a task which dies between
    the two leaves counts that do not add up.
    """

    def __init__(
        self, model: MLModel, increment: Callable[[str, str, int], None], *, has_headers: bool = False
    ) -> None:
        """With ``has_headers`` files begin with a line that names columns; byte order marks are not counted then."""
        self._has_headers = has_headers
        self.kinds = FailureKinds(model)
        self._labels = Labels(model)
        self._increment = increment
        self._pending: Counter[str] = Counter()

    def add_lines(self, lines: int, *, flush: bool = True) -> None:
        """Counts lines that are about to be parsed and, unless told otherwise, hands on everything."""
        self._pending[LINES] += lines
        if flush:
            self.flush()

    def add_skipped(self, blank_lines: int, byte_order_marks: int) -> None:
        """Counts what was read and is no record."""
        if blank_lines:
            self._pending[BLANK_LINES] += blank_lines
        if byte_order_marks and not self._has_headers:
            self._pending[BYTE_ORDER_MARKS] += byte_order_marks

    def add_headers(self, lines: int) -> None:
        """Counts lines that name the columns."""
        self._pending[LINES] += lines
        self._pending[HEADER_LINES] += lines

    def add_file(self) -> None:
        """Counts a file that is about to be read whole."""
        self._pending[FILES] += 1

    def add_outcomes(
        self, predictions: list[Any], failures: Iterable[Failure], tally: Counter[bytes] | None = None
    ) -> None:
        """Counts what has been written: as many outcomes as ``predictions`` has places."""
        failed = self.kinds.count(failures)
        self._pending[PREDICTIONS] += len(predictions) - sum(failed.values())
        if failed:
            self._pending[FAILURES] += sum(failed.values())
            for kind, times in failed.items():
                self._pending[FAILURE_PREFIX + kind] += times
        self._pending.update(self._labels.count(predictions, tally))

    def flush(self) -> None:
        """Hands on what has been added up."""
        for name, amount in self._pending.items():
            self._increment(GROUP, name, amount)
        self._pending.clear()

    def finish(self) -> None:
        """Hands on the rest, and the totals even where they are zero: a total that is absent is unknown."""
        for name in (LINES, PREDICTIONS, FAILURES):
            self._pending[name] += 0
        self.flush()
