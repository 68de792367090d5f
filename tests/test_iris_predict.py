"""The iris model predicts what is known, and says of a bad record which field is bad and why."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from sklearn.datasets import load_iris

from iris_model.iris_predict import IrisModel, IrisPrediction, IrisRecord
from ml_model_abc import MLModel, MLModelSchemaValidationException

FIELDS = ("sepal_length", "sepal_width", "petal_length", "petal_width")
SETOSA = {"sepal_length": 5.0, "sepal_width": 3.2, "petal_length": 1.2, "petal_width": 0.2}
VERSICOLOR = {"sepal_length": 5.6, "sepal_width": 3.0, "petal_length": 4.1, "petal_width": 1.3}
VIRGINICA = {"sepal_length": 6.5, "sepal_width": 3.0, "petal_length": 5.2, "petal_width": 2.0}
INPUT = Path(__file__).parents[1] / "data" / "input.ldjson"

NOT_A_NUMBER = "Input should be a valid number"
NOT_FINITE = "Input should be a finite number"


@pytest.fixture(scope="module")
def model():
    return IrisModel()


def test_metadata(model):
    assert isinstance(model, MLModel)
    assert model.display_name == "Iris Model"
    assert model.qualified_name == "iris_model"
    assert (model.major_version, model.minor_version) == (0, 1)
    assert model.description
    assert set(TypeAdapter(model.input_schema).json_schema()["required"]) == set(FIELDS)
    species = TypeAdapter(model.output_schema).json_schema()["properties"]["species"]
    assert species["enum"] == ["setosa", "versicolor", "virginica"]


@pytest.mark.parametrize(
    ("record", "species"), [(SETOSA, "setosa"), (VERSICOLOR, "versicolor"), (VIRGINICA, "virginica")]
)
def test_known_flowers(model, record, species):
    assert model.predict(record) == {"species": species}


def test_the_records_of_the_documented_example(model):
    records = [json.loads(line) for line in INPUT.read_text().splitlines()]
    assert len(records) == 15
    predictions = [prediction["species"] for prediction in model.predict_batch(records[:14])]
    assert predictions == ["setosa"] * 5 + ["versicolor"] * 5 + ["virginica"] * 4
    with pytest.raises(MLModelSchemaValidationException, match=f"^petal_width: {NOT_A_NUMBER}$"):
        model.predict(records[14])


def test_all_the_flowers_there_are(model):
    features, classes = load_iris(return_X_y=True)
    records = [dict(zip(FIELDS, row, strict=True)) for row in features.tolist()]
    expected = [("setosa", "versicolor", "virginica")[number] for number in classes]
    right = sum(p["species"] == species for p, species in zip(model.predict_batch(records), expected, strict=True))
    assert right >= 145


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("asd", NOT_A_NUMBER),
        ("0.2", NOT_A_NUMBER),
        (True, NOT_A_NUMBER),
        (False, NOT_A_NUMBER),
        (None, NOT_A_NUMBER),
        ([0.2], NOT_A_NUMBER),
        ({}, NOT_A_NUMBER),
        (10**400, NOT_A_NUMBER),
        (-(10**400), NOT_A_NUMBER),
        (float("nan"), NOT_FINITE),
        (float("inf"), NOT_FINITE),
        (float("-inf"), NOT_FINITE),
    ],
)
@pytest.mark.parametrize("field", FIELDS)
def test_a_bad_field_is_named_with_the_reason(model, field, value, reason):
    with pytest.raises(MLModelSchemaValidationException, match=f"^{field}: {reason}$"):
        model.predict({**SETOSA, field: value})


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_field_is_named(model, field):
    record = {name: value for name, value in SETOSA.items() if name != field}
    with pytest.raises(MLModelSchemaValidationException, match=f"^{field}: Field required$"):
        model.predict(record)


def test_every_bad_field_is_named(model):
    record = {**SETOSA, "sepal_length": "long", "petal_length": None}
    with pytest.raises(MLModelSchemaValidationException) as raised:
        model.predict(record)
    assert str(raised.value) == f"sepal_length: {NOT_A_NUMBER}; petal_length: {NOT_A_NUMBER}"


@pytest.mark.parametrize("record", [None, 1, "setosa", [5.0, 3.2, 1.2, 0.2]])
def test_what_is_no_record_is_refused(model, record):
    with pytest.raises(MLModelSchemaValidationException, match=r"^record: Input should be a valid dictionary$"):
        model.predict(record)


def test_unknown_fields_are_ignored(model):
    assert model.predict({**SETOSA, "colour": "blue", "id": 10**400}) == {"species": "setosa"}


def test_whole_numbers_are_numbers(model):
    record = {"sepal_length": 5, "sepal_width": 3, "petal_length": 1, "petal_width": 0}
    assert model.predict(record) == {"species": "setosa"}
    assert model.predict_batch([record]) == [{"species": "setosa"}]


def test_an_empty_batch(model):
    assert model.predict_batch([]) == []


def test_predictions_are_plain_and_separate_objects(model):
    first, second = model.predict_batch([SETOSA, SETOSA])
    assert type(first["species"]) is str
    assert first is not second


def test_a_batch_raises_on_a_record_that_is_not_valid_and_can_be_repeated(model):
    for bad in ({**SETOSA, "petal_width": "0.2"}, {}, {**SETOSA, "petal_width": 10**400}):
        with pytest.raises(Exception, match=r".+"):
            model.predict_batch([SETOSA, bad])
    assert model.predict_batch([SETOSA]) == [{"species": "setosa"}]


measurements = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 8), st.integers(-(10**300), 10**300)
)
flowers = st.fixed_dictionaries(dict.fromkeys(FIELDS, measurements))


@given(records=st.lists(flowers, max_size=20))
def test_a_batch_predicts_what_its_records_alone_predict(records):
    model, before = IRIS_MODEL, copy.deepcopy(records)
    together = model.predict_batch(records)
    assert together == [model.predict(record) for record in records]
    assert records == before
    TypeAdapter(list[IrisPrediction]).validate_python(together, strict=True)


values = measurements | st.text("asd0.", max_size=3) | st.none() | st.booleans()


@given(record=st.dictionaries(st.sampled_from(FIELDS), values))
def test_predict_refuses_exactly_what_the_input_schema_refuses(record):
    adapter = TypeAdapter(IrisRecord)
    try:
        adapter.validate_python(record)
    except ValueError:
        with pytest.raises(MLModelSchemaValidationException):
            IRIS_MODEL.predict(record)
    else:
        assert IRIS_MODEL.predict(record)["species"] in {"setosa", "versicolor", "virginica"}


def test_the_model_imports_no_deployment_and_nothing_for_training():
    program = (
        "import sys; from iris_model.iris_predict import IrisModel; IrisModel(); "
        "bad = {'model_scoring', 'model_mapreduce_job', 'mrjob', 'iris_model.iris_train'}; "
        "print(sorted({*bad, 'sklearn.datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_module_is_imported_without_scikit_learn():
    program = "import sys, iris_model.iris_predict; print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


IRIS_MODEL = IrisModel()
