"""The nodes of a cluster: places where commands run that see only what a node has.

A node is a mount and process namespace: an overlay of this machine's root on memory of its own, with this machine's
Python, packages, homes and caches hidden and the image (image.py) laid over it. All of it, processes and mounts, ends
with the node's first process, and that with the one who started it.
"""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tests.engines.emr import image
from tests.engines.emr.node_root import root_script
from tests.engines.emr.settings import AwsError, Place
from tests.engines.hadoop import configuration
from tests.engines.hadoop.installation import write_if_changed
from tests.engines.hadoop.processes import Process, only_child, start_ticks

FOLDERS = {
    "hadoop": ("var/lib/hadoop/steps", "var/log/hadoop/steps", "var/log/bootstrap-actions"),
    "yarn": ("yarn", "var/log/hadoop-yarn/containers"),
}


class Node(Protocol):
    """A machine of a cluster, as far as the life of a cluster needs it."""

    instance: str
    folder: Path  # of this machine; mnt/ in it is the node's /mnt

    def command(self, *command: str, user: str = "hadoop", environment: Mapping[str, str] | None = None) -> list[str]:
        """The command that runs this one in the node, with a node's environment."""

    def inside(self, path: Path) -> str:
        """What a path below the folder is called in the node."""

    def named(self, path: str) -> str:
        """What commands in the node have to call a path that every node has."""

    def put(self, path: str, content: bytes) -> None:
        """Writes a program of the node's user hadoop, into a folder of its own."""

    def make_folder(self, path: Path) -> None:
        """Makes a folder of the node's user hadoop, unless it is there."""

    def start_worker(self, name: str) -> None:
        """Starts a NodeManager in the node."""

    def end(self) -> None:
        """Ends all of it, at once."""


class OwnNode:
    """A node with a file system and processes of its own."""

    def __init__(self, place: Place, instance: str) -> None:
        self.place = place
        self.instance = instance
        self.folder = _make_folder(place, instance)
        for user, names in FOLDERS.items():
            for name in names:
                shutil.chown(self.folder / "mnt" / name, *(image.USERS[user][:1] * 2))
        # The first process dies with the thread that has started it, should nobody end it before.
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]
        command += ["--propagation", "private", "sh", "-c", "\n".join(root_script(place, self.folder))]
        self._holder = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        self._first: Process | None = None

    def wait_ready(self) -> None:
        """Returns when commands can run in the node."""
        assert self._holder.stdout is not None
        assert self._holder.stderr is not None
        if self._holder.stdout.readline() != b"ready\n":
            told = self._holder.stderr.read().decode(errors="replace").strip()
            self.end()
            raise AwsError(f"a node of its own could not be made: {told}")
        self._holder.stdout.close()
        self._holder.stderr.close()
        pid = self._holder.pid
        self._first = only_child(Process(pid, start_ticks(pid) or -1, 0))

    @property
    def pid(self) -> int:
        if self._first is None or not self._first.alive:
            raise AwsError(f"node {self.instance} has ended")
        return self._first.pid

    def command(self, *command: str, user: str = "hadoop", environment: Mapping[str, str] | None = None) -> list[str]:
        variables = [f"{name}={value}" for name, value in (_environment(user) | dict(environment or {})).items()]
        return [*self._enter(user), "env", "-i", *variables, *command]

    def inside(self, path: Path) -> str:
        return f"/{path.relative_to(self.folder)}"

    def named(self, path: str) -> str:
        return path

    def put(self, path: str, content: bytes) -> None:
        script = 'folder=$(dirname "$0"); mkdir -p "$folder" && cat > "$0" && chmod 755 "$0" && '
        script += 'chown -R hadoop:hadoop "$folder"'
        command = self.command("/bin/sh", "-c", script, path, user="root")
        subprocess.run(command, input=content, check=True, timeout=60, capture_output=True)

    def make_folder(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        shutil.chown(path, *(image.USERS["hadoop"][:1] * 2))

    def start_worker(self, name: str) -> None:
        settings = worker_settings(self.place, name, self.folder, "/mnt")
        self.place.hadoop.start(name, within=self._enter("yarn"), settings=settings, wait=False)

    def end(self) -> None:
        if self._holder.poll() is None:
            self._holder.kill()
        self._holder.wait(10)
        if self._first is not None and not self._first.wait(10):
            raise AwsError(f"node {self.instance} has not ended")
        shutil.rmtree(self.folder)

    def _enter(self, user: str) -> list[str]:
        enter = ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--"]
        return [*enter, "setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--"]


def own_nodes(place: Place, instances: Sequence[str]) -> list[OwnNode]:
    """Nodes for these instances, made side by side; all of them or none."""
    nodes: list[OwnNode] = []
    try:
        for instance in instances:
            nodes.append(OwnNode(place, instance))  # noqa: PERF401 - those made before one that fails have to end
        for node in nodes:
            node.wait_ready()
    except BaseException:
        for node in nodes:
            node.end()
        raise
    return nodes


def _make_folder(place: Place, instance: str) -> Path:
    folder: Path = place.nodes / instance
    for name in ("root", "layers", "conf", *(f"mnt/{each}" for names in FOLDERS.values() for each in names)):
        (folder / name).mkdir(parents=True)
    return folder


def _environment(user: str) -> dict[str, str]:
    home = image.USERS[user][1]
    return {"PATH": image.PATH, "HOME": home, "USER": user, "LOGNAME": user, "LANG": "C.UTF-8"}


def worker_settings(place: Place, name: str, folder: Path, mnt: str) -> Path:
    """The configuration of a NodeManager in a node, which keeps the logs of containers there, as EMR's do."""
    hadoop = place.hadoop
    number = int(name.removeprefix("nodemanager"))
    settings = configuration.yarn_site(hadoop.installation, hadoop.base_port)
    settings |= configuration.nodemanager(hadoop.folder, hadoop.base_port, number)
    settings |= {
        "yarn.nodemanager.local-dirs": f"{mnt}/yarn",
        "yarn.nodemanager.log-dirs": f"{mnt}/var/log/hadoop-yarn/containers",
        "yarn.log-aggregation-enable": "false",
        "yarn.nodemanager.log.retain-seconds": 86400,
        "yarn.nodemanager.delete.debug-delay-sec": 0,
    }
    for each in (hadoop.folder / "conf" / name).iterdir():
        shutil.copy(each, folder / "conf")
    write_if_changed(folder / "conf/yarn-site.xml", configuration.xml(settings))
    return folder / "conf"
