"""mrjob's documented ways: the sandbox, overridden mappers and protocols, more steps."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from mrjob.compat import jobconf_from_env
from mrjob.protocol import RawValueProtocol, ReprProtocol
from mrjob.step import MRStep

from model_mapreduce_job.ml_model_map_reduce_job import MLModelMapReduceJob
from model_scoring.errors import LostRecordsError
from model_scoring.formats.json_text import decode
from tests.model_mapreduce_job_tests.jobs import DATA, GOLDEN, GOOD, IRIS, failing, loaded, run_command, run_here

RECORD = decode(GOOD)
BAD = {**RECORD, "petal_width": "asd"}


def test_mapper_yields_the_record_and_its_prediction() -> None:
    job = MLModelMapReduceJob(list(IRIS))
    assert list(job.mapper(None, RECORD)) == [(RECORD, {"species": "setosa"})]
    assert list(job.mapper(None, BAD)) == [(BAD, None)]


def test_mapper_obeys_on_failure() -> None:
    job = MLModelMapReduceJob([*IRIS, "--on_failure", "detail"])
    [(key, value)] = job.mapper(None, BAD)
    assert (key, value["stage"], value["error_type"]) == (BAD, "validate", "float_type")


def test_mrjobs_way_of_testing() -> None:
    job = MLModelMapReduceJob(["--no-conf", *IRIS])
    job.sandbox(stdin=BytesIO(GOOD + b"\n" + json.dumps(BAD).encode()))
    with job.make_runner() as runner:
        runner.run()
        assert list(job.parse_output(runner.cat_output())) == [(RECORD, {"species": "setosa"}), (BAD, None)]
        [counters] = runner.counters()
    assert counters["model scoring"]["predictions"] == 1
    assert counters["model scoring"]["failures: validate petal_width"] == 1


def test_ldjson_can_be_parsed_the_same_way() -> None:
    job = MLModelMapReduceJob(["--no-conf", *IRIS, "--output_format", "ldjson"])
    job.sandbox(stdin=BytesIO(GOOD))
    with job.make_runner() as runner:
        runner.run()
        [(key, line)] = job.parse_output(runner.cat_output())
    assert (key, line["prediction"], line["error"]) == (None, {"species": "setosa"}, None)


class OwnMapper(MLModelMapReduceJob):
    """Filters and reshapes."""

    def mapper(self, key: Any, record: Any) -> Any:
        for predicted, prediction in super().mapper(key, record):
            if prediction and prediction["species"] != "setosa":
                yield prediction["species"], [predicted, jobconf_from_env("mapreduce.map.input.file")]


def test_an_overridden_mapper_is_called_for_each_record_and_knows_its_file(tmp_path: Any) -> None:
    (tmp_path / "a").write_bytes((DATA / "input.ldjson").read_bytes())
    (tmp_path / "b").write_bytes((DATA / "input.ldjson").read_bytes())
    ran = run_here(*IRIS, tmp_path, job_class=OwnMapper)
    pairs = [tuple(map(json.loads, line.split(b"\t"))) for line in ran.lines]
    assert [key for key, _ in pairs] == (["versicolor"] * 5 + ["virginica"] * 4) * 2
    assert [value[1].rsplit("/")[-1] for _, value in pairs] == ["a"] * 9 + ["b"] * 9
    assert "predictions               28" in ran.messages


class OwnProtocols(MLModelMapReduceJob):
    """Reads raw lines and writes Python's spelling."""

    INPUT_PROTOCOL = RawValueProtocol
    OUTPUT_PROTOCOL = ReprProtocol

    def mapper(self, key: Any, line: Any) -> Any:
        yield from super().mapper(None, {**RECORD, "petal_length": float(line)})


def test_overridden_protocols_are_used() -> None:
    ran = run_here(*IRIS, stdin=b"1.2\r\n6.0\r\n", job_class=OwnProtocols)
    expected = [({**RECORD, "petal_length": 1.2}, {"species": "setosa"})]
    assert [eval(ran.lines[0].replace(b"\t", b","))] == expected  # noqa: S307  # what ReprProtocol writes
    assert len(ran.lines) == 2


class OutputProtocolOnly(MLModelMapReduceJob):
    OUTPUT_PROTOCOL = ReprProtocol


def test_an_output_protocol_alone_leaves_the_block_way() -> None:
    ran = run_here(*IRIS, stdin=GOOD, job_class=OutputProtocolOnly)
    assert ran.lines == [f"{RECORD!r}\t{ {'species': 'setosa'}!r}".encode()]


class Counted(MLModelMapReduceJob):
    """Predicts in batches; a reduce step and a second step follow."""

    def steps(self) -> list[MRStep]:
        return [MRStep(mapper=self.mapper, reducer=self.count), MRStep(reducer=self.keep)]

    def count(self, record: Any, predictions: Any) -> Any:
        yield record, [sum(1 for _ in predictions)]

    def keep(self, record: Any, counts: Any) -> Any:
        yield record, next(counts)[0]


def test_the_records_text_survives_reduce_steps() -> None:
    ran = run_here(*IRIS, stdin=(DATA / "dirty.ldjson").read_bytes(), job_class=Counted)
    keys = [line.split(b"\t")[0] for line in (GOLDEN / "dirty.pairs").read_bytes().splitlines()]
    assert {line.split(b"\t")[0]: int(line.split(b"\t")[1]) for line in ran.lines} == {
        key: keys.count(key) for key in keys
    }
    assert "records                   34" in ran.messages


class Changing(MLModelMapReduceJob):
    """Changes the record that it yields."""

    def mapper(self, key: Any, record: Any) -> Any:
        for predicted, prediction in super().mapper(key, record):
            predicted["seen"] = True
            yield predicted, prediction


def test_a_record_that_a_subclass_changed_is_not_written_as_its_old_text() -> None:
    ran = run_here(*IRIS, stdin=GOOD, job_class=Changing)
    assert json.loads(ran.lines[0].split(b"\t")[0]) == {**RECORD, "seen": True}


def test_mapper_init_and_final_run_around_the_batches() -> None:
    class Around(MLModelMapReduceJob):
        def mapper_init(self) -> Any:
            yield "init", 1

        def mapper_final(self) -> Any:
            yield "final", 2

    ran = run_here(*IRIS, stdin=GOOD, job_class=Around)
    assert [line.split(b"\t")[1] for line in ran.lines] == [b"1", b'{"species": "setosa"}', b"2"]


def test_counts_that_do_not_add_up_fail_the_job() -> None:
    class Lying(MLModelMapReduceJob):
        def increment_counter(self, group: str, counter: str, amount: int = 1) -> None:
            super().increment_counter(group, counter, amount - (counter == "predictions" and amount > 0))

    ran = run_here(*IRIS, stdin=GOOD + b"\n" + GOOD, job_class=Lying)
    assert isinstance(ran.error, LostRecordsError)
    assert "2 records were read and 1 written" in str(ran.error)
    assert ran.output == b""


def test_a_script_that_never_runs_its_job_is_no_success(tmp_path: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text(
        "import sys\n"
        "from model_mapreduce_job.ml_model_map_reduce_job import MLModelMapReduceJob\n"
        "if '--mapper' not in sys.argv:\n"
        "    MLModelMapReduceJob.mr_job_script = classmethod(lambda cls: __file__)\n"
        "    MLModelMapReduceJob.run()\n"
    )
    ran = run_command(*IRIS, "-r", "local", "--cmdenv", "A=b", "data/input.ldjson", command=(str(script),))
    assert (ran.returncode, ran.stdout) == (1, b"")
    assert b"YourJob.run()" in ran.stderr


def test_batches_reach_the_model_whole() -> None:
    sizes: list[int] = []

    with loaded(failing()):
        job = MLModelMapReduceJob(["--no-conf", "--model_qualified_name", "failing", "--batch_size", "10"])
        predict = job._model.predict_batch
        job._model.predict_batch = lambda records: (sizes.append(len(records)), predict(records))[1]  # type: ignore[method-assign]
        job.sandbox(stdin=BytesIO(b'{"value": 1}\n' * 25))
        job.run_job()
    assert sizes == [10, 10, 5]


class Reduced(MLModelMapReduceJob):
    """A reducer in the same step as the prediction."""

    def reducer(self, key: Any, values: Any) -> Any:
        yield key, next(values)


@pytest.mark.parametrize("job_class", [Counted, Reduced])
def test_ldjson_is_refused_where_the_job_goes_on(job_class: type[MLModelMapReduceJob]) -> None:
    with pytest.raises(ValueError, match="--output_format ldjson"):
        job_class([*IRIS, "--output_format", "ldjson"])


def test_key_field_with_an_overridden_mapper() -> None:
    class Own(MLModelMapReduceJob):
        def mapper(self, key: Any, record: Any) -> Any:
            yield from super().mapper(key, record)

    data = GOOD[:-1] + b', "id": 12345678901234567890123}\n' + GOOD
    ran = run_here(*IRIS, "--key_field", "id", stdin=data, job_class=Own)
    assert [line.split(b"\t") for line in ran.lines] == [
        [b"12345678901234567890123", b'{"species": "setosa"}'],
        [GOOD, b"null"],
    ]
