"""The job on the cluster: the same lines as on one machine, and an output that is whole or says that it is not."""

import bz2
import gzip
import json
import os
import re
import subprocess
import sys
from collections import Counter
from contextlib import redirect_stdout
from getpass import getuser
from pathlib import Path

import pytest

from benchmarks.records import main as write_records
from tests.engines.hadoop.cluster import HadoopCluster
from tests.engines.hadoop_jobs import CODE_ONLY, RUN, names, output_lines, put, read, run_job
from tests.model_mapreduce_job_tests.jobs import DATA, GOLDEN, GOOD, IRIS, ROOT, run_command

JOB = (*CODE_ONLY, *IRIS)
HADOOP_GROUP = "Map-Reduce Framework"


def lines_of(content: bytes) -> Counter[bytes]:
    return Counter(content.split(b"\n")[:-1])


def inline(*arguments: object) -> Counter[bytes]:
    ran = run_command(*IRIS, "--no-conf", *arguments)
    assert ran.returncode == 0, ran.stderr.decode()
    return lines_of(ran.stdout)


def summary(path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(path.read_text())
    return found


def test_the_fifteen_records_of_the_readme(cluster: HadoopCluster, tmp_path: Path) -> None:
    ran = run_job(cluster, *JOB, "data/input.ldjson", "--summary_file", tmp_path / "summary")
    assert ran.returncode == 0, ran.stderr.decode()
    assert lines_of(ran.stdout) == lines_of((GOLDEN / "input.pairs").read_bytes())
    text = ran.stderr.decode()
    assert "preflight: 15 records scored, 1 failed" in text
    assert "validate petal_width" in text
    assert "Input should be a valid number" in text, "the example has come from the container's log"
    assert "SUCCESS" not in text
    found = summary(tmp_path / "summary")
    assert (found["records"], found["predictions"], found["failures"]) == (15, 14, 1)
    job = re.search(r"Creating temp directory \S+/(\S+)", text)
    assert job is not None
    assert job[1] not in names(cluster, f"/user/{getuser()}/tmp/mrjob"), "nothing temporary is left"  # noqa: S108


@pytest.mark.parametrize("output", ["pairs", "ldjson"])
def test_dirty_input_in_splits_that_end_inside_lines(cluster: HadoopCluster, output: str, tmp_path: Path) -> None:
    source = put(cluster, f"{RUN}/in/dirty.ldjson", (DATA / "dirty.ldjson").read_bytes())
    ran = run_job(
        cluster,
        *(*JOB, source, *output_of(output), "-D", "mapreduce.job.maps=3", "--summary_file", tmp_path / "summary"),
    )
    assert ran.returncode == 0, ran.stderr.decode()
    golden = f"dirty.{output}"
    assert lines_of(ran.stdout) == lines_of((GOLDEN / golden).read_bytes())
    splits = re.search(r"number of splits:(\d+)", ran.stderr.decode())
    assert splits is not None
    assert int(splits[1]) >= 3
    assert summary(tmp_path / "summary")["records"] == (GOLDEN / golden).read_bytes().count(b"\n")


def test_a_million_records_from_and_to_hdfs(cluster: HadoopCluster, tmp_path: Path) -> None:
    million = tmp_path / "million.ldjson"
    with million.open("w") as file, redirect_stdout(file):
        write_records(1_000_000, 0.05)
    put(cluster, f"{RUN}/in/million.ldjson", million.read_bytes(), block_size=32 << 20)
    pairs = inline(million)
    assert sum(pairs.values()) == 1_000_000
    for name in ("pairs", "ldjson", "csv", "tsv"):
        if name == "ldjson":
            expected = Counter({as_ldjson(line): times for line, times in pairs.items()})
        else:
            expected = pairs if name == "pairs" else inline(million, *output_of(name)) - Counter([header(name)])
        folder = f"{RUN}/out/million_{name}"
        place = (f"hdfs://{RUN}/in/million.ldjson", "--output-dir", f"hdfs://{folder}")
        ran = run_job(cluster, *JOB, *place, *output_of(name))
        assert ran.returncode == 0, ran.stderr.decode()
        assert ran.stdout == b""
        assert output_lines(cluster, folder) == expected
        assert "_SUCCESS" in names(cluster, folder)


def output_of(name: str) -> tuple[str, ...]:
    return ("--output_format", name, "--on_failure", "null")


def header(name: str) -> bytes:
    """Standard output names the columns, the files of a folder do not."""
    columns = (b"sepal_length", b"sepal_width", b"petal_length", b"petal_width", b"species", b"error")
    return (b"," if name == "csv" else b"\t").join(columns)


def as_ldjson(pair: bytes) -> bytes:
    """The line of the other format for a pair; a test of golden files holds the two together inline."""
    key, _, prediction = pair.partition(b"\t")
    record, raw = (b"null", key) if key.startswith(b'"') else (key, b"null")
    model = b'"model": "iris_model", "version": "0.1"'
    return b'{"record": %b, "raw": %b, "prediction": %b, "error": null, %b}' % (record, raw, prediction, model)


def test_an_empty_folder_is_no_record(cluster: HadoopCluster) -> None:
    put(cluster, f"{RUN}/in/empty/_SUCCESS", b"")
    ran = run_job(cluster, *JOB, f"hdfs://{RUN}/in/empty", "--output-dir", f"hdfs://{RUN}/out/empty")
    assert ran.returncode == 0, ran.stderr.decode()
    assert re.search(r"records +0\n", ran.stderr.decode())
    assert names(cluster, f"{RUN}/out/empty") == {"_SUCCESS"}


def test_gzip_and_bzip2_with_several_members(cluster: HadoopCluster) -> None:
    lines = (GOLDEN / "input.pairs").read_bytes().splitlines(keepends=True)
    records = [line.split(b"\t")[0] + b"\n" for line in lines]
    members = [b"".join(records[:7]), b"".join(records[7:])]
    put(cluster, f"{RUN}/in/members/a.gz", b"".join(map(gzip.compress, members)))
    put(cluster, f"{RUN}/in/members/b.bz2", b"".join(map(bz2.compress, members)))
    ran = run_job(cluster, *JOB, f"hdfs://{RUN}/in/members")
    assert ran.returncode == 0, ran.stderr.decode()
    assert lines_of(ran.stdout) == Counter(dict.fromkeys(lines_of(b"".join(lines)), 2))


def test_a_truncated_gzip_is_named_and_leaves_no_output(cluster: HadoopCluster) -> None:
    whole = gzip.compress(b"".join(GOOD + b" " * (n % 7) + b"\n" for n in range(50_000)), mtime=0)
    put(cluster, f"{RUN}/in/truncated/whole.gz", gzip.compress(GOOD + b"\n"))
    put(cluster, f"{RUN}/in/truncated/broken.gz", whole[: len(whole) // 2])
    ran = run_job(
        cluster,
        *(*JOB, f"hdfs://{RUN}/in/truncated", "--preflight", "0", "--output-dir", f"hdfs://{RUN}/out/truncated"),
        *("-D", "mapreduce.map.maxattempts=1"),
    )
    assert ran.returncode == 3
    told = ran.stderr.decode()
    assert re.search(r"TaskFailedError: hdfs://\S+/in/truncated/broken\.gz:0\+\d+: the compressed data is cut", told)
    assert re.search(r"attempt_\S+ failed on \S+, reading hdfs://\S+/in/truncated/broken\.gz", told)
    assert "end of input stream" in told
    assert names(cluster, f"{RUN}/out/truncated") <= {"_FAILED"}


def iris(petal_width: str) -> bytes:
    return b'{"sepal_length": 5.0, "sepal_width": 3.2, "petal_length": 1.2, "petal_width": %b}' % petal_width.encode()


def test_many_small_files_in_folders_of_folders(cluster: HadoopCluster, tmp_path: Path) -> None:
    expected: Counter[bytes] = Counter()

    def expect(record: bytes, fields: str, times: int = 1) -> None:
        expected[record[:-1] + b', %b}\t{"species": "setosa"}' % fields.encode()] += times

    for day in ("2026-01-01", "2026-01-02"):
        put(cluster, f"{RUN}/in/days/dt={day}/part-0", iris("0.2") + b"\n" + iris("0.2"))
        expect(iris("0.2"), f'"dt": "{day}"', 2)
    put(cluster, f"{RUN}/in/days/_SUCCESS", b"")
    put(cluster, f"{RUN}/in/days/dt=2026-01-01/.hidden", GOOD)
    put(cluster, f"{RUN}/in/days/_logs/part-0", GOOD)
    put(cluster, f"{RUN}/in/days/dt=2026-01-01/empty", b"")
    # Of this machine: names that HDFS does not take, and one that Hadoop would take for a pattern of the other.
    (tmp_path / "hour=10:00").mkdir()
    for width, name in (("0.3", "10:00.ldjson"), ("0.4", "a1"), ("0.5", "a[1]")):
        (tmp_path / "hour=10:00" / name).write_bytes(iris(width) + b"\n")
        expect(iris(width), '"hour": "10:00"')
    ran = run_job(cluster, *JOB, f"hdfs://{RUN}/in/days", tmp_path, "--partition_fields")
    assert ran.returncode == 0, ran.stderr.decode()
    assert lines_of(ran.stdout) == expected


@pytest.mark.parametrize("script", ["examples/species_statistics.py", "examples/unique_records.py"])
def test_examples_with_a_reduce_step_on_two_reducers(cluster: HadoopCluster, script: str) -> None:
    arguments = (*CODE_ONLY, *IRIS, "data/dirty.ldjson", "data/dirty.ldjson")
    ran = run_job(cluster, *arguments, "-D", "mapreduce.job.reduces=2", script=script)
    assert ran.returncode == 0, ran.stderr.decode()
    here = run_command(*IRIS, "--no-conf", "data/dirty.ldjson", "data/dirty.ldjson", command=(script,))
    assert here.returncode == 0
    assert lines_of(ran.stdout) == lines_of(here.stdout)
    assert "Launched reduce tasks" not in ran.stderr.decode()


@pytest.fixture(scope="session")
def archive() -> None:
    """dist/environment.tar.gz, as mrjob.conf names it."""
    subprocess.run(
        [sys.executable, "-m", "model_mapreduce_job.environment_archive"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "./"},
        check=True,
        timeout=300,
    )


@pytest.mark.disruptive
@pytest.mark.usefixtures("archive")
def test_a_node_needs_nothing_but_the_archive(cluster: HadoopCluster) -> None:
    documented = ("--conf-path", "mrjob.conf", *IRIS, "data/input.ldjson")
    nodes = ("nodemanager1", "nodemanager2")
    try:
        for node in nodes:
            cluster.kill(node)
            cluster.start(node, hide_python=True, wait=False)
        cluster.wait_ready(nodes)
        for node in nodes:
            seen = subprocess.run(cluster.inside(node, ["python3", "-c", "pass"]), capture_output=True, check=False)
            assert seen.returncode != 0, "the node has a Python of its own"
        ran = run_job(cluster, *documented)
        assert ran.returncode == 0, ran.stderr.decode()
        assert lines_of(ran.stdout) == lines_of((GOLDEN / "input.pairs").read_bytes())
        # Published once; and it holds what a format needs.
        table = (
            "--conf-path",
            "mrjob.conf",
            *IRIS,
            "tests/model_mapreduce_job_tests/foreign/spark_parquet",
            "--input_format",
            "parquet",
        )
        again = run_job(cluster, *table)
        assert again.returncode == 0, again.stderr.decode()
        assert again.stdout.count(b"species") == 14
        assert "Publishing" not in again.stderr.decode()
    finally:
        for node in nodes:
            cluster.kill(node)
            cluster.start(node, wait=False)
        cluster.wait_ready(nodes)


def test_old_output_is_refused_before_anything_is_submitted(cluster: HadoopCluster) -> None:
    for name, found in (("_SUCCESS", "that succeeded"), ("_FAILED", "its _FAILED says why"), ("x", "no _SUCCESS")):
        put(cluster, f"{RUN}/out/old{name}/part-00000", b"")
        put(cluster, f"{RUN}/out/old{name}/{name}", b"")
        ran = run_job(cluster, *JOB, "data/input.ldjson", "--output-dir", f"hdfs://{RUN}/out/old{name}")
        assert ran.returncode == 2, ran.stderr.decode()
        assert found in ran.stderr.decode()
        assert "hadoop fs -rm -r" in ran.stderr.decode()
        assert "Submitted application" not in ran.stderr.decode()


def test_missing_input_is_refused_before_anything_is_submitted(cluster: HadoopCluster) -> None:
    for path in (f"hdfs://{RUN}/in/nothing", "data/nothing.ldjson", f"hdfs://{RUN}/in/nothing/*.gz"):
        ran = run_job(cluster, *JOB, path)
        assert ran.returncode == 2
        assert f"input {path} does not exist" in ran.stderr.decode()


def test_too_many_failures_leave_the_output_without_success(cluster: HadoopCluster) -> None:
    ran = run_job(
        cluster, *JOB, "data/input.ldjson", *("--max_failure_ratio", "0.01"), "--output-dir", f"hdfs://{RUN}/out/ratio"
    )
    assert ran.returncode == 3
    assert names(cluster, f"{RUN}/out/ratio") == {"_FAILED", "part-00000"}
    assert "--max_failure_ratio allows 0.01" in read(cluster, f"{RUN}/out/ratio/_FAILED").decode()
    again = run_job(cluster, *JOB, "data/input.ldjson", "--output-dir", f"hdfs://{RUN}/out/ratio")
    assert again.returncode == 2
    assert "1 part files of a job that failed; its _FAILED says why" in again.stderr.decode()
