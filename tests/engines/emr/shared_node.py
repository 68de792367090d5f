"""One node for all, for machines that refuse namespaces: this machine itself, with a PATH and a home of its own.

What a bootstrap does by absolute paths it does to this machine, as far as the user may; `python3.11` and `pip3.11` on
the PATH are those of a virtual environment that goes with the node.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.engines.emr import image
from tests.engines.emr.nodes import FOLDERS, worker_settings
from tests.engines.emr.settings import Place

MARK = "STAND_IN_NODE"
PROGRAMS = ("hadoop", "hdfs", "yarn", "mapred", "hadoop-streaming", "dnf", "yum")
SUDO = """\
#!/bin/sh
# Stand-in for sudo on a shared node: who may not be another runs the command as it is.
while [ $# -gt 0 ]; do case "$1" in -u) shift 2 ;; -*) shift ;; *) break ;; esac; done
exec "$@"
"""


class SharedNode:
    """Has what the namespaces of `OwnNode` have, as far as variables can give it."""

    def __init__(self, place: Place, instance: str) -> None:
        self.place = place
        self.instance = instance
        self.folder = place.nodes / instance
        for names in FOLDERS.values():
            for name in names:
                (self.folder / "mnt" / name).mkdir(parents=True)
        for name in ("home", "conf"):
            (self.folder / name).mkdir()
        command = [sys.executable, "-m", "venv", str(self.folder / "python")]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        self._lay_programs()

    def command(self, *command: str, user: str = "hadoop", environment: Mapping[str, str] | None = None) -> list[str]:
        variables = self._environment() | {"USER": user} | dict(environment or {})
        return ["env", "-i", *(f"{name}={value}" for name, value in variables.items()), *command]

    def inside(self, path: Path) -> str:
        return str(path)

    def named(self, path: str) -> str:
        return f"{self.folder}{path}"

    def put(self, path: str, content: bytes) -> None:
        target = Path(self.named(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(0o755)

    def make_folder(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)

    def start_worker(self, name: str) -> None:
        settings = worker_settings(self.place, name, self.folder, self.named("/mnt"))
        within = ["env", *(f"{key}={value}" for key, value in self._environment().items() if key != "HOME")]
        # In a child, as `within` promises: a shell that has something left to do does not become its command.
        within += ["/bin/sh", "-c", '"$@"; exit $?', "sh"]
        self.place.hadoop.start(name, within=within, settings=settings, wait=False)

    def end(self) -> None:
        end = time.monotonic() + 20
        while (living := self._processes()) and time.monotonic() < end:
            for pid in living:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        shutil.rmtree(self.folder)

    def _environment(self) -> dict[str, str]:
        path = f"{self.folder / 'bin'}:{self.folder / 'python/bin'}:{image.PATH}"
        return {
            MARK: str(self.folder),
            "PATH": path,
            "HOME": str(self.folder / "home"),
            "LANG": "C.UTF-8",
            "PIP_CONFIG_FILE": str(self.place.image / "etc/pip.conf"),
        }

    def _processes(self) -> list[int]:
        """All that were started in the node: they have its mark in their environment."""
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdecimal() and f"{MARK}={self.folder}\0".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return found

    def _lay_programs(self) -> None:
        programs = {name: (self.place.image / "usr/bin" / name).read_text() for name in PROGRAMS}
        aws = (self.place.image / "usr/bin/aws").read_text()
        programs["aws"] = aws.replace(f"/usr/bin/{image.PYTHON}", shlex.quote(sys.executable)).replace(
            "PYTHONPATH", "_"
        )
        programs["sudo"] = SUDO
        self.put(image.STEP_LOG4J, image.LOG4J.encode())
        folder = self.folder / "bin"
        folder.mkdir()
        for name, text in programs.items():
            (folder / name).write_text(text.replace("/mnt/", f"{self.folder}/mnt/"))
            (folder / name).chmod(0o755)


def shared_nodes(place: Place, instances: Sequence[str]) -> list[SharedNode]:
    """One, which stands for all of them."""
    return [SharedNode(place, instances[0])]
