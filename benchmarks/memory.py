"""Is the peak memory of the job flat, however many records there are?

``python -m benchmarks.memory [--records 100000,1000000,10000000]``
"""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import run
from benchmarks.throughput import JOB


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", default="100000,1000000,10000000")
    options = parser.parse_args()
    print("| records | runner | s | peak MiB of the largest process |")
    print("|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        data, output = Path(temporary) / "records", Path(temporary) / "output"
        for number in options.records.split(","):
            run([sys.executable, "-m", "benchmarks.records", number], {}, data)
            for runner in ("inline", "local"):
                job = [sys.executable, JOB, "--no-conf", "--model_qualified_name", "iris_model", "-r", runner]
                measured = run([*job, str(data)], {"PYTHONPATH": "./"}, output)
                print(f"| {int(number):,} | {runner} | {measured.seconds:.1f} | {measured.memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
