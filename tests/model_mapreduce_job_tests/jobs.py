"""Ways to run jobs in tests: as a command, in this process, and by hand as a map task."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from model_mapreduce_job.ml_model_map_reduce_job import MLModelMapReduceJob, model_manager, settings

ROOT = Path(__file__).resolve().parent.parent.parent
DATA = ROOT / "data"
GOLDEN = DATA / "golden"
SCRIPT = "model_mapreduce_job/ml_model_map_reduce_job.py"
IRIS = ("--model_qualified_name", "iris_model")
GOOD = b'{"sepal_length": 5.0, "sepal_width": 3.2, "petal_length": 1.2, "petal_width": 0.2}'


def run_command(
    *arguments: object,
    command: tuple[str, ...] = (SCRIPT,),
    environment: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> subprocess.CompletedProcess[bytes]:
    """Runs the documented command from the project's folder."""
    clean = {name: value for name, value in os.environ.items() if name != "APP_SETTINGS"}
    return subprocess.run(
        [sys.executable, *command, *map(str, arguments)],
        cwd=ROOT,
        env=clean | {"PYTHONPATH": "./"} | (environment or {}),
        input=stdin,
        capture_output=True,
        check=False,
        timeout=300,
    )


@dataclass
class Ran:
    """What a job in this process has left."""

    output: bytes
    messages: str
    error: Exception | None

    @property
    def lines(self) -> list[bytes]:
        assert self.output == b"" or self.output.endswith(b"\n")
        return self.output.split(b"\n")[:-1]


def run_here(*arguments: object, stdin: bytes = b"", job_class: type[MLModelMapReduceJob] = MLModelMapReduceJob) -> Ran:
    """Runs a whole job in this process, with input from ``stdin`` unless ``arguments`` name files."""
    job = job_class(["--no-conf", *map(str, arguments)])
    job.sandbox(stdin=BytesIO(stdin))
    error = None
    try:
        job.run_job()
    except Exception as raised:
        error = raised
    return Ran(job.stdout.getvalue(), job.stderr.getvalue().decode(), error)


@contextmanager
def loaded(*entries: Any) -> Iterator[None]:
    """Hosts other models while it is entered."""
    model_manager.load_models(list(entries))
    try:
        yield
    finally:
        model_manager.load_models(settings.models)


def failing(qualified_name: str = "failing") -> dict[str, Any]:
    """The spec of the model that fails where it is told to."""
    return {
        "module_name": "model_scoring.testing",
        "class_name": "FailingModel",
        "parameters": {"qualified_name": qualified_name},
    }
