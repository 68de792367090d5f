"""check_model(): what every model must keep to, tried out on the model itself.

Three stages, each on what the one before it has established: what the model says of itself, which records there are to
try, what it answers for them. All of the model's code runs under the output guard; what it prints does not matter.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ml_model_abc import MLModel
from model_scoring.answers import Raised, attempt, same, shown
from model_scoring.errors import ModelCheckError
from model_scoring.formats import json_text
from model_scoring.model_trial import NoTrialError, Trial
from model_scoring.outcome import Failure
from model_scoring.output_guard import model_output_to_stderr
from model_scoring.record_schema import RecordSchema, json_schema
from model_scoring.scoring import BatchScorer

__all__ = ["check_model"]

Problems = Iterator[str]


def check_model(model: MLModel, records: Iterable[dict[str, Any]] | None = None) -> list[str]:
    """Tries out what every model must keep to; returns one sentence for each check that passed.

    ``records`` are records to predict; those that the input schema refuses serve as bad records. Without ``records``
    samples are made from the input schema. The model must predict at least one of them. Raises ``ModelCheckError``
    with every problem found; the checks of predictions run only on a model whose description is in order.
    """
    with model_output_to_stderr():
        passed, problems = _run(_DESCRIPTION_CHECKS, model)
        if not problems:
            try:
                trial = Trial.of(model, records)
            except NoTrialError as reason:
                problems = [str(reason)]
            else:
                more, problems = _run(_PREDICTION_CHECKS, trial)
                passed += more
    if problems:
        raise ModelCheckError(f"{type(model).__module__}.{type(model).__qualname__}", problems)
    return passed


def _run(checks: tuple[tuple[str, Callable[[Any], Problems]], ...], subject: Any) -> tuple[list[str], list[str]]:
    passed: list[str] = []
    problems: list[str] = []
    for sentence, check in checks:
        found = list(check(subject))
        problems += found
        if not found:
            passed.append(sentence)
    return passed, problems


# What the model says of itself.


def _metadata_problems(model: MLModel) -> Problems:
    for name in ("display_name", "qualified_name", "description"):
        text = attempt(getattr, model, name)
        if not isinstance(text, str) or not text.strip():
            yield f"{name} is {shown(text)}; it must be a string that is not empty."
        elif name == "qualified_name" and any(map(str.isspace, text)):
            yield f"qualified_name {text!r} holds white space; it is typed in command lines."
    for name in ("major_version", "minor_version"):
        number = attempt(getattr, model, name)
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            yield f"{name} is {shown(number)}; it must be a whole number, 0 or more."


def _schema_problems(model: MLModel) -> Problems:
    for name in ("input_schema", "output_schema"):
        schema = attempt(getattr, model, name)
        if isinstance(schema, Raised):
            yield f"{name} cannot be had: {schema}."
            continue
        usable = attempt(RecordSchema, schema)
        if isinstance(usable, Raised):
            yield f"{name} cannot validate: {usable}. Use a type that pydantic knows, a schema.Schema or None."
            continue
        described = attempt(json_schema, schema, "input" if name == "input_schema" else "output")
        if isinstance(described, Raised):
            yield f"{name} cannot be described as JSON Schema: {described}."


_DESCRIPTION_CHECKS: tuple[tuple[str, Callable[[MLModel], Problems]], ...] = (
    ("Names, description and versions are there.", _metadata_problems),
    ("Both schemas can validate and be described as JSON Schema.", _schema_problems),
)


# What the model answers.


def _answer_problems(trial: Trial) -> Problems:
    output = RecordSchema(trial.model.output_schema)
    for record, answer in zip(*trial.answered(), strict=True):
        reason = _wrong_with(answer, output)
        if reason:
            yield f"predict answers {shown(answer)} for {shown(record)}: {reason}."


def _wrong_with(answer: Any, output: RecordSchema) -> str | None:
    if not isinstance(answer, dict):
        return "a prediction is a dict"
    text = attempt(json_text.encode, answer)
    if isinstance(text, Raised):
        return f"it cannot be written as JSON: {text}"
    # What leaves through a door is the JSON; the answer itself may hold NumPy's numbers, which schemas refuse.
    for form in (json_text.decode(text), answer):
        _, failures = output.validate([form])
        if not failures:
            return None
    return f"it does not fit the output schema: {failures[0].reason}"


def _batch_problems(trial: Trial) -> Problems:
    records, answers = trial.answered()
    for size in _sizes(len(records)):
        yield from _first(_batches_of(trial, records, answers, size))
    if type(trial.model).predict_batch is not MLModel.predict_batch:
        nothing = attempt(trial.model.predict_batch, [])
        if isinstance(nothing, Raised) or _count(nothing) != 0:
            yield f"predict_batch answers an empty batch with {shown(nothing)}; it must answer []."


def _batches_of(trial: Trial, records: list[Any], answers: list[Any], size: int) -> Problems:
    for start in range(0, len(records), size):
        batch, _ = trial.schema.validate(copy.deepcopy(records[start : start + size]))
        expected = answers[start : start + size]
        got = attempt(trial.model.predict_batch, batch)
        if isinstance(got, Raised):
            yield f"predict_batch raises on {len(batch)} record(s) that predict answers: {got}."
        elif _count(got) != len(expected):
            yield f"predict_batch answers {_count(got)} predictions for {len(expected)} record(s)."
        else:
            for record, one, other in zip(records[start:], expected, got, strict=False):
                if not same(one, other):
                    yield (
                        f"predict_batch with {len(batch)} record(s) answers {shown(other)} for {shown(record)}, "
                        f"predict {shown(one)}."
                    )


def _hall_problems(trial: Trial) -> Problems:
    for size in _sizes(len(trial.records)):
        yield from _first(_differences(trial, _scored(trial, size), f"scored in batches of {size}"))


def _scored(trial: Trial, size: int) -> list[Any]:
    scorer = BatchScorer(trial.model)
    outcomes: list[Any] = []
    for start in range(0, len(trial.records), size):
        predictions, failures = scorer.score_batch(copy.deepcopy(trial.records[start : start + size]))
        outcomes += [failures.get(place, prediction) for place, prediction in enumerate(predictions)]
    return outcomes


def _differences(trial: Trial, outcomes: list[Any], how: str) -> Problems:
    for record, expected, outcome in zip(trial.records, trial.expected, outcomes, strict=True):
        failed = isinstance(outcome, Failure)
        if failed != (isinstance(expected, Raised) or expected is None):
            what = outcome.reason if failed else shown(outcome)
            yield f"{shown(record)}, {how}, gives {what}; predict gives {shown(expected)}."
        elif not failed and not same(expected, outcome):
            yield f"{shown(record)}, {how}, gives {shown(outcome)}; predict gives {shown(expected)}."


def _change_problems(trial: Trial) -> Problems:
    for record in trial.changed[:1]:
        yield f"predict changes the record it is given: {shown(record)}."
    batch, _ = trial.schema.validate(copy.deepcopy(trial.records))
    before = copy.deepcopy(batch)
    attempt(trial.model.predict_batch, batch)
    if len(batch) != len(before) or not all(map(same, before, batch)):
        yield "predict_batch changes the records it is given, or their list."


def _state_problems(trial: Trial) -> Problems:
    trial = trial.small()
    scorer = BatchScorer(trial.model)
    for bad in _bad_records(trial):
        attempt(trial.model.predict, copy.deepcopy(bad))
        scorer.score_batch([copy.deepcopy(bad), *copy.deepcopy(trial.records)])
        after = [attempt(trial.model.predict, copy.deepcopy(record)) for record in trial.records]
        hall = _scored(trial, len(trial.records))
        how = f"after the bad record {shown(bad)}"
        yield from _first([*_differences(trial, _as_outcomes(trial, after), how), *_differences(trial, hall, how)])


def _as_outcomes(trial: Trial, answers: list[Any]) -> list[Any]:
    """The answers of ``predict`` as the hall's outcomes."""
    return [
        Failure(record, "predict", answer.name, str(answer)) if isinstance(answer, Raised) else answer
        for record, answer in zip(trial.records, answers, strict=True)
    ]


def _bad_records(trial: Trial) -> list[Any]:
    names = [str(name) for name in trial.records[0]]
    wrong: list[Any] = ["not a number", None, [], {}]
    return [{}, *(dict.fromkeys(names, value) for value in wrong), *trial.refused]


def _refusal_problems(trial: Trial) -> Problems:
    _, failures = trial.schema.validate([{}])
    answer = attempt(trial.model.predict, {}) if failures else None
    if failures and not isinstance(answer, Raised):
        yield f"predict answers {shown(answer)} for {{}}, which the input schema refuses; it must raise."


_PREDICTION_CHECKS: tuple[tuple[str, Callable[[Trial], Problems]], ...] = (
    ("Predictions are dicts, can be written as JSON and fit the output schema.", _answer_problems),
    ("predict_batch answers each record as predict does, in batches of any size.", _batch_problems),
    ("Scoring gives what predict gives, in batches of any size.", _hall_problems),
    ("The records handed in are not changed.", _change_problems),
    ("A bad record leaves nothing behind.", _state_problems),
    ("predict raises on a record that the input schema refuses.", _refusal_problems),
)


def _sizes(count: int) -> list[int]:
    return sorted({1, min(2, count), min(3, count), count})


def _count(answers: Any) -> int:
    return len(answers) if hasattr(answers, "__len__") else -1


def _first(problems: Iterable[str]) -> list[str]:
    """One sentence for a kind of problem, however many records show it."""
    found = list(problems)
    return found if len(found) < 2 else [f"{found[0]} And {len(found) - 1} more of the kind."]
