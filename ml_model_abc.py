"""The contract between a machine learning model and whatever hosts it.

A model is packaged once behind `MLModel` and runs unchanged behind every deployment. This module needs
nothing but the standard library, so that a model's package depends on no deployment.

    MLModelException                        whatever a model or the loading of a model reports
    └── MLModelSchemaValidationException    a record does not fit the model's input schema
"""

from abc import ABC, abstractmethod
from typing import Any

__all__ = ["MLModel", "MLModelException", "MLModelSchemaValidationException"]

__version__ = "0.1.0"


class MLModelException(Exception):
    """A model cannot be loaded or cannot predict."""


class MLModelSchemaValidationException(MLModelException):
    """A record does not fit the model's input schema; the message names each bad field and why."""


class MLModel(ABC):
    """A loaded model and what there is to know about it.

    The properties may be plain class attributes in a subclass: `display_name = "Iris Model"` is enough.
    """

    @property
    @abstractmethod
    def display_name(self) -> str:
        """The name people read."""

    @property
    @abstractmethod
    def qualified_name(self) -> str:
        """The name programs use: unique among the models of one host."""

    @property
    @abstractmethod
    def description(self) -> str:
        """What the model predicts, in a sentence or two."""

    @property
    @abstractmethod
    def major_version(self) -> int:
        """Grows when records or predictions change in a way that breaks their users."""

    @property
    @abstractmethod
    def minor_version(self) -> int:
        """Grows with every other change of the model."""

    @property
    @abstractmethod
    def input_schema(self) -> Any:
        """What a record must look like.

        Either anything pydantic can validate (a model, a `TypedDict`, a dataclass, …), or a
        `schema.Schema`, or `None` when the model takes any record.
        """

    @property
    @abstractmethod
    def output_schema(self) -> Any:
        """What a prediction looks like; of the same kinds as `input_schema`."""

    @abstractmethod
    def __init__(self) -> None:
        """Load all that predicting needs, so that `predict` and `predict_batch` only predict.

        Raises `MLModelException` when the model cannot be loaded; the message says what would have worked.
        """

    @abstractmethod
    def predict(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the prediction for one record, without changing the record.

        Raises `MLModelSchemaValidationException` when the record does not fit the input schema.
        """

    def predict_batch(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return one prediction for each record, in the order of the records.

        The host calls it with records that the input schema has already validated, and with as many or as
        few at a time as suits it: the size of a batch must not change a prediction. The records, and the
        list that holds them, must not be changed.

        An exception fails the whole batch. The host then halves the batch and calls again until the record
        that raises stands alone, so `predict_batch` must be repeatable: a call leaves nothing behind that a
        later call could notice.

        By default it asks `predict` for one record after the other. A model that can predict many records
        in one call of its library overrides it, which is often a hundred times faster.
        """
        return [self.predict(record) for record in records]
