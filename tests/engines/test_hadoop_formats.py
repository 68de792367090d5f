"""Every format on the cluster: split, several files, compressed; the same lines as on one machine."""

import csv
import gzip
import io
import json
import re
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backports import zstd

from tests.engines.hadoop.cluster import HadoopCluster
from tests.engines.hadoop_jobs import RUN, names, put, run_job
from tests.engines.test_hadoop_job import JOB, inline, lines_of, summary
from tests.model_mapreduce_job_tests.jobs import DATA

FLOWERS = [json.loads(line) for line in (DATA / "input.ldjson").read_bytes().splitlines()][:14]
AWKWARD = ["plain", "", 'a "quote"', "comma, tab\t", "ümläut", "carriage\rreturn"]


def records(count: int) -> list[dict[str, Any]]:
    return [
        FLOWERS[number % 14] | {"id": number, "note": AWKWARD[number % len(AWKWARD)] or None} for number in range(count)
    ]


def delimited(count: int, delimiter: str) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, [*FLOWERS[0], "id", "note"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(records(count))
    return text.getvalue().encode()


def parquet(count: int) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records(count)), file)
    return file.getvalue()


def avro(count: int) -> bytes:
    fields = [{"name": name, "type": "double"} for name in FLOWERS[0]]
    fields += [{"name": "id", "type": "long"}, {"name": "note", "type": ["null", "string"]}]
    file = io.BytesIO()
    fastavro.writer(file, {"type": "record", "name": "Flower", "fields": fields}, records(count), codec="snappy")
    return file.getvalue()


def put_all(cluster: HadoopCluster, folder: Path, name: str) -> str:
    """Writes the files of a folder into HDFS."""
    for path in folder.rglob("*"):
        if path.is_file():
            put(cluster, f"{RUN}/in/{name}/{path.relative_to(folder)}", path.read_bytes())
    return f"hdfs://{RUN}/in/{name}"


@pytest.mark.parametrize(("name", "delimiter", "output"), [("csv", ",", "csv"), ("tsv", "\t", "pairs")])
def test_lines_with_columns(cluster: HadoopCluster, tmp_path: Path, name: str, delimiter: str, output: str) -> None:
    for day in "12":
        (tmp_path / f"in/day={day}").mkdir(parents=True)
    bad = f"1{delimiter}2\n".encode() + b'"open\n\n\xff\n'
    (tmp_path / "in/day=1/large").write_bytes(delimited(5000, delimiter) + bad)
    (tmp_path / "in/day=2/part.gz").write_bytes(gzip.compress(delimited(50, delimiter)) + gzip.compress(bad))
    (tmp_path / "in/day=2/empty").touch()
    (tmp_path / "in/_SUCCESS").touch()
    how = ("--input_format", name, "--output_format", output, "--partition_fields")
    source = put_all(cluster, tmp_path / "in", name)
    splits = ("-D", "mapreduce.job.maps=4")
    ran = run_job(cluster, *JOB, source, *how, *splits, "--summary_file", tmp_path / "summary")
    assert ran.returncode == 0, ran.stderr.decode()
    assert lines_of(ran.stdout) == inline(tmp_path / "in", *how)
    splits_made = re.search(r"number of splits:(\d+)", ran.stderr.decode())
    assert splits_made is not None
    assert int(splits_made[1]) >= 4
    told = summary(tmp_path / "summary")
    assert (told["records"], told["failures"]) == (5056, 6)
    assert (told["header_lines"], told["blank_lines"]) == (2, 2)


@pytest.mark.parametrize(("name", "write", "output"), [("parquet", parquet, "ldjson"), ("avro", avro, "csv")])
def test_whole_files(cluster: HadoopCluster, tmp_path: Path, name: str, write: Any, output: str) -> None:
    for day, count in (("1", 9000), ("2", 14), ("3", 0)):
        (tmp_path / f"in/day={day}").mkdir(parents=True)
        (tmp_path / f"in/day={day}/part-0.{name}").write_bytes(write(count or 1))
    (tmp_path / "in/_SUCCESS").touch()
    # Of this machine, with a name that a shell would take apart.
    (tmp_path / "day=4").mkdir()
    (tmp_path / "day=4/it's oneX; ü $(file).X").write_bytes(write(3))
    how = ("--input_format", name, "--output_format", output, "--partition_fields")
    source = put_all(cluster, tmp_path / "in", name)
    ran = run_job(cluster, *JOB, source, tmp_path / "day=4", *how, "--summary_file", tmp_path / "summary")
    assert ran.returncode == 0, ran.stderr.decode()
    assert lines_of(ran.stdout) == inline(tmp_path / "in", tmp_path / "day=4", *how)
    told = summary(tmp_path / "summary")
    assert (told["records"], told["failures"]) == (9018, 0)
    assert "files                      4" in ran.stderr.decode()


def test_a_corrupt_file_is_named_and_leaves_no_output(cluster: HadoopCluster) -> None:
    put(cluster, f"{RUN}/in/corrupt/a.avro", avro(10))
    put(cluster, f"{RUN}/in/corrupt/b.avro", avro(1000)[:-100])
    ran = run_job(
        cluster,
        *(*JOB, f"hdfs://{RUN}/in/corrupt", "--input_format", "avro", "--preflight", "0"),
        *("--output-dir", f"hdfs://{RUN}/out/corrupt", "-D", "mapreduce.map.maxattempts=1"),
    )
    assert ran.returncode == 3
    told = ran.stderr.decode()
    assert "in/corrupt/b.avro: the Avro data is truncated" in told
    assert "input-manifest" not in told.partition("TaskFailedError")[2]
    assert names(cluster, f"{RUN}/out/corrupt") <= {"_FAILED"}


def test_what_cannot_be_read_is_refused_before_anything_is_submitted(cluster: HadoopCluster, tmp_path: Path) -> None:
    put(cluster, f"{RUN}/in/refused/a.zst", zstd.compress(b"{}\n"))
    put(cluster, f"{RUN}/in/headers/a.csv", b"a,b\n1,2\n")
    put(cluster, f"{RUN}/in/headers/b.csv", b"b,a\n1,2\n")
    put(cluster, f"{RUN}/in/odd/a b.parquet", parquet(1))
    (tmp_path / "a.parquet.gz").touch()
    for arguments, code, told in (
        (
            (f"hdfs://{RUN}/in/refused",),
            2,
            "a.zst is compressed with zstandard, which Hadoop reads by a native library",
        ),
        ((f"hdfs://{RUN}/in/headers", "--input_format", "csv"), 3, "have different columns: 'b,a' and 'a,b'"),
        ((f"hdfs://{RUN}/in/odd", "--input_format", "parquet"), 2, "would misread ' '"),
        ((tmp_path, "--input_format", "parquet"), 2, "compresses its own blocks"),
    ):
        ran = run_job(cluster, *JOB, *arguments)
        assert ran.returncode == code, ran.stderr.decode()
        assert told in ran.stderr.decode()
        assert "Submitted application" not in ran.stderr.decode()
