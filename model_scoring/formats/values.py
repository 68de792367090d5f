"""Values that JSON does not have, as the formats with types of their own (Avro, Parquet) bring them.

A record of such a file goes to the model with its values as Python has them. Its text, which is what is written and
what a later step or job reads, is JSON:

| value | in JSON |
|---|---|
| null | ``null`` |
| date, time, timestamp | text as ISO 8601 has it; a timestamp with a zone ends in ``Z`` or its offset |
| duration | text as ISO 8601 has it: ``PT1.5S`` |
| decimal | text, with all its digits |
| bytes | text in base64 |
| UUID | text |
| NaN and the infinities | the texts ``NaN``, ``Infinity``, ``-Infinity`` |
| map | object; keys that are no text become text |
"""

import math
from dataclasses import replace
from typing import Any

import msgspec

from model_scoring.formats.batches import ReadBatch
from model_scoring.formats.json_text import (
    TOO_DEEP,
    encode,
    holds_nonfinite,
    is_too_deep,
    may_be_deep,
    object_texts,
    spaced,
)
from model_scoring.outcome import Failure, describe, shorten

__all__ = ["Unreadable", "read_values", "readable", "value_text"]

_encode = msgspec.json.Encoder().encode


class Unreadable(str):
    """In the place of a value that Python does not have, a date after the year 9999 for instance: why there is none."""

    __slots__ = ()


def readable(record: dict[str, Any]) -> Any:
    """The record, or its ``Failure`` where a value of it is ``Unreadable``, at any depth."""
    for name, value in record.items():
        if (why := _unreadable(value)) is not None:
            known = {key: each for key, each in record.items() if _unreadable(each) is None}
            return Failure(known, "read", "no_value", f"{name} cannot be read, {why}", name)
    return record


def _unreadable(value: Any) -> str | None:
    if type(value) is Unreadable:
        return str(value)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return next((why for each in inner if (why := _unreadable(each)) is not None), None)


def read_values(values: list[Any]) -> ReadBatch:
    """The batch of these records, ``Failure`` among them, with their text. Never raises for what a record holds."""
    try:
        texts = object_texts(values, _encode)
    except MemoryError:
        raise
    except Exception:  # a value that has no text: find out whose it is
        texts = None
    if texts is not None and not may_be_deep(texts):
        return ReadBatch(texts, values, 0, 0)
    return ReadBatch.of_each((*_read_value(value), False) for value in values)


def _read_value(value: Any) -> tuple[bytes, Any]:
    if type(value) is Failure:
        text, read = _read_value(value.record)
        # What has no text cannot be told apart from what is no record.
        return text, replace(value, record=read.record) if type(read) is Failure else value
    try:
        return value_text(value), value
    except MemoryError:
        raise
    except Exception as error:  # as above
        shown = _shown(value)
        return shown, Failure(shown, "read", "no_json", f"the record cannot be written as JSON: {describe(error)}")


def _shown(value: Any) -> bytes:
    try:
        return shorten(ascii(value)).encode()
    except Exception:  # nested deeper than the interpreter goes
        return f"a {type(value).__name__} that cannot be shown".encode()


def value_text(value: dict[str, Any]) -> bytes:
    """A record's text. Raises ``TypeError`` or ``ValueError`` for what JSON cannot carry."""
    if type(value) is not dict:
        raise TypeError(f"{type(value).__name__} is no record")
    compact = _encode(value)
    if is_too_deep(compact, value):
        raise ValueError(TOO_DEEP)
    if b"null" in compact and holds_nonfinite(value):
        return encode(_finite(value))
    return spaced(compact)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_finite, value))
    return value
