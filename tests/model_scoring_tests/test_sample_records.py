"""Sample records fit the schema they are made for, or it is said what cannot be guessed."""

from typing import Annotated, Literal

import pytest
import schema
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter

from model_scoring.record_schema import RecordSchema, json_schema
from model_scoring.sample_records import Unguessable, sample_records


class Inner(BaseModel):
    n: int = Field(ge=3, le=5)


class Tree(BaseModel):
    label: str
    children: list["Tree"] = []
    parent: "Tree | None" = None


class Everything(BaseModel):
    whole: int
    number: float
    share: float = Field(gt=0, lt=1)
    above: float = Field(gt=1e6)
    below: int = Field(lt=-100)
    steps: int = Field(multiple_of=7, ge=10)
    text: str = Field(min_length=12, max_length=12)
    digits: str = Field(pattern=r"^\d+$")
    upper: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    kind: Literal["a", "b"]
    only: Literal[5]
    flag: bool
    nothing: None
    maybe: int | None
    either: Inner | Literal["none"]
    inner: Inner
    inners: list[Inner] = Field(min_length=2)
    pair: tuple[int, str]
    few: set[int] = Field(min_length=3)
    table: dict[str, Inner] = Field(min_length=2)
    default: str = "as it is"
    example: str = Field(pattern="^x-[0-9]{4}-y$", examples=["x-1234-y"])


PACKAGE = schema.Schema(
    {"a": float, "b": schema.Or("x", "y"), schema.Optional("c"): [int], "d": {"e": bool}, "f": schema.And(str, len)}
)


@pytest.mark.parametrize("kind", [Everything, Tree, PACKAGE, dict, dict[str, int], Inner | Tree])
def test_samples_are_valid_and_differ(kind):
    samples = sample_records(json_schema(kind, "input"))
    valid, failures = RecordSchema(kind).validate(samples)
    assert failures == {}
    assert len(valid) == len(samples) >= 1
    assert all(one not in samples[:place] for place, one in enumerate(samples))
    assert len(samples) > 3 or kind in (dict, dict[str, int])


def test_optional_fields_come_and_go():
    samples = sample_records(json_schema(Tree, "input"))
    assert {"children" in sample for sample in samples} == {True, False}


def requiring(field):
    return {"type": "object", "required": ["field"], "properties": {"field": field}}


class Endless(BaseModel):
    again: "Endless"


@pytest.mark.parametrize(
    ("described", "told"),
    [
        (requiring({"type": "string", "pattern": "^q[0-9]z$"}), "field must be type string, pattern"),
        (requiring({"type": "string", "minLength": 3, "maxLength": 2}), "field must be type string"),
        (requiring({"type": "integer", "minimum": 5, "maximum": 4}), "field must be type integer"),
        (requiring({"type": "odd"}), "field must be type odd"),
        (json_schema(Endless, "input"), "again refers to itself"),
    ],
)
def test_what_cannot_be_guessed_is_named(described, told):
    with pytest.raises(Unguessable, match=told):
        sample_records(described)


def test_parts_of_a_schema_are_put_together():
    described = {
        "allOf": [
            {"properties": {"a": {"const": 1}}, "required": ["a"]},
            {"properties": {"b": {"enum": [2]}}, "required": ["b"]},
        ],
        "type": "object",
    }
    assert sample_records(described) == [{"a": 1, "b": 2}]


@given(low=st.integers(-1000, 1000), width=st.integers(0, 1000), step=st.integers(1, 9))
def test_numbers_keep_to_their_bounds(low, width, step):
    whole = TypeAdapter(Annotated[int, Field(ge=low, le=low + width + step, multiple_of=step)])
    for number in sample_records(whole.json_schema()):
        whole.validate_python(number)
    number = TypeAdapter(Annotated[float, Field(gt=low, lt=low + width + 1)])
    for each in sample_records(number.json_schema()):
        number.validate_python(each)
