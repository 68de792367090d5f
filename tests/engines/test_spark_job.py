"""The job on Spark, in this machine: the same lines, counts and errors as inline; and what reads its output."""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

from tests.engines.test_hadoop_formats import delimited
from tests.engines.test_hadoop_job import as_ldjson, inline, lines_of, summary
from tests.model_mapreduce_job_tests.jobs import DATA, GOLDEN, GOOD, IRIS, ROOT, SCRIPT, run_command

SPARK = ("-r", "spark", "--no-conf")


def on_spark(*arguments: object, script: str = SCRIPT) -> subprocess.CompletedProcess[bytes]:
    return run_command(*SPARK, *IRIS, *arguments, command=(script,))


@pytest.mark.parametrize("output", ["pairs", "ldjson"])
def test_dirty_lines_are_the_same(output: str, tmp_path: Path) -> None:
    how = ("--output_format", output, "--on_failure", "null", "--summary_file", tmp_path / "summary")
    ran = on_spark(DATA / "dirty.ldjson", *how)
    assert ran.returncode == 0, ran.stderr.decode()
    expected = (GOLDEN / f"dirty.{output}").read_bytes()
    assert lines_of(ran.stdout) == lines_of(expected)
    told = summary(tmp_path / "summary")
    assert told["records"] == expected.count(b"\n")
    assert told["blank_lines"], "counted"
    assert "validate petal_width" in str(told["examples"])


def test_folders_of_compressed_files_with_columns(tmp_path: Path) -> None:
    for day in "12":
        (tmp_path / f"in/day={day}/a [1]").mkdir(parents=True)
    (tmp_path / "in/day=1/large.csv").write_bytes(delimited(40_000, ","))
    (tmp_path / "in/day=1/large.csv.gz").write_bytes(gzip.compress(delimited(50, ",")) * 2)
    (tmp_path / "in/day=2/a [1]/part 0.csv").write_bytes(delimited(50, ",") + b'1,2\n"\xff\n')
    (tmp_path / "in/day=2/.hidden").write_bytes(b"x")
    (tmp_path / "in/_SUCCESS").touch()
    how = ("--input_format", "csv", "--output_format", "csv", "--partition_fields")
    ran = on_spark(tmp_path / "in", *how, "-D", "spark.sql.files.maxPartitionBytes=200000")
    assert ran.returncode == 0, ran.stderr.decode()
    assert lines_of(ran.stdout) == inline(tmp_path / "in", *how)
    assert "header lines               3" in ran.stderr.decode()


def test_an_output_folder_is_whole_or_says_that_it_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "day=1"
    done = on_spark("data/input.ldjson", "--output-dir", folder)
    assert done.returncode == 0, done.stderr.decode()
    assert {"_SUCCESS", "part-00000"} <= {path.name for path in folder.iterdir()}
    again = on_spark("data/input.ldjson", "--output-dir", folder)
    assert again.returncode == 2
    assert "the whole output of a job that succeeded" in again.stderr.decode()
    failed = on_spark("data/input.ldjson", "--max_failure_ratio", "0.01", "--output-dir", tmp_path / "failed")
    assert failed.returncode == 3
    assert "--max_failure_ratio allows 0.01" in (tmp_path / "failed/_FAILED").read_text()
    assert not (tmp_path / "failed/_SUCCESS").exists()


def test_what_a_task_says_is_told(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a").write_bytes(GOOD + b"\n" + GOOD.replace(b"0.2", b'"asd"') + b"\n")
    how = ("--preflight", "0", "--on_failure", "stop", "--output-dir", tmp_path / "out")
    ran = on_spark(tmp_path / "in", *how)
    assert ran.returncode == 3
    told = ran.stderr.decode().partition("TaskFailedError: ")[2]
    assert told.startswith(
        f"RecordFailedError: a record of {tmp_path}/in/a failed: validate: float_type: petal_width: "
    )
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress((GOOD + b"\n") * 1000)[:-20])
    ran = on_spark(tmp_path, "--preflight", "0", "--output-dir", tmp_path / "out")
    assert ran.returncode == 3, ran.stderr.decode()
    assert f"TaskFailedError: {tmp_path}/a.gz: the compressed data is cut off or damaged." in ran.stderr.decode()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("script", ["examples/species_statistics.py", "examples/unique_records.py"])
def test_reduce_steps(script: str) -> None:
    ran = on_spark("data/dirty.ldjson", "data/dirty.ldjson", script=script)
    assert ran.returncode == 0, ran.stderr.decode()
    here = run_command(*IRIS, "--no-conf", "data/dirty.ldjson", "data/dirty.ldjson", command=(script,))
    assert lines_of(ran.stdout) == lines_of(here.stdout)


def test_nothing_to_read_is_no_record(tmp_path: Path) -> None:
    ran = on_spark(tmp_path)
    assert ran.returncode == 0, ran.stderr.decode()
    assert re.search(r"records +0\n", ran.stderr.decode())


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.zst").touch()
    (tmp_path / "a,b").touch()
    for path, told in (
        (tmp_path / "in", "compressed with zstandard"),
        (tmp_path / "nothing", "does not exist"),
        (tmp_path / "a,b", "takes a comma for the end of a path"),
    ):
        ran = on_spark(path)
        assert ran.returncode == 2
        assert told in ran.stderr.decode()


def test_ctrl_c_ends_spark(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes((GOOD + b"\n") * 3_000_000)
    job = subprocess.Popen(
        [sys.executable, SCRIPT, *SPARK, *IRIS, tmp_path / "in", "--output-dir", tmp_path / "out"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "./"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    end = time.monotonic() + 60
    while not list(tmp_path.glob("out/_temporary/0/_temporary/*/part-*")):
        assert time.monotonic() < end, "no task has begun"
        time.sleep(0.2)
    job.send_signal(signal.SIGINT)
    _, told = job.communicate(timeout=60)
    assert job.returncode == 130, told.decode()
    assert not (tmp_path / "out").exists()


# --- docs/output.md


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """Spark with the tables and the language of Hive."""
    folder = tmp_path_factory.mktemp("warehouse")
    session = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.warehouse.dir", str(folder))
        .config("spark.hadoop.javax.jdo.option.ConnectionURL", "jdbc:derby:memory:metastore;create=true")
        .config("spark.driver.extraJavaOptions", f"-Dderby.system.home={folder}")
        .enableHiveSupport()
        .getOrCreate()
    )
    yield session
    session.stop()


def statements(output: str, engine: str) -> list[str]:
    """The SQL that docs/output.md has for a format and an engine; the last one asks."""
    text = (ROOT / "docs/output.md").read_text().partition(f"\n## {output}\n")[2].partition("\n## ")[0]
    text = text.partition(f"\n### {engine}\n")[2].partition("\n### ")[0]
    blocks = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    return [each for block in blocks for each in block.split(";\n") if each.strip()]


@pytest.mark.parametrize("engine", ["Hive", "Spark"])
@pytest.mark.parametrize("output", ["pairs", "ldjson", "csv", "tsv"])
@pytest.mark.parametrize("on_failure", ["detail", "null"])
def test_tables_over_the_output(spark: SparkSession, output: str, engine: str, on_failure: str, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"{}\n")  # of which, without a reason, nothing but separators would be left
    ran = run_command(
        *(*IRIS, "--no-conf", "-q", "data/dirty.ldjson", "data/input.ldjson", tmp_path / "empty"),
        *("--output_format", output, "--on_failure", on_failure, "--output-dir", tmp_path / "scored"),
    )
    assert ran.returncode == 0, ran.stderr.decode()
    for kind, name in (("VIEW", "scored"), ("TABLE", "scored_lines"), ("TABLE", "scored")):
        with suppress(AnalysisException):  # a view is no table
            spark.sql(f"DROP {kind} IF EXISTS {name}")
    [*made, asked] = statements(output, engine)
    for statement in made:
        spark.sql(statement.replace("/data/scored", f"file://{tmp_path}/scored"))
    counted = {row["species"]: row["records"] for row in spark.sql(asked).collect()}
    pairs = [(GOLDEN / f"{name}.pairs").read_bytes().splitlines() for name in ("dirty", "input")]
    values = [json.loads(line.split(b"\t")[1]) for lines in pairs for line in lines]
    assert counted == Counter([*(value and value["species"] for value in values), None])


def test_the_two_ways_to_spell_an_outcome_agree() -> None:
    lines = (GOLDEN / "input.pairs").read_bytes().splitlines()
    assert sorted(map(as_ldjson, lines)) == sorted((GOLDEN / "input.ldjson").read_bytes().splitlines())
