"""Files that other software has written; ``foreign/README.md`` says how."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.model_mapreduce_job_tests.jobs import DATA, IRIS, run_here

FOREIGN = Path(__file__).with_name("foreign")
FLOWERS = [json.loads(line) for line in (DATA / "input.ldjson").read_bytes().splitlines()][:14]
EXPECTED = [json.loads(line.split(b"\t")[1]) for line in (DATA / "golden/input.pairs").read_bytes().splitlines()][:14]


def scored(name: str, *arguments: str) -> tuple[list[dict[str, Any]], list[Any]]:
    """Records and predictions, by the order in the file."""
    ran = run_here(*IRIS, FOREIGN / name, *arguments)
    assert ran.error is None, ran.messages
    pairs = [line.split(b"\t") for line in ran.lines]
    return [json.loads(key) for key, _ in pairs], [json.loads(value) for _, value in pairs]


@pytest.mark.parametrize("name", ["pigz.ldjson.gz", "concatenated.ldjson.gz"])
def test_gzip(name: str) -> None:
    assert scored(name) == (FLOWERS, EXPECTED)


def test_a_spreadsheet() -> None:
    records, predictions = scored("libreoffice.csv", "--input_format", "csv")
    assert predictions == EXPECTED
    assert [{name: record[name] for name in FLOWERS[0]} for record in records] == FLOWERS
    assert [record.get("note") for record in records] == [
        *("plain", 'a "quoted" note', "comma, semicolon; tabend", "ümlaut 漢字 🌷", None, "  blanks  ", "1_000"),
        *("=1+1", "TRUE", "007", "'quote", "a\\b", "100%", "last"),
    ]
    assert [record["seen"] for record in records] == ["1", "0"] * 7


@pytest.mark.parametrize(("name", "how"), [("pandas.csv", "csv"), ("pandas.tsv.gz", "tsv")])
def test_pandas(name: str, how: str) -> None:
    records, predictions = scored(name, "--input_format", how)
    assert predictions == [*EXPECTED[:3], None, *EXPECTED[4:]], "the fourth has no petal_width"
    assert [record["id"] for record in records] == [str(number) for number in range(14)]
    notes = [record.get("note") for record in records]
    absent = None if how == "csv" else "NaN"
    assert notes == [absent if number % 4 == 0 else f'n "{number}", é' for number in range(14)]
    if how == "csv":
        assert [record[""] for record in records] == [str(number) for number in range(14)], "the index has no name"


@pytest.mark.parametrize("how", ["parquet", "avro"])
def test_spark(how: str) -> None:
    records, predictions = scored(f"spark_{how}", "--input_format", how, "--partition_fields")
    order = [number for day in (0, 1) for number in range(day, 14, 2)]
    assert predictions == [EXPECTED[number] for number in order]
    for record, number in zip(records, order, strict=True):
        assert record == FLOWERS[number] | {
            "id": 2**53 + number,
            "note": None if number % 4 == 0 else f'n "{number}", é\n',
            # Spark's timestamps in Parquet (INT96) are in UTC, and the file does not say so.
            "when": f"2026-01-31T12:30:{number:02}" + ("Z" if how == "avro" else ""),
            "day": "2026-01-31",
            "price": "1234567890123456789.10",
            "data": {0: "AP8=", 1: "Af8="}.get(number, record["data"]),
            "tags": ["a", str(number)],
            "place": {"x": float(number)},
            "dt": f"2026-01-0{1 + number % 2}",
        }
