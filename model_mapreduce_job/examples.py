"""Examples of failures, on their way from a task's standard error to the launcher's summary.

A counter carries a number and nothing else. So a task writes the first failure of each kind as one line of JSON to its
standard error, where it also helps whoever reads a container's log, and the launcher picks up what reaches it.
"""

import json
from typing import Any

from model_scoring.outcome import Failure

__all__ = ["example_line", "parse_example"]

_PREFIX = "first failure of its kind in this task: "


def example_line(kind: str, failure: Failure, source: str, record: str) -> str:
    """The line for a failure; ``record`` is its text, shortened."""
    return _PREFIX + json.dumps({"kind": kind, **failure.as_value(), "source": source, "record": record})


def parse_example(line: str) -> dict[str, Any] | None:
    """What ``example_line`` wrote, None for any other line."""
    if not line.startswith(_PREFIX):
        return None
    try:
        found = json.loads(line[len(_PREFIX) :])
    except ValueError:  # cut short by the end of a task
        return None
    return found if isinstance(found, dict) and "kind" in found else None
