"""Each different record once, with its prediction: a reduce step that removes duplicates.

    PYTHONPATH=./ python examples/unique_records.py --model_qualified_name iris_model data/input.ldjson

Two lines are duplicates when they are the same text. The prediction step is the job's own, so it works in batches.
"""

from collections.abc import Iterator
from typing import Any

from mrjob.step import MRStep

from model_mapreduce_job.ml_model_map_reduce_job import MLModelMapReduceJob


class UniqueRecords(MLModelMapReduceJob):
    """Predicts, then keeps the first of each group of equal records."""

    def steps(self) -> list[MRStep]:
        """The prediction, and a reducer that gets equal records together."""
        return [MRStep(mapper=self.mapper, reducer=self.keep_first)]

    def keep_first(self, record: Any, predictions: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
        """Yields the record with one of its predictions, which are all the same."""
        yield record, next(predictions)


if __name__ == "__main__":
    UniqueRecords.run()
