"""What a job is measured against: the loop somebody writes by hand, without validation and without failures.

``python benchmarks/bare_loop.py CLASSIFIER.joblib INPUT OUTPUT``. One scikit-learn call for 4,096 records; it stops at
the first record that is not as it should be. Imports nothing of the project.
"""

import sys
from itertools import islice
from pathlib import Path

import joblib
import numpy as np
import orjson

SPECIES = ("setosa", "versicolor", "virginica")


def main(classifier: str, source: str, target: str) -> None:
    """Scores ``source``."""
    model = joblib.load(classifier)
    with Path(source).open("rb") as lines, Path(target).open("wb") as output:
        while batch := list(islice(lines, 4096)):
            records = [orjson.loads(line) for line in batch]
            rows = np.array(
                [[r["sepal_length"], r["sepal_width"], r["petal_length"], r["petal_width"]] for r in records]
            )
            classes = model.predict(rows).tolist()
            output.writelines(
                b"%b\t%b\n" % (line.rstrip(b"\n"), orjson.dumps({"species": SPECIES[number]}))
                for line, number in zip(batch, classes, strict=True)
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
