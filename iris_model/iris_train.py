"""Trains the iris model: the command `iris_train`, or `python -m iris_model.iris_train`."""

import argparse
import hashlib
import math
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from iris_model.artefact import MODEL_FILES, Metadata, write_classifier
from ml_model_abc import MLModelException

__all__ = ["main", "train"]

_TEST_PART = 0.2
_RANDOM_STATE = 42  # the same test part in each training, so that accuracies can be compared


def train(gamma: float = 0.001, c: float = 100.0, model_files: Path | str | None = None) -> Metadata:
    """Train on scikit-learn's iris data, put the model in force in `model_files`, return its metadata.

    A stratified fifth of the data is held out, and the accuracy on it is printed. Raises `ValueError` when
    `gamma` or `c` is no positive finite number, and `MLModelException` when the model cannot be written;
    the model that was in force before still is then.
    """
    parameters = {"gamma": _positive("gamma", gamma), "c": _positive("c", c)}
    features, classes = load_iris(return_X_y=True)
    train_features, test_features, train_classes, test_classes = train_test_split(
        features, classes, test_size=_TEST_PART, stratify=classes, random_state=_RANDOM_STATE
    )
    classifier = SVC(gamma=parameters["gamma"], C=parameters["c"])
    classifier.fit(train_features, train_classes)
    accuracy = float(classifier.score(test_features, test_classes))
    print(f"accuracy on the {len(test_classes)} records held out: {accuracy:.3f}")
    return write_classifier(
        classifier,
        MODEL_FILES if model_files is None else Path(model_files),
        parameters=parameters,
        accuracy=accuracy,
        training_data_sha256=_sha256(train_features, train_classes),
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the command; exits with 2 on a bad option and with 1 when the model cannot be written."""
    parser = argparse.ArgumentParser(prog="iris_train", description="Train the iris model and put it in force.")
    parser.add_argument(
        "-gamma", type=float, default=0.001, help="kernel coefficient of the SVC (default: %(default)s)"
    )
    parser.add_argument("-c", type=float, default=100.0, help="regularisation of the SVC (default: %(default)s)")
    parser.add_argument("-model_files", help="folder the model is written to (default: the one in the package)")
    options = parser.parse_args(arguments)
    try:
        metadata = train(gamma=options.gamma, c=options.c, model_files=options.model_files)
    except ValueError as error:
        parser.error(str(error))
    except MLModelException as error:
        sys.exit(f"iris_train: error: {error}")
    print(f"wrote {metadata.file}")


def _positive(name: str, value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive, finite number, and is {value}: try {name}=1")
    return float(value)


def _sha256(features: np.ndarray, classes: np.ndarray) -> str:
    """Hash little-endian 64-bit values, row by row, so that the hash is the same on every machine."""
    digest = hashlib.sha256(np.ascontiguousarray(features, dtype="<f8").tobytes())
    digest.update(np.ascontiguousarray(classes, dtype="<i8").tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
