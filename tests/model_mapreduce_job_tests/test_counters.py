"""Counters: names that no data can lengthen, sums that add up."""

import random
import string
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, get_args

from pydantic import BaseModel
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ErrorType
from typing_extensions import TypedDict

from iris_model.iris_predict import IrisModel
from ml_model_abc import MLModel, MLModelException, MLModelSchemaValidationException
from model_mapreduce_job.counters import GROUP, LIMIT, FailureKinds, Labels, TaskCounters
from model_scoring.outcome import Failure


class Schemas(MLModel):
    """A model of which only the schemas matter."""

    display_name = qualified_name = description = "schemas"
    major_version = minor_version = 1
    input_schema: Any = None
    output_schema: Any = None

    def __init__(self, input_schema: Any = None, output_schema: Any = None) -> None:
        self.input_schema = input_schema
        self.output_schema = output_schema

    def predict(self, data: dict[str, Any]) -> dict[str, Any]:
        return data


Wide = TypedDict("Wide", {f"field_{number}": float for number in range(200)})  # type: ignore[misc]
Narrow = TypedDict("Narrow", {f"field_{number}": float for number in range(6)})  # type: ignore[misc]


class Digits(TypedDict):
    digit: Literal[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]


class Twelve(BaseModel):
    label: Literal["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"]


def hostile_failures(seed: int) -> list[Failure]:
    """Failures with every known name and thousands that nobody has seen."""
    choose = random.Random(seed)  # noqa: S311  # the same hostility each time
    words = ["".join(choose.choices(string.printable, k=12)) for _ in range(3000)]
    words += list(get_args(ErrorType)) + [f"field_{number}" for number in range(200)]
    known = ["ValueError", "KeyError", "OSError", "MLModelException", "AttributeError", "TypeError", "OverflowError"]
    known += ["RuntimeError", "WrongNumberOfPredictions", "NoPrediction", "ModelCrashed", "RecordTimeout"]
    known += ["not_utf8", "not_json", "not_an_object", "key_field_missing"]
    known += [f"field_{number}" for number in range(6)]
    words += known * 300
    stages = ("read", "validate", "predict", "write")
    made = [
        Failure(None, stage, choose.choice(words), "", choose.choice([None, *words]), choose.choice([None, *words]))  # type: ignore[arg-type]
        for stage in stages
        for _ in range(3000)
    ]
    custom = PydanticCustomError("made_up", "made up")
    return [*made, Failure.from_exception(None, "predict", custom)]


def names_of_tasks(model: MLModel, predictions: list[Any]) -> set[str]:
    """The names that ten tasks of hostile records come to together."""
    found: Counter[str] = Counter()
    for seed in range(10):
        counters = TaskCounters(model, lambda group, name, amount: found.update({(group + name): amount}))
        counters.add_lines(1)
        counters.add_skipped(1, 1)
        failures = hostile_failures(seed)
        counters.add_outcomes([None] * len(failures), failures)
        counters.add_outcomes(predictions, [])
        counters.finish()
    return set(found)


def test_all_tasks_together_stay_within_the_limit() -> None:
    twelve = [{"label": letter} for letter in "abcdefghijkl"] + [{"label": "unheard of"}, {"label": []}, None]
    for input_schema in (Wide, Narrow, None, dict[str, float]):
        names = names_of_tasks(Schemas(input_schema, Twelve), twelve)
        assert len(names) <= LIMIT
        assert any("other" in name for name in names)
    assert len(names_of_tasks(Schemas(Narrow, Twelve), twelve)) == LIMIT, "the budget is used, not wasted"


def test_names_fit_hadoops_line_protocol() -> None:
    class Odd(TypedDict):
        kind: Literal["a,b", "c\nd", "e"]

    counted = Labels(Schemas(None, Odd)).count([{"kind": "a,b"}, {"kind": "c\nd"}], None)
    assert counted == {"label: kind=a_b": 1, "label: kind=c_d": 1}


def test_kinds_by_field_where_there_are_few_and_by_reason_where_there_are_many() -> None:
    narrow, wide = FailureKinds(Schemas(Narrow)), FailureKinds(Schemas(Wide))
    for error_type, reason in (
        ("missing", "missing field"),
        ("float_type", "wrong type"),
        ("less_than", "wrong value"),
    ):
        failure = Failure(None, "validate", error_type, "", "field_3")
        assert narrow.name(failure) == "validate field_3"
        assert wide.name(failure) == f"validate {reason}"


def test_a_models_own_exceptions_count_as_what_they_are_a_kind_of() -> None:
    class OwnError(KeyError):
        pass

    class OwnSchemaError(MLModelSchemaValidationException):
        pass

    class AloneError(Exception):
        pass

    kinds = FailureKinds(IrisModel())
    expected = {
        OwnError: "LookupError",
        OwnSchemaError: "MLModelException",
        MLModelException: "MLModelException",
        AloneError: "other",
    }
    assert {kind: kinds.name(Failure.from_exception(None, "predict", kind("x"))) for kind in expected} == {
        kind: f"predict {name}" for kind, name in expected.items()
    }


@dataclass
class Labelled:
    species: str


def test_labels_come_from_the_output_schema_with_and_without_a_tally() -> None:
    labels = Labels(IrisModel())
    predictions = [{"species": "setosa"}, {"species": "setosa"}, {"species": "virginica"}, {"species": "rose"}, {}]
    tally = Counter([b'{"species": "setosa"}'] * 2 + [b'{"species": "virginica"}', b'{"species": "rose"}', b"{}"])
    expected = {"label: species=setosa": 2, "label: species=virginica": 1, "label: other": 2}
    assert labels.count(predictions, None) == expected
    assert labels.count(predictions, tally) == expected
    # Of objects, too, that are such a prediction in JSON only.
    objects = [
        {"species": Enum("Species", {"SETOSA": "setosa"}).SETOSA},
        Labelled("setosa"),
        Labelled("rose"),
        object(),
    ]
    assert labels.count(objects, None) == {"label: species=setosa": 2, "label: other": 2}
    assert Labels(Schemas(None, Digits)).count([{"digit": 7}], None) == {"label: digit=7": 1}
    assert Labels(Schemas(None, TypedDict("Free", {"text": str}))).count([{"text": "x"}], None) == {}
    assert Labels(Schemas(None, TypedDict("Flag", {"yes": bool}))).count([{"yes": True}], None) == {
        "label: yes=true": 1
    }


def test_lines_are_handed_on_before_outcomes_and_totals_even_when_zero() -> None:
    told: list[tuple[str, str, int]] = []
    counters = TaskCounters(IrisModel(), lambda *each: told.append(each))
    counters.add_lines(2)
    assert told == [(GROUP, "lines", 2)]
    counters.add_outcomes([{"species": "setosa"}, None], [Failure(None, "read", "not_json", "")])
    assert told == [(GROUP, "lines", 2)]
    counters.flush()
    assert set(told[1:]) == {
        (GROUP, "predictions", 1),
        (GROUP, "failures", 1),
        (GROUP, "failures: read not_json", 1),
        (GROUP, "label: species=setosa", 1),
    }
    told.clear()
    counters.finish()
    assert told == [(GROUP, "lines", 0), (GROUP, "predictions", 0), (GROUP, "failures", 0)]
