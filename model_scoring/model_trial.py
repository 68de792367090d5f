"""A model and the records it is tried on, for check_model()."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, cast

from ml_model_abc import MLModel
from model_scoring.answers import Raised, attempt, same, shown
from model_scoring.outcome import Failure
from model_scoring.record_schema import RecordSchema, json_schema
from model_scoring.sample_records import Unguessable, sample_records

__all__ = ["NoTrialError", "Trial"]

# How many records of a trial are enough for a check that goes through them again and again.
FEW = 5


class NoTrialError(Exception):
    """There is no record on which the model could be tried."""


@dataclass(frozen=True)
class Trial:
    """A model and the records it is tried on. ``expected`` is what ``predict`` answers for each, or what it raises."""

    model: MLModel
    schema: RecordSchema
    records: list[Any]
    refused: list[Any]  # by the input schema
    expected: list[Any]
    changed: list[Any]  # the records that predict changed

    @classmethod
    def of(cls, model: MLModel, records: Iterable[Any] | None) -> "Trial":
        schema = RecordSchema(model.input_schema)
        given = _samples(model) if records is None else list(records)
        for record in given:
            if not isinstance(record, dict):
                raise NoTrialError(
                    f"{shown(record)} is no record: records are dicts, and the input schema's samples too."
                )
        _, failures = schema.validate(copy.deepcopy(given))
        valid = [record for place, record in enumerate(given) if place not in failures]
        if not valid:
            raise NoTrialError(_none_valid(records is None, failures))
        handed_in = copy.deepcopy(valid)
        expected = [copy.deepcopy(attempt(model.predict, record)) for record in handed_in]  # it may reuse its answer
        if all(isinstance(answer, Raised) for answer in expected):
            raise NoTrialError(
                f"predict raises on every one of {len(valid)} valid record(s); the first, {shown(valid[0])}: "
                f"{expected[0]}. If the records are to blame, pass records that the model can predict."
            )
        changed = [before for before, after in zip(valid, handed_in, strict=True) if not same(before, after)]
        return cls(model, schema, valid, [given[place] for place in failures], expected, changed)

    def small(self) -> "Trial":
        """The trial with few records, for checks that go through them again and again."""
        return replace(self, records=self.records[:FEW], expected=self.expected[:FEW], refused=self.refused[:FEW])

    def answered(self) -> tuple[list[Any], list[Any]]:
        """The records that ``predict`` answers, with its answers."""
        pairs = zip(self.records, self.expected, strict=True)
        records, answers = zip(*(pair for pair in pairs if not isinstance(pair[1], Raised)), strict=True)
        return list(records), list(answers)


def _samples(model: MLModel) -> list[Any]:
    if model.input_schema is None:
        raise NoTrialError("Without an input schema no sample records can be made; pass records.")
    try:
        return sample_records(cast("dict[str, Any]", json_schema(model.input_schema, "input")))
    except Unguessable as reason:
        raise NoTrialError(f"No sample records can be made from the input schema: {reason}. Pass records.") from None


def _none_valid(made_here: bool, failures: dict[int, Failure]) -> str:
    if not failures:
        return "There is no record to try; pass at least one."
    first = failures[min(failures)]
    whose = "made from the input schema" if made_here else "passed"
    return (
        f"None of the {len(failures)} record(s) {whose} is valid; the first, {shown(first.record)}: {first.reason}. "
        f"Pass records that fit the input schema."
    )
