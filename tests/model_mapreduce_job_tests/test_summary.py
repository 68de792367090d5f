"""Summary: what is known, what is not, and how a job is judged."""

import json
from pathlib import Path

import pytest

from model_mapreduce_job.counters import GROUP
from model_mapreduce_job.examples import example_line, parse_example
from model_mapreduce_job.summary import NOT_RUN, Summary
from model_scoring.errors import LostRecordsError, ModelError, TooManyFailuresError
from model_scoring.outcome import Failure


def summary(**counted: int) -> Summary:
    made = Summary("iris_model", "0.1", 2.0)
    made.add_counters([{GROUP: {name.replace("blank_l", "blank l"): amount for name, amount in counted.items()}}])
    return made


def test_counters_that_a_runner_cannot_deliver_are_unknown() -> None:
    made = Summary("iris_model", "0.1", 2.0)
    made.add_counters([{"somebody else's": {"lines": 3}}])
    assert made.records is None
    assert "unknown" in made.as_text()
    assert made.as_json("succeeded")["records"] is None
    assert made.as_json("succeeded")["records_per_second"] is None
    made.check_sums(without_counts="")
    assert made.verdict(None) is None
    with pytest.raises(LostRecordsError, match="have not run"):
        made.check_sums(without_counts=NOT_RUN)


def test_counts_of_all_steps_are_added() -> None:
    made = Summary("iris_model", "0.1", 2.0)
    made.add_counters([{GROUP: {"lines": 3, "predictions": 2, "failures": 1}}, {}])
    assert (made.records, made.predictions, made.failures, made.blank_lines) == (3, 2, 1, 0)


@pytest.mark.parametrize("counted", [(10, 9, 0, 0), (10, 9, 2, 0), (10, 9, 1, 1)])
def test_sums_that_do_not_add_up(counted: tuple[int, int, int, int]) -> None:
    lines, predictions, failures, blank = counted
    with pytest.raises(LostRecordsError, match="cannot be trusted"):
        summary(lines=lines, predictions=predictions, failures=failures, blank_lines=blank).check_sums(
            without_counts=""
        )
    summary(lines=10, predictions=8, failures=1, blank_lines=1).check_sums(without_counts=NOT_RUN)


@pytest.mark.parametrize(
    ("failures", "ratio", "kind"),
    [
        (0, None, None),
        (9, None, None),
        (10, None, ModelError),
        (10, 1.0, None),
        (5, 0.5, None),
        (6, 0.5, TooManyFailuresError),
        (1, 0.0, TooManyFailuresError),
        (0, 0.0, None),
    ],
)
def test_verdict(failures: int, ratio: float | None, kind: type[Exception] | None) -> None:
    verdict = summary(lines=10, predictions=10 - failures, failures=failures).verdict(ratio)
    assert type(verdict) is (kind or type(None))


def test_no_records_are_no_failure() -> None:
    assert summary(lines=0).verdict(None) is None
    assert summary(lines=0).verdict(0.0) is None


def test_the_file_is_replaced_whole(tmp_path: Path) -> None:
    made = summary(lines=2, predictions=1, failures=1, **{"failures: read not_json": 1, "label: species=setosa": 1})
    (tmp_path / "summary.json").write_text("of an earlier job")
    made.write(str(tmp_path / "summary.json"), "succeeded")
    written = json.loads((tmp_path / "summary.json").read_text())
    assert written["failures_by_kind"] == {"read not_json": 1}
    assert written["labels"] == {"species=setosa": 1}
    assert written["records_per_second"] == 1.0
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_examples_travel_through_standard_error() -> None:
    failure = Failure(b"\xff", "read", "not_utf8", "line\nbreak \u2028")
    line = example_line("read not_utf8", failure, "a file", "\\xff")
    assert "\n" not in line
    found = parse_example(line)
    assert found == {
        "kind": "read not_utf8",
        "stage": "read",
        "error_type": "not_utf8",
        "message": "line\nbreak \u2028",
        "source": "a file",
        "record": "\\xff",
    }
    assert parse_example("anything else") is None
    assert parse_example(line[:-5]) is None


def test_bars_and_examples_in_the_text() -> None:
    made = summary(lines=3, predictions=3, failures=0, **{"label: a=x": 2, "label: a=yy": 1})
    bars = [line for line in made.as_text().splitlines() if "█" in line]
    assert [line.count("█") for line in bars] == [30, 15]


@pytest.mark.parametrize(
    ("engine", "lost"), [((3, 2), False), ((4, 2), True), ((3, 3), True), ((None, None), False), ((None, 2), False)]
)
def test_counts_are_compared_with_those_of_hadoop(engine: tuple[int | None, int | None], lost: bool) -> None:
    names = ("Map input records", "Map output records")
    counted = {name: amount for name, amount in zip(names, engine, strict=True) if amount is not None}
    summary = Summary("model", "1.0", 1.0)
    own = {"lines": 3, "blank lines": 1, "predictions": 1, "failures": 1}
    summary.add_counters([{GROUP: own, "Map-Reduce Framework": counted}, {"Map-Reduce Framework": {names[0]: 77}}])
    if lost:
        with pytest.raises(LostRecordsError, match="by Hadoop's"):
            summary.check_sums(without_counts=NOT_RUN)
    else:
        summary.check_sums(without_counts=NOT_RUN)
