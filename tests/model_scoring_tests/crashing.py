"""Models that take their process with them, or never answer, where a record says so."""

import ctypes
import faulthandler
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_model_abc import MLModel


class _NotPicklableError(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__("not to be had back")

    def __reduce__(self) -> Any:
        raise TypeError("never")


class NotUnpicklable:
    def __reduce__(self) -> Any:
        return int, ("no number",)


def _leave_a_child_behind() -> None:
    if os.fork() == 0:
        time.sleep(5)
        os._exit(0)
    os._exit(3)


def _quietly(die: Callable[[], Any]) -> None:
    faulthandler.disable()  # pytest's would tell of each
    die()


def _raise(error: BaseException) -> Any:
    raise error


WAYS: dict[str, Any] = {
    "segfault": lambda: _quietly(lambda: ctypes.string_at(0)),
    "abort": lambda: _quietly(os.abort),
    "exit": lambda: os._exit(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "leave": _leave_a_child_behind,
    "hang": lambda: time.sleep(60),
    "raise": lambda: _raise(ValueError("told to")),
    "sys_exit": lambda: _raise(SystemExit(0)),
    "memory": lambda: _raise(MemoryError("full")),
    "interrupt": lambda: _raise(KeyboardInterrupt()),
    "not_picklable_error": lambda: _raise(_NotPicklableError(1, 2)),
    "none": lambda: None,
    "not_picklable": lambda: {"double": lambda: None},
    "not_unpicklable": lambda: {"double": NotUnpicklable()},
    "second": lambda: time.sleep(1),
    "process": lambda: {"double": os.getpid()},
    "files": lambda: {"double": [os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()]},
    "print": lambda: {"double": (print("NOISE"), ctypes.CDLL(None).puts(b"NOISE from C"), os.write(1, b"NOISE"))[0]},
}
FATAL = {
    "segfault": "ended by SIGSEGV",
    "abort": "ended by SIGABRT",
    "exit": "ended itself with exit code 0",
    "kill": "ended by SIGKILL",
    "leave": "ended itself with exit code 3",
}


class Crashing(MLModel):
    """Answers twice x; does what the record's ``do`` says. A call for more than ``most`` records does not end."""

    display_name = "Crashing"
    qualified_name = "crashing"
    description = "Doubles x."
    major_version = 1
    minor_version = 0
    input_schema: Any = dict[str, Any]
    output_schema: Any = None

    def __init__(self, most: int = 1_000_000) -> None:
        self.most = most
        if os.environ.get("DIE_LOADING"):
            WAYS[os.environ["DIE_LOADING"]]()

    def predict(self, data):
        return self.predict_batch([data])[0]

    def predict_batch(self, records):
        if len(records) > self.most:
            time.sleep(60)
        return [WAYS[record["do"]]() if "do" in record else {"double": 2 * record["x"]} for record in records]


class OneByOne(Crashing):
    """Leaves ``predict_batch`` to the contract."""

    predict_batch = MLModel.predict_batch

    def predict(self, data):
        return Crashing.predict_batch(self, [data])[0]
