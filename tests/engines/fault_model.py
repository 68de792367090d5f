"""A model whose records say what befalls them, and settings that name it.

A record ``{"n": 1, "do": "crash", "mark": FILE}`` does it when it is predicted, after writing which process and which
attempt it met into ``FILE``: the tests read there that the fault has struck, and what to kill. Only a task's first
attempt is struck, unless the record has ``"always": true``.
"""

import ctypes
import json
import os
import time
from pathlib import Path
from typing import Any

from ml_model_abc import MLModel


class FaultModel(MLModel):
    display_name = "Fault model"
    qualified_name = "fault_model"
    description = "Does what its records say."
    major_version = 1
    minor_version = 0
    input_schema = None
    output_schema = None

    def __init__(self) -> None:
        pass

    def predict(self, data: dict[str, Any]) -> dict[str, Any]:
        return self.predict_batch([data])[0]

    def predict_batch(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for record in records:
            if "do" in record:
                _strike(record)
        return [{"twice": 2 * record["n"]} for record in records]


def _strike(record: dict[str, Any]) -> None:
    attempt = os.environ.get("mapreduce_task_attempt_id", "")  # noqa: SIM112  # as Hadoop spells it
    if not record.get("always") and not attempt.endswith("_0"):
        return
    if "mark" in record:
        # Beside it and moved: who waits for the file must find it whole.
        written = Path(f"{record['mark']}.{os.getpid()}")
        written.write_text(json.dumps({"pid": os.getpid(), "attempt": attempt, "container": str(Path.cwd())}))
        written.replace(record["mark"])
    what = record["do"]
    if what == "wait":
        time.sleep(record["seconds"])
    elif what == "crash":
        ctypes.string_at(0)
    elif what == "raise":
        raise ValueError(f"record {record['n']} is not to my taste")
    elif what == "exit":
        os._exit(record.get("code", 0))
    elif what == "grow":
        held = []
        while True:
            held.append(bytearray(b"x" * (64 << 20)))


class BrokenModel(FaultModel):
    qualified_name = "broken_model"

    def predict_batch(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        raise MemoryError("no room for anything")


class Settings:
    models = [
        {"module_name": "tests.engines.fault_model", "class_name": "FaultModel"},
        {"module_name": "tests.engines.fault_model", "class_name": "BrokenModel"},
    ]
