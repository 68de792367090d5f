"""The program that Spark runs for ``-r spark``: mrjob's harness, with lines as they stand in their files.

mrjob's own reads text: bytes that are no UTF-8 are replaced, CR ends a line, and nothing says where a line is from.
Here a line comes as bytes, with the name of its file and where its part of the file starts; so what is no record can be
had back, a line that names the columns is known by its place, and a task works on blocks as on every other runner.
Steps after the first are mrjob's.

It overrides functions of mrjob 0.7.4, its last release; ``requirements.txt`` pins it.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, islice
from operator import itemgetter
from typing import Any
from urllib.parse import unquote

from model_mapreduce_job.distutils_stand_in import import_mrjob
from model_mapreduce_job.task_input import Lines
from model_scoring.formats.lines import BATCH_BYTES

import_mrjob()

from mrjob.spark import harness  # noqa: E402

__all__ = ["main"]

Row = tuple[str, int, bytes]


def main() -> None:
    """Runs what the command line says."""
    mappers = harness._run_mapper
    harness._text_file_with_path = _rows

    def run_mapper(make_job: Callable[..., Any], step_num: int, rdd: Any, has_rows: bool) -> Any:
        if not has_rows:
            return mappers(make_job, step_num, rdd, False)
        return rdd.mapPartitions(lambda rows: scored_lines(make_job("mapper", step_num), rows, step_num))

    harness._run_mapper = run_mapper
    harness.main()


def _rows(context: Any, path: str) -> Any:
    """The lines of a file or folder: the name of the file, where its part of it starts, and the line."""
    from pyspark.sql import SparkSession

    reader = SparkSession(context).read.option("lineSep", "\n").option("recursiveFileLookup", "true")
    found = reader.text(path)
    place = ("_metadata.file_path", "_metadata.file_block_start", "cast(value as binary)")
    return found.selectExpr(*place).rdd.map(tuple)


def scored_lines(job: Any, rows: Iterable[Row], step_num: int) -> Iterator[bytes]:
    """The lines that a job's task writes for these rows."""
    yield from job.map_lines(_batches(rows, job.options.batch_size), step_num)


def _batches(rows: Iterable[Row], batch_size: int) -> Iterator[Lines]:
    for (uri, start), lines in groupby(rows, itemgetter(0, 1)):
        source = re.sub("^file:/+", "/", unquote(uri))
        os.environ["mapreduce_map_input_file"] = source  # noqa: SIM112  # what a mapper may ask for
        first = start == 0
        for batch in _of_size((bytes(line) for _, _, line in lines), batch_size):
            yield Lines(source, batch, first)
            first = False


def _of_size(lines: Iterator[bytes], batch_size: int) -> Iterator[list[bytes]]:
    while batch := list(islice(lines, 1)):
        held = len(batch[0])
        for line in islice(lines, batch_size - 1):
            batch.append(line)
            held += len(line)
            if held >= BATCH_BYTES:
                break
        yield batch


if __name__ == "__main__":
    main()
