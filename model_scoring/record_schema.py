"""RecordSchema: validates a batch of records in one call, whichever kind of schema the model has.

Three kinds are known: anything pydantic can validate, a schema of the ``schema`` package (recognised by its methods,
so that the package need not be installed) and None. A new kind is one more branch of ``RecordSchema.__init__``.
"""

from collections.abc import Callable
from typing import Any, Literal

from model_scoring.outcome import Failure, describe, shorten

__all__ = ["RecordSchema", "json_schema", "properties"]

# Errors of one record that its message quotes; a record of 200 wrong fields needs no 200 sentences.
QUOTED_ERRORS = 5

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
        from pydantic import TypeAdapter, ValidationError

        self._adapter: TypeAdapter[list[Any]] = TypeAdapter(list[schema])
        self._error = ValidationError

    def validate(self, records: list[Any]) -> Validated:
        try:
            return self._as_dicts(self._adapter.validate_python(records)), {}
        except self._error as error:
            failures = self._failures(records, error)
        except MemoryError:
            raise
        except Exception:  # a validator of the user's raised what pydantic does not collect; find out for which
            return _validate_each(records, self._validate_one)
        good = [record for position, record in enumerate(records) if position not in failures]
        valid, more = self.validate(good)
        if not more:
            return valid, failures
        # Only a validator that answers differently each time gets here.
        kept = [position for position in range(len(records)) if position not in failures]
        return valid, failures | {kept[position]: failure for position, failure in more.items()}

    def _validate_one(self, record: Any) -> Any:
        return self._as_dicts(self._adapter.validate_python([record]))[0]

    def _as_dicts(self, validated: list[Any]) -> list[Any]:
        """Instances of a pydantic model or dataclass become the dicts that the contract promises."""
        if not validated or type(validated[0]) is dict:
            return validated
        dumped: list[Any] = self._adapter.dump_python(validated)
        return dumped

    def _failures(self, records: list[Any], error: Any) -> dict[int, Failure]:
        by_position: dict[int, list[Any]] = {}
        for each in error.errors(include_url=False, include_context=False, include_input=False):
            by_position.setdefault(each["loc"][0], []).append(each)
        return {position: _failure(records[position], errors) for position, errors in by_position.items()}


def _failure(record: Any, errors: list[Any]) -> Failure:
    sentences = [
        f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" if each["loc"][1:] else each["msg"]
        for each in errors[:QUOTED_ERRORS]
    ]
    if len(errors) > QUOTED_ERRORS:
        sentences.append(f"and {len(errors) - QUOTED_ERRORS} more")
    first = errors[0]
    field = str(first["loc"][1]) if first["loc"][1:] else None
    return Failure(record, "validate", first["type"], shorten("; ".join(sentences)), field)


def _copies(records: list[Any]) -> Validated:
    return [record.copy() if isinstance(record, dict) else record for record in records], {}


def _validate_each(records: list[Any], validate: Callable[[Any], Any]) -> Validated:
    valid: list[Any] = []
    failures: dict[int, Failure] = {}
    for position, record in enumerate(records):
        try:
            valid.append(validate(record))
        except MemoryError:
            raise
        except Exception as error:  # whatever a schema raises says that this record is not valid
            failures[position] = _failure_of(record, error)
    return valid, failures


def _failure_of(record: Any, error: Exception) -> Failure:
    errors = getattr(error, "errors", None)  # pydantic's; the schema package has a list there, or nothing
    if callable(errors):
        found = errors(include_url=False, include_context=False, include_input=False)
        return _failure(record, found)
    return Failure(record, "validate", type(error).__name__, describe(error))


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


def properties(described: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """The fields of a JSON Schema of an object, in order, references followed; empty where it names none."""
    if described is None:
        return {}
    found = resolve(described, described).get("properties", {})
    return {name: resolve(value, described) for name, value in found.items() if isinstance(value, dict)}


def resolve(node: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """``node``, or what its ``$ref`` into ``root`` stands for."""
    reference = node.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return node
    target: Any = root
    for part in reference[2:].split("/"):
        target = target.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(target, dict) else {}
    return target if isinstance(target, dict) else {}
