"""JSON text: what a record and a prediction are between the formats, whichever they came in and go out by.

Writing gives the bytes of ``json.dumps`` with its usual separators and UTF-8 unescaped. Reading and writing go through
msgspec: it reads integers of any width exactly and refuses what JSON (RFC 8259) does not have, NaN among it.

What may be changed here: how fast. The bytes are pinned by golden files.
"""

import base64
import math
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from types import NoneType
from typing import Any, cast

import msgspec

from model_scoring.outcome import Failure, describe

__all__ = [
    "JsonText",
    "PredictionEncoder",
    "Record",
    "decode",
    "encode",
    "failure_key",
    "holds_nonfinite",
    "is_deep",
    "is_too_deep",
    "key_reader",
    "may_be_deep",
    "object_texts",
    "record_key",
    "spaced",
    "with_text",
]

# Below this many predictions a batch says nothing about whether they repeat.
SMALL_BATCH = 64

decode = msgspec.json.Decoder().decode

# What msgspec raises for bytes that are no JSON text. RecursionError: a text nested deeper than the interpreter goes.
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

# How deep a record may be nested. The interpreter has a limit too, but one that depends on who is calling: the same
# record would pass on one runner and fail on another.
DEPTH_LIMIT = 400
TOO_DEEP = f"nested more than {DEPTH_LIMIT} deep"

# In valid JSON a tab or CR can only be white space between tokens. A tab would split the pair that is written, a CR
# ends a line for Hadoop.
_BLANKS = bytes.maketrans(b"\t\r", b"  ")


class Record(dict[str, Any]):
    """A parsed record that remembers its text; a plain dict to everybody else."""

    __slots__ = ("marked", "text")
    text: bytes
    marked: bool  # whether a byte order mark stood before it


class JsonText(bytes):
    """JSON text that is written as it is."""

    __slots__ = ()


def with_text(parsed: dict[str, Any], text: bytes, marked: bool = False) -> Record:
    """A record that remembers its text, and whether a byte order mark stood before it."""
    record = Record(parsed)
    record.text = text
    record.marked = marked
    return record


def may_be_deep(texts: list[bytes]) -> bool:
    """Whether one of the texts is so long, and has so many brackets, that it may be nested too deeply."""
    return max(map(len, texts), default=0) > 2 * DEPTH_LIMIT and any(
        text.count(b"[") + text.count(b"{") > DEPTH_LIMIT for text in texts
    )


def is_too_deep(text: bytes, value: Any) -> bool:
    """Whether ``value``, whose JSON text is ``text``, is nested more than ``DEPTH_LIMIT`` deep."""
    return len(text) > 2 * DEPTH_LIMIT and may_be_deep([text]) and is_deep(value)


def is_deep(value: Any) -> bool:
    """Whether ``value`` is nested more than ``DEPTH_LIMIT`` deep."""
    level = [value]
    for _ in range(DEPTH_LIMIT + 1):
        level = [inner for each in level if isinstance(each, dict | list) for inner in _inner(each)]
        if not level:
            return False
    return True


def _inner(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value


def record_key(text: bytes) -> bytes:
    """The text of a record as it is written: on one line, without a tab."""
    return text.rstrip(b"\r").translate(_BLANKS)


def failure_key(text: bytes) -> bytes:
    """JSON for what is no record, from which its bytes can be had back: its text as a JSON string, or
    ``{"base64": "…"}`` where it is not UTF-8."""
    try:
        return encode(text.decode("utf-8"))
    except UnicodeDecodeError:
        return encode({"base64": base64.b64encode(text).decode("ascii")})


def key_reader(field: str) -> Callable[[bytes], JsonText | None]:
    """A function from a record's text to the text of one of its fields, None where the field is missing.

    Raises ``ValueError`` for a field name that holds a quote, a backslash or a control character.
    """
    missing = msgspec.Raw()
    record_type = msgspec.defstruct("KeyedRecord", [("key", msgspec.Raw, missing)], rename={"key": field}, gc=False)
    decode_key: Callable[[bytes], Any] = msgspec.json.Decoder(record_type).decode

    def read_key(text: bytes) -> JsonText | None:
        key = decode_key(text).key
        return None if key is missing else JsonText(record_key(bytes(key)))

    return read_key


def _plain(value: Any) -> Any:
    """What a model's answer often holds and JSON does not know: NumPy's scalars and arrays, sets, tuples."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


_encode_compact = msgspec.json.Encoder(enc_hook=_plain).encode


# One line, a blank after each colon and comma: what json.dumps writes.
spaced = cast("Callable[[bytes], bytes]", partial(msgspec.json.format, indent=0))


# Between two values of a batch while they are written together; what holds it, too, is written one by one.
_BETWEEN = 7403914862053
_PLACE_BETWEEN = b"}, %d, {" % _BETWEEN


def object_texts(values: list[Any], compact: Callable[[list[Any]], bytes]) -> list[bytes] | None:
    """The text of each value, by one call for all of them: half the time of one for each.

    None where that does not show each: a value is no plain dict, or one may hold NaN, which is written as null.
    ``compact`` gives the JSON text of a list; what it raises is raised.
    """
    if set(map(type, values)) != {dict}:
        return None
    parts: list[Any] = [_BETWEEN] * (2 * len(values) - 1)
    parts[0::2] = values
    together = spaced(compact(parts))
    nulls = together.count(b"null")
    if nulls and nulls != list(map(type, chain.from_iterable(map(dict.values, values)))).count(NoneType):
        return None
    # JSON text has no line feed in it: so many lines, so many places between two.
    texts = together[1:-1].replace(_PLACE_BETWEEN, b"}\n{").split(b"\n")
    return texts if len(texts) == len(values) else None


def encode(value: Any) -> bytes:
    """``value`` as JSON text on one line. Raises ``TypeError`` or ``ValueError`` for what JSON cannot carry."""
    if isinstance(value, JsonText):
        return value
    return _checked(value, _encode_compact(value))


def _checked(value: Any, compact: bytes) -> bytes:
    # The encoder writes NaN and the infinities as null: an answer of that kind would pass for a missing one.
    if b"null" in compact and holds_nonfinite(value):
        raise ValueError("NaN or an infinity, which JSON cannot carry")
    return spaced(compact)


def holds_nonfinite(value: Any) -> bool:
    """Whether NaN or an infinity is in it, at any depth."""
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(map(holds_nonfinite, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(holds_nonfinite, value))
    if value is None or isinstance(value, str | int):
        return False
    return holds_nonfinite(msgspec.to_builtins(value, enc_hook=_plain))  # a dataclass, an array, a date, …


class PredictionEncoder:
    """Encodes batches of predictions; one for each task.

    Predictions of a classifier repeat: while batches have few different ones, each of those is formatted once, and
    ``tally`` says how often each occurred in the last batch; it is None once predictions have turned out to differ.
    """

    def __init__(self) -> None:
        self._repeating = True
        self.tally: Counter[bytes] | None = None

    def encode_batch(self, predictions: list[Any], missing: int = 0) -> tuple[list[bytes], dict[int, Failure]]:
        """The JSON text of each prediction, and a ``Failure`` (its record left out) for each that has none.

        ``missing`` of the predictions are None, the places of failed records.
        """
        self.tally = None
        try:
            if not self._repeating and (texts := _texts_together(predictions, missing)) is not None:
                return texts, {}
            compact = list(map(_encode_compact, predictions))
        except MemoryError:
            raise
        except (Exception, SystemExit):  # an object that JSON does not know, or its own code: find out which one it is
            return self._encode_one_by_one(predictions)
        return self._format(predictions, compact, missing)

    def _format(
        self, predictions: list[Any], compact: list[bytes], missing: int
    ) -> tuple[list[bytes], dict[int, Failure]]:
        different = Counter(compact) if self._repeating else compact
        nulls = different[b"null"] if isinstance(different, Counter) else different.count(b"null")
        if nulls != missing or (_may_hide_nonfinite(different) and any(map(holds_nonfinite, predictions))):
            return self._encode_one_by_one(predictions)
        if not isinstance(different, Counter):
            return list(map(spaced, compact)), {}
        formatted = {each: spaced(each) for each in different}
        self.tally = different
        self._repeating = len(compact) < SMALL_BATCH or 4 * len(different) <= len(compact)
        return list(map(formatted.__getitem__, compact)), {}

    def _encode_one_by_one(self, predictions: list[Any]) -> tuple[list[bytes], dict[int, Failure]]:
        encoded: list[bytes] = []
        failures: dict[int, Failure] = {}
        for position, prediction in enumerate(predictions):
            try:
                text = encode(prediction)
                if text == b"null" and prediction is not None:
                    raise ValueError(f"this {type(prediction).__name__} is null in JSON, which says that there is none")
                encoded.append(text)
            except MemoryError:
                raise
            except (Exception, SystemExit) as error:  # the prediction's own code, or a value that JSON does not have
                encoded.append(b"null")
                message = f"the prediction cannot be written as JSON: {describe(error)}"
                failures[position] = Failure(None, "write", type(error).__name__, message)
        return encoded, failures


def _texts_together(predictions: list[Any], missing: int) -> list[bytes] | None:
    if not missing:
        return object_texts(predictions, _encode_compact)
    texts = object_texts([each for each in predictions if each is not None], _encode_compact)
    if texts is None:
        return None
    following = iter(texts)
    return [b"null" if each is None else next(following) for each in predictions]


def _may_hide_nonfinite(different: Iterable[bytes]) -> bool:
    """Whether a null was written within a prediction that may have been NaN."""
    return any(b"null" in each and each != b"null" for each in different)
