"""What every model keeps to, and what the hall promises for each of them.

A new model is one more row of ``MODELS``.
"""

import copy
from collections import Counter

import pytest

from iris_model.iris_predict import IrisModel
from ml_model_abc import MLModel
from model_scoring import BatchScorer, Failure, Prediction, score
from model_scoring.answers import Raised, attempt
from model_scoring.formats.json_text import decode, encode
from model_scoring.testing import FailingModel, check_model
from tests.model_scoring_tests.models import (
    Batching,
    ByDefault,
    WithBaseModel,
    WithDataclass,
    WithoutSchema,
    WithSchemaPackage,
)

FLOWER = {"sepal_length": 5.0, "sepal_width": 3.2, "petal_length": 1.2, "petal_width": 0.2}
ROWS = [{"x": 1.5}, {"x": 2.0}, {"x": 0.25}]
REFUSED = [{}, {"x": "high"}, {"x": None}, {"x": [1.0]}]

# A model, records that it predicts, and records that its input schema (or itself, without one) refuses.
MODELS = {
    "iris": (
        IrisModel,
        [FLOWER, FLOWER | {"petal_length": 5, "petal_width": 2}, FLOWER | {"unknown": 1}],
        [{}, FLOWER | {"petal_width": "asd"}, FLOWER | {"petal_width": None}, FLOWER | {"petal_width": True}],
    ),
    "failing": (
        FailingModel,
        [{"value": 1.0}, {"value": 2, "unknown": []}, {"value": -3.5}],
        [{}, {"value": "1"}, {"value": True}, {"value": 1.0, "fail": "sometimes"}],
    ),
    "by default": (ByDefault, ROWS, REFUSED),
    "batching": (Batching, ROWS, REFUSED),
    "pydantic model": (WithBaseModel, [*ROWS, {"x": 1.0, "scale": 3}], [*REFUSED, {"x": 1.0, "scale": 9}]),
    "dataclass": (WithDataclass, ROWS, REFUSED),
    "schema package": (WithSchemaPackage, [*ROWS, {"x": 1, "note": "n"}], [*REFUSED, {"x": 1.0, "note": 5}]),
    "no schema": (WithoutSchema, ROWS, REFUSED),
}


@pytest.fixture(scope="module", params=MODELS)
def case(request):
    model_class, good, refused = MODELS[request.param]
    return model_class(), good, refused


@pytest.fixture
def model(case) -> MLModel:
    return case[0]


@pytest.fixture
def good(case):
    return copy.deepcopy(case[1])


@pytest.fixture
def refused(case):
    return copy.deepcopy(case[2])


def test_it_passes_check_model(model, good, refused):
    assert len(check_model(model, good)) == 8
    if model.input_schema is not None:
        assert check_model(model, good + refused) == check_model(model, good)


def test_samples_made_from_its_schema_will_do(model):
    if model.input_schema is not None and not isinstance(model, FailingModel):  # whose schema offers ways to fail
        assert len(check_model(model)) == 8


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_each_record_comes_out_once_and_in_order(model, good, refused, size):
    records = [*good, *refused, *good[::-1], *refused, good[0]]
    before = copy.deepcopy(records)
    outcomes = list(score(model, records, batch_size=size))
    assert [outcome.record for outcome in outcomes] == records == before
    assert Counter(type(outcome) for outcome in outcomes) == {
        Prediction: 2 * len(good) + 1,
        Failure: 2 * len(refused),
    }


def test_a_bad_record_costs_itself_only(model, good, refused):
    alone = [prediction for record in good for prediction in BatchScorer(model).score_batch([record])[0]]
    for bad in refused:
        for place in range(len(good) + 1):
            predictions, failures = BatchScorer(model).score_batch([*good[:place], bad, *good[place:]])
            assert list(failures) == [place]
            assert failures[place].record == bad
            assert failures[place].reason
            assert predictions[:place] + predictions[place + 1 :] == alone


def test_a_refused_record_fails_validation_where_there_is_a_schema(model, refused):
    stage = "predict" if model.input_schema is None else "validate"
    assert [outcome.stage for outcome in score(model, refused)] == [stage] * len(refused)


def test_predict_raises_on_what_is_refused(model, refused):
    for record in refused:
        assert isinstance(attempt(model.predict, record), Raised)


def test_predictions_survive_json(model, good):
    predictions, failures = BatchScorer(model).score_batch(good)
    assert failures == {}
    assert [decode(encode(prediction)) for prediction in predictions] == predictions


def test_nothing_in_nothing_out(model):
    assert list(score(model, [])) == []
    assert model.predict_batch([]) == []
