"""Models that misbehave in ways that only a whole process shows."""

import atexit
import ctypes
import os
import sys
import threading
import warnings
from typing import Any

from ml_model_abc import MLModel


class _Echo(MLModel):
    display_name = "Echo"
    description = "Answers with what it was asked."
    major_version = 1
    minor_version = 0
    input_schema = None
    output_schema = None
    qualified_name = "echo"

    def __init__(self) -> None:
        pass

    def predict(self, data: dict[str, Any]) -> dict[str, Any]:
        return {"value": data["value"]}


class DyingModel(_Echo):
    """Ends the process with status 0 in the middle of its work, as native code can."""

    qualified_name = "dying"

    def predict(self, data: dict[str, Any]) -> dict[str, Any]:
        if data["value"] == "die":
            ctypes.CDLL(None)._exit(0)
        return super().predict(data)


print("NOISE while importing")


class NoisyModel(_Echo):
    """Prints wherever a model can: from Python, from C, from a thread, at exit, without an end of line."""

    qualified_name = "noisy"

    def __init__(self) -> None:
        print("NOISE while loading")
        atexit.register(print, "NOISE at exit")

    def predict_batch(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        print("NOISE from Python, reporter:", end="")
        sys.stderr.write("NOISE on standard error")
        os.write(1, b"NOISE on descriptor 1")
        ctypes.CDLL(None).printf(b"NOISE from C")
        ctypes.CDLL(None).puts(b"NOISE from C, a line")
        warnings.warn("NOISE as a warning", stacklevel=1)
        threading.Timer(0.2, print, ["NOISE from a thread"]).start()
        return super().predict_batch(records)
