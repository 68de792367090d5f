"""A job of two steps: the prediction with a reducer, and a count of what that gives."""

from collections.abc import Iterable, Iterator
from typing import Any

from mrjob.step import MRStep

from model_mapreduce_job.ml_model_map_reduce_job import MLModelMapReduceJob


class TwoStepJob(MLModelMapReduceJob):
    """Counts the distinct records of each species."""

    def steps(self) -> list[MRStep]:
        return [MRStep(mapper=self.mapper, reducer=self.species), MRStep(reducer=self.count)]

    def species(self, _record: Any, predictions: Iterable[Any]) -> Iterator[tuple[str, int]]:
        yield (next(iter(predictions)) or {}).get("species", "none"), 1

    def count(self, species: str, ones: Iterable[int]) -> Iterator[tuple[str, int]]:
        yield species, sum(ones)


if __name__ == "__main__":
    TwoStepJob.run()
