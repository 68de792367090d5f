"""Input and output formats through whole jobs: the same outcomes as from LDJSON, on every runner of this machine."""

import bz2
import csv
import gzip
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backports import zstd

from examples.species_statistics import SpeciesStatistics
from model_mapreduce_job.command_line import CommandLineError
from model_mapreduce_job.ml_model_map_reduce_job import MLModelMapReduceJob
from model_scoring.errors import CorruptInputError, InputError, MissingPackageError
from model_scoring.formats.registry import line_reader
from tests.model_mapreduce_job_tests.jobs import DATA, IRIS, Ran, failing, loaded, run_command, run_here

FLOWERS = [json.loads(line) for line in (DATA / "input.ldjson").read_bytes().splitlines()][:14]
COLUMNS = list(FLOWERS[0])
COMPRESSORS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".zst": zstd.compress}
AVRO = {"type": "record", "name": "Flower", "fields": [{"name": name, "type": "double"} for name in COLUMNS]}


def ldjson(records: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def csv_text(records: list[dict[str, Any]], delimiter: str = ",", *, header: bool = True) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), delimiter=delimiter)
    if header:
        writer.writeheader()
    writer.writerows(records)
    return text.getvalue().encode()


def avro(records: list[dict[str, Any]]) -> bytes:
    file = io.BytesIO()
    fastavro.writer(file, AVRO, records, codec="snappy")
    return file.getvalue()


def parquet(records: list[dict[str, Any]]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records), file)
    return file.getvalue()


WRITTEN = {
    "ldjson": ldjson,
    "csv": csv_text,
    "tsv": lambda records: csv_text(records, "\t"),
    "avro": avro,
    "parquet": parquet,
}


def succeeded(
    *arguments: object, stdin: bytes = b"", job_class: type[MLModelMapReduceJob] = MLModelMapReduceJob
) -> Ran:
    ran = run_here(*IRIS, *arguments, stdin=stdin, job_class=job_class)
    assert ran.error is None, ran.messages
    return ran


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An input folder."""
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.mark.parametrize("runner", ["inline", "local"])
@pytest.mark.parametrize("output", ["pairs", "ldjson", "csv", "tsv"])
@pytest.mark.parametrize("name", list(WRITTEN))
def test_outcomes_are_those_of_ldjson(folder: Path, name: str, output: str, runner: str) -> None:
    for day, records in (("1", FLOWERS[:5]), ("2", FLOWERS[5:])):
        (folder / f"day={day}").mkdir()
        (folder / f"day={day}/part-0").write_bytes(WRITTEN[name](records))
    (folder / "_SUCCESS").touch()
    (folder / "day=1/.part-0.crc").write_bytes(b"x")
    ran = succeeded("-r", runner, folder, "--input_format", name, "--output_format", output, "--partition_fields")
    days = ["1"] * 5 + ["2"] * 9
    records = ldjson([record | {"day": day} for record, day in zip(FLOWERS, days, strict=True)])
    named = ("--columns", ",".join([*COLUMNS, "day"])) if output in ("csv", "tsv") else ()
    assert ran.lines == succeeded("--output_format", output, *named, stdin=records).lines


@pytest.mark.parametrize("compression", list(COMPRESSORS))
@pytest.mark.parametrize("name", ["ldjson", "csv", "tsv"])
def test_compressed_members_and_frames(folder: Path, name: str, compression: str) -> None:
    content = WRITTEN[name](FLOWERS)
    halves = content[: len(content) // 2], content[len(content) // 2 :]
    for number in range(2):
        members = b"".join(map(COMPRESSORS[compression], halves))
        (folder / f"part-{number}{compression}").write_bytes(members)
    ran = succeeded(folder, "--input_format", name)
    assert ran.lines == succeeded(stdin=ldjson(FLOWERS * 2)).lines


@pytest.mark.parametrize("output", ["pairs", "csv"])
def test_a_large_csv_file_is_cut_among_tasks(folder: Path, output: str) -> None:
    (folder / "large").write_bytes(csv_text(FLOWERS * 10_000))
    arguments = ("--input_format", "csv", "--output_format", output, folder / "large")
    ran = run_command("-r", "local", "--num-cores", "3", "--no-conf", *IRIS, *arguments)
    assert ran.returncode == 0, ran.stderr.decode()
    assert "header lines               1" in ran.stderr.decode()
    assert ran.stdout == succeeded(*arguments).output


def test_csv_output_names_its_columns_once(folder: Path) -> None:
    for number in range(3):
        (folder / f"{number}.csv").write_bytes(csv_text(FLOWERS[:2]))
    ran = succeeded("-r", "local", "--input_format", "csv", "--output_format", "csv", folder)
    assert ran.lines[0] == b"sepal_length,sepal_width,petal_length,petal_width,species,error"
    assert ran.lines[1:] == [b"5.0,3.2,1.2,0.2,setosa,", b"5.5,3.5,1.3,0.2,setosa,"] * 3


def test_output_folder_holds_no_header(folder: Path, tmp_path: Path) -> None:
    (folder / "a.csv").write_bytes(csv_text(FLOWERS[:1]))
    succeeded("--input_format", "csv", "--output_format", "tsv", folder, "--output-dir", tmp_path / "out")
    assert (tmp_path / "out/part-00000").read_bytes() == b"5.0\t3.2\t1.2\t0.2\tsetosa\t\n"


def test_names_that_are_taken_get_another(folder: Path) -> None:
    records = [FLOWERS[0] | {"species": "s", "error": "e", "prediction_species": "p"}]
    ran = succeeded("--input_format", "csv", "--output_format", "csv", stdin=csv_text(records))
    names = ran.lines[0].decode().split(",")[4:]
    assert names == [
        *("species", "error", "prediction_species"),
        *("prediction_prediction_species", "prediction_error"),
    ]
    assert ran.lines[1].decode().split(",")[4:] == ["s", "e", "p", "setosa", ""]


def test_what_fails_comes_out_with_its_reason() -> None:
    rows = [csv_text(FLOWERS[:1]), b"1,2\n", b"5,3,1,high\n", b'5,3,1,"open\n', b"5,3,1,\n", b"\n"]
    ran = succeeded("--input_format", "csv", "--output_format", "csv", stdin=b"".join(rows))
    found = list(csv.reader(io.StringIO(ran.output.decode())))
    assert [row[:5] for row in found[2:]] == [[""] * 5, ["5", "3", "1", "high", ""], [""] * 5, ["5", "3", "1", "", ""]]
    errors = [json.loads(row[5]) for row in found[2:]]
    assert [(error["stage"], error["error_type"], error.get("raw")) for error in errors] == [
        ("read", "cell_count", "1,2"),
        ("validate", "number_parsing", None),
        ("read", "quotes", '5,3,1,"open'),
        ("validate", "missing", None),
    ]
    assert "blank lines                1" in ran.messages
    assert "validate petal_width                 2" in ran.messages
    pairs = succeeded("--input_format", "csv", stdin=b"".join(rows)).lines
    assert pairs[1:] == [
        b'"1,2"\tnull',
        b'{"sepal_length": 5, "sepal_width": 3, "petal_length": 1, "petal_width": "high"}\tnull',
        b'"5,3,1,\\"open"\tnull',
        b'{"sepal_length": 5, "sepal_width": 3, "petal_length": 1}\tnull',
    ]


def test_files_with_other_columns_are_refused_before_anything_runs(folder: Path) -> None:
    (folder / "a.csv").write_bytes(csv_text(FLOWERS[:1]))
    (folder / "b.csv").write_bytes(b"sepal_length,width\n1,2\n")
    ran = run_here(*IRIS, "--input_format", "csv", folder)
    assert isinstance(ran.error, InputError)
    assert str(ran.error) == (
        f"{folder}/b.csv and {folder}/a.csv have different columns: 'sepal_length,width' and "
        "'sepal_length,sepal_width,petal_length,petal_width'. Score them in two jobs, or bring them into one order."
    )
    assert "Running step" not in ran.messages


def test_a_task_looks_at_the_header_of_its_file(folder: Path) -> None:
    job = MLModelMapReduceJob(["--no-conf", *IRIS, "--input_format", "csv", str(folder / "a.csv")])
    (folder / "a.csv").write_bytes(csv_text(FLOWERS[:1]))
    from model_mapreduce_job.layout import Layout

    layout = Layout(tuple(reversed(COLUMNS)), "first.csv").as_text()
    task = MLModelMapReduceJob([*IRIS, "--input_format", "csv", "--layout", layout, "--mapper", str(folder / "a.csv")])
    task.sandbox()
    with pytest.raises(InputError, match=r"a\.csv and first\.csv have different columns"):
        task.run_mapper()
    assert job.options.layout is None


def test_what_is_no_header_is_named(folder: Path) -> None:
    (folder / "a.csv").write_bytes(b"a,b,a\n1,2,3\n")
    ran = run_here(*IRIS, "--input_format", "csv", folder)
    assert f"{folder}/a.csv: its first line does not name columns: the name 'a' stands in it twice" in str(ran.error)
    assert "--columns a,b,c" in str(ran.error)


def test_columns_by_option() -> None:
    content = csv_text(FLOWERS, header=False)
    ran = succeeded("--input_format", "csv", "--columns", ",".join(COLUMNS), stdin=content)
    assert ran.lines == succeeded(stdin=ldjson(FLOWERS)).lines
    with pytest.raises(ValueError, match="the name 'a' stands in it twice"):
        run_here(*IRIS, "--input_format", "csv", "--columns", "a,a")
    named = run_here(*IRIS, "--input_format", "csv", "--columns", ",".join(COLUMNS), stdin=csv_text(FLOWERS))
    assert "its first line names the columns. It is no record; leave out --columns" in str(named.error)
    with pytest.raises(ValueError, match="--columns is for CSV and TSV"):
        run_here(*IRIS, "--columns", "a")


@pytest.mark.parametrize("name", list(WRITTEN))
@pytest.mark.parametrize("output", ["pairs", "csv"])
def test_no_files_no_records(folder: Path, name: str, output: str) -> None:
    ran = succeeded(folder, "--input_format", name, "--output_format", output)
    assert len(ran.lines) == (output == "csv")
    assert "records                    0" in ran.messages


@pytest.mark.parametrize("name", ["ldjson", "csv", "tsv"])
def test_empty_files_have_no_records(folder: Path, name: str) -> None:
    (folder / "empty").touch()
    (folder / "part-0").write_bytes(WRITTEN[name](FLOWERS))
    assert succeeded(folder, "--input_format", name).lines == succeeded(stdin=ldjson(FLOWERS)).lines


@pytest.mark.parametrize("runner", ["inline", "local"])
@pytest.mark.parametrize("name", ["avro", "parquet"])
def test_a_corrupt_file_fails_the_job_and_is_named(folder: Path, name: str, runner: str) -> None:
    (folder / "a").write_bytes(WRITTEN[name](FLOWERS))
    (folder / "b").write_bytes(WRITTEN[name](FLOWERS)[:-5])
    ran = run_command("-r", runner, "--no-conf", *IRIS, "--input_format", name, folder)
    assert ran.returncode == 3
    assert f"CorruptInputError: {folder}/b: " in ran.stderr.decode()
    assert ran.stdout == b""


@pytest.mark.parametrize(
    ("name", "runner"), [*((name, "inline") for name in WRITTEN), ("csv", "local"), ("parquet", "local")]
)
def test_subclasses_and_steps_after_it(folder: Path, name: str, runner: str) -> None:
    (folder / "a").write_bytes(WRITTEN[name](FLOWERS[:5]))
    (folder / "b").write_bytes(WRITTEN[name](FLOWERS[5:]))
    found = succeeded(folder, "--input_format", name, "-r", runner, job_class=SpeciesStatistics)
    expected = succeeded(stdin=ldjson(FLOWERS), job_class=SpeciesStatistics)
    assert sorted(found.lines) == sorted(expected.lines)


def test_values_that_json_does_not_have(folder: Path) -> None:
    schema = {
        "type": "record",
        "name": "R",
        "fields": [
            {"name": "value", "type": "double"},
            {"name": "day", "type": {"type": "int", "logicalType": "date"}},
            {"name": "when", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 2}},
            {"name": "data", "type": "bytes"},
            {"name": "none", "type": ["null", "string"]},
            {"name": "wide", "type": "double"},
            {"name": "map", "type": {"type": "map", "values": "double"}},
        ],
    }
    import datetime
    import decimal
    import math

    record = {
        "value": 1.5,
        "day": datetime.date(2026, 1, 31),
        "when": datetime.datetime(2026, 1, 31, 12, 30, 0, 500_000, datetime.UTC),
        "price": decimal.Decimal("12345678901234567890.10"),
        "data": b"\x00\xff",
        "none": None,
        "wide": math.inf,
        "map": {"a": math.nan},
    }
    with (folder / "a.avro").open("wb") as file:
        fastavro.writer(file, schema, [record] * 2)
    table = {name: [value] * 2 for name, value in record.items() if name != "map"}
    kinds = pa.map_(pa.string(), pa.float64())
    pq.write_table(pa.table({**table, "map": pa.array([[("a", math.nan)]] * 2, kinds)}), folder / "a.parquet")
    expected = {
        "value": 1.5,
        "day": "2026-01-31",
        "when": "2026-01-31T12:30:00.500000Z",
        "price": "12345678901234567890.10",
        "data": "AP8=",
        "none": None,
        "wide": "Infinity",
        "map": {"a": "NaN"},
    }
    with loaded(failing()):
        for name in ("avro", "parquet"):
            ran = run_here("--model_qualified_name", "failing", "--input_format", name, folder / f"a.{name}")
            assert ran.error is None, ran.messages
            assert [json.loads(line.split(b"\t")[0]) for line in ran.lines] == [expected] * 2
            assert [json.loads(line.split(b"\t")[1]) for line in ran.lines] == [{"double": 3.0}] * 2


def test_only_the_columns_that_are_needed_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = [
        flower | {"id": number, **{f"more_{place}": 0 for place in range(50)}} for number, flower in enumerate(FLOWERS)
    ]
    pq.write_table(pa.Table.from_pylist(wide), folder / "wide.parquet")
    read: list[Any] = []
    whole = pq.ParquetFile.iter_batches

    def watched(self: Any, **how: Any) -> Any:
        read.append(how["columns"])
        return whole(self, **how)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    keyed = succeeded("--input_format", "parquet", "--key_field", "id", folder)
    assert keyed.lines[0] == b'0\t{"species": "setosa"}'
    written = succeeded("--input_format", "parquet", "--output_format", "csv", "--columns", "id,more_7", folder)
    assert written.lines[:2] == [b"id,more_7,species,error", b"0,0,setosa,"]
    succeeded("--input_format", "parquet", folder)
    assert read == [[*COLUMNS, "id"], [*COLUMNS, "id", "more_7"], None]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--input_format", "parquet", "-"), "such a file cannot be read from standard input"),
        (("--input_format", "avro", "-r", "spark", "x"), "-r spark hands tasks lines, and avro has none"),
        (("--output_format", "csv", "--key_field", "id"), "csv lines have no key"),
    ],
)
def test_what_cannot_be_is_refused(arguments: tuple[str, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        run_here(*IRIS, *arguments)


def test_a_compressed_file_of_blocks_is_refused(folder: Path) -> None:
    (folder / "a.parquet.gz").write_bytes(gzip.compress(parquet(FLOWERS)))
    ran = run_here(*IRIS, "--input_format", "parquet", folder)
    assert isinstance(ran.error, CommandLineError)
    assert "compresses its own blocks" in str(ran.error)


def test_csv_needs_to_know_the_fields() -> None:
    with loaded({"module_name": "tests.model_scoring_tests.models", "class_name": "WithoutSchema"}):
        name = "without_schema"
        ran = run_here("--model_qualified_name", name, "--output_format", "csv", stdin=b'{"x": 1}\n')
        assert "Name those that are to be written: --columns a,b,c" in str(ran.error)
        ran = run_here("--model_qualified_name", name, "--output_format", "csv", "--columns", "x", stdin=b'{"x": 1}\n')
        assert ran.lines[0] == b"x,prediction,error"


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [("avro", "fastavro", "avro"), ("parquet", "pyarrow", "parquet"), ("zst", "zstd", "zstd")],
)
def test_a_package_that_is_missing_is_named(
    folder: Path, name: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in list(sys.modules):
        if module.split(".")[0] == package or module in (f"model_scoring.formats.{name}", "backports.zstd"):
            monkeypatch.delitem(sys.modules, module)
    blocked = "backports" if package == "zstd" else package
    for module in [each for each in sys.modules if each.split(".")[0] == blocked]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, blocked, None)
    content = zstd.compress(ldjson(FLOWERS)) if name == "zst" else WRITTEN[name](FLOWERS)
    (folder / f"a.{name}").write_bytes(content)
    how = () if name == "zst" else ("--input_format", name)
    ran = run_here(*IRIS, *how, folder)
    assert isinstance(ran.error, MissingPackageError)
    assert f"pip install 'model-mapreduce-job[{extra}]'" in str(ran.error)


@pytest.mark.parametrize("runner", ["inline", "local"])
def test_a_package_that_a_task_misses_is_as_a_command_line_that_cannot_be(folder: Path, runner: str) -> None:
    (folder / "fastavro.py").write_text("raise ModuleNotFoundError('No module named fastavro', name='fastavro')\n")
    (folder / "a.avro").write_bytes(avro(FLOWERS))
    how = ("--no-conf", "-r", runner, "--input_format", "avro", folder / "a.avro")
    ran = run_command(*IRIS, *how, environment={"PYTHONPATH": f"{folder}:./"})
    assert ran.returncode == 2, ran.stderr.decode()
    assert b"pip install 'model-mapreduce-job[avro]'" in ran.stderr


def test_a_codec_without_its_package_is_no_damage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: Any) -> None:
        raise ValueError("snappy codec is supported but you need to install one of the following libraries: …")

    monkeypatch.setitem(fastavro.read.BLOCK_READERS, "snappy", missing)
    (folder / "a.avro").write_bytes(avro(FLOWERS))
    ran = run_here(*IRIS, "--input_format", "avro", folder)
    assert isinstance(ran.error, MissingPackageError)
    assert f"{folder}/a.avro, whose Avro is compressed with snappy, needs the package cramjam" in str(ran.error)


def test_spark_that_is_not_installed_is_named() -> None:
    ran = run_here(*IRIS, "-r", "spark", "--spark-submit-bin", "/nowhere/spark-submit", "data/input.ldjson")
    assert isinstance(ran.error, CommandLineError)
    assert "pip install 'model-mapreduce-job[spark]'" in str(ran.error)


def test_truncated_zstandard_is_named(folder: Path) -> None:
    whole = zstd.compress(ldjson(FLOWERS)) + zstd.compress(ldjson(FLOWERS))
    for length in (0, 3, len(whole) // 4, len(whole) - 1):
        (folder / "a.zst").write_bytes(whole[:length])
        ran = run_here(*IRIS, folder)
        assert isinstance(ran.error, CorruptInputError)
        assert f"{folder}/a.zst: the compressed data is truncated" in str(ran.error)
    (folder / "a.zst").write_bytes(whole + b"x" * 20)
    ran = run_here(*IRIS, folder)
    assert f"{folder}/a.zst: the compressed data is damaged" in str(ran.error)


def test_preflight_reads_the_format(folder: Path) -> None:
    for name, write in WRITTEN.items():
        (folder / name).write_bytes(write(FLOWERS))
        ran = succeeded("--input_format", name, "--preflight", "5", folder / name)
        assert "preflight: " in ran.messages
        assert ran.lines == succeeded(stdin=ldjson(FLOWERS)).lines


class YieldsWhatItWasGiven(MLModelMapReduceJob):
    """Writes the record as it was read."""

    def mapper(self, key: Any, record: Any) -> Iterator[tuple[Any, Any]]:
        for _, prediction in super().mapper(key, record):
            yield record, prediction


def test_a_subclass_may_yield_what_json_does_not_have(folder: Path) -> None:
    pq.write_table(pa.table({"value": [1.5], "x": [float("nan")]}), folder / "a.parquet")
    with loaded(failing()):
        how = ("--model_qualified_name", "failing", "--input_format", "parquet", folder)
        ran = run_here(*how, job_class=YieldsWhatItWasGiven)
    assert ran.error is None, ran.messages
    assert ran.lines == [b'{"value": 1.5, "x": "NaN"}\t{"double": 3.0}']


@pytest.mark.parametrize("output", ["pairs", "csv"])
def test_many_columns(output: str) -> None:
    wide = [FLOWERS[0] | {f"a longer name of a column, {number}": number for number in range(1000)}]
    ran = succeeded("--input_format", "csv", "--output_format", output, stdin=csv_text(wide))
    assert ran.lines[-1].count(b"999") == (2 if output == "pairs" else 1)


def test_more_columns_than_can_be_told() -> None:
    names = ",".join(f"{number * 7919:x} {number}" for number in range(60_000))
    ran = run_here(*IRIS, "--input_format", "csv", stdin=f"{names}\n".encode())
    assert isinstance(ran.error, InputError)
    assert "60,000 columns are more than a command line can name" in str(ran.error)


def test_what_is_no_layout_is_refused() -> None:
    with pytest.raises(InputError, match="--layout is the launcher's own option, and 'x' is not its value"):
        run_here(*IRIS, "--layout", "x")


def test_columns_that_the_model_does_not_know_are_told(folder: Path) -> None:
    (folder / "a.csv").write_bytes(b"sepal_length;sepal_width\n1;2\n")
    ran = run_here(*IRIS, "--input_format", "csv", folder)
    assert "None of the columns (sepal_length;sepal_width) is a field of the model's input schema (sepal_length, " in (
        ran.messages
    )


def test_a_row_of_many_names_makes_small_batches() -> None:
    """Each record's text has all names in it."""
    names = [f"a_name_of_some_length_{number}" for number in range(2000)]
    at_once = line_reader("csv", names, None).lines_at_once
    assert 100 < at_once < 200
    assert line_reader("csv", COLUMNS, None).lines_at_once > 4096
