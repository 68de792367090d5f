"""The models that are measured: three of different cost on the iris records, behind the contract.

``python -m benchmarks.models FOLDER`` trains them into a folder; ``BENCHMARK_MODELS`` names it to the processes that
are measured.
"""

import os
import sys
from pathlib import Path
from typing import Any

import joblib

from benchmarks import MODELS, MODELS_FOLDER
from iris_model.iris_predict import IrisModel


class BenchmarkModel(IrisModel):
    """The iris model with another classifier: the same records in, the same one call for a batch."""

    def __init__(self, name: str) -> None:
        self.qualified_name = name
        self._classifier = joblib.load(Path(os.environ[MODELS_FOLDER]) / f"{name}.joblib")


class OneByOneModel(BenchmarkModel):
    """The usual design: asked record by record."""

    def predict_batch(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        one_by_one = super().predict_batch
        return [one_by_one([record])[0] for record in records]


def _settings(class_name: str, name: str) -> type:
    entry = {"module_name": "benchmarks.models", "class_name": class_name, "parameters": {"name": name}}
    return type("Settings", (), {"models": [entry]})


# One class of settings for each model, so that a process loads the one it is measured with.
svc, forest, logistic = (_settings("BenchmarkModel", name) for name in MODELS)
svc_one_by_one, forest_one_by_one, logistic_one_by_one = (_settings("OneByOneModel", name) for name in MODELS)


def train(folder: Path) -> None:
    """Trains the three on scikit-learn's iris data."""
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    data, target = load_iris(return_X_y=True)
    models = {
        "svc": SVC(gamma=0.001, C=100.0),
        "forest": RandomForestClassifier(n_estimators=100, random_state=0),
        "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
    }
    for name, model in models.items():
        joblib.dump(model.fit(data, target), folder / f"{name}.joblib")


if __name__ == "__main__":
    train(Path(sys.argv[1]))
