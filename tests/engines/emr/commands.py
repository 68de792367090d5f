"""Commands of bootstraps and steps: run in a node, logged as EMR logs them, killed with all that they have started."""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.engines.emr.nodes import Node


class InterruptedLifeError(Exception):
    """The cluster has been asked to end."""


@dataclass
class Commands:
    """The commands that run on a cluster's nodes."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _running: dict[subprocess.Popen[bytes], str | None] = field(default_factory=dict)
    _ended: bool = False

    def run(
        self,
        node: Node,
        command: Sequence[str],
        *,
        logs: Path,
        folder: str,
        step: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> int:
        """Runs a command in a folder of the node; its exit code, or the negative number of the signal that ended it."""
        node.make_folder(logs)
        controller = logs / "controller"
        controller.write_text(f"{now()} INFO Executing: {' '.join(command)}\n")
        inside = ["/bin/sh", "-c", 'mkdir -p "$0" && cd "$0" && exec "$@"', node.named(folder), *command]
        with (logs / "stdout").open("wb") as out, (logs / "stderr").open("wb") as err:
            with self._lock:
                if self._ended:
                    raise InterruptedLifeError
                process = subprocess.Popen(
                    node.command(*inside, environment=environment),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                )
                self._running[process] = step
            code = process.wait()
            with self._lock:
                del self._running[process]
        with controller.open("a") as log:
            log.write(f"{now()} {'INFO' if code == 0 else 'ERROR'} Execution ended with ret val {code}\n")
        return code

    def kill(self, step: str) -> None:
        """Kills the processes of a step."""
        with self._lock:
            self._kill([process for process, each in self._running.items() if each == step])

    def end(self) -> None:
        """Kills all that runs; nothing runs any more."""
        with self._lock:
            self._ended = True
            self._kill(list(self._running))

    def _kill(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
