"""The job on a Hadoop cluster against the one-by-one job on the same: python -m benchmarks.hadoop [--records N].

Needs HADOOP_HOME; the nodes must be able to use this Python (the cluster of `make hadoop-up` can). Both jobs read the
same file in HDFS and write to HDFS. CPU time is Hadoop's own count for the map tasks, their Java included.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
JOBS = {
    "this job": ("model_mapreduce_job/ml_model_map_reduce_job.py", "--model_qualified_name", "iris_model"),
    "one by one": ("benchmarks/one_by_one.py",),
}
COUNTER = ("org.apache.hadoop.mapreduce.TaskCounter", "CPU_MILLISECONDS")


def run(name: str, source: str, number: int) -> tuple[float, float]:
    """Wall and map-task CPU seconds of one job."""
    script, *options = JOBS[name]
    command = [sys.executable, script, "-r", "hadoop", "--no-conf", "--python-bin", sys.executable, source, *options]
    command += ["--output-dir", f"hdfs:///benchmark/out-{os.getpid()}-{name.replace(' ', '-')}-{number}"]
    command += ["--cmdenv", f"PYTHONPATH=.:{ROOT}"]
    started = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": "./"}, capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - started
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr}")
    job = re.search(r"Running job: (job_\S+)", done.stderr)
    assert job is not None
    told = subprocess.run([_tool("mapred"), "job", "-counter", job[1], *COUNTER], capture_output=True, check=True)
    return seconds, int(told.stdout.split()[-1]) / 1000


def _tool(name: str) -> str:
    return str(Path(os.environ["HADOOP_HOME"], "bin", name))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", default=",".join(JOBS), help="Default: both.")
    options = parser.parse_args()
    hadoop = _tool("hadoop")
    source = f"hdfs:///benchmark/{options.records}.ldjson"
    with tempfile.NamedTemporaryFile() as file:
        subprocess.run([sys.executable, "-m", "benchmarks.records", str(options.records)], stdout=file, check=True)
        subprocess.run([hadoop, "fs", "-mkdir", "-p", "hdfs:///benchmark"], check=True)
        subprocess.run([hadoop, "fs", "-put", "-f", file.name, source], check=True)
    names = options.jobs.split(",")
    measured = [{name: run(name, source, number) for name in names} for number in range(options.rounds)]
    print("| job | start to finish, s | map tasks' CPU, s |\n|---|---|---|")
    for name in names:
        wall, cpu = (statistics.median(each[name][i] for each in measured) for i in (0, 1))
        print(f"| {name} | {wall:.1f} | {cpu:.1f} |")
    if len(names) > 1:
        for i, what in enumerate(("start to finish", "CPU")):
            ratios = [each["one by one"][i] / each["this job"][i] for each in measured]
            print(f"{what}: {statistics.median(ratios):.1f} times ({min(ratios):.1f} to {max(ratios):.1f})")


if __name__ == "__main__":
    main()
