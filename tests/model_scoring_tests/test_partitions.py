import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_scoring.formats import ldjson
from model_scoring.formats.batches import ReadBatch
from model_scoring.formats.csv import CsvReader
from model_scoring.formats.partitions import PartitionFields, partition_fields


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("hdfs://name:9000/data/dt=2026-01-01/part-0", {"dt": "2026-01-01"}),
        ("/data/dt=2026-01-01/country=de/part-0", {"dt": "2026-01-01", "country": "de"}),
        ("/data/when=12%3A30/part-0", {"when": "12:30"}),
        ("/data/a=b=c/part-0", {"a": "b=c"}),
        ("/data/a=/part-0", {"a": ""}),
        ("/data/=x/part-0", {}),
        ("/data/name=part-0", {}),
        ("data/part-0", {}),
        ("standard input", {}),
    ],
)
def test_folders_of_a_path(path: str, fields: dict[str, str]) -> None:
    assert partition_fields(path) == fields


def added(line: bytes, path: str = "/data/dt=x/part-0", described: dict[str, Any] | None = None) -> ReadBatch:
    return PartitionFields(described).add(path, ldjson.read_lines([line]))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b'{"a": 1}', b'{"a": 1, "dt": "x"}'),
        (b"{}", b'{"dt": "x"}'),
        (b"{ }", b'{ "dt": "x"}'),
        (b'{"a": 1} \r', b'{"a": 1, "dt": "x"}'),
        (b'\xef\xbb\xbf{"a": 1}', b'{"a": 1, "dt": "x"}'),
        (b'{"dt": "mine"}', b'{"dt": "mine"}'),
    ],
)
def test_field_is_added_to_a_record(line: bytes, text: bytes) -> None:
    read = added(line)
    assert read.texts == [text]
    assert read.items == [json.loads(text)]


@pytest.mark.parametrize("line", [b"", b"[1}", b'{"a": "}', b"[{}]", b'{"a": "\xff"}'])
def test_what_is_no_record_stays_as_it_is(line: bytes) -> None:
    assert added(line) == ldjson.read_lines([line])


def test_record_that_fails_gets_the_field_too() -> None:
    reader = CsvReader(["a"], {"properties": {"a": {"type": "number"}}})
    read = PartitionFields(None).add("/data/dt=x/part-0", reader.read_lines([b"high"]))
    assert read.texts == [b'{"a": "high", "dt": "x"}']
    assert read.items[0].record == {"a": "high", "dt": "x"}


@pytest.mark.parametrize(
    ("value", "field"),
    [("2026", 2026), ("007", 7), ("x", "x"), ("", "")],
)
def test_schema_says_what_a_value_becomes(value: str, field: Any) -> None:
    described = {"properties": {"dt": {"type": "integer"}}}
    assert added(b"{}", f"/data/dt={value}/part-0", described).items == [{"dt": field}]


def test_null_is_no_field() -> None:
    assert added(b"{}", "/data/a=1/dt=__HIVE_DEFAULT_PARTITION__/part-0").items == [{"a": "1"}]


@given(st.dictionaries(st.text(), st.integers() | st.text()), st.dictionaries(st.text(min_size=1), st.text()))
def test_record_keeps_its_own_fields(record: dict[str, object], fields: dict[str, str]) -> None:
    path = "".join(f"/{quote(name, safe='')}={quote(value, safe='')}" for name, value in fields.items())
    read = added(json.dumps(record).encode(), f"{path}/part-0")
    assert read.items == [{**fields, **record}]
    assert json.loads(read.texts[0]) == {**fields, **record}


def test_batches_of_files_without_such_folders_stay_as_they_are() -> None:
    read = ldjson.read_lines([b'{"a": 1}'])
    assert PartitionFields(None).add("/data/part-0", read) is read


def test_fields_are_those_of_the_file() -> None:
    fields = PartitionFields(None)
    read = ldjson.read_lines([b"{}"])
    assert [fields.add(f"/dt={day}/part-0", read).items for day in "112"] == [[{"dt": day}] for day in "112"]
