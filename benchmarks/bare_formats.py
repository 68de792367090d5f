"""Loops written by hand for CSV and Parquet, without validation and without failures; the bases of ``formats.py``.

``python benchmarks/bare_formats.py csv|parquet CLASSIFIER.joblib INPUT OUTPUT``. CSV goes row by row through the
standard library and comes out as CSV; a record of Parquet comes out as JSON, a tab and its prediction, as the job's
does. One scikit-learn call for 4,096 records. Imports nothing of the project.
"""

import csv
import sys
from itertools import islice
from pathlib import Path

import joblib
import numpy as np
import orjson

SPECIES = ("setosa", "versicolor", "virginica")


def score_csv(classifier: str, source: str, target: str) -> None:
    """Scores ``source``, whose columns are the four."""
    model = joblib.load(classifier)
    with Path(source).open(newline="") as lines, Path(target).open("w", newline="") as output:
        rows, writer = csv.reader(lines), csv.writer(output)
        writer.writerow([*next(rows), "species"])
        while batch := list(islice(rows, 4096)):
            classes = model.predict(np.array(batch, dtype=float)).tolist()
            writer.writerows([*row, SPECIES[number]] for row, number in zip(batch, classes, strict=True))


def score_parquet(classifier: str, source: str, target: str) -> None:
    """Scores ``source``, whose columns are the four."""
    import pyarrow.parquet as pq

    model = joblib.load(classifier)
    with Path(target).open("wb") as output:
        for batch in pq.ParquetFile(source).iter_batches(batch_size=4096):
            rows = np.stack([column.to_numpy() for column in batch.columns], axis=1)
            classes = model.predict(rows).tolist()
            output.writelines(
                b"%b\t%b\n" % (orjson.dumps(record), orjson.dumps({"species": SPECIES[number]}))
                for record, number in zip(batch.to_pylist(), classes, strict=True)
            )


if __name__ == "__main__":
    {"csv": score_csv, "parquet": score_parquet}[sys.argv[1]](*sys.argv[2:])
