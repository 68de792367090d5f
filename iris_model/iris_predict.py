"""The iris model as its hosts see it."""

import struct
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

import iris_model
from iris_model.artefact import MODEL_FILES, load_classifier
from ml_model_abc import MLModel, MLModelSchemaValidationException

__all__ = ["IrisModel", "IrisPrediction", "IrisRecord"]


@with_config(ConfigDict(strict=True, allow_inf_nan=False, extra="ignore"))
class IrisRecord(TypedDict):
    """One flower in cm: finite JSON numbers, whole or fractional. Other fields are ignored."""

    sepal_length: float
    sepal_width: float
    petal_length: float
    petal_width: float


class IrisPrediction(TypedDict):
    """The species the flower is taken for."""

    species: Literal["setosa", "versicolor", "virginica"]


_SPECIES = ("setosa", "versicolor", "virginica")  # in the order of the classifier's classes 0, 1, 2
_FIELDS = (
    "sepal_length",
    "sepal_width",
    "petal_length",
    "petal_width",
)  # in the order of the columns it was fitted on
_measurements = itemgetter(*_FIELDS)
_RECORD = TypeAdapter(IrisRecord)


class IrisModel(MLModel):
    """A support vector classifier, trained by `iris_model.iris_train`."""

    display_name = iris_model.__display_name__
    qualified_name = iris_model.__qualified_name__
    description = iris_model.__description__
    major_version, minor_version = iris_model.__version_info__
    input_schema = IrisRecord
    output_schema = IrisPrediction

    def __init__(self, model_files: Path | str | None = None) -> None:
        """Load the classifier from the folder `model_files`; by default the one that comes with the package.

        Raises `MLModelException` when the folder holds no intact model of this scikit-learn.
        """
        self._classifier = load_classifier(MODEL_FILES if model_files is None else Path(model_files))

    def predict(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return `{"species": …}` for one record.

        Raises `MLModelSchemaValidationException`, which names each bad field and what is wrong with it.
        """
        try:
            record = _RECORD.validate_python(data)
        except ValidationError as error:
            raise MLModelSchemaValidationException(_describe(error)) from error
        return self.predict_batch([dict(record)])[0]

    def predict_batch(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return `{"species": …}` for each record, in order, from one call of scikit-learn.

        The records must be valid: the four fields are taken as the numbers they are.
        """
        if not records:
            return []
        # struct builds the array in about 4/5 of the time np.fromiter takes, and takes nothing but numbers.
        numbers = struct.pack(f"{len(records) * len(_FIELDS)}d", *chain.from_iterable(map(_measurements, records)))
        flowers = np.frombuffer(numbers).reshape(-1, len(_FIELDS))
        classes = self._classifier.predict(flowers).tolist()
        return [{"species": species} for species in map(_SPECIES.__getitem__, classes)]


def _describe(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, detail['loc'])) or 'record'}: {detail['msg']}" for detail in details)
