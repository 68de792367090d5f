"""Models and settings that try to break the promises. ``HOSTILE`` in the environment names the one to load."""

import faulthandler
import os
import signal
import subprocess
import sys
import time
from typing import Any

from pydantic import BaseModel, model_validator

from tests.model_mapreduce_job_tests.models import _Echo


class _Hostile(_Echo):
    qualified_name = "hostile"


class ReusesItsAnswer(_Hostile):
    def __init__(self) -> None:
        self._answer: dict[str, Any] = {}

    def predict(self, data: dict[str, Any]) -> dict[str, Any]:
        self._answer["value"] = data["value"]
        return self._answer


class ReadsStandardInput(_Hostile):
    def predict_batch(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        subprocess.run(["head", "-c", "65536"], check=True)
        sys.stdin.read()
        return super().predict_batch(records)


class Forks(_Hostile):
    def predict(self, data: dict[str, Any]) -> dict[str, Any]:
        child = os.fork()
        if child == 0:
            sys.exit(0)
        os.waitpid(child, 0)
        return super().predict(data)


class AnswersATable(_Hostile):
    def predict_batch(self, records: list[dict[str, Any]]) -> Any:
        return {"value": [record["value"] for record in records]}


class Panic(BaseException):  # as Rust's bindings call it
    pass


class Panics(_Hostile):
    def predict(self, data: dict[str, Any]) -> dict[str, Any]:
        if data["value"] == 2:
            raise Panic
        return super().predict(data)


class Exit:
    def __str__(self) -> str:
        raise SystemExit(0)


class ExitsInItsMessage(_Hostile):
    def predict(self, data: dict[str, Any]) -> dict[str, Any]:
        error = ValueError()
        error.__class__ = type("Rude", (ValueError,), {"__str__": Exit.__str__})
        raise error


class BadVersion(_Hostile):
    @property
    def major_version(self) -> int:  # type: ignore[override]
        raise KeyError("no version")


class BadSchema(_Hostile):
    input_schema = "what pydantic cannot read"


class Sleeps(_Hostile):
    def predict(self, data: dict[str, Any]) -> dict[str, Any]:
        time.sleep(60)
        return {}


class Crashes(_Hostile):
    """Ends its process where the value is 2; waits for a second before a batch that holds a 0."""

    def predict_batch(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if any(record["value"] == 0 for record in records):
            time.sleep(1)
        if any(record["value"] == 2 for record in records):
            faulthandler.disable()  # pytest's would tell of it
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().predict_batch(records)


class Hangs(_Hostile):
    def predict(self, data: dict[str, Any]) -> dict[str, Any]:
        if data["value"] == 2:
            time.sleep(60)
        return super().predict(data)


class Renamed(BaseModel):
    value: Any

    @model_validator(mode="before")
    @classmethod
    def rename(cls, data: Any) -> Any:
        data["value"] = data.pop("Value")
        return data


class ChangesItsRecord(_Hostile):
    input_schema = Renamed


class Settings:
    models = [{"module_name": __name__, "class_name": os.environ.get("HOSTILE", "Sleeps")}]
