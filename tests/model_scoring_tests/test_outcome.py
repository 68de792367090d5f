"""Outcomes are values, and tell what happened in a line."""

import copy
import pickle

import pytest

from ml_model_abc import MLModelSchemaValidationException
from model_scoring.outcome import MESSAGE_LIMIT, Failure, Prediction, describe, shorten

FAILURE = Failure({"x": 1}, "validate", "float_type", "x: not a number", "x")


class SilentError(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class OwnError(MLModelSchemaValidationException):
    pass


@pytest.mark.parametrize("outcome", [FAILURE, Prediction({"x": 1}, {"y": 2})])
def test_outcomes_can_be_compared_copied_and_sent(outcome):
    assert pickle.loads(pickle.dumps(outcome)) == outcome == copy.deepcopy(outcome)
    with pytest.raises(AttributeError):
        outcome.record = None


def test_a_failure_is_told_in_one_line_and_written_as_strings():
    assert FAILURE.reason == "validate: float_type: x: not a number"
    assert FAILURE.as_value() == {"stage": "validate", "error_type": "float_type", "message": "x: not a number"}
    assert Failure({}, "predict", "E", "one\ntwo\r\nthree\u2028four").reason == "predict: E: one two three four"


@pytest.mark.parametrize(
    ("error", "error_type", "base_type"),
    [
        (KeyError("a"), "KeyError", "KeyError"),
        (OwnError("a"), "OwnError", "MLModelSchemaValidationException"),
        (SilentError(), "SilentError", "Exception"),
        (SystemExit(1), "SystemExit", "SystemExit"),
    ],
)
def test_a_failure_keeps_what_kind_of_exception_it_was(error, error_type, base_type):
    failure = Failure.from_exception({"x": 1}, "predict", error)
    assert (failure.error_type, failure.base_type, failure.stage) == (error_type, base_type, "predict")


def test_an_exception_without_a_text_is_still_told():
    assert describe(SilentError()) == "(its text cannot be had: RuntimeError)"
    assert describe(ValueError("why")) == "why"


def test_long_messages_are_cut_and_say_how_much():
    assert shorten("a" * MESSAGE_LIMIT) == "a" * MESSAGE_LIMIT
    assert shorten("a" * (MESSAGE_LIMIT + 7)) == "a" * MESSAGE_LIMIT + "… (7 more characters)"
    assert len(describe(ValueError("x" * 10_000_000))) < MESSAGE_LIMIT + 40


def test_messages_can_always_be_printed():
    assert shorten("\ud800 é") == "\\ud800 é"
