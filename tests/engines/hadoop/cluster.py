"""The cluster: up, down, status, and what the tests do to single daemons."""

import fcntl
import getpass
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.engines.hadoop import configuration, hidden_python, processes
from tests.engines.hadoop.configuration import HOST, Daemon
from tests.engines.hadoop.installation import (
    JAVA_17,
    QUICK_START,
    HadoopError,
    Installation,
    java_home,
    last_lines,
    write_if_changed,
)
from tests.engines.hadoop.processes import Process

TOP = Path(__file__).resolve().parents[3]
READY_SECONDS = 180
STOP_SECONDS = 20


@dataclass(frozen=True)
class DaemonStatus:
    name: str
    pid: int | None
    alive: bool
    address: str

    def __str__(self) -> str:
        return f"{self.name:<17} {self.pid or '-':>8}  {'alive' if self.alive else 'dead':<5}  {self.address}"


class HadoopCluster:
    """NameNode, two DataNodes, ResourceManager, two NodeManagers and a history server, each a process of its own."""

    def __init__(self, folder: Path = TOP / ".hadoop", base_port: int | None = None) -> None:
        if not sys.platform.startswith("linux"):
            raise HadoopError("the cluster needs Linux: it knows its processes by /proc")
        self.folder = folder
        self.base_port = configuration.base_port() if base_port is None else base_port
        self.installation = Installation(folder / "home")
        self.daemons = configuration.all_daemons(self.base_port)

    # The whole

    def up(self) -> list[str]:
        """Starts what is not running and waits until all can work; the names of what it has started."""
        with self._alone():
            running = [name for name in self.daemons if self._alive(name)]
            if running and not self.installation.has_jars:
                raise HadoopError(f"{', '.join(running)} run with other jars than pom.xml names; stop them first")
            self.installation.install()
            self._configure()
            missing = [name for name in self.daemons if not self._alive(name)]
            if "namenode" in missing:
                self._format_once()
            # The history server gives up on an HDFS that does not answer, the others keep asking.
            first = [name for name in missing if name != "jobhistoryserver"]
            for name in first:
                self._launch(name)
            self._wait_ready(["namenode", "datanode1", "datanode2"], watched=first)
            if missing:
                self._make_folders()
            if "jobhistoryserver" in missing:
                self._launch("jobhistoryserver")
            self.wait_ready()
            return missing

    def down(self) -> list[str]:
        """Stops what is running; the names of what it has stopped."""
        with self._alone():
            running = {name: found for name in reversed(self.daemons) if (found := self._alive(name))}
            # YARN first: it still writes logs to HDFS. Then HDFS.
            storage = {name for name in running if name.startswith(("namenode", "datanode"))}
            for group in (running.keys() - storage, storage):
                for name in group:
                    running[name].kill(signal.SIGTERM)
                end = time.monotonic() + STOP_SECONDS
                for name in group:
                    if not running[name].wait(end - time.monotonic()):
                        running[name].kill(signal.SIGKILL)
                        running[name].wait(5)
            # Containers of a NodeManager that was killed have lost the one who would end them.
            for pid in list(processes.working_below(self.folder / "data")):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for name in self.daemons:
                self._pid_file(name).unlink(missing_ok=True)
            return list(running)

    def status(self) -> list[DaemonStatus]:
        return [self._status(daemon) for daemon in self.daemons.values()]

    def wait_ready(self, names: Iterable[str] | None = None, seconds: float = READY_SECONDS) -> None:
        """Until each of these daemons can do its work, not only runs; one that has died is an error at once."""
        waiting = list(self.daemons if names is None else names)
        self._wait_ready(waiting, waiting, seconds)

    def _wait_ready(self, waiting: Sequence[str], watched: Sequence[str], seconds: float = READY_SECONDS) -> None:
        end = time.monotonic() + seconds
        while waiting := [name for name in waiting if not self._ready(name)]:
            for name in watched:
                if not self._alive(name):
                    raise HadoopError(f"the {name} is not running; the end of its log:\n{self._log_end(name)}")
            if time.monotonic() > end:
                ends = "\n".join(f"{name}:\n{self._log_end(name)}" for name in waiting)
                raise HadoopError(
                    f"not ready after {seconds:.0f} s: {', '.join(waiting)}. The ends of their logs:\n{ends}"
                )
            time.sleep(0.1)

    # For programs that use the cluster

    def environment(self) -> dict[str, str]:
        """The environment of a process that works with the cluster: this process's own and where Hadoop is."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("HADOOP_", "YARN_"))}
        home = self.installation.home
        return own | {
            "HADOOP_HOME": str(home),
            "HADOOP_CONF_DIR": str(self.installation.configuration),
            "JAVA_HOME": str(java_home()),
            "PATH": f"{home / 'bin'}:{os.environ.get('PATH', os.defpath)}",
        }

    def run(self, *command: str, seconds: float = 300, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs one of hadoop, hdfs, yarn and mapred, or whatever else the PATH has."""
        done = subprocess.run(
            command, env=self.environment(), capture_output=True, text=True, timeout=seconds, check=False
        )
        if check and done.returncode != 0:
            raise HadoopError(f"{' '.join(command)} ended with {done.returncode}:\n{last_lines(done.stderr)}")
        return done

    def hdfs(self, *arguments: str, seconds: float = 120) -> str:
        """What `hadoop fs` with these arguments writes to standard output."""
        return self.run("hadoop", "fs", *arguments, seconds=seconds).stdout

    # Single daemons

    def start(
        self,
        name: str,
        *,
        hide_python: bool = False,
        within: Sequence[str] = (),
        settings: Path | None = None,
        wait: bool = True,
    ) -> None:
        """Starts a daemon that is not running; `hide_python` hides this machine's from it and its containers.

        `within` is a command that runs the one after it in a child process, somewhere else than here; `settings` is a
        folder of files to take the place of the daemon's own.
        """
        if self._alive(name):
            raise HadoopError(f"the {name} is running already; kill it first")
        command = self._java(name, settings)
        if hide_python:
            command = hidden_python.wrapped(command, repository=TOP)
        self._launch(name, [*within, *command])
        if within:
            process = processes.known(self._pid_file(name))
            assert process is not None
            processes.remember(processes.only_child(process), self._pid_file(name))
        if wait:
            self.wait_ready([name])

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL, *, containers: bool = False) -> None:
        """Sends a signal, and waits for the end if it ends; `containers` go too, as if a machine was lost."""
        process = self._alive(name)
        if process is None:
            raise HadoopError(f"the {name} is not running")
        process.kill(number)
        if number in (signal.SIGKILL, signal.SIGTERM) and not process.wait(STOP_SECONDS):
            raise HadoopError(f"the {name} has not ended {STOP_SECONDS} s after {number.name}")
        if containers:
            for pid in self.containers(name):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    def containers(self, name: str) -> list[int]:
        """The ids of the processes in a NodeManager's containers."""
        return list(processes.working_below(self.folder / "data" / name))

    def pid(self, name: str) -> int:
        process = self._alive(name)
        if process is None:
            raise HadoopError(f"the {name} is not running")
        return process.pid

    def inside(self, name: str, command: Sequence[str]) -> list[str]:
        """The command that runs this one in the mount namespace of a daemon."""
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", "--target", str(self.pid(name)), "--mount", *user, "--", *command]

    # What these need

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two that start or stop the same cluster at once would do things twice."""
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _configure(self) -> None:
        files = configuration.files(self.installation, self.folder, self.base_port)
        changed = [path for path, text in files.items() if not path.exists() or path.read_text("utf-8") != text]
        running = [name for name in self.daemons if self._alive(name)]
        if changed and running:
            raise HadoopError(
                f"{', '.join(running)} run with another {changed[0].name} than this start would write; stop them first"
            )
        for path, text in files.items():
            write_if_changed(path, text)
        for name in ("logs", "pids", "data", "tmp"):
            (self.folder / name).mkdir(exist_ok=True)

    def _format_once(self) -> None:
        if (self.folder / "data/namenode/current/VERSION").exists():
            return
        # Blocks of an earlier file system would be refused.
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        (self.folder / "data").mkdir()
        done = subprocess.run(
            [*self._java("namenode"), "-format", "-nonInteractive"],
            env=self._daemon_environment(),
            capture_output=True,
            text=True,
            timeout=READY_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise HadoopError(f"the file system could not be formatted:\n{last_lines(done.stderr)}")

    def _launch(self, name: str, command: Sequence[str] | None = None) -> None:
        command = command or self._java(name)
        processes.launch(command, self._daemon_environment(), self._log(name), self._pid_file(name))

    def _java(self, name: str, settings: Path | None = None) -> list[str]:
        place = settings or self.folder / "conf" / name
        if not place.exists():
            place = self.installation.configuration
        class_path = self.installation.class_path(place)
        options = [*JAVA_17, *QUICK_START, "-Xmx512m", *self.installation.loopback_only, "-XX:+ExitOnOutOfMemoryError"]
        options += ["-Djava.net.preferIPv4Stack=true", f"-Djava.io.tmpdir={self.folder / 'tmp'}"]
        return [str(java_home() / "bin/java"), *options, "-cp", class_path, self.daemons[name].main_class]

    def _daemon_environment(self) -> dict[str, str]:
        """That of a service, not of its starter: containers inherit it, and must not find the tests' own Python."""
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(Path.home()),
            "USER": getpass.getuser(),
            "HADOOP_USER_NAME": getpass.getuser(),
            "JAVA_HOME": str(java_home()),
            "HADOOP_HOME": str(self.installation.home),
            "HADOOP_CONF_DIR": str(self.installation.configuration),
            # glibc keeps memory for each thread; a daemon has hundreds.
            "MALLOC_ARENA_MAX": "4",
        }

    def _make_folders(self) -> None:
        """What an administrator makes: the home of the user and folders for all. By HTTP, which needs no JVM."""
        user = getpass.getuser()
        for folder, permission in ((f"/user/{user}", "755"), ("/tmp", "1777"), ("/app-logs", "1777")):  # noqa: S108
            port = self.daemons["namenode"].http_port
            answer = ask(port, f"/webhdfs/v1{folder}?op=MKDIRS&permission={permission}&user.name={user}", "PUT")
            if answer != {"boolean": True}:
                raise HadoopError(f"{folder} could not be made in HDFS: {answer}")

    def _ready(self, name: str) -> bool:
        process = self._alive(name)
        with suppress(OSError, http.client.HTTPException, ValueError, KeyError):  # of one that is still starting
            return process is not None and self._works(self.daemons[name], process)
        return False

    def _works(self, daemon: Daemon, process: Process) -> bool:
        match daemon.name.rstrip("12"):
            case "namenode":
                bean = jmx(daemon.http_port, "Hadoop:service=NameNode,name=FSNamesystemState")
                return bool(bean["FSState"] == "Operational")
            case "datanode":
                bean = jmx(daemon.http_port, "Hadoop:service=DataNode,name=DataNodeInfo")
                actors = json.loads(bean["BPServiceActorInfo"])
                nodes = jmx(self.daemons["namenode"].http_port, "Hadoop:service=NameNode,name=NameNodeInfo")
                registered = {node["xferaddr"] for node in json.loads(nodes["LiveNodes"]).values()}
                return daemon.address in registered and all(actor["ActorState"] == "RUNNING" for actor in actors)
            case "resourcemanager":
                return bool(ask(daemon.http_port, "/ws/v1/cluster/info")["clusterInfo"]["state"] == "STARTED")
            case "nodemanager":
                return self._registered(daemon, process)
            case _:
                return "historyInfo" in ask(daemon.http_port, "/ws/v1/history/info")

    def _registered(self, node: Daemon, process: Process) -> bool:
        found = ask(self.daemons["resourcemanager"].http_port, "/ws/v1/cluster/nodes")["nodes"] or {}
        return any(
            # What was heard before its start was said by its predecessor.
            each["id"].endswith(f":{node.port}")
            and each["state"] == "RUNNING"
            and each["lastHealthUpdate"] / 1000 > process.since
            for each in found.get("node", [])
        )

    def _status(self, daemon: Daemon) -> DaemonStatus:
        process = self._alive(daemon.name)
        return DaemonStatus(daemon.name, process.pid if process else None, process is not None, daemon.address)

    def _alive(self, name: str) -> Process | None:
        if name not in self.daemons:
            raise HadoopError(f"there is no {name}, only {', '.join(self.daemons)}")
        process = processes.known(self._pid_file(name))
        return process if process and process.alive else None

    def _pid_file(self, name: str) -> Path:
        return self.folder / "pids" / f"{name}.json"

    def _log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def _log_end(self, name: str) -> str:
        path = self._log(name)
        return last_lines(path.read_text(encoding="utf-8", errors="replace")) if path.exists() else "(it has none)"


def ask(port: int, path: str, method: str = "GET") -> Any:
    """The JSON that a daemon answers with; never through a proxy."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request(method, path, headers={"Accept": "application/json"})
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def jmx(port: int, name: str) -> dict[str, Any]:
    beans: list[dict[str, Any]] = ask(port, f"/jmx?qry={name}")["beans"]
    return beans[0] if beans else {}
