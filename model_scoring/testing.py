"""For those who package models or build doors: ``check_model()`` and a model that fails where it is told to.

    check-model MODULE CLASS [--records FILE.ldjson] [--parameters JSON]

tries out a model from the command line. Exit code 0: every check passed. 2: the command cannot be understood, or the
records cannot be read. 4: the model cannot be loaded, or problems were found.
"""

import argparse
import ctypes
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from ml_model_abc import MLModel, MLModelSchemaValidationException
from model_scoring.errors import InputError, ScoringError
from model_scoring.formats.ldjson import read_lines
from model_scoring.formats.lines import batch_lines, read_blocks
from model_scoring.model_check import check_model
from model_scoring.model_manager import ModelManager

__all__ = ["Doubled", "FailingModel", "FailingRecord", "check_model", "main"]

# Enough to show how a model behaves, few enough for a slow one.
CHECKED_RECORDS = 100

WrongWay = Literal[
    "exit",
    "mutate",
    "nan",
    "none",
    "print",
    "raise",
    "type_error",
    "unserialisable",
    "warn",
    "wrong_number",
]


@with_config(ConfigDict(strict=True, extra="ignore"))
class FailingRecord(TypedDict):
    """A number, and what is to go wrong with it."""

    value: Annotated[float, Field(allow_inf_nan=False)]
    fail: NotRequired[WrongWay]


class Doubled(TypedDict):
    """Twice the number."""

    double: float


_RECORD = TypeAdapter(FailingRecord)


class FailingModel(MLModel):
    """Answers ``{"double": 2 * value}`` and fails where the record's ``fail`` says so:

    ``raise`` a ValueError, ``type_error`` a TypeError, ``exit`` the process, ``mutate`` the record and raise,
    ``wrong_number`` of predictions for the batch (one too few), answer ``none``, answer a ``nan``, answer something
    ``unserialisable``; ``print`` in three ways, or ``warn``, and answer properly.
    """

    display_name = "Failing Model"
    qualified_name = "failing_model"
    description = "Doubles a number; fails where it is told to."
    major_version = 1
    minor_version = 0
    input_schema = FailingRecord
    output_schema = Doubled

    def __init__(self, qualified_name: str = "failing_model") -> None:
        self.qualified_name = qualified_name

    def predict(self, data: dict[str, Any]) -> dict[str, Any]:
        """Raises ``MLModelSchemaValidationException`` for an invalid record."""
        try:
            _RECORD.validate_python(data)
        except ValidationError as error:
            raise MLModelSchemaValidationException(str(error)) from error
        return _answer(data)

    def predict_batch(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Raises for the whole batch when one record is to raise."""
        answers = [_answer(record) for record in records]
        short = any(record.get("fail") == "wrong_number" for record in records)
        return answers[:-1] if short else answers


def _answer(record: dict[str, Any]) -> dict[str, Any]:
    fail = record.get("fail", "")
    if fail in _DEEDS:
        _DEEDS[fail](record)
    answer: dict[str, Any] = _ANSWERS[fail]() if fail in _ANSWERS else {"double": 2 * record["value"]}
    return answer


def _raise_value_error(_: dict[str, Any]) -> None:
    raise ValueError("told to raise")


def _raise_type_error(_: dict[str, Any]) -> None:
    raise TypeError("told to raise a TypeError")


def _exit(_: dict[str, Any]) -> None:
    raise SystemExit("told to exit")


def _mutate(record: dict[str, Any]) -> None:
    record.clear()
    raise ValueError("told to change the record")


def _print(_: dict[str, Any]) -> None:
    print("told to print, from Python")
    os.write(1, b"told to print, to descriptor 1\n")
    ctypes.CDLL(None).printf(b"told to print, from C\n")


def _warn(_: dict[str, Any]) -> None:
    warnings.warn("told to warn", stacklevel=2)


_DEEDS: dict[str, Callable[[dict[str, Any]], None]] = {
    "exit": _exit,
    "mutate": _mutate,
    "print": _print,
    "raise": _raise_value_error,
    "type_error": _raise_type_error,
    "warn": _warn,
}
_ANSWERS: dict[str, Callable[[], Any]] = {
    "nan": lambda: {"double": float("nan")},
    "none": lambda: None,
    "unserialisable": lambda: {"double": object()},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command ``check-model``; returns its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    parameters = _parameters(parser, options.parameters)
    records = None if options.records is None else _records(parser, options.records)
    sys.path.append(str(os.curdir))  # a model in the working folder is found as with python -m
    try:
        passed = check_model(_load(options.module, options.model_class, parameters), records)
    except ScoringError as error:
        print(error, file=sys.stderr)
        return 4
    print(*passed, sep="\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="check-model",
        description="Tries out whether a model keeps to what every model must keep to.",
        epilog="Exit codes: 0 every check passed; 2 the command or its records cannot be used; "
        "4 the model cannot be loaded, or problems were found.",
    )
    parser.add_argument(
        "module", metavar="MODULE", help="the module of the model, for instance iris_model.iris_predict"
    )
    parser.add_argument("model_class", metavar="CLASS", help="the model's class, for instance IrisModel")
    parser.add_argument(
        "--records",
        metavar="FILE.ldjson",
        help=f"records to predict, one JSON object a line; the first {CHECKED_RECORDS} lines are used. "
        "By default sample records are made from the input schema",
    )
    parser.add_argument(
        "--parameters", metavar="JSON", default="{}", help="keyword arguments for the class, as a JSON object"
    )
    return parser


def _parameters(parser: argparse.ArgumentParser, text: str) -> dict[str, Any]:
    try:
        parameters = json.loads(text)
    except ValueError as error:
        parser.error(f"--parameters {text}: not JSON: {error}")
    if not isinstance(parameters, dict):
        parser.error(f"--parameters {text}: not a JSON object")
    return parameters


def _records(parser: argparse.ArgumentParser, path: str) -> list[dict[str, Any]]:
    """The records among the first lines; a line that is no record tells nothing about the model."""
    try:
        batches = batch_lines(read_blocks(path), CHECKED_RECORDS)
        lines = [line for batch in islice(batches, 1) for line in batch]
    except (OSError, InputError) as error:
        parser.error(f"--records {path}: {error}")
    records = [item for item in read_lines(lines).items if isinstance(item, dict)]
    if not records:
        parser.error(f"--records {path}: no record among the first {CHECKED_RECORDS} lines")
    return records


def _load(module: str, model_class: str, parameters: dict[str, Any]) -> MLModel:
    ModelManager.load_models([{"module_name": module, "class_name": model_class, "parameters": parameters}])
    model = ModelManager.get_model(ModelManager.get_models()[0]["qualified_name"])
    assert model is not None  # it has just been loaded
    return model


if __name__ == "__main__":
    sys.exit(main())
