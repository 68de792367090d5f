"""The nodes of a cluster: places where commands run that see only what a node has.

A node is a mount and process namespace: an overlay of this machine's root on memory of its own, with this machine's
Python, packages, homes and caches hidden and the image (image.py) laid over it. All of it, processes and mounts, ends
with the node's first process, and that with the one who started it.
"""

import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tests.engines.emr import image
from tests.engines.emr.settings import AwsError, Place
from tests.engines.hadoop import configuration, hidden_python
from tests.engines.hadoop.cluster import TOP
from tests.engines.hadoop.installation import java_home, write_if_changed
from tests.engines.hadoop.processes import Process, only_child, start_ticks

# Of the root folder, what is the system's. Everything else (homes, caches, repositories) a node has empty.
SYSTEM = ("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "sys", "usr", "var")
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
        command += ["--propagation", "private", "sh", "-c", "\n".join(_root(place, self.folder))]
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

    def make_folder(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        shutil.chown(path, *(image.USERS["hadoop"][:1] * 2))

    def start_worker(self, name: str) -> None:
        place = _worker_settings(self.place, name, self.folder, Path("/mnt"))
        self.place.hadoop.start(name, within=self._enter("yarn"), settings=place, wait=False)

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
    folder = place.nodes / instance
    for name in ("root", "layers", "conf", *(f"mnt/{each}" for names in FOLDERS.values() for each in names)):
        (folder / name).mkdir(parents=True)
    return folder


def _environment(user: str) -> dict[str, str]:
    home = image.USERS[user][1]
    return {"PATH": image.PATH, "HOME": home, "USER": user, "LOGNAME": user, "LANG": "C.UTF-8"}


def _worker_settings(place: Place, name: str, folder: Path, mnt: Path) -> Path:
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
    }
    for each in (hadoop.folder / "conf" / name).iterdir():
        shutil.copy(each, folder / "conf")
    write_if_changed(folder / "conf/yarn-site.xml", configuration.xml(settings))
    return folder / "conf"


# --- the root of a node


def _root(place: Place, folder: Path) -> Iterator[str]:
    """The shell script of a node's first process."""
    quoted = shlex.quote
    yield "set -eu"
    yield f"cd {quoted(str(folder))}"
    yield "mount -t tmpfs -o mode=755 none layers"
    yield "mkdir layers/upper layers/work"
    yield f"layers={quoted(str(folder / 'layers'))}"
    yield 'mount -t overlay overlay -o "lowerdir=/,upperdir=$layers/upper,workdir=$layers/work" root'
    yield "cd root"
    yield "for each in *; do"
    yield f'    case "$each" in {"|".join(SYSTEM)}) continue ;; esac'
    yield '    if [ -d "$each" ] && [ ! -L "$each" ]; then mount -t tmpfs -o mode=755 none "$each"; fi'
    yield "done"
    yield "mkdir -p mnt home tmp run root .outside; chmod 1777 tmp; chmod 700 root"
    yield "mount -t proc proc proc; mount --rbind /dev dev; mount -t tmpfs none dev/shm; mount --rbind /sys sys"
    for path in sorted(hidden_python.pythons(TOP)):
        here = quoted(f".{path}")
        yield f"if [ -d {here} ]; then mount -t tmpfs -o mode=755 none {here}; else rm -f {here}; fi"
    for program_folder in hidden_python.PROGRAM_FOLDERS:
        yield f"rm -f .{program_folder}/python[0-9]* .{program_folder}/python .{program_folder}/pip*"
    yield f"cp -a --remove-destination {quoted(str(place.image))}/. ."
    yield from _shown(place, folder)
    yield "pivot_root . .outside"
    yield "exec chroot . /bin/sh -c 'umount -l /.outside && rmdir /.outside && echo ready && exec >/dev/null 2>&1"
    yield "while :; do sleep 3600 & wait $!; done'"


def _shown(place: Place, folder: Path) -> Iterator[str]:
    hadoop = place.hadoop
    seen = [hadoop.installation.home, hadoop.folder / "conf", folder / "conf", java_home()]
    for source, target, mode in (
        (folder / "mnt", "mnt", "rw"),
        (image.awscli_packages(), image.PACKAGES, "ro"),
        *((path, str(path).lstrip("/"), "ro") for path in seen),
    ):
        here = shlex.quote(target)
        yield f"mkdir -p {here}; mount --bind {shlex.quote(str(source))} {here}"
        if mode == "ro":
            yield f"mount -o remount,bind,ro {here}"
    temporary = shlex.quote(str(hadoop.folder / "tmp").lstrip("/"))
    yield f"mkdir -p {temporary}/s3a; chmod 1777 {temporary} {temporary}/s3a"
