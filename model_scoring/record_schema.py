"""RecordSchema: validates a batch of records in one call, whichever kind of schema the model has.

Three kinds are known: anything pydantic can validate, a schema of the ``schema`` package (recognised by its methods,
so that the package need not be installed) and None. A new kind is one more branch of ``RecordSchema.__init__``.
"""

from collections.abc import Callable
from itertools import compress
from operator import is_
from typing import Annotated, Any, Literal, Union

from model_scoring.outcome import Failure, shorten

__all__ = [
    "RecordSchema",
    "described_schema",
    "json_schema",
    "properties",
    "reads_by_name",
    "resolve",
    "takes_other_fields",
]

# Errors of one record that its message quotes; a record of 200 wrong fields needs no 200 sentences.
QUOTED_ERRORS = 5
# References to references that are followed.
REFERENCES = 20

Validated = tuple[list[Any], dict[int, Failure]]


class RecordSchema:
    """The input schema of a model, ready to validate batches.

    Made once for a model; raises what the schema's library raises when the schema itself cannot be used.
    """

    def __init__(self, schema: Any) -> None:
        self._validate: Callable[[list[Any]], Validated]
        if schema is None:
            self._validate = _copies
        elif is_schema_package(schema):
            self._validate = lambda records: _validate_each(records, schema.validate)
        else:
            self._validate = _PydanticBatch(schema).validate

    def validate(self, records: list[Any]) -> Validated:
        """The valid records, validated and in order, and a ``Failure`` by position for each of the others.

        The validated records are fresh: a model that changes them changes nothing of the caller's at their top level.
        """
        return self._validate(records)


class _PydanticBatch:
    def __init__(self, schema: Any) -> None:
        # Imported here: a task whose model has no pydantic schema does without its import time.
        from pydantic import Field, TypeAdapter, ValidationError
        from typing_extensions import is_typeddict

        self._gives_dicts = is_typeddict(schema)
        self._strict: TypeAdapter[list[Any]] = TypeAdapter(list[schema])
        # What is not valid comes through as the very object that went in, and pydantic goes on with the next record.
        # So one call serves a batch with failures too, at a twentieth more for one without.
        # The annotation means nothing to pydantic. It keeps typing from merging a union, which chooses among its own,
        # into this one, and from making plain Any of an Any.
        whole: Any = Annotated[schema, "whole"]
        tolerant: Any = Annotated[Union[whole, Any], Field(union_mode="left_to_right")]  # noqa: UP007  # any schema
        self._tolerant: TypeAdapter[list[Any]] = TypeAdapter(list[tolerant])
        self._error = ValidationError

    def validate(self, records: list[Any]) -> Validated:
        try:
            return self._validate_batch(records)
        except MemoryError:
            raise
        except (Exception, SystemExit):  # a validator of the user's raised what pydantic does not collect; for which?
            return _validate_each(records, self._validate_one, self._failure_of)

    def _validate_batch(self, records: list[Any]) -> Validated:
        validated = self._tolerant.validate_python(records)
        if len(validated) != len(records):  # a validator may raise PydanticOmit
            return _validate_each(records, self._validate_one, self._failure_of)
        unchanged = list(compress(range(len(records)), map(is_, validated, records)))
        if not unchanged:
            return self._as_dicts(validated), {}
        failures = self._failures(records, unchanged)
        if len(failures) == len(unchanged):
            for place in reversed(unchanged):
                del validated[place]
            return self._as_dicts(validated), failures
        valid = [
            value.copy() if value is record and isinstance(value, dict) else value
            for place, (value, record) in enumerate(zip(validated, records, strict=True))
            if place not in failures
        ]
        return self._as_dicts(valid), failures

    def _failures(self, records: list[Any], unchanged: list[int]) -> dict[int, Failure]:
        """Of the records that came through unchanged, those that are not valid; ``Any`` leaves valid ones unchanged."""
        try:
            self._strict.validate_python([records[place] for place in unchanged])
        except self._error as error:
            by_place: dict[int, list[Any]] = {}
            for each in error.errors(include_url=False, include_context=False, include_input=False):
                by_place.setdefault(unchanged[int(each["loc"][0])], []).append(each)
            return {place: _failure(records[place], errors) for place, errors in by_place.items()}
        return {}

    def _validate_one(self, record: Any) -> Any:
        validated = self._as_dicts(self._strict.validate_python([record]))
        if not validated:
            raise ValueError("the input schema leaves the record out")
        return validated[0]

    def _failure_of(self, record: Any, error: BaseException) -> Failure:
        if not isinstance(error, self._error):
            return _raised(record, error)
        return _failure(record, error.errors(include_url=False, include_context=False, include_input=False))

    def _as_dicts(self, validated: list[Any]) -> list[Any]:
        """Instances of a pydantic model or dataclass become the dicts that the contract promises."""
        if self._gives_dicts or set(map(type, validated)) <= {dict}:
            return validated
        dumped: list[Any] = self._strict.dump_python(validated)
        return dumped


def _failure(record: Any, errors: list[Any]) -> Failure:
    sentences = list(map(_sentence, errors[:QUOTED_ERRORS]))
    if len(errors) > QUOTED_ERRORS:
        sentences.append(f"and {len(errors) - QUOTED_ERRORS} more")
    location = errors[0]["loc"]
    field = str(location[1]) if len(location) > 1 else None
    return Failure(record, "validate", errors[0]["type"], shorten("; ".join(sentences)), field)


def _sentence(error: Any) -> str:
    """``field.inner: what is wrong``; a location starts with the record's place in its batch, which says nothing."""
    location = error["loc"]
    if len(location) == 2:
        return f"{location[1]}: {error['msg']}"
    message: str = error["msg"]
    return f"{'.'.join(map(str, location[1:]))}: {message}" if len(location) > 2 else message


def _copies(records: list[Any]) -> Validated:
    return [record.copy() if isinstance(record, dict) else record for record in records], {}


def _raised(record: Any, error: BaseException) -> Failure:
    return Failure.from_exception(record, "validate", error)


def _validate_each(
    records: list[Any], validate: Callable[[Any], Any], failure_of: Callable[[Any, BaseException], Failure] = _raised
) -> Validated:
    valid: list[Any] = []
    failures: dict[int, Failure] = {}
    for position, record in enumerate(records):
        try:
            value = validate(record)
        except MemoryError:
            raise
        except (Exception, SystemExit) as error:  # whatever a schema raises says that this record is not valid
            failures[position] = failure_of(record, error)
        else:
            valid.append(value.copy() if value is record and isinstance(value, dict) else value)
    return valid, failures


def is_schema_package(schema: Any) -> bool:
    """Whether ``schema`` is an instance like ``schema.Schema``: it has ``validate`` and ``json_schema`` methods."""
    return not isinstance(schema, type) and all(
        callable(getattr(schema, method, None)) for method in ("validate", "json_schema")
    )


def json_schema(schema: Any, side: Literal["input", "output"]) -> dict[str, Any] | None:
    """``schema`` as JSON Schema; None for None. Raises what the schema's library raises when it cannot be said."""
    if schema is None:
        return None
    if is_schema_package(schema):
        described: dict[str, Any] = schema.json_schema(f"https://example.com/{side}_schema.json")
        return described
    from pydantic import TypeAdapter

    adapter: TypeAdapter[Any] = TypeAdapter(schema)
    return adapter.json_schema(mode="validation" if side == "input" else "serialization")


def described_schema(schema: Any, side: Literal["input", "output"]) -> dict[str, Any] | None:
    """``json_schema``, or None where it cannot be said: such a schema still validates."""
    try:
        return json_schema(schema, side)
    except Exception:  # whatever the schema's library raises
        return None


def properties(described: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """The fields of a JSON Schema of an object, in order, references followed; empty where it names none."""
    if described is None:
        return {}
    found = resolve(described, described).get("properties", {})
    return {name: resolve(value, described) for name, value in found.items() if isinstance(value, dict)}


def reads_by_name(schema: Any) -> bool:
    """Whether a schema reads the fields that its JSON Schema names and no others: not through aliases, and not by a
    function that sees the record before."""
    if is_schema_package(schema):
        return True
    from pydantic import TypeAdapter

    # Pydantic's own description of what it does.
    text = repr(TypeAdapter(schema).core_schema)
    return not any(sign in text for sign in ("validation_alias", "function-before", "function-wrap", "function-plain"))


def takes_other_fields(described: dict[str, Any] | None) -> bool:
    """Whether fields that a JSON Schema of an object does not name mean anything to it."""
    return described is None or "additionalProperties" in resolve(described, described)


def resolve(node: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """``node``, or what its ``$ref`` into ``root`` stands for."""
    for _ in range(REFERENCES):
        reference = node.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            break
        target: Any = root
        for part in reference[2:].split("/"):
            target = target.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(target, dict) else {}
        node = target if isinstance(target, dict) else {}
    return node
