import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_scoring.formats.partitions import add_fields, partition_fields, with_partition_fields


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


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"a": 1}', b'{"a": 1, "dt": "x"}'),
        (b"{}", b'{"dt": "x"}'),
        (b"{ }", b'{ "dt": "x"}'),
        (b'{"a": 1} \r', b'{"a": 1, "dt": "x"}'),
        (b'\xef\xbb\xbf{"a": 1}', b'\xef\xbb\xbf{"a": 1, "dt": "x"}'),
        (b'{"dt": "mine"}', b'{"dt": "mine"}'),
        (b"", b""),
        (b"[1}", b"[1}"),
        (b'{"a": "}', b'{"a": "}'),
        (b"[{}]", b"[{}]"),
        (b'{"a": "\xff"}', b'{"a": "\xff"}'),
    ],
)
def test_field_is_added_to_a_record_only(line: bytes, expected: bytes) -> None:
    assert add_fields(line, {"dt": "x"}) == expected


@given(st.dictionaries(st.text(), st.integers() | st.text()), st.dictionaries(st.text(), st.text()))
def test_record_keeps_its_own_fields(record: dict[str, object], fields: dict[str, str]) -> None:
    line = json.dumps(record).encode("utf-8")
    assert json.loads(add_fields(line, fields)) == {**fields, **record}


def test_batches_of_files_without_such_folders_stay_as_they_are() -> None:
    lines = [b'{"a": 1}']
    [(path, same)] = with_partition_fields([("/data/part-0", lines)])
    assert path == "/data/part-0"
    assert same is lines
