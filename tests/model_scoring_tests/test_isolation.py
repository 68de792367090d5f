"""IsolatedScorer: what BatchScorer gives, less the records that end the model's process, and nothing left behind."""

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_scoring import BatchScorer, Failure
from model_scoring import isolation as isolation_module
from model_scoring.errors import ModelError
from model_scoring.isolation import IsolatedScorer, is_crash
from model_scoring.settings import ModelSpec
from model_scoring.testing import FailingModel
from tests.model_scoring_tests.crashing import FATAL, Crashing, NotUnpicklable, OneByOne

MODULE = "tests.model_scoring_tests.crashing"
SPEC = ModelSpec(MODULE, "Crashing")
READ_FAILURE = Failure(b"no record", "read", "not_json", "no JSON")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def nothing_left():
    """Children and descriptors that a test leaves behind fail it."""
    gc.collect()  # what earlier tests have left open is closed now, not in the middle
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    gc.collect()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.fixture
def starts(monkeypatch):
    """The children started, forks all of them."""
    started = []

    def fork(*arguments):
        started.append(real(*arguments))
        return started[-1]

    real = isolation_module._fork
    monkeypatch.setattr(isolation_module, "fork_is_safe", lambda: True)
    monkeypatch.setattr(isolation_module, "_fork", fork)
    return started


@pytest.fixture(params=["fork", "spawn"])
def way(request, monkeypatch):
    monkeypatch.setattr(isolation_module, "fork_is_safe", lambda: request.param == "fork")
    return request.param


def in_batches(scorer, items, size):
    predictions, failures = [], {}
    for start in range(0, len(items), size):
        more, more_failures = scorer.score_batch(items[start : start + size])
        failures |= {start + place: failure for place, failure in more_failures.items()}
        predictions += more
    return predictions, failures


def isolated(items, size=4096, model=None, spec=SPEC, **options):
    with IsolatedScorer(model or Crashing(), spec, **options) as scorer:
        return in_batches(scorer, items, size)


def numbers(count, **ways):
    """Records from 0 on; ``ways`` says which of them do what."""
    records = [{"x": float(x)} for x in range(count)]
    for way, places in ways.items():
        for place in places:
            records[place]["do"] = way
    return records


def check_culprits(scored, records, culprits):
    predictions, failures = scored
    assert set(failures) == culprits
    assert all(failures[place].record is records[place] for place in culprits)
    assert predictions == [None if place in culprits else {"double": 2.0 * place} for place in range(len(records))]


# --- crashes


@pytest.mark.parametrize("fatal", FATAL)
def test_a_crash_costs_its_record_and_is_named(way, fatal):
    records = numbers(10, **{fatal: [4]})
    scored = isolated(records)
    check_culprits(scored, records, {4})
    failure = scored[1][4]
    assert (failure.stage, failure.error_type) == ("predict", "ModelCrashed")
    assert failure.message == f"the model's process was {FATAL[fatal]}".replace("was ended itself", "ended itself")
    assert is_crash(failure)


@pytest.mark.parametrize("size", [1, 7, 4096])
@pytest.mark.parametrize("culprits", [{0}, {99}, {0, 99}, {1, 2, 3, 50}, {6, 7}])
@pytest.mark.parametrize("model", [Crashing, OneByOne])
def test_culprits_anywhere_in_batches_of_any_size(starts, model, culprits, size):
    records = numbers(100, exit=culprits)
    check_culprits(isolated(records, size, model()), records, culprits)


def test_one_record_alone(way):
    records = numbers(1, abort=[0])
    check_culprits(isolated(records), records, {0})


def test_a_culprit_costs_few_children(starts):
    records = numbers(4096, segfault=[1234])
    check_culprits(isolated(records), records, {1234})
    assert len(starts) == 4, "one at first, and one after the batch, its piece and the record"


def test_a_child_that_dies_between_batches_is_nobodys_failure(starts):
    with IsolatedScorer(Crashing(), SPEC) as scorer:
        scorer.score_batch(numbers(3))
        os.kill(starts[0]._process, signal.SIGKILL)
        time.sleep(0.1)
        check_culprits(scorer.score_batch(numbers(1)), numbers(1), set())


def test_the_parent_never_calls_the_model(way):
    predictions, _ = isolated(numbers(2, process=[0, 1]))
    assert predictions[0] == predictions[1]
    assert predictions[0] != {"double": os.getpid()}


# --- time


@pytest.mark.parametrize("culprits", [{0}, {3, 8}])
def test_a_record_that_hangs_is_given_up(starts, culprits):
    records = numbers(10, hang=culprits)
    scored = isolated(records, record_timeout=0.3)
    check_culprits(scored, records, culprits)
    for failure in scored[1].values():
        assert (failure.error_type, failure.message) == ("RecordTimeout", "the model took longer than 0.3 s")
        assert is_crash(failure)


def test_hanging_in_a_new_process(monkeypatch):
    monkeypatch.setattr(isolation_module, "fork_is_safe", lambda: False)
    records = numbers(3, hang=[1])
    check_culprits(isolated(records, record_timeout=0.5), records, {1})


def test_a_model_that_is_slow_pays_for_its_time_once(starts):
    records = numbers(1280)
    scored = isolated(records, 256, Crashing(4), record_timeout=1)
    check_culprits(scored, records, set())
    assert len(starts) == 2, "the first batch took too long, the four after it came in pieces"


def test_a_model_that_is_very_slow_gets_one_record_at_a_time(starts):
    records = numbers(300, **{"raise": [250]})
    predictions, failures = isolated(records, 130, Crashing(1), record_timeout=1)
    assert set(failures) == {250}
    assert len(starts) == 3, "one batch and one piece of it took too long"
    assert predictions[299] == {"double": 598.0}


def test_a_hanging_record_does_not_make_later_batches_small(starts):
    with IsolatedScorer(Crashing(), SPEC, record_timeout=0.3) as scorer:
        scorer.score_batch(numbers(100, hang=[50]))
        assert scorer._largest_piece > 4096


def test_waiting_is_told(starts):
    told = []
    isolated(numbers(1, second=[0]), while_waiting=lambda: told.append(True))
    assert 2 <= len(told) <= 6


# --- what is no crash


@pytest.mark.parametrize("size", [1, 3, 4096])
def test_ordinary_failures_are_those_of_the_batch_scorer(way, size):
    ways = {"raise": [1], "sys_exit": [2], "none": [4], "not_picklable_error": [5]}
    items = [*numbers(7, **ways), READ_FAILURE, {"x": "text"}, 5]
    assert isolated(items, size) == in_batches(BatchScorer(Crashing()), items, size)


ITEMS = st.lists(
    st.one_of(
        st.builds(lambda x: {"x": x}, st.floats(allow_nan=False) | st.integers() | st.text() | st.lists(st.none())),
        st.just(READ_FAILURE),
        st.just({}),
        st.just("no record"),
        st.builds(
            lambda way: {"do": way}, st.sampled_from(["raise", "none", "sys_exit", "exit", "kill", "not_picklable"])
        ),
    ),
    max_size=20,
)


@given(items=ITEMS, size=st.integers(1, 30))
@settings(max_examples=40)
def test_any_mixture_scores_as_without_isolation_but_for_the_culprits(items, size):
    lost = [isinstance(item, dict) and item.get("do") in ("exit", "kill", "not_picklable") for item in items]
    kept = [item for item, is_lost in zip(items, lost, strict=True) if not is_lost]
    predictions, failures = isolated(items, size)
    expected, expected_failures = BatchScorer(Crashing()).score_batch(kept)
    assert {place for place in failures if lost[place]} == {place for place, is_lost in enumerate(lost) if is_lost}
    places = [place for place, is_lost in enumerate(lost) if not is_lost]
    assert [predictions[place] for place in places] == expected
    assert [failures.get(place) for place in places] == [expected_failures.get(n) for n in range(len(kept))]


def test_the_model_that_fails_in_every_way():
    ways = ("raise", "type_error", "exit", "wrong_number", "none", "mutate", "nan", "print", "warn")
    items = [{"value": 1.0, "fail": way} for way in ways] * 3
    spec = ModelSpec("model_scoring.testing", "FailingModel")
    with pytest.warns(UserWarning, match="told to warn"):
        _, expected = in_batches(BatchScorer(FailingModel()), items, 4)
    assert isolated(items, 4, FailingModel(), spec)[1] == expected


@pytest.mark.parametrize("kind", ["not_picklable", "not_unpicklable"])
def test_predictions_that_cannot_be_handed_over(starts, kind):
    records = numbers(200, **{kind: [3, 150]})
    scored = isolated(records)
    check_culprits(scored, records, {3, 150})
    assert "the prediction cannot be pickled" in scored[1][3].message
    assert not is_crash(scored[1][3])
    assert len(starts) == 1, "that is no reason to replace the process"


@pytest.mark.parametrize("value", [lambda: None, NotUnpicklable()])
def test_records_that_cannot_be_handed_over(starts, value):
    records = numbers(100)
    records[7]["x"] = value
    _, failures = isolated(records)
    assert set(failures) == {7}
    assert "the record cannot be pickled" in failures[7].message


def test_values_stay_what_they_are(way):
    record = {"x": 10**30, "deep": None, "tuple": (1, {2}), "nan": float("nan"), "text": "\ud800"}
    inner = record
    for _ in range(399):
        inner["deep"] = {"deep": None}
        inner = inner["deep"]
    predictions, failures = isolated([record])
    assert (predictions, failures) == ([{"double": 2 * 10**30}], {})


@pytest.mark.parametrize(("kind", "error"), [("memory", MemoryError), ("interrupt", KeyboardInterrupt)])
def test_what_is_nobodys_record_goes_out(way, kind, error):
    with IsolatedScorer(Crashing(), SPEC) as scorer:
        with pytest.raises(error):
            scorer.score_batch(numbers(3, **{kind: [1]}))
        check_culprits(scorer.score_batch(numbers(3)), numbers(3), set())


# --- loading


@pytest.mark.parametrize(
    ("death", "message"), [("segfault", "SIGSEGV"), ("exit", "exit code 0"), ("raise", "told to"), ("kill", "SIGKILL")]
)
def test_a_model_that_cannot_be_loaded_again_is_no_records_failure(monkeypatch, death, message):
    monkeypatch.setattr(isolation_module, "fork_is_safe", lambda: False)
    scorer = IsolatedScorer(Crashing(), SPEC)
    monkeypatch.setenv("DIE_LOADING", death)
    with pytest.raises(ModelError, match=message):
        scorer.score_batch(numbers(3))


def test_a_new_process_has_the_parameters_and_the_folder_of_the_first(monkeypatch, tmp_path):
    monkeypatch.setattr(isolation_module, "fork_is_safe", lambda: False)
    monkeypatch.chdir(tmp_path)
    spec = ModelSpec(MODULE, "Crashing", {"most": 0})
    _, failures = isolated(numbers(1), spec=spec, record_timeout=0.3)
    assert is_crash(failures[0])


# --- what is left, and what is not handed on


def test_a_scorer_that_nobody_closes_ends_its_child(starts):
    scorer = IsolatedScorer(Crashing(), SPEC)
    scorer.score_batch(numbers(1))
    process = starts[0]._process
    starts.clear()
    del scorer
    gc.collect()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_a_closed_scorer_starts_anew(starts):
    scorer = IsolatedScorer(Crashing(), SPEC)
    for _ in range(2):
        scorer.score_batch(numbers(1))
        scorer.close()
        scorer.close()
    assert len(starts) == 2


def test_an_exception_of_the_waiting_parent_ends_the_child(starts):
    def interrupt():
        raise KeyboardInterrupt

    scorer = IsolatedScorer(Crashing(), SPEC, while_waiting=interrupt)
    with pytest.raises(KeyboardInterrupt):
        scorer.score_batch(numbers(1, hang=[0]))
    assert starts[0].has_ended()


def test_two_scorers_at_once(starts):
    first, second = IsolatedScorer(Crashing(), SPEC), IsolatedScorer(Crashing(), SPEC)
    first.score_batch(numbers(1))
    second.score_batch(numbers(1))
    started = time.monotonic()
    first.close()
    assert time.monotonic() - started < 1, "the second child holds no end of the first one's connection open"
    second.close()


def test_the_child_has_nothing_of_its_parents_output(starts, tmp_path):
    with (tmp_path / "output").open("wb") as output:
        predictions, _ = isolated(numbers(1, files=[0]), private=lambda: [output.fileno()])
    assert str(tmp_path / "output") not in predictions[0]["double"]


SCRIPT = f"""
import sys
from model_scoring import isolation
from model_scoring.output_guard import claim_stdout
from model_scoring.settings import ModelSpec
from {MODULE} import Crashing
way, claim, do = sys.argv[1:]
output = claim_stdout() if claim == "claim" else sys.stdout.buffer
isolation.fork_is_safe = lambda: way == "fork"
scorer = isolation.IsolatedScorer(Crashing(), ModelSpec("{MODULE}", "Crashing"))
output.write(b"unflushed ")
predictions, failures = scorer.score_batch([{{"x": 1.0, "do": "process"}}, {{"x": 1.0, "do": "print"}}])
output.write(str(predictions[0]["double"]).encode() + b"\\n")
output.flush()
scorer.score_batch([{{"x": 1.0, "do": do}}])
"""


@pytest.mark.parametrize("claim", ["claim", "leave"])
def test_what_the_model_prints_goes_to_standard_error(way, claim):
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, way, claim, "process"], cwd=ROOT, capture_output=True, check=True, timeout=60
    )
    assert ran.stdout.startswith(b"unflushed ")
    assert ran.stdout.removeprefix(b"unflushed ").strip().isdigit()
    assert ran.stderr.count(b"NOISE") == 3


def test_the_child_dies_with_its_parent(way):
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, way, "claim", "hang"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        child = int(process.stdout.readline().split()[1])
        time.sleep(0.3)
        assert Path(f"/proc/{child}").exists()
        process.kill()
        process.communicate(timeout=10)  # the child holds the other end of standard error
    ended = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < ended
        time.sleep(0.05)
