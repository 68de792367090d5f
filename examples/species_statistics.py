"""Records for each predicted species and their mean petal length: a reduce step after the prediction.

    PYTHONPATH=./ python examples/species_statistics.py --model_qualified_name iris_model data/input.ldjson

Each output line is the species, a tab, and ``{"records": …, "mean_petal_length": …}`` in centimetres. Records that have
no prediction are left out; the job's summary counts them.
"""

from collections.abc import Iterator
from typing import Any

from model_mapreduce_job.ml_model_map_reduce_job import MLModelMapReduceJob


class SpeciesStatistics(MLModelMapReduceJob):
    """Predicts, then adds up by species."""

    def mapper(self, key: Any, record: Any) -> Iterator[tuple[str, list[float]]]:
        """Yields the predicted species with a count and a petal length."""
        for predicted, prediction in super().mapper(key, record):
            if prediction is not None and "species" in prediction:
                yield prediction["species"], [1, predicted["petal_length"]]

    def combiner(self, species: str, parts: Iterator[list[float]]) -> Iterator[tuple[str, list[float]]]:
        """Adds up what one task has found, so that little travels to the reducers."""
        yield species, [sum(column) for column in zip(*parts, strict=True)]

    def reducer(self, species: str, parts: Iterator[list[float]]) -> Iterator[tuple[str, dict[str, float]]]:
        """Adds up what all tasks have found."""
        records, length = (sum(column) for column in zip(*parts, strict=True))
        yield species, {"records": records, "mean_petal_length": length / records}


if __name__ == "__main__":
    SpeciesStatistics.run()
