"""RecordSchema: a batch validated in one call, whichever kind of schema a model has."""

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import schema
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, BeforeValidator, Field, field_serializer
from pydantic_core import PydanticOmit
from typing_extensions import TypedDict

from model_scoring.outcome import Failure
from model_scoring.record_schema import RecordSchema, json_schema, properties, resolve


class Row(TypedDict):
    x: float
    n: int


class RowModel(BaseModel):
    x: float
    n: int = 1


@dataclass
class RowDataclass:
    x: float
    n: int = 1


class Other(TypedDict):
    y: int


PACKAGE = schema.Schema({"x": float, schema.Optional("n"): int})
GOOD = {"x": 1.5, "n": 2}
BAD = {"x": "high", "n": 2}
EVERY_KIND = [Row, RowModel, RowDataclass, PACKAGE]


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_the_valid_go_on_in_order_and_the_others_are_set_aside(kind):
    records = [BAD, GOOD, {**GOOD, "x": 2.5}, BAD, GOOD]
    valid, failures = RecordSchema(kind).validate(records)
    assert [record["x"] for record in valid] == [1.5, 2.5, 1.5]
    assert [type(record) for record in valid] == [dict] * 3
    assert list(failures) == [0, 3]
    for failure in failures.values():
        assert failure.stage == "validate"
        assert failure.record is BAD
        assert "x" in failure.message
        assert len(failure.reason.splitlines()) == 1


@pytest.mark.parametrize("kind", [*EVERY_KIND, None, Any, dict, dict[str, Any]])
def test_validated_records_are_fresh(kind):
    records = [dict(GOOD), dict(GOOD)]
    valid, failures = RecordSchema(kind).validate(records)
    assert failures == {}
    for record in valid:
        record.clear()
    assert records == [GOOD, GOOD]


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("record", [None, 5, "text", [], {}, [GOOD]])
def test_what_is_no_record_of_that_kind_fails_alone(kind, record):
    valid, failures = RecordSchema(kind).validate([GOOD, record, GOOD])
    assert (len(valid), list(failures)) == (2, [1])


@pytest.mark.parametrize("kind", [*EVERY_KIND, None, Any])
def test_an_empty_batch(kind):
    assert RecordSchema(kind).validate([]) == ([], {})


def test_a_failure_names_field_and_reason():
    _, failures = RecordSchema(Row).validate([{"x": "high"}])
    assert failures == {
        0: Failure(
            {"x": "high"},
            "validate",
            "float_parsing",
            "x: Input should be a valid number, unable to parse string as a number; n: Field required",
            "x",
        )
    }


def test_a_nested_field_is_named_by_its_path():
    class Nested(TypedDict):
        inner: dict[str, list[int]]

    _, failures = RecordSchema(Nested).validate([{"inner": {"a": [1, "b"]}}])
    assert failures[0].message.startswith("inner.a.1: Input should be a valid integer")
    assert failures[0].field == "inner"


def test_a_record_of_many_errors_quotes_five():
    wide = TypedDict("wide", {f"f{number}": int for number in range(200)})
    _, failures = RecordSchema(wide).validate([{}])
    assert failures[0].message.count("Field required") == 5
    assert failures[0].message.endswith("; and 195 more")


@pytest.mark.parametrize("kind", [None, Any])
def test_no_schema_takes_anything(kind):
    records = [{}, GOOD, {"deep": [{}]}]
    assert RecordSchema(kind).validate(records) == (records, {})


def test_a_dict_schema_takes_dicts_only():
    valid, failures = RecordSchema(dict).validate([{}, [], GOOD])
    assert (valid, list(failures)) == ([{}, GOOD], [1])


def test_a_pydantic_model_fills_in_its_defaults():
    assert RecordSchema(RowModel).validate([{"x": 1}]) == ([{"x": 1.0, "n": 1}], {})


def test_a_union_of_a_typed_dict_and_a_model_gives_dicts_in_any_order():
    records = [{"y": 1}, {"x": 1.0, "n": 2}, {"z": 0}, {"y": 2}]
    for order in (records, records[::-1]):
        valid, failures = RecordSchema(Other | RowModel).validate(order)
        assert valid == [record for record in order if record != {"z": 0}]
        assert [failure.record for failure in failures.values()] == [{"z": 0}]


def test_a_union_chooses_as_pydantic_does():
    class Text(TypedDict):
        y: str

    records = [{"y": 1}, {"y": "1"}, {"y": []}, {"y": 2}]
    valid, failures = RecordSchema(Other | Text).validate(records)
    assert (valid, list(failures)) == ([{"y": 1}, {"y": "1"}, {"y": 2}], [2])


class OddError(Exception):
    """Has a method of the name that pydantic's error has, with another signature."""

    def errors(self):
        return []


def raising(error):
    def validator(record):
        if record.get("odd"):
            raise error
        return record

    return Annotated[Other, BeforeValidator(validator)]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyError("odd"), "'odd'"),
        (OddError("odd"), "odd"),
        (SystemExit(3), "3"),
        (RecursionError("deep"), "deep"),
        (PydanticOmit(), "the input schema leaves the record out"),
    ],
)
def test_a_validator_that_raises_costs_its_own_record(error, message):
    records = [{"y": 1}, {"y": 2, "odd": True}, {"y": 3}, {"y": "bad"}]
    valid, failures = RecordSchema(raising(error)).validate(records)
    assert valid == [{"y": 1}, {"y": 3}]
    assert list(failures) == [1, 3]
    assert failures[1].message == message
    assert failures[3].field == "y"


def test_a_validator_that_needs_memory_is_not_the_records_fault():
    with pytest.raises(MemoryError):
        RecordSchema(raising(MemoryError())).validate([{"y": 1, "odd": True}])


def test_a_validator_of_the_schema_package_that_raises_costs_its_own_record():
    class Odd:
        def validate(self, record):
            if record.get("odd"):
                raise OddError("odd")
            return record

        def json_schema(self, schema_id):
            return {"$id": schema_id, "type": "object"}

    record = {"y": 1}
    valid, failures = RecordSchema(Odd()).validate([record, {"odd": True}])
    assert valid == [record]
    assert valid[0] is not record
    assert (failures[1].error_type, failures[1].message) == ("OddError", "odd")


def test_a_serializer_that_raises_costs_its_own_record():
    class Inverse(BaseModel):
        x: int

        @field_serializer("x")
        def inverse(self, x):
            return 1 / x

    valid, failures = RecordSchema(Inverse).validate([{"x": 2}, {"x": 0}, {"x": 4}])
    assert (valid, list(failures)) == ([{"x": 0.5}, {"x": 0.25}], [1])


def test_a_schema_that_cannot_be_used_is_not_taken():
    with pytest.raises(Exception, match="Unable to generate pydantic-core schema"):
        RecordSchema(object())


RECORDS = st.one_of(
    st.just(GOOD), st.just(BAD), st.fixed_dictionaries({"x": st.integers() | st.text() | st.floats()}), st.integers()
)


@pytest.mark.parametrize("kind", EVERY_KIND)
@given(records=st.lists(RECORDS, max_size=12))
def test_a_batch_is_validated_as_its_records_one_by_one(kind, records):
    validator = RecordSchema(kind)
    valid, failures = validator.validate(records)
    alone = [validator.validate([record]) for record in records]
    assert repr(valid) == repr([each for one, _ in alone for each in one])
    assert repr(failures) == repr({place: one[0] for place, (_, one) in enumerate(alone) if one})
    assert len(valid) + len(failures) == len(records)


def test_json_schema_tells_what_comes_in_from_what_goes_out():
    class Both(BaseModel):
        a: Annotated[int, Field(default=1)]

    assert "required" not in json_schema(Both, "input")
    assert json_schema(Both, "output")["properties"]["a"]["default"] == 1
    assert json_schema(PACKAGE, "input")["$id"] == "https://example.com/input_schema.json"
    assert json_schema(None, "input") is None


def test_properties_follow_references():
    described = {
        "$ref": "#/$defs/Row",
        "$defs": {"Row": {"properties": {"x": {"$ref": "#/$defs/a~1b"}, "y": True}}, "a/b": {"type": "number"}},
    }
    assert properties(described) == {"x": {"type": "number"}}
    assert properties(None) == {}
    assert resolve({"$ref": "#/$defs/none"}, described) == {}
    assert resolve({"$ref": "elsewhere.json"}, described) == {"$ref": "elsewhere.json"}
