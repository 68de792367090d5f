"""The contract: what a subclass must state, and what it is given."""

import subprocess
import sys
from typing import Any

import pytest

import ml_model_abc
from ml_model_abc import MLModel, MLModelException, MLModelSchemaValidationException

METADATA = {
    "display_name": "Doubling",
    "qualified_name": "doubling",
    "description": "Doubles x.",
    "major_version": 1,
    "minor_version": 2,
    "input_schema": None,
    "output_schema": None,
}


class Doubling(MLModel):
    display_name = "Doubling"
    qualified_name = "doubling"
    description = "Doubles x."
    major_version = 1
    minor_version = 2
    input_schema = None
    output_schema = None

    def __init__(self) -> None:
        self.factor = 2

    def predict(self, data: dict[str, Any]) -> dict[str, Any]:
        return {"x": data["x"] * self.factor}


def test_class_attributes_satisfy_the_contract():
    model = Doubling()
    assert {name: getattr(model, name) for name in METADATA} == METADATA


def test_properties_satisfy_the_contract():
    class Named(Doubling):
        @property
        def display_name(self) -> str:
            return f"times {self.factor}"

    assert Named().display_name == "times 2"


@pytest.mark.parametrize("missing", [*METADATA, "__init__", "predict"])
def test_a_model_that_leaves_something_out_cannot_be_made(missing):
    body = {**METADATA, "__init__": Doubling.__init__, "predict": Doubling.predict}
    del body[missing]
    incomplete = type("Incomplete", (MLModel,), body)
    with pytest.raises(TypeError, match=missing):
        incomplete()


def test_a_batch_is_predicted_record_by_record_in_order():
    assert Doubling().predict_batch([{"x": 3}, {"x": 1}, {"x": 3}]) == [{"x": 6}, {"x": 2}, {"x": 6}]
    assert Doubling().predict_batch([]) == []


def test_an_exception_fails_the_whole_batch_and_leaves_nothing_behind():
    model = Doubling()
    with pytest.raises(KeyError):
        model.predict_batch([{"x": 1}, {}])
    assert model.predict_batch([{"x": 1}]) == [{"x": 2}]


def test_a_bad_record_is_a_kind_of_model_failure():
    assert issubclass(MLModelSchemaValidationException, MLModelException)
    assert issubclass(MLModelException, Exception)


def test_all_names_what_the_module_offers():
    assert ml_model_abc.__all__ == ["MLModel", "MLModelException", "MLModelSchemaValidationException"]


def test_the_contract_needs_only_the_standard_library():
    program = (
        "import sys; before = set(sys.modules); import ml_model_abc; "
        "new = {name.partition('.')[0] for name in set(sys.modules) - before} - {'ml_model_abc'}; "
        "print(sorted(new - sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
