"""How fast is the job against a loop written by hand?

``python -m benchmarks.throughput [--records N] [--rounds N] [--models svc,forest,logistic]``
"""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks import MODELS, MODELS_FOLDER
from benchmarks.measure import Measured, median, ratio, run, side_by_side

JOB = "model_mapreduce_job/ml_model_map_reduce_job.py"


def commands(name: str, data: Path, folder: Path) -> dict[str, tuple[list[str], dict[str, str]]]:
    """What is compared for a model, the base first."""
    environment = {"PYTHONPATH": "./", "APP_SETTINGS": f"benchmarks.models.{name}", MODELS_FOLDER: str(folder)}
    job = [sys.executable, JOB, "--no-conf", "--model_qualified_name", name]
    clean, failing = str(data / "clean.ldjson"), str(data / "failing.ldjson")
    bare = [sys.executable, "benchmarks/bare_loop.py", str(folder / f"{name}.joblib"), clean, str(data / "bare")]
    return {
        "bare loop": (bare, {}),
        "one map task": ([*job, "--mapper", "--step-num=0", clean], environment),
        "inline": ([*job, clean], environment),
        "local": ([*job, "-r", "local", clean], environment),
        "inline, 5 % fail": ([*job, failing], environment),
    }


def report(name: str, found: dict[str, list[Measured]]) -> None:
    """One row of the table for each command."""
    for command, runs in found.items():
        memory = max(each.memory for each in runs)
        row = f"| {name} | {command} | {median(runs):.2f} | {ratio(runs, found['bare loop'])} | {memory:.0f} |"
        print(row, flush=True)
    print(f"| {name} | 5 % fail : none | | {ratio(found['inline, 5 % fail'], found['inline'])} | |")
    print(f"| {name} | local : inline | | {ratio(found['local'], found['inline'])} | |", flush=True)


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", default=",".join(MODELS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run([sys.executable, "-m", "benchmarks.models", str(folder)], {}, folder / "output")
        records = [sys.executable, "-m", "benchmarks.records", str(options.records)]
        run(records, {}, folder / "clean.ldjson")
        run([*records, "0.05"], {}, folder / "failing.ldjson")
        print(f"{options.records:,} records, {options.rounds} rounds in turn")
        print("| model | process | median s | times the bare loop: median (least to largest) | MiB |")
        print("|---|---|---|---|---|", flush=True)
        for name in options.models.split(","):
            report(name, side_by_side(commands(name, folder, folder), options.rounds, folder / "output"))


if __name__ == "__main__":
    main()
