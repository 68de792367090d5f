"""How fast is the job on CSV, Parquet and Avro, against loops written by hand and against itself on LDJSON?

``python -m benchmarks.formats [--records N] [--rounds N]``
"""

import argparse
import csv
import json
import sys
import tempfile
from pathlib import Path

from benchmarks import MODELS_FOLDER
from benchmarks.measure import median, ratio, run, side_by_side

JOB = "model_mapreduce_job/ml_model_map_reduce_job.py"


def write_inputs(folder: Path) -> None:
    """The records of ``clean.ldjson`` in the other formats; in a process of its own, for its memory."""
    import fastavro
    import pyarrow as pa
    import pyarrow.parquet as pq

    records = [json.loads(line) for line in (folder / "clean.ldjson").open()]
    with (folder / "clean.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
    pq.write_table(pa.Table.from_pylist(records), folder / "clean.parquet")
    fields = [{"name": name, "type": "double"} for name in records[0]]
    with (folder / "clean.avro").open("wb") as file:
        fastavro.writer(file, {"type": "record", "name": "Flower", "fields": fields}, records, codec="deflate")


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run([sys.executable, "-m", "benchmarks.models", temporary], {}, folder / "output")
        run([sys.executable, "-m", "benchmarks.records", str(options.records)], {}, folder / "clean.ldjson")
        make = f"from benchmarks.formats import *; write_inputs(Path({temporary!r}))"
        run([sys.executable, "-c", make], {}, folder / "output")
        model = str(folder / "logistic.joblib")
        environment = {"PYTHONPATH": "./", "APP_SETTINGS": "benchmarks.models.logistic", MODELS_FOLDER: temporary}
        job = [sys.executable, JOB, "--no-conf", "--model_qualified_name", "logistic"]

        def bare(name: str) -> tuple[list[str], dict[str, str]]:
            program = [sys.executable, "benchmarks/bare_formats.py", name, model]
            return [*program, str(folder / f"clean.{name}"), str(folder / "bare")], {}

        def ours(name: str, output: str) -> tuple[list[str], dict[str, str]]:
            how = ["--input_format", name, "--output_format", output, str(folder / f"clean.{name}")]
            return [*job, *how], environment

        compared = {
            "csv to csv": {"by hand": bare("csv"), "inline": ours("csv", "csv")},
            "parquet to pairs": {"by hand": bare("parquet"), "inline": ours("parquet", "pairs")},
            "to pairs": {f"inline, {name}": ours(name, "pairs") for name in ("ldjson", "csv", "avro", "parquet")},
        }
        print(f"{options.records:,} records, {options.rounds} rounds in turn, logistic")
        print("| what | process | median s | times the first: median (least to largest) | MiB |")
        print("|---|---|---|---|---|", flush=True)
        for what, commands in compared.items():
            found = side_by_side(commands, options.rounds, folder / "output")
            for name, runs in found.items():
                row = f"| {what} | {name} | {median(runs):.2f} | {ratio(runs, next(iter(found.values())))} "
                print(f"{row}| {max(each.memory for each in runs):.0f} |", flush=True)


if __name__ == "__main__":
    main()
