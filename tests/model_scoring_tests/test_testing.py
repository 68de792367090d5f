"""check_model() finds what is wrong with a model and nothing else; its command says so by exit codes."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import schema

from model_scoring import testing
from model_scoring.errors import ModelCheckError
from model_scoring.testing import FailingModel, check_model
from tests.model_scoring_tests.models import Batching, Named, RowModel, WithoutSchema, WithSchemaPackage

ROOT = Path(__file__).parents[2]
CHECKS = 8
RECORDS = [{"x": x} for x in (1.0, 2.0, 3.5, 1.0)]


def problems(model, records=None):
    with pytest.raises(ModelCheckError) as caught:
        check_model(model, records)
    return caught.value.problems


class Bare:
    """Numbers that NumPy and friends bring along."""

    def __init__(self, value):
        self.value = value

    def tolist(self):
        return self.value


def with_attributes(**attributes):
    return type("Broken", (Named,), attributes)()


def answering(predict, predict_batch=None, base=Named, **attributes):
    """A model that predicts by ``predict(record)``."""
    body = {"predict": lambda self, data: predict(data), **attributes}
    if predict_batch:
        body["predict_batch"] = lambda self, records: predict_batch(records)
    return type("Broken", (base,), body)()


def double(record):
    return {"double": 2 * float(record["x"])}


def doubles(records):
    return [double(record) for record in records]


@pytest.mark.parametrize("records", [None, RECORDS, [{"x": "no number"}, *RECORDS, {}]])
def test_a_model_in_order_passes_every_check(records):
    passed = check_model(Batching(), [record for record in records if record != {}] if records else None)
    assert len(passed) == CHECKS
    assert all(sentence.endswith(".") for sentence in passed)
    assert check_model(Named(), records) == passed


@pytest.mark.parametrize(
    ("attributes", "found"),
    [
        ({"display_name": ""}, "display_name is ''"),
        ({"display_name": None}, "display_name is None"),
        ({"qualified_name": "iris model"}, "qualified_name 'iris model' holds white space"),
        ({"qualified_name": 5}, "qualified_name is 5"),
        ({"description": " "}, "description is ' '"),
        ({"major_version": "1"}, "major_version is '1'"),
        ({"minor_version": None}, "minor_version is None"),
        ({"minor_version": True}, "minor_version is True"),
        ({"minor_version": -1}, "minor_version is -1"),
        ({"description": property(lambda self: 1 / 0)}, "description is ZeroDivisionError"),
        ({"input_schema": object()}, "input_schema cannot validate"),
        ({"output_schema": object()}, "output_schema cannot validate"),
        ({"input_schema": property(lambda self: 1 / 0)}, "input_schema cannot be had: ZeroDivisionError"),
        ({"input_schema": type(lambda: 0)}, "input_schema cannot"),
        ({"input_schema": dict[str, Callable[[], int]]}, "input_schema cannot be described as JSON Schema"),
    ],
)
def test_what_a_model_says_of_itself(attributes, found):
    only, *more = problems(with_attributes(**attributes))
    assert only.startswith(found)
    assert more == []


def test_every_problem_is_listed():
    model = with_attributes(display_name="", description="", major_version=None, input_schema=object())
    assert len(problems(model)) == 4


def test_the_model_is_named():
    with pytest.raises(ModelCheckError, match=r"^tests\.double\.Broken: 1 problem\(s\)\n  - "):
        check_model(with_attributes(display_name="", __module__="tests.double"))


class Counting(Named):
    """Counts what it is asked, and lets it show."""

    def __init__(self):
        self.asked = 0

    def predict(self, data):
        self.asked += 1
        return {"double": float(data["x"]) + self.asked}


class Remembering(Named):
    """A bad record leaves it broken."""

    spoilt = False

    def predict(self, data):
        if self.spoilt:
            raise RuntimeError("still upset")
        if not isinstance(data.get("x"), float):
            self.spoilt = True
            raise ValueError("no number")
        return double(data)


class RememberingBatches(WithoutSchema):
    """A bad record in a batch leaves the next batches broken."""

    spoilt = False

    def predict_batch(self, records):
        if any(not isinstance(record.get("x"), float) for record in records):
            self.spoilt = True
            raise ValueError("no number")
        return [{"double": 0.0}] * len(records) if self.spoilt else doubles(records)


class Mutating(Batching):
    def predict_batch(self, records):
        answers = super().predict_batch(records)
        for record in records:
            record["seen"] = True
        return answers


def drain(records):
    answers = doubles(records)
    records.clear()
    return answers


def single_only(records):
    if len(records) > 1:
        raise ValueError("one at a time")
    return doubles(records)


def rank(records):
    """Depends on the batch."""
    return [{"double": float(place)} for place, _ in enumerate(records)]


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (answering(lambda record: double(record)["double"]), "a prediction is a dict"),
        (answering(lambda _: None), "a prediction is a dict"),
        (answering(lambda _: {"p": object()}), "cannot be written as JSON: TypeError"),
        (answering(lambda _: {"p": math.nan}), "cannot be written as JSON: ValueError"),
        (answering(lambda record: {"double": record["x"]}, output_schema=RowModel), "does not fit the output schema"),
        (answering(lambda _: {}, base=WithSchemaPackage), "does not fit the output schema"),
        (
            answering(double, lambda records: doubles(records)[1:]),
            "answers 3 predictions for 4 record(s)",
        ),
        (
            answering(double, lambda records: doubles(records) * 2),
            "predict_batch answers 2 predictions for 1 record(s)",
        ),
        (answering(double, lambda _: None), "predict_batch answers -1 predictions"),
        (answering(double, lambda records: doubles(records) or None), "answers an empty batch with None"),
        (answering(double, lambda records: [doubles(records)[0]] * len(records)), "predict_batch with 2 record(s)"),
        (answering(double, lambda records: doubles(records)[::-1]), "predict_batch with 2 record(s)"),
        (answering(double, rank), "predict_batch with 1 record(s) answers {'double': 0.0}"),
        (answering(double, single_only), "predict_batch raises on 2 record(s) that predict answers: ValueError"),
        (answering(lambda record: {"double": 2 * record.pop("x")}), "predict changes the record it is given"),
        (answering(double, drain), "predict_batch changes the records it is given, or their list"),
        (Mutating(), "predict_batch changes the records"),
        (Counting(), "after the bad record {}"),
        (Remembering(), "after the bad record {}"),
        (RememberingBatches(), "after the bad record {}"),
        (answering(lambda record: {"double": float(record.get("x", 0.0) != "")}), "which the input schema refuses"),
    ],
)
def test_what_a_model_answers(model, found):
    assert [problem for problem in problems(model, RECORDS) if found in problem]


DIFFERENT = [(1.0, 1.0000001), (1.0, "1.0"), (1, True), (1.0, True), ("a", "b"), ([1], [1, 1]), (0, None)]


def test_float_noise_and_numpy_values_are_no_difference():
    batch = [{"double": Bare([2 * record["x"] * (1 + 1e-12), math.inf])} for record in RECORDS]
    model = answering(
        lambda record: {"double": (2 * record["x"], math.inf)},
        lambda records: [batch[RECORDS.index(record)] for record in records],
    )
    assert [problem for problem in problems(model, RECORDS) if "cannot be written" not in problem] == []


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_a_true_difference_is_found(one, other):
    model = answering(lambda _: {"p": one}, lambda records: [{"p": other} for _ in records])
    assert [problem for problem in problems(model, RECORDS) if problem.startswith("predict_batch with 1 record(s)")]


@pytest.mark.parametrize(
    ("model", "records", "found"),
    [
        (WithoutSchema(), None, "pass records"),
        (with_attributes(input_schema=schema.Schema({"x": schema.Regex("^[A-Z]{7}-[0-9]$")})), None, "Pass records"),
        (Named(), [], "There is no record to try; pass at least one"),
        (
            Named(),
            [{"x": "a"}],
            "None of the 1 record(s) passed is valid; the first, {'x': 'a'}: validate: float_parsing",
        ),
        (with_attributes(input_schema=schema.Schema([str])), None, "['abc'] is no record: records are dicts"),
        (Named(), [5], "5 is no record: records are dicts"),
        (Batching(), [{"x": -1.0}], "predict raises on every one of 1 valid record(s)"),
    ],
)
def test_a_model_that_cannot_be_tried_says_what_is_needed(model, records, found):
    (only,) = problems(model, records)
    assert found in only


def test_records_that_predict_fails_must_fail_in_the_hall_too():
    assert len(check_model(Batching(), [{"x": 1.0}, {"x": -1.0}, {"x": 2.0}])) == CHECKS
    lenient = answering(lambda record: 1 / (record["x"] > 0) and double(record), doubles)
    assert any("scored in batches of 1" in problem for problem in problems(lenient, [{"x": 1.0}, {"x": -1.0}]))


@pytest.mark.parametrize(
    ("fail", "found"),
    [
        ("wrong_number", "predict_batch answers 0 predictions for 1 record(s)"),
        ("none", "a prediction is a dict"),
        ("nan", "cannot be written as JSON"),
        ("unserialisable", "cannot be written as JSON"),
        ("mutate", "predict changes the record"),
    ],
)
def test_the_failing_model_is_found_out(fail, found):
    assert any(found in problem for problem in problems(FailingModel(), [{"value": 1.0}, {"value": 2.0, "fail": fail}]))


@pytest.mark.parametrize("fail", ["raise", "type_error", "exit", "print"])
def test_a_record_that_fails_is_not_the_models_fault(fail):
    assert len(check_model(FailingModel(), [{"value": 1.0}, {"value": 2.0, "fail": fail}])) == CHECKS


def test_the_failing_model_doubles_what_is_not_to_fail():
    model = FailingModel("doubling")
    assert model.qualified_name == "doubling"
    assert model.predict({"value": 4}) == {"double": 8}
    assert model.predict_batch([{"value": 1.5}, {"value": 2.0}]) == [{"double": 3.0}, {"double": 4.0}]
    assert len(model.predict_batch([{"value": 1.5}, {"value": 2.0, "fail": "wrong_number"}])) == 1


def command(*arguments, folder=ROOT):
    return subprocess.run(
        [sys.executable, "-m", "model_scoring.testing", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_prints_each_check_passed(tmp_path):
    records = tmp_path / "records.ldjson"
    records.write_text('{"value": 1.0}\n{"value": 1, "fail": "print"}\n\nno record\n{"value": "x"}\n')
    done = command("model_scoring.testing", "FailingModel", "--records", str(records))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == check_model(FailingModel(), [{"value": 1.0}])
    assert "told to print, from C" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["model_scoring.testing", "FailingModel", "--parameters", '{"qualified_name": "a b"}'], 4, "white space"),
        (["model_scoring.testing", "FailingModel", "--parameters", '{"nonsense": 1}'], 4, "nonsense"),
        (["no_such_module", "Model"], 4, "'no_such_module' is not found"),
        (["model_scoring.testing", "Missing"], 4, "Models there: FailingModel"),
        (["model_scoring.testing"], 2, "CLASS"),
        (["model_scoring.testing", "FailingModel", "--parameters", "[1]"], 2, "not a JSON object"),
        (["model_scoring.testing", "FailingModel", "--parameters", "{"], 2, "not JSON"),
        (["model_scoring.testing", "FailingModel", "--records", "none.ldjson"], 2, "none.ldjson"),
        (["model_scoring.testing", "FailingModel", "--records", os.devnull], 2, "no record among the first"),
    ],
)
def test_exit_codes_tell_a_bad_model_from_a_bad_command(arguments, code, told, capsys):
    try:
        returned = testing.main(arguments)
    except SystemExit as usage:
        returned = usage.code
    printed = capsys.readouterr()
    assert (returned, printed.out) == (code, "")
    assert told in printed.err


def test_a_model_of_the_working_folder_is_found(tmp_path):
    (tmp_path / "my_model.py").write_text("from model_scoring.testing import FailingModel as Mine\n")
    (tmp_path / "r.ldjson").write_text(json.dumps({"value": 1.0}))
    assert command("my_model", "Mine", "--records", "r.ldjson", folder=tmp_path).returncode == 0
