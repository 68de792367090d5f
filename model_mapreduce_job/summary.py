"""Summary: what a job has to say at its end, from the counters that its runner delivers.

A counter that a runner cannot deliver is unknown (None), never zero.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_mapreduce_job.counters import (
    BLANK_LINES,
    BYTE_ORDER_MARKS,
    FAILURE_PREFIX,
    FAILURES,
    FILES,
    GROUP,
    HEADER_LINES,
    LABEL_PREFIX,
    LINES,
    PREDICTIONS,
)
from model_scoring.errors import LostRecordsError, ModelError, ScoringError, TooManyFailuresError
from model_scoring.outcome import printable

__all__ = ["NOT_RUN", "Summary"]

BAR_WIDTH = 30

# Of a runner that does deliver counters.
NOT_RUN = (
    "the tasks have counted nothing, so they have not run. Does the job's script end with "
    "`if __name__ == '__main__': YourJob.run()`?"
)

ENGINE_GROUP = "Map-Reduce Framework"
ENGINE_LINES = "Map input records"
ENGINE_OUTPUTS = "Map output records"


@dataclass
class Summary:
    """Counts of a job; times in seconds."""

    model: str
    version: str
    seconds: float
    lines: int | None = None
    blank_lines: int | None = None
    byte_order_marks: int | None = None
    header_lines: int | None = None
    # Of a format whose files are read whole; None of one that is read by line.
    files: int | None = None
    predictions: int | None = None
    failures: int | None = None
    failures_by_kind: dict[str, int] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    examples: dict[str, dict[str, Any]] = field(default_factory=dict)
    # What Hadoop itself has counted of the step that predicts: lines in, lines out.
    engine_lines: int | None = None
    engine_outputs: int | None = None

    def add_counters(self, steps: list[dict[str, dict[str, int]]]) -> None:
        """Takes the counts from what a runner's ``counters()`` gives."""
        counted: dict[str, int] = {}
        for step in steps:
            if LINES in step.get(GROUP, {}):
                engine = step.get(ENGINE_GROUP, {})
                self.engine_lines, self.engine_outputs = engine.get(ENGINE_LINES), engine.get(ENGINE_OUTPUTS)
            for name, amount in step.get(GROUP, {}).items():
                counted[name] = counted.get(name, 0) + amount
        if LINES not in counted:
            return
        self.lines = counted[LINES]
        self.predictions = counted.get(PREDICTIONS, 0)
        self.failures = counted.get(FAILURES, 0)
        self.blank_lines = counted.get(BLANK_LINES, 0)
        self.byte_order_marks = counted.get(BYTE_ORDER_MARKS, 0)
        self.header_lines = counted.get(HEADER_LINES, 0)
        self.files = counted.get(FILES)
        self.failures_by_kind = _by_amount(counted, FAILURE_PREFIX)
        self.labels = _by_amount(counted, LABEL_PREFIX)

    @property
    def records(self) -> int | None:
        """Lines that are neither blank nor name columns; None where it is not known."""
        if self.lines is None:
            return None
        return self.lines - (self.blank_lines or 0) - (self.header_lines or 0)

    def check_sums(self, *, without_counts: str, with_engine: bool = True) -> None:
        """Raises ``LostRecordsError`` when what went in and what came out do not add up.

        ``without_counts`` is what it says where the runner has delivered none, "" where that may be;
        ``with_engine`` that Hadoop's own counts must be the same.
        """
        if without_counts and self.records is None:
            raise LostRecordsError(without_counts)
        if self.records is None or self.predictions is None or self.failures is None:
            return
        written = self.predictions + self.failures
        if written != self.records:
            raise LostRecordsError(
                f"{self.records:,} records were read and {written:,} written ({self.predictions:,} predictions, "
                f"{self.failures:,} failures). The output cannot be trusted; a task has ended without saying why. "
                f"Its standard error may tell."
            )
        # Hadoop hands a task lines, or the names of files.
        read = ("files were read", self.files) if self.files is not None else ("lines were read", self.lines)
        for (name, ours), engine in ((read, self.engine_lines), (("lines were written", written), self.engine_outputs)):
            if with_engine and engine is not None and engine != ours:
                raise LostRecordsError(
                    f"{ours:,} {name} by the tasks' count and {engine:,} by Hadoop's. The output cannot be trusted."
                )

    def verdict(self, max_failure_ratio: float | None) -> ScoringError | None:
        """The error that the job ends with, if it failed."""
        if not self.records or self.failures is None:
            return None
        kinds = ", ".join(f"{kind} {times:,}" for kind, times in self.failures_by_kind.items())
        ratio = self.failures / self.records
        if max_failure_ratio is None:
            if self.failures < self.records:
                return None
            return ModelError(
                f"nothing could be predicted: all {self.records:,} records failed ({kinds}). The model or its input "
                f"is not what it should be; --max_failure_ratio 1 accepts such a job."
            )
        if ratio <= max_failure_ratio:
            return None
        return TooManyFailuresError(
            f"{self.failures:,} of {self.records:,} records failed ({kinds}), a share of {ratio:.4g}; "
            f"--max_failure_ratio allows {max_failure_ratio:g}."
        )

    def as_json(self, status: str) -> dict[str, Any]:
        """The summary as JSON values; counts that are not known are null."""
        return {
            "status": status,
            "model": self.model,
            "version": self.version,
            "records": self.records,
            "predictions": self.predictions,
            "failures": self.failures,
            "failures_by_kind": self.failures_by_kind,
            "examples": self.examples,
            "labels": self.labels,
            "blank_lines": self.blank_lines,
            "byte_order_marks": self.byte_order_marks,
            "header_lines": self.header_lines,
            "seconds": round(self.seconds, 3),
            "records_per_second": None if self.records is None else round(self.records / self.seconds, 1),
        }

    def write(self, path: str, status: str) -> None:
        """Writes ``as_json`` to a file, whole or not at all; to a device as it is."""
        target = Path(path).resolve()
        text = json.dumps(self.as_json(status), indent=2, ensure_ascii=False) + "\n"
        if target.exists() and not target.is_file():
            target.write_text(text, "utf-8")
            return
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        temporary.write_text(text, "utf-8")
        temporary.replace(target)

    def as_text(self) -> str:
        """The summary for people."""
        rows = [f"{self.model} {self.version}"]
        rows += [f"  {name:<14}{_number(getattr(self, name)):>14}" for name in ("records", "predictions", "failures")]
        rows += [f"    {kind:<26}{times:>12,}{self._example(kind)}" for kind, times in self.failures_by_kind.items()]
        rows += [
            f"  {name.replace('_', ' '):<18}{getattr(self, name):>10,}"
            for name in ("blank_lines", "byte_order_marks", "header_lines", "files")
            if getattr(self, name)
        ]
        rows += self._bars()
        rate = "unknown" if self.records is None else f"{self.records / self.seconds:,.0f}"
        rows.append(f"  {self.seconds:.1f} s, {rate} records/s")
        return "\n".join(rows)

    def _example(self, kind: str) -> str:
        example = self.examples.get(kind)
        return "" if example is None else printable(f"  e.g. {example['message']}: {example['record']}")

    def _bars(self) -> list[str]:
        most = max(self.labels.values(), default=0)
        width = max((len(label) for label in self.labels), default=0)
        return [
            f"  {label:<{width}}  {'█' * round(BAR_WIDTH * times / most):<{BAR_WIDTH}} {times:>12,}"
            for label, times in self.labels.items()
            if most
        ]


def _number(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"


def _by_amount(counted: dict[str, int], prefix: str) -> dict[str, int]:
    found = {name.removeprefix(prefix): amount for name, amount in counted.items() if name.startswith(prefix)}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
