"""Small models of every kind, for the tests of the hall and for the contract suite."""

from dataclasses import dataclass
from typing import Any

import schema
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from ml_model_abc import MLModel


class Row(TypedDict):
    x: float


class RowModel(BaseModel):
    x: float
    scale: int = Field(default=1, ge=1, le=4)


@dataclass
class RowDataclass:
    x: float


class Named(MLModel):
    """What all of these models share; answers twice x."""

    display_name = "Named"
    qualified_name = "named"
    description = "Doubles x."
    major_version = 1
    minor_version = 2
    input_schema: Any = Row
    output_schema: Any = None

    def __init__(self, qualified_name: str | None = None) -> None:
        if qualified_name:
            self.qualified_name = qualified_name

    def predict(self, data):
        if not isinstance(data["x"], int | float):
            raise TypeError("x is no number")
        return {"double": 2 * data["x"]}


class ByDefault(Named):
    """Leaves ``predict_batch`` to the contract."""

    qualified_name = "by_default"


class Batching(Named):
    """Predicts a batch at once; a record whose x is negative fails the whole batch. Remembers the sizes."""

    qualified_name = "batching"

    def __init__(self, qualified_name: str | None = None) -> None:
        super().__init__(qualified_name)
        self.sizes: list[int] = []

    def predict(self, data):
        return self.predict_batch([data])[0]

    def predict_batch(self, records):
        self.sizes.append(len(records))
        answers = [super(Batching, self).predict(record) for record in records]
        if any(record["x"] < 0 for record in records):
            raise ValueError("a negative x")
        return answers


class WithBaseModel(Named):
    qualified_name = "with_base_model"
    input_schema = RowModel

    def predict(self, data):
        row = RowModel.model_validate(data)
        return {"double": 2 * row.x * row.scale}


class WithDataclass(Named):
    qualified_name = "with_dataclass"
    input_schema = RowDataclass


class WithSchemaPackage(Named):
    qualified_name = "with_schema_package"
    input_schema = schema.Schema({"x": schema.Or(float, int), schema.Optional("note"): str})
    output_schema = schema.Schema({"double": schema.Or(float, int)})

    def predict(self, data):
        return super().predict(self.input_schema.validate(data))


class WithoutSchema(Named):
    qualified_name = "without_schema"
    input_schema = None


class Unloadable(Named):
    def __init__(self) -> None:
        raise OSError("no such artefact")


class Exiting(Named):
    def __init__(self) -> None:
        raise SystemExit(0)


class NotAModel:
    """Has a name, and is none."""

    qualified_name = "not_a_model"


def not_a_model() -> NotAModel:
    return NotAModel()
