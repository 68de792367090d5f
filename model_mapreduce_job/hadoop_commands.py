"""The commands of Hadoop that the launcher runs; each is a Java process of a second or two."""

import logging
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from model_scoring.errors import ScoringError

__all__ = ["HadoopCommands", "HadoopError"]

log = logging.getLogger("mrjob.hadoop")  # where mrjob's own --quiet and --verbose reach it

# Seconds for a command that tidies up.
PATIENCE = 60


class HadoopError(ScoringError):
    """Hadoop, or a command of it, does not do what it is asked for."""


class HadoopCommands:
    """Runs ``hadoop``, and what comes with it.

    ``find_hadoop`` gives the command's words; it is asked when one is run.
    """

    def __init__(self, find_hadoop: Callable[[], list[str]]) -> None:
        self._find_hadoop = find_hadoop

    def run(self, *args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Runs ``hadoop`` to its end, whatever that is."""
        command = [*self._find_hadoop(), *args]
        log.debug("> %s", command)
        return subprocess.run(command, input=stdin, capture_output=True, check=False)  # noqa: S603  # Hadoop's own

    def checked(self, *args: str) -> None:
        """Runs ``hadoop``; raises ``HadoopError`` with what it said where it fails."""
        done = self.run(*args)
        if done.returncode:
            complaint = done.stderr.decode("utf-8", "replace").partition("\nUsage:")[0].strip()
            raise HadoopError(f"hadoop {' '.join(args)} failed: {complaint or f'exit code {done.returncode}'}")

    @contextmanager
    def reading(self, what: str, *args: str) -> Iterator[BufferedReader]:
        """What ``hadoop fs`` writes; raises ``HadoopError`` where the command has failed when it has been read."""
        command = [*self._find_hadoop(), "fs", *args]
        with tempfile.TemporaryFile() as complaints:  # not a pipe: nobody reads it while the other is read
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints)  # noqa: S603  # as above
            assert isinstance(process.stdout, BufferedReader)
            try:
                yield process.stdout
                if process.wait():
                    complaints.seek(0)
                    told = complaints.read().decode("utf-8", "replace").strip()
                    raise HadoopError(f"{what} could not be read: {told or f'exit code {process.returncode}'}")
            finally:
                process.kill()
                process.stdout.close()
                process.wait()

    def path_of(self, name: str) -> str | None:
        """Where ``yarn`` or ``mapred`` is: beside ``hadoop``, or on PATH."""
        beside = Path(shutil.which(self._find_hadoop()[0]) or "").parent
        return shutil.which(name, path=str(beside)) or shutil.which(name)

    def end_application(self, application: str) -> bool:
        """Whether YARN could be told, within ``PATIENCE`` seconds, to end it."""
        yarn = self.path_of("yarn")
        if yarn is None:
            return False
        command = [yarn, "application", "-kill", application]
        try:
            return not subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE).returncode  # noqa: S603  # as above
        except subprocess.TimeoutExpired:
            return False
