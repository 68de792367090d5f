"""The job that one would write with mrjob in an afternoon: a line is parsed, predicted, written, one at a time."""

import json
from collections.abc import Iterator
from typing import Any

from model_mapreduce_job.distutils_stand_in import import_mrjob

import_mrjob()

from mrjob.job import MRJob  # noqa: E402
from mrjob.protocol import RawValueProtocol  # noqa: E402

from iris_model.iris_predict import IrisModel  # noqa: E402
from ml_model_abc import MLModelException  # noqa: E402


class OneByOneJob(MRJob):  # type: ignore[misc]  # mrjob has no types
    """Predicts with the iris model; a record that fails gives null."""

    INPUT_PROTOCOL = RawValueProtocol
    OUTPUT_PROTOCOL = RawValueProtocol

    def mapper_init(self) -> None:
        """Loads the model, once for a task."""
        self.model = IrisModel()

    def mapper(self, _: Any, line: str) -> Iterator[tuple[None, str]]:
        """Yields the line with its prediction."""
        try:
            prediction = self.model.predict(json.loads(line))
        except (ValueError, MLModelException):
            prediction = None
        yield None, f"{line}\t{json.dumps(prediction)}"


if __name__ == "__main__":
    OneByOneJob.run()
