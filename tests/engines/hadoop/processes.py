"""Daemon processes: started apart from their starter, known by process id and start time, ended by process id alone."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    pid: int
    ticks: int  # of the kernel's clock at its start: a later process of the same id has others
    since: float  # seconds of the epoch, when it was started

    @property
    def alive(self) -> bool:
        return start_ticks(self.pid) == self.ticks

    def kill(self, number: signal.Signals) -> None:
        if self.alive:
            os.kill(self.pid, number)

    def wait(self, seconds: float) -> bool:
        """Whether it has ended before that."""
        end = time.monotonic() + seconds
        while self.alive:
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True


def start_ticks(pid: int) -> int | None:
    """None for a process that is gone, or dead and only not yet fetched by its parent."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in brackets may hold blanks and brackets; the fields after it do not.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def launch(command: Sequence[str], environment: Mapping[str, str], log: Path, pid_file: Path) -> Process:
    """Starts a command that outlives this process and takes no signals meant for it (Ctrl-C)."""
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    since = time.time()
    with log.open("wb") as output:
        # The shell ends at once, so that the daemon is the child of none who would have to wait for it.
        shell = subprocess.run(
            ["/bin/sh", "-c", '"$@" >&2 & echo $!', "sh", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            env=environment,
            cwd=log.parent,
            start_new_session=True,
            check=True,
            timeout=30,
        )
    pid = int(shell.stdout)
    process = Process(pid, start_ticks(pid) or -1, since)
    remember(process, pid_file)
    return process


def remember(process: Process, pid_file: Path) -> None:
    draft = pid_file.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(process)), encoding="utf-8")
    draft.replace(pid_file)


def only_child(process: Process, seconds: float = 10) -> Process:
    """The process that one has started to stand for it, as nsenter does where process ids are others."""
    end = time.monotonic() + seconds
    while process.alive and time.monotonic() < end:
        with suppress(OSError):
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8").split()
            if children:
                return Process(int(children[0]), start_ticks(int(children[0])) or -1, process.since)
        time.sleep(0.02)
    raise ProcessLookupError(f"process {process.pid} has started none in {seconds} s")


def known(pid_file: Path) -> Process | None:
    try:
        return Process(**json.loads(pid_file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def working_below(folder: Path) -> Iterator[int]:
    """The ids of processes whose working folder is inside this one, which is how containers are known."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                place = (entry / "cwd").readlink()
            except OSError:  # gone, or somebody else's
                continue
            if place.is_relative_to(folder):
                yield int(entry.name)
