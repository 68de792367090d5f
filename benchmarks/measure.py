"""Whole processes, measured side by side: in turn, several times, medians and ratios pair by pair."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Measured:
    """One run: wall clock and processor time in seconds, peak memory of the largest process in MiB."""

    seconds: float
    processor: float
    memory: float


def run(command: list[str], environment: dict[str, str], output: Path) -> Measured:
    """Runs a command with standard output to a file; raises ``CalledProcessError`` when it fails."""
    started = time.perf_counter()
    with output.open("wb") as stdout, tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stdout=stdout, stderr=stderr)
        # Not process.wait(): the usage is that of this one child and those it has waited for.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        if process.returncode:
            stderr.seek(0)
            sys.stderr.buffer.write(stderr.read())
            raise subprocess.CalledProcessError(process.returncode, command)
    return Measured(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def side_by_side(
    commands: dict[str, tuple[list[str], dict[str, str]]], rounds: int, output: Path
) -> dict[str, list[Measured]]:
    """Runs each command once unmeasured and then ``rounds`` times, in turn."""
    found: dict[str, list[Measured]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, (command, environment) in commands.items():
            measured = run(command, environment, output)
            if number:
                found[name].append(measured)
    return found


def median(runs: list[Measured]) -> float:
    """The median of the wall clock times."""
    return statistics.median(each.seconds for each in runs)


def ratio(runs: list[Measured], base: list[Measured]) -> str:
    """Median, least and largest of the ratios of the wall clock times, pair by pair."""
    ratios = sorted(each.seconds / other.seconds for each, other in zip(runs, base, strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
