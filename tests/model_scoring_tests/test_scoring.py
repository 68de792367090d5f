"""score(): one outcome for each record, in order, whatever the records and however they are batched."""

import gc
import json
import weakref
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_scoring import BatchScorer, Failure, Prediction, score
from model_scoring.testing import FailingModel
from tests.model_scoring_tests.models import Batching, ByDefault, Named, WithBaseModel

READ_FAILURE = Failure(b"no record", "read", "not_json", "no JSON")
OTHER_WAYS = ("raise", "type_error", "exit", "wrong_number", "none", "mutate")
SIZES = (1, 2, 3, 7, 4096)


def outcome_key(outcome):
    """What of an outcome can be counted and compared."""
    kept = outcome.record if isinstance(outcome.record, dict) else repr(outcome.record)
    if isinstance(outcome, Failure):
        return json.dumps([kept, outcome.stage, outcome.error_type, outcome.message, outcome.field])
    return json.dumps([kept, outcome.prediction])


def keys(model, records, batch_size):
    return [outcome_key(outcome) for outcome in score(model, records, batch_size=batch_size)]


@pytest.mark.parametrize("size", SIZES)
def test_outcomes_come_in_the_order_of_the_records(size):
    records = [{"x": x} for x in (5.0, 1.0, 5.0, 2.0, 4.0, 3.0, 1.0, 1.0)]
    expected = [Prediction(record, {"double": 2 * record["x"]}) for record in records]
    for model in (ByDefault(), Batching()):
        assert list(score(model, records, batch_size=size)) == expected


@pytest.mark.parametrize("size", SIZES)
def test_every_record_comes_out_once_duplicates_included(size):
    once = [{"value": 1.0}, {"value": "bad"}, {}, *({"value": 2.0, "fail": way} for way in OTHER_WAYS)]
    records = once * 3 + [{"value": 1.0}] * 4
    outcomes = list(score(FailingModel(), records, batch_size=size))
    assert [outcome.record for outcome in outcomes] == records
    counted = Counter(map(outcome_key, outcomes))
    assert sorted(counted.values()) == [3] * (len(once) - 1) + [7]
    assert sum(isinstance(outcome, Prediction) for outcome in outcomes) == 7


def test_each_way_to_fail_says_so():
    records = [{"value": 2.0, "fail": way} for way in OTHER_WAYS]
    outcomes = list(score(FailingModel(), records))
    assert [(outcome.stage, outcome.error_type) for outcome in outcomes] == [
        ("predict", "ValueError"),
        ("predict", "TypeError"),
        ("predict", "SystemExit"),
        ("predict", "WrongNumberOfPredictions"),
        ("predict", "NoPrediction"),
        ("predict", "ValueError"),
    ]
    assert outcomes[3].message == "predict_batch answered 0 predictions for 1 record(s)"


@pytest.mark.parametrize("culprits", [set(), {0}, {63}, {31, 32}, {5, 17, 40}, set(range(64))])
def test_halving_finds_exactly_the_culprits(culprits):
    model = Batching()
    records = [{"x": -1.0 if place in culprits else 1.0} for place in range(64)]
    _, failures = BatchScorer(model).score_batch(records)
    assert set(failures) == culprits
    assert model.sizes[0] == 64
    assert len(model.sizes) <= 1 + 2 * len(culprits) * 6


def test_a_batch_without_failures_is_one_call_of_the_model():
    model = Batching()
    list(score(model, [{"x": 1.0}, {"x": "bad"}, {"x": 2.0}] * 10, batch_size=15))
    assert model.sizes == [10, 10]


def test_a_batch_that_is_refused_as_a_whole_is_no_call_of_the_model():
    model = Batching()
    assert all(isinstance(outcome, Failure) for outcome in score(model, [{}] * 5))
    assert model.sizes == []


def test_what_could_not_be_read_stays_what_it_is():
    predictions, failures = BatchScorer(Batching()).score_batch([{"x": 1.0}, READ_FAILURE, {"x": -1.0}, READ_FAILURE])
    assert predictions == [{"double": 2.0}, None, None, None]
    assert set(failures) == {1, 2, 3}
    assert failures[1] is failures[3] is READ_FAILURE
    assert failures[2].record == {"x": -1.0}


def test_nothing_but_what_could_not_be_read():
    assert list(score(Batching(), [READ_FAILURE] * 3)) == [READ_FAILURE] * 3
    assert list(score(Batching(), [])) == []


class Answering(Named):
    """Answers a batch with whatever the function given makes of it."""

    def __init__(self, answer):
        self.answer = answer

    def predict_batch(self, records):
        return self.answer(records)


def double(records):
    return [{"double": 2 * record["x"]} for record in records]


def shorten_list(records):
    """Answers for all, but takes the records out of the list it was lent."""
    answers = double(records)
    records.clear()
    return answers


def drop_negative(records):
    """Breaks the contract in the worst way: drops what it does not like from the list and answers for the rest."""
    records[:] = [record for record in records if record["x"] >= 0]
    return double(records)


@pytest.mark.parametrize("answer", [double, lambda records: iter(double(records)), shorten_list, drop_negative])
def test_answers_stay_with_their_records(answer):
    records = [{"x": x} for x in (1.0, -2.0, 3.0, 4.0)]
    outcomes = list(score(Answering(answer), records))
    for record, outcome in zip(records, outcomes, strict=True):
        assert outcome.record == record
        if record["x"] >= 0 or answer is not drop_negative:
            assert outcome.prediction == {"double": 2 * record["x"]}
        else:
            assert outcome.error_type == "WrongNumberOfPredictions"


@pytest.mark.parametrize("answer", [lambda _: None, lambda _: [], lambda records: double(records) * 2, lambda _: 5])
def test_the_wrong_number_of_answers_is_no_prediction(answer):
    assert all(isinstance(outcome, Failure) for outcome in score(Answering(answer), [{"x": 1.0}] * 3))


class Raising(Named):
    def __init__(self, error, *, batch):
        self.error = error
        if batch:
            self.__class__ = RaisingBatch

    def predict(self, data):
        raise self.error


class RaisingBatch(Raising):
    def predict_batch(self, records):
        raise self.error


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("error", [MemoryError("full"), KeyboardInterrupt()])
def test_what_is_nobodys_record_goes_out(error, batch):
    with pytest.raises(type(error)):
        list(score(Raising(error, batch=batch), [{"x": 1.0}]))


@pytest.mark.parametrize("batch", [False, True])
def test_a_model_that_exits_fails_its_record_only(batch):
    outcome, *none = score(Raising(SystemExit(0), batch=batch), [{"x": 1.0}])
    assert (outcome.error_type, outcome.message, none) == ("SystemExit", "0", [])


class Spoiling(Named):
    """Changes every record of the batch before one of them makes it raise."""

    def predict_batch(self, records):
        for record in records:
            record["x"] += 100
        if any(record["x"] < 100 for record in records):
            raise ValueError("negative")
        return double(records)


@pytest.mark.parametrize("size", SIZES)
def test_a_model_that_changes_records_before_it_fails_harms_no_neighbour(size):
    records = [{"x": 1.0}, {"x": -1.0}, {"x": 2.0}]
    first, second, third = score(Spoiling(), records, batch_size=size)
    assert first == Prediction({"x": 1.0}, {"double": 202.0})
    assert third == Prediction({"x": 2.0}, {"double": 204.0})
    assert second.record == {"x": -1.0}
    assert records == [{"x": 1.0}, {"x": -1.0}, {"x": 2.0}]


def test_records_are_read_as_they_are_needed_never_more_than_a_batch_ahead():
    read = []

    def source():
        for x in range(100):
            read.append(x)
            yield {"x": float(x)}

    outcomes = score(Batching(), source(), batch_size=8)
    assert read == []
    for number, _ in enumerate(outcomes, 1):
        assert number <= len(read) <= -(-number // 8) * 8
    assert len(read) == 100


class Tracked(dict):
    """A record whose end can be seen."""

    __slots__ = ("__weakref__",)


def test_never_more_than_a_batch_is_held():
    alive = []

    def source():
        for x in range(40):
            gc.collect()
            assert sum(each() is not None for each in alive) <= 8
            record = Tracked(x=float(x))
            alive.append(weakref.ref(record))
            yield record

    assert sum(1 for _ in score(Batching(), source(), batch_size=8)) == 40


def test_what_the_source_raises_goes_out():
    def source():
        yield {"x": 1.0}
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(score(Batching(), source()))


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_size_below_one_is_refused(size):
    with pytest.raises(ValueError, match=f"batch_size is {size}; it must be at least 1"):
        list(score(Batching(), [{"x": 1.0}], batch_size=size))


def test_a_warning_is_no_failure():
    record = {"value": 1.0, "fail": "warn"}
    with pytest.warns(UserWarning, match="told to warn"):
        assert list(score(FailingModel(), [record])) == [Prediction(record, {"double": 2.0})]


RECORDS = st.lists(
    st.one_of(
        st.builds(lambda value: {"value": value}, st.floats(-1e9, 1e9)),
        st.builds(lambda value: {"value": value}, st.none() | st.text(max_size=3) | st.booleans()),
        st.just({}),
        st.just(READ_FAILURE),
        st.builds(lambda way: {"value": 1.0, "fail": way}, st.sampled_from([*OTHER_WAYS, "unknown", 5])),
    ),
    max_size=25,
)


@given(records=RECORDS, size=st.integers(1, 30))
def test_any_mixture_in_any_batch_size_scores_as_one_by_one(records, size):
    one_by_one = keys(FailingModel(), records, 1)
    assert len(one_by_one) == len(records)
    assert keys(FailingModel(), records, size) == one_by_one
    assert [key for record in records for key in keys(FailingModel(), [record], 1)] == one_by_one


@given(
    records=st.lists(st.fixed_dictionaries({"x": st.one_of(st.floats(-9, 9), st.none(), st.text(max_size=2))})),
    size=st.integers(1, 30),
)
def test_models_that_predict_one_by_one_score_alike_in_any_batch_size(records, size):
    for model in (ByDefault(), WithBaseModel()):
        assert keys(model, records, size) == keys(model, records, 1)
