"""LDJSON: what is no record fails alone and can be had back; what is written is what json.dumps writes."""

import base64
import dataclasses
import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model_scoring.formats import ldjson
from model_scoring.formats.batches import BYTE_ORDER_MARK as MARK
from model_scoring.formats.json_text import (
    JsonText,
    PredictionEncoder,
    encode,
    failure_key,
    holds_nonfinite,
    key_reader,
    record_key,
)
from model_scoring.outcome import Failure

GOOD = b'{"a": 1}'
DEEP = b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize(
    ("line", "error_type", "message"),
    [
        (b"\xff\xfe{}", "not_utf8", "not UTF-8: invalid start byte at byte 0"),
        (b'{"a": "\xed\xa0\x80"}', "not_utf8", "not UTF-8: invalid continuation byte at byte 7"),
        (b"not json", "not_json", None),
        (b'{"a": 1', "not_json", "Input data was truncated"),
        (b'{"a": 1} {"a": 2}', "not_json", None),
        (b'{"a": 1},', "not_json", None),
        (b'{"a": NaN}', "not_json", None),
        (b'{"a": -Infinity}', "not_json", None),
        (b'{"a": 1e999}', "not_json", None),
        (b'{"a": 01}', "not_json", None),
        (b'{"a": .5}', "not_json", None),
        (b"{'a': 1}", "not_json", None),
        (b'{"a": "\\ud800"}', "not_json", None),
        (b'{"a": "\x01"}', "not_json", None),
        (b'{"a": 1}\x00', "not_json", None),
        (b"{a: 1}", "not_json", None),
        (b'{"a": 1,}', "not_json", None),
        (DEEP, "not_json", "nested more than 400 deep"),
        (b"[" * 100_000, "not_json", "nested more than 400 deep"),
        (b"[1]", "not_an_object", "a record is a JSON object, this is an array"),
        (b'"text"', "not_an_object", "a record is a JSON object, this is a string"),
        (b"5", "not_an_object", "a record is a JSON object, this is a number"),
        (b"5.5", "not_an_object", "a record is a JSON object, this is a number"),
        (b"true", "not_an_object", "a record is a JSON object, this is true or false"),
        (b"null", "not_an_object", "a record is a JSON object, this is null"),
        (MARK * 2 + GOOD, "not_json", None),
    ],
)
def test_a_line_that_is_no_record_fails_alone(line, error_type, message):
    read = ldjson.read_lines([GOOD, line, GOOD])
    failure = read.items[1]
    assert (read.items[0], read.items[2]) == ({"a": 1}, {"a": 1})
    assert type(failure) is Failure
    assert (failure.stage, failure.error_type, failure.record) == ("read", error_type, read.texts[1])
    assert failure.message == (message or failure.message)
    assert failure.message


def test_blank_lines_and_byte_order_marks_are_skipped_and_counted():
    read = ldjson.read_lines([MARK + GOOD, b"", b" \t\r", MARK, GOOD, MARK + b"[]"])
    assert read.texts == [GOOD, GOOD, b"[]"]
    assert read.items[:2] == [{"a": 1}, {"a": 1}]
    assert read.items[2].error_type == "not_an_object"
    assert (read.blank_lines, read.byte_order_marks) == (3, 3)


@pytest.mark.parametrize("line", [MARK * 5000, MARK * 5000 + GOOD, (MARK + b" ") * 5000])
def test_any_number_of_byte_order_marks_is_one_bad_line(line):
    read = ldjson.read_lines([line, GOOD])
    assert [type(item) for item in read.items] == [Failure, dict]
    assert read.byte_order_marks == 1


@pytest.mark.parametrize("digits", [20, 400, 5000])
def test_wide_integers_are_records_or_fail_alone_and_their_text_survives(digits):
    line = b'{"a": ' + b"7" * digits + b"}"
    read = ldjson.read_lines([line, GOOD])
    assert record_key(read.texts[0]) == line
    if digits < 4300:  # what Python turns into a number
        assert read.items[0] == {"a": int("7" * digits)}
    else:
        assert isinstance(read.items[0], Failure | dict)


@given(lines=st.lists(st.one_of(st.binary(), st.just(GOOD), st.builds(MARK.__add__, st.binary(max_size=5)))))
@example([GOOD, DEEP, b"", MARK])
def test_any_bytes_give_exactly_one_item_or_blank_each(lines):
    read = ldjson.read_lines(lines)
    assert len(read.texts) == len(read.items)
    assert len(read.items) + read.blank_lines == len(lines)
    alone = [ldjson.read_line(line) for line in lines]
    assert read.items == [item for _, item, _ in alone if item is not None]
    assert read.texts == [text for text, item, _ in alone if item is not None]
    assert read.byte_order_marks == sum(marked for _, _, marked in alone)
    assert {type(item) for item in read.items} <= {dict, Failure}


@given(line=st.binary(max_size=40))
def test_the_bytes_of_what_is_no_record_can_be_had_back(line):
    key = failure_key(line)
    assert b"\t" not in key
    assert b"\n" not in key
    value = json.loads(key)
    if isinstance(value, str):
        assert value.encode() == line
    else:
        assert list(value) == ["base64"]
        assert base64.b64decode(value["base64"]) == line


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (b'{"a":\t1.50,\r"b" : 1e2}', b'{"a": 1.50, "b" : 1e2}'),
        (b'{"z": 1, "a": 2}\r', b'{"z": 1, "a": 2}'),
        (b'{"n": 123456789012345678901234567890, "n": 1}', b'{"n": 123456789012345678901234567890, "n": 1}'),
        ('{"ä": "\\u00e4"}'.encode(), '{"ä": "\\u00e4"}'.encode()),
    ],
)
def test_a_records_text_survives(text, written):
    assert record_key(text) == written


JSON_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**200), 2**200),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
)
JSON_VALUES = st.recursive(
    JSON_SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class Spelled(float):
    """A float of which only the value is compared: 1e16 is as good as 1e+16."""


def spelling(text):
    """Everything in a JSON text but the spelling of its floats."""
    return json.dumps(json.loads(text, parse_float=Spelled), ensure_ascii=False)


def has_float(value):
    if isinstance(value, dict):
        return any(map(has_float, value.values()))
    return any(map(has_float, value)) if isinstance(value, list) else isinstance(value, float)


@given(value=JSON_VALUES)
@example('\x00\x1f\x7f\u2028\b\f"\\/\n\r\t')
@example([2**64, -(2**63) - 1, {"": [[], {}]}])
@example([1e16, 1e-7, -0.0, 5e-324, 1.7976931348623157e308, 0.1])
def test_what_is_written_is_spelled_like_json_dumps(value):
    text = encode(value)
    dumped = json.dumps(value, ensure_ascii=False)
    assert json.loads(text) == value
    if has_float(value):
        assert spelling(text) == spelling(dumped)
        assert text.count(b" ") == dumped.count(" ")
    else:
        assert text == dumped.encode()
    assert b"\n" not in text
    assert b"\t" not in text


@given(record=st.dictionaries(st.text(), JSON_VALUES, max_size=4))
def test_what_is_written_reads_as_it_was(record):
    text, item, marked = ldjson.read_line(encode(record))
    assert (item, marked) == (record, False)
    assert record_key(text) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32(1.5), b"1.5"),
        (np.int64(3), b"3"),
        (np.bool_(True), b"true"),
        (np.str_("x"), b'"x"'),
        ({"p": np.array([[0.5, 1.0]])}, b'{"p": [[0.5, 1.0]]}'),
        ({"t": (1, 2)}, b'{"t": [1, 2]}'),
        (JsonText(b"1.50"), b"1.50"),
        ({"a": None}, b'{"a": null}'),
        (2**64, b"18446744073709551616"),
        (10**400, b"1" + b"0" * 400),
    ],
)
def test_what_models_answer_is_written(value, text):
    assert encode(value) == text


@dataclasses.dataclass
class Score:
    p: float


NONFINITE = [
    {"p": math.nan},
    [math.inf],
    {"p": [{"q": -math.inf}]},
    (math.nan,),
    np.float64(math.nan),
    np.float32(math.inf),
    {"p": np.array([1.0, math.nan])},
    {"p": Score(math.nan)},
    Score(math.inf),
]
UNWRITABLE = [object(), {"p": object()}, "\ud800", {"p": 1j}, {None: 1}, 10**5000]


@pytest.mark.parametrize("value", NONFINITE)
def test_nan_and_the_infinities_are_refused_not_written_as_null(value):
    with pytest.raises(ValueError, match="NaN or an infinity"):
        encode(value)


@pytest.mark.parametrize("value", UNWRITABLE, ids=["object", "in a dict", "surrogate", "complex", "key", "wide"])
def test_what_json_does_not_have_is_refused(value):
    with pytest.raises((TypeError, ValueError)):
        encode(value)


@pytest.mark.parametrize("value", [*NONFINITE, *UNWRITABLE[:-1]])
def test_a_prediction_that_cannot_be_written_fails_alone(value):
    good = {"p": 1.5}
    texts, failures = PredictionEncoder().encode_batch([good, value, None, good], missing=1)
    assert texts == [b'{"p": 1.5}', b"null", b"null", b'{"p": 1.5}']
    assert list(failures) == [1]
    assert (failures[1].stage, failures[1].record) == ("write", None)
    assert failures[1].message.startswith("the prediction cannot be written as JSON: ")


def test_a_lone_nan_among_the_missing_is_found():
    texts, failures = PredictionEncoder().encode_batch([None, math.nan, None], missing=2)
    assert (texts, list(failures)) == ([b"null"] * 3, [1])


def test_nested_nulls_are_no_failure():
    texts, failures = PredictionEncoder().encode_batch([{"p": None}, {"p": 1}])
    assert (texts, failures) == ([b'{"p": null}', b'{"p": 1}'], {})


def test_predictions_that_repeat_are_tallied_and_those_that_differ_are_not():
    encoder = PredictionEncoder()
    texts, _ = encoder.encode_batch([{"s": "a"}, {"s": "b"}, None] * 100, missing=100)
    assert texts == [b'{"s": "a"}', b'{"s": "b"}', b"null"] * 100
    assert {json.dumps(json.loads(text)): times for text, times in encoder.tally.items()} == {
        '{"s": "a"}': 100,
        '{"s": "b"}': 100,
        "null": 100,
    }
    for _ in range(2):
        texts, _ = encoder.encode_batch([{"p": number} for number in range(300)])
        assert texts == [b'{"p": %d}' % number for number in range(300)]
    assert encoder.tally is None


@given(batches=st.lists(st.lists(st.one_of(JSON_VALUES, st.just(math.nan), st.builds(object)), max_size=8), max_size=4))
def test_a_batch_is_written_as_its_predictions_one_by_one(batches):
    encoder = PredictionEncoder()
    for batch in batches:
        missing = sum(value is None for value in batch)
        texts, failures = encoder.encode_batch(batch, missing)
        bad = [place for place, value in enumerate(batch) if type(value) is object or value != value]  # noqa: PLR0124
        assert list(failures) == bad
        assert texts == [b"null" if place in bad else encode(value) for place, value in enumerate(batch)]
        if encoder.tally is not None:
            assert sum(encoder.tally.values()) == len(batch)
            assert Counter(encoder.tally.values()) == Counter(Counter(texts).values())


ODD_TEXTS = st.sampled_from(["}, {", "null", '"}, {"', "a\nb", None, math.nan, [{"a": 1}, {}], {"null": None}, 1.5])


@given(batch=st.lists(st.none() | st.dictionaries(st.text("ab}{, ", max_size=4), ODD_TEXTS | JSON_VALUES, max_size=3)))
def test_predictions_that_differ_are_written_together_as_one_by_one(batch):
    encoder = PredictionEncoder()
    encoder.encode_batch([{"p": number} for number in range(300)])  # from here on none is expected to repeat
    texts, failures = encoder.encode_batch(batch, batch.count(None))
    assert list(failures) == [place for place, value in enumerate(batch) if holds_nonfinite(value)]
    assert texts == [b"null" if place in failures else encode(value) for place, value in enumerate(batch)]
    assert encoder.tally is None


@pytest.mark.parametrize(
    ("field", "text", "key"),
    [
        ("a", b'{"b": 2, "a": 1.50}', b"1.50"),
        ("a", b'{"a": [1,\t{"x": 2}]}', b'[1, {"x": 2}]'),
        ("a", b'{"\\u0061": 5}', b"5"),
        ("a", b'{"a": 123456789012345678901234567890}', b"123456789012345678901234567890"),
        ("a", b'{"a": null}', b"null"),
        ("a", b'{"a": 1, "a": 2}', b"2"),
        ("a", b'{"b": {"a": 1}}', None),
        ("a", b"{}", None),
        ("petal length", b'{"petal length": "x"}', b'"x"'),
        ("ä", '{"ä": 1}'.encode(), b"1"),
        ("", b'{"": 1}', b"1"),
    ],
)
def test_a_field_is_read_as_it_stands_in_the_record(field, text, key):
    read = key_reader(field)(text)
    assert read == key
    assert key is None or type(read) is JsonText


@pytest.mark.parametrize("field", ['a"', "a\\", "a\n", "a\x00"])
def test_a_field_that_cannot_be_read_is_refused(field):
    with pytest.raises(ValueError, match="names must not contain"):
        key_reader(field)


@given(record=st.dictionaries(st.text("abc", max_size=2), JSON_VALUES, max_size=4))
def test_every_field_can_be_the_key(record):
    text = encode(record)
    for field, value in record.items():
        assert json.loads(key_reader(field)(text)) == value


def test_how_deep_a_record_may_be_does_not_depend_on_its_company() -> None:
    def nested(depth: int) -> bytes:
        return b'{"a":' * depth + b"1" + b"}" * depth

    for depth, readable in ((400, True), (401, False), (900, False), (100_000, False)):
        alone = ldjson.read_lines([nested(depth)]).items[0]
        beside = ldjson.read_lines([b"bad", nested(depth), b'{"a": [' + b"[]," * 5000 + b"1]}"]).items
        assert isinstance(alone, dict) is readable
        assert isinstance(beside[1], dict) is readable
        assert isinstance(beside[2], dict)
