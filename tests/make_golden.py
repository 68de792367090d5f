"""Makes data/dirty.ldjson and the golden outputs in data/golden/.

    python tests/make_golden.py

Independent of the project on purpose: the standard library's json, and scikit-learn asked record by record. It says
in its own few lines what the job promises; the job's tests compare bytes with what it has written.
"""

import base64
import json
import math
from pathlib import Path

import joblib

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
SPECIES = ("setosa", "versicolor", "virginica")
FIELDS = ("sepal_length", "sepal_width", "petal_length", "petal_width")

GOOD = b'{"sepal_length": 5.0, "sepal_width": 3.2, "petal_length": 1.2, "petal_width": 0.2}'
WIDE = b'{"id": 123456789012345678901234567890, "petal_width": 1.50, "petal_length": 4.70e0, "sepal_width": 3, '
DIRTY = [
    GOOD,
    GOOD + b"\r",
    b'{"sepal_length":\t6.3,"sepal_width":\t2.5,\r"petal_length": 5.0, "petal_width": 1.9}',
    b"\xef\xbb\xbf" + GOOD,
    b"",
    b"   ",
    b"\r",
    b"\xef\xbb\xbf",
    WIDE + b'"sepal_length": 6, "note": "caf\xc3\xa9 \\t \\u2028 tab", "zero": -0.0}',
    b"  " + GOOD + b"  ",
    b'{"sepal_length": 5.0, "sepal_width": 3.2, "petal_length": 1.2}',
    b'{"sepal_length": 5.0, "sepal_width": 3.2, "petal_length": 1.2, "petal_width": "0.2"}',
    b'{"sepal_length": 5.0, "sepal_width": 3.2, "petal_length": 1.2, "petal_width": true}',
    b'{"sepal_length": 5.0, "sepal_width": 3.2, "petal_length": 1.2, "petal_width": null}',
    b'{"sepal_length": [5.0], "sepal_width": 3.2, "petal_length": 1.2, "petal_width": 0.2}',
    b"{}",
    b'{"sepal_length": 5.0, "sepal_width": 3.2, "petal_length": 1.2, "petal_width": NaN}',
    b'{"sepal_length": 5.0, "sepal_width": 3.2, "petal_length": 1.2, "petal_width": -Infinity}',
    b'{"sepal_length": 5.0, "sepal_width": 3.2, "petal_length": 1.2, "petal_width": 1e400}',
    b'{"sepal_length": 5.0, "sepal_width": 3.2, "petal_length": 1.2, "petal_width": 0.2',
    GOOD + GOOD,
    GOOD + b" " + GOOD,
    GOOD[:-1] + b"}}",
    b"not JSON",
    b'tab\there, CR\rthere, NUL\x00, quote " and backslash \\',
    b'"a string"',
    b"5.0",
    b"null",
    b"[" + GOOD + b"]",
    b"\xff\xfe",
    b'{"sepal_length": 5.0, "name": "caf\xe9"}',
    b"[" * 100_000 + b"]" * 100_000,
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    GOOD,
    GOOD,
    b'{"tags": [{"y": null}], "sepal_length": 7.9, "sepal_width": 3.8, "petal_length": 6.4, "petal_width": 2}',
    b'{"petal_width": 0.2, "petal_width": 2.1, "sepal_length": 6.8, "sepal_width": 3.0, "petal_length": 5.5}',
    GOOD.replace(b"5.0", b"5e0"),
]


def refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is out of range")
    return value


def parse(text: bytes) -> dict | None:
    """The record, or None for what is none."""
    try:
        value = json.loads(text.decode("utf-8"), parse_constant=refuse, parse_float=finite)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def is_valid(record: dict) -> bool:
    return all(isinstance(record.get(field), int | float) and not isinstance(record[field], bool) for field in FIELDS)


def score(data: bytes, model: object) -> list[tuple[str, bytes, dict | None]]:
    """For each record "record" or "raw", its text, and its prediction."""
    scored = []
    for line in data.removesuffix(b"\n").split(b"\n"):
        text = line.removeprefix(b"\xef\xbb\xbf")
        if not text.strip():
            continue
        record = parse(text)
        if record is None:
            scored.append(("raw", text, None))
            continue
        prediction = None
        if is_valid(record):
            row = [float(record[field]) for field in FIELDS]
            prediction = {"species": SPECIES[int(model.predict([row])[0])]}
        scored.append(("record", text.rstrip(b"\r").replace(b"\t", b" ").replace(b"\r", b" "), prediction))
    return scored


def raw_value(text: bytes) -> str | dict:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(text).decode()}


def dumps(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def pair(kind: str, text: bytes, prediction: dict | None) -> bytes:
    return (text if kind == "record" else dumps(raw_value(text))) + b"\t" + dumps(prediction) + b"\n"


def ldjson(kind: str, text: bytes, prediction: dict | None) -> bytes:
    value = raw_value(text) if kind == "raw" else None
    raw = json.dumps(value) if isinstance(value, dict) else value
    record = text if kind == "record" else b"null"
    start = b'{"record": ' + record + b', "raw": ' + dumps(raw) + b', "prediction": ' + dumps(prediction)
    return start + b', "error": null, "model": "iris_model", "version": "0.1"}\n'


def main() -> None:
    (DATA / "dirty.ldjson").write_bytes(b"\n".join(DIRTY))
    files = ROOT / "iris_model" / "model_files"
    model = joblib.load(files / json.loads((files / "svc_model.json").read_text())["file"])
    (DATA / "golden").mkdir(exist_ok=True)
    for name in ("input", "dirty"):
        scored = score((DATA / f"{name}.ldjson").read_bytes(), model)
        (DATA / "golden" / f"{name}.pairs").write_bytes(b"".join(pair(*each) for each in scored))
        (DATA / "golden" / f"{name}.ldjson").write_bytes(b"".join(ldjson(*each) for each in scored))


if __name__ == "__main__":
    main()
