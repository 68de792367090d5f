"""What the options mean, and how the job ends."""

import json
from pathlib import Path

import pytest

from model_mapreduce_job.command_line import CommandLineError
from model_mapreduce_job.ml_model_map_reduce_job import MLModelMapReduceJob
from model_scoring.errors import (
    CorruptInputError,
    InputError,
    ModelError,
    RecordFailedError,
    SettingsError,
    TooManyFailuresError,
)
from tests.model_mapreduce_job_tests.jobs import DATA, GOOD, IRIS, failing, loaded, run_command, run_here

FAILING = ("--model_qualified_name", "failing")
BAD = b'{"sepal_length": "long"}'


def records(*kinds: str) -> bytes:
    """Records for the failing model, one for each kind; "" is a good one."""
    return b"\n".join(
        json.dumps({"value": float(number), **({"fail": kind} if kind else {})}).encode()
        for number, kind in enumerate(kinds)
    )


class RecordByRecord(MLModelMapReduceJob):
    def mapper(self, key, record):  # type: ignore[no-untyped-def]
        yield from super().mapper(key, record)


class PairByPair(MLModelMapReduceJob):
    def pick_protocols(self, step_num, step_type):  # type: ignore[no-untyped-def]
        return super().pick_protocols(step_num, step_type)


WAYS = pytest.mark.parametrize("job_class", [MLModelMapReduceJob, PairByPair, RecordByRecord])

# --- model_qualified_name


def test_the_name_is_required() -> None:
    with pytest.raises(ValueError, match="--model_qualified_name is required"):
        MLModelMapReduceJob([])
    assert run_command("data/input.ldjson").returncode == 2


def test_an_unknown_name_raises_before_anything_is_submitted() -> None:
    with pytest.raises(ValueError, match=r"'NAME' not found in the ModelManager instance\. .*iris_model"):
        MLModelMapReduceJob(["--model_qualified_name", "NAME"])
    ran = run_command("--model_qualified_name", "NAME", "data/input.ldjson")
    assert ran.returncode == 4
    assert ran.stdout == b""
    assert b"'NAME' not found in the ModelManager instance." in ran.stderr
    assert b"Running step" not in ran.stderr


# --- on_failure


def test_on_failure_null_counts_the_reason() -> None:
    ran = run_here(*IRIS, stdin=GOOD + b"\n" + BAD)
    assert ran.lines == [GOOD + b'\t{"species": "setosa"}', BAD + b"\tnull"]
    assert "validate sepal_length" in ran.messages


def test_on_failure_detail() -> None:
    with loaded(failing()):
        ran = run_here(*FAILING, "--on_failure", "detail", stdin=records("", "raise") + b"\n{}\nx")
    values = [json.loads(line.split(b"\t")[1]) for line in ran.lines]
    assert values[0] == {"double": 0.0}
    assert [value["stage"] for value in values[1:]] == ["predict", "validate", "read"]
    assert values[1]["error_type"] == "ValueError"
    assert all(set(value) == {"stage", "error_type", "message"} for value in values[1:])
    assert all(isinstance(text, str) and text for value in values[1:] for text in value.values())


@pytest.mark.parametrize("runner", ["inline", "local"])
def test_on_failure_stop_names_the_record_and_its_file(runner: str, tmp_path: Path) -> None:
    (tmp_path / "a.ldjson").write_bytes(GOOD)
    (tmp_path / "b.ldjson").write_bytes(GOOD + b"\n" + BAD + b"\n" + GOOD)
    ran = run_command(*IRIS, "--on_failure", "stop", "-r", runner, tmp_path, "-o", tmp_path / "out")
    assert ran.returncode == 3
    assert ran.stdout == b""
    assert str(tmp_path / "b.ldjson").encode() in ran.stderr
    assert BAD in ran.stderr
    assert b"Traceback" not in ran.stderr
    assert not (tmp_path / "out").exists()


def test_on_failure_stop_without_failures() -> None:
    ran = run_here(*IRIS, "--on_failure", "stop", stdin=GOOD)
    assert (ran.error, len(ran.lines)) == (None, 1)


# --- max_failure_ratio


@pytest.mark.parametrize(
    ("ratio", "error"), [(None, None), ("0.5", None), ("0.49", TooManyFailuresError), ("0", TooManyFailuresError)]
)
def test_max_failure_ratio(ratio: str | None, error: type[Exception] | None) -> None:
    arguments = () if ratio is None else ("--max_failure_ratio", ratio)
    ran = run_here(*IRIS, *arguments, stdin=b"\n".join([GOOD, BAD]))
    assert type(ran.error) is (error or type(None))
    assert len(ran.lines) == 2, "as many lines out as records in, whatever the verdict"
    if error:
        assert "validate sepal_length 1" in str(ran.error)


def test_a_job_in_which_nothing_could_be_predicted_fails() -> None:
    ran = run_here(*IRIS, stdin=b"\n".join([BAD, b"x"]))
    assert isinstance(ran.error, ModelError)
    assert "read not_json 1, validate sepal_length 1" in str(ran.error)
    accepted = run_here(*IRIS, "--max_failure_ratio", "1", stdin=b"\n".join([BAD, b"x"]))
    assert (accepted.error, len(accepted.lines)) == (None, 2)


def test_a_hopeless_task_ends_early() -> None:
    hopeless = b"\n".join([BAD] * 10_000 + [GOOD] * 10_000)
    ran = run_here(*IRIS, "--batch_size", 1000, stdin=hopeless)
    assert isinstance(ran.error, ModelError)
    assert "first 10,000 records of a task all failed" in str(ran.error)
    assert ran.output == b""
    late = b"\n".join([BAD] * 9_999 + [GOOD] + [BAD] * 10_000)
    assert run_here(*IRIS, "--batch_size", 1000, stdin=late).error is None
    assert run_here(*IRIS, "--batch_size", 1000, "--max_failure_ratio", "0.6", stdin=hopeless).error is None


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf", b" \n\r\n"])
def test_empty_input_succeeds_with_zero_records(data: bytes) -> None:
    ran = run_here(*IRIS, stdin=data)
    assert (ran.error, ran.output) == (None, b"")
    assert "records                    0" in ran.messages


def test_an_empty_folder_succeeds_with_zero_records(tmp_path: Path) -> None:
    for runner in ("inline", "local"):
        ran = run_here(*IRIS, "-r", runner, tmp_path)
        assert (ran.error, ran.output) == (None, b"")
        assert "records                    0" in ran.messages


# --- key_field


def test_key_field_keeps_the_spelling_of_the_value() -> None:
    good = GOOD[:-1]
    ids = [b"12345678901234567890123", b"1.50", b'"a\\tb"', b'{"x":\t[1,  2]}', b"null"]
    ran = run_here(*IRIS, "--key_field", "id", stdin=b"\n".join(good + b', "id": ' + value + b"}" for value in ids))
    assert [line.split(b"\t")[0] for line in ran.lines] == [value.replace(b"\t", b" ") for value in ids]


@WAYS
def test_a_failed_record_has_the_whole_record_as_key(job_class: type[MLModelMapReduceJob]) -> None:
    lines = [b'{"id": 1}', b"no record", GOOD]
    options = ("--key_field", "id", "--on_failure", "detail", "--max_failure_ratio", 1)
    ran = run_here(*IRIS, *options, stdin=b"\n".join(lines), job_class=job_class)
    keys, values = zip(*(line.split(b"\t") for line in ran.lines), strict=True)
    assert keys == (lines[0], b'"no record"', lines[2])
    assert b"--key_field" in values[2]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--key_field", 'quo"te'),
        ("--key_field", "id", "--output_format", "ldjson"),
        ("--batch_size", "0"),
        ("--batch_size", "many"),
        ("--max_failure_ratio", "1.1"),
        ("--max_failure_ratio", "nan"),
        ("--on_failure", "explode"),
        ("--output_format", "xml"),
        ("--preflight", "-1"),
        ("--summary_file", "/no/such/folder/summary.json"),
        ("--no_such_option",),
    ],
)
def test_what_the_command_line_cannot_mean_is_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="--"):
        MLModelMapReduceJob([*IRIS, *arguments])


# --- output_format


@pytest.mark.parametrize("runner", ["inline", "local", "hadoop", "emr"])
def test_a_configuration_that_is_none_is_refused(runner: str, tmp_path: Path) -> None:
    def make_runner(path: Path) -> None:
        MLModelMapReduceJob([*IRIS, "-r", runner, "--conf-path", str(path), str(DATA / "input.ldjson")]).make_runner()

    with pytest.raises(CommandLineError, match=r"--conf-path .*: No such file or directory"):
        make_runner(tmp_path / "none.conf")
    with pytest.raises(CommandLineError, match=r"--conf-path .* cannot be read: .*: Is a directory"):
        make_runner(tmp_path)
    conf = tmp_path / "broken.conf"
    for text in ("runners: {emr: [", "a list, no options", f"runners: {{{runner}: [cleanup, ALL]}}"):
        conf.write_text(text)
        with pytest.raises(CommandLineError, match=r"--conf-path .*broken\.conf is no configuration"):
            make_runner(conf)
    conf.write_text("include: gone.conf")
    with pytest.raises(CommandLineError, match=r"gone\.conf: No such file or directory"):
        make_runner(conf)


def test_ldjson_has_stable_types_and_details_by_default() -> None:
    ran = run_here(*IRIS, "--output_format", "ldjson", stdin=b"\n".join([GOOD, BAD, b"x", b"\xff"]))
    lines = [json.loads(line) for line in ran.lines]
    assert all(list(line) == ["record", "raw", "prediction", "error", "model", "version"] for line in lines)
    assert [line["raw"] for line in lines] == [None, None, "x", '{"base64": "/w=="}']
    assert [line["prediction"] for line in lines] == [{"species": "setosa"}, None, None, None]
    assert [line["error"] and line["error"]["stage"] for line in lines] == [None, "validate", "read", "read"]
    assert all((line["model"], line["version"]) == ("iris_model", "0.1") for line in lines)


# --- preflight


def test_preflight_refuses_before_anything_runs() -> None:
    ran = run_here(*IRIS, "--preflight", 2, stdin=b"\n".join([BAD, BAD, GOOD]))
    assert isinstance(ran.error, ModelError)
    assert "Nothing was submitted" in str(ran.error)
    assert "Running step" not in ran.messages
    stopped = run_here(*IRIS, "--preflight", 2, "--on_failure", "stop", stdin=b"\n".join([GOOD, BAD]))
    assert isinstance(stopped.error, RecordFailedError)
    assert "Running step" not in stopped.messages


def test_preflight_changes_nothing_of_the_output(tmp_path: Path) -> None:
    plain = run_here(*IRIS, DATA / "dirty.ldjson")
    tried = run_here(*IRIS, "--preflight", 5, DATA / "dirty.ldjson")
    assert (tried.error, tried.output) == (None, plain.output)
    assert "preflight: 5 records scored, 1 failed" not in plain.messages
    assert "preflight:" in tried.messages
    assert "failures                  23" in tried.messages


def test_preflight_is_on_by_default_on_clusters_only() -> None:
    found = {
        runner: MLModelMapReduceJob([*IRIS, "-r", runner]).options.preflight for runner in ("hadoop", "emr", "local")
    }
    assert found == {"hadoop": 1000, "emr": 1000, "local": 0}


# --- what fails: kinds of failure of the model


@WAYS
def test_every_way_a_model_can_fail_costs_only_its_record(job_class: type[MLModelMapReduceJob]) -> None:
    kinds = (
        "raise",
        "",
        "type_error",
        "exit",
        "",
        "wrong_number",
        "none",
        "nan",
        "unserialisable",
        "mutate",
        "",
        "print",
        "warn",
    )
    with loaded(failing()), pytest.warns(UserWarning, match="told to warn"):
        ran = run_here(*FAILING, stdin=records(*kinds), job_class=job_class)
    predicted = [number for number, kind in enumerate(kinds) if kind in ("", "print", "warn")]
    values = [json.loads(line.split(b"\t")[1]) for line in ran.lines]
    assert [number for number, value in enumerate(values) if value is not None] == predicted
    assert [values[number] for number in predicted] == [{"double": 2.0 * number} for number in predicted]
    assert [line.split(b"\t")[0] for line in ran.lines] == records(*kinds).split(b"\n")


# --- exit codes and input


def test_exit_codes(tmp_path: Path) -> None:
    (tmp_path / "cut.gz").write_bytes(b"\x1f\x8b\x08")
    (tmp_path / "bad.ldjson").write_bytes(BAD)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "part-00000").write_bytes(b"of an earlier job")
    own = "tests.model_mapreduce_job_tests.settings_of_a_user."
    expected = [
        (2, ("no_such_file.ldjson",), {}),
        (2, ("-o", tmp_path / "full", "data/input.ldjson"), {}),
        (2, ("--on_failure", "explode", "data/input.ldjson"), {}),
        (3, ("--max_failure_ratio", "0", "data/input.ldjson"), {}),
        (3, (tmp_path / "cut.gz",), {}),
        (3, ("-r", "local", tmp_path / "cut.gz"), {}),
        (3, ("-r", "local", "--cmdenv", "A=b", tmp_path / "cut.gz"), {}),
        (4, (tmp_path / "bad.ldjson",), {}),
        (4, ("data/input.ldjson",), {"APP_SETTINGS": own + "Broken"}),
        (4, ("data/input.ldjson",), {"APP_SETTINGS": own + "WithoutModels"}),
        (4, ("data/input.ldjson",), {"APP_SETTINGS": "NoSuchConfig"}),
    ]
    for code, arguments, environment in expected:
        ran = run_command(*IRIS, *arguments, environment=environment)
        assert ran.returncode == code, (arguments, environment, ran.stderr.decode())
        assert b"Traceback" not in ran.stderr, arguments
        assert b"Error: " in ran.stderr or b"error: " in ran.stderr
    assert (tmp_path / "full" / "part-00000").read_bytes() == b"of an earlier job"


@pytest.mark.parametrize("name", ["part.gz", "part.bz2"])
@pytest.mark.parametrize("runner", ["inline", "local"])
def test_a_truncated_file_fails_the_job_and_is_named(name: str, runner: str, tmp_path: Path) -> None:
    import bz2
    import gzip

    whole = (gzip if name.endswith("gz") else bz2).compress((GOOD + b"\n") * 1000)
    (tmp_path / name).write_bytes(whole[: len(whole) - 5])
    ran = run_command(*IRIS, "-r", runner, tmp_path / name, "-o", tmp_path / "out")
    assert ran.returncode == 3
    assert str(tmp_path / name).encode() in ran.stderr
    assert b"truncated" in ran.stderr
    assert not (tmp_path / "out").exists()


def test_all_members_and_streams_of_compressed_files_are_read(tmp_path: Path) -> None:
    import bz2
    import gzip

    (tmp_path / "a.gz").write_bytes(gzip.compress(GOOD + b"\n") * 3 + gzip.compress(GOOD))
    (tmp_path / "b.bz2").write_bytes(bz2.compress(GOOD + b"\n") * 2)
    for runner in ("inline", "local"):
        assert len(run_here(*IRIS, "-r", runner, tmp_path).lines) == 6


def test_output_dir_gets_its_parts_and_success_last(tmp_path: Path) -> None:
    for runner in ("inline", "local"):
        out = tmp_path / runner
        ran = run_here(*IRIS, "-r", runner, "-o", out, DATA / "input.ldjson")
        assert (ran.error, ran.output) == (None, b"")
        assert sorted(path.name for path in out.iterdir()) == ["_SUCCESS", "part-00000"]
        again = run_here(*IRIS, "-r", runner, "-o", out, DATA / "input.ldjson")
        assert isinstance(again.error, CommandLineError)


def test_a_job_that_fails_its_ratio_keeps_its_output_without_success(tmp_path: Path) -> None:
    ran = run_here(*IRIS, "--max_failure_ratio", 0, "-o", tmp_path / "out", DATA / "input.ldjson")
    assert isinstance(ran.error, TooManyFailuresError)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["part-00000"]


def test_errors_are_told_apart_by_their_branch() -> None:
    assert issubclass(CorruptInputError, InputError)
    assert not issubclass(SettingsError, InputError)
