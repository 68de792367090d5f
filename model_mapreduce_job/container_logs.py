"""What tasks on a cluster wrote: from the aggregated logs, or from log folders that this machine can read.

Nodes upload the logs of their containers when an application has ended, some seconds later; until then a command that
asks for them finds nothing and is asked again.
"""

import re
import subprocess
import threading
import time
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import NamedTuple

__all__ = ["AttemptLogs", "attempt_logs", "failed_attempt", "stderr_lines"]

_CONTAINER = re.compile(r"^Container: \S+ on (\S+?)_\d+$")
_LOG_TYPE = re.compile(r"^LogType:(\S+)$")
_SPLIT = re.compile(r"Processing split: (.+)$")
_JAVA = re.compile(r"Exception running child : (.*)$")
_DATED = re.compile(r"\d{4}-\d\d-\d\d ")
SECONDS_BETWEEN = 0.5
# Seconds for containers' logs to be aggregated; a cluster that does not do it says nothing else.
LOG_SECONDS = 30
# More than a job has task attempts.
EVENTS = "1000000"
# Lines of Java's stack that are kept, beside each cause.
JAVA_LINES = 30
# What log4j says to standard error of a container where nobody has configured it, and nothing else is there.
_NOISE = ("log4j:", "SLF4J:")


class AttemptLogs(NamedTuple):
    """What is known of a task attempt; ``reason`` says why nothing is, where nothing is."""

    host: str | None
    split: str | None
    stderr: list[str]
    reason: str | None = None
    java: str = ""


def failed_attempt(mapred: str | None, job: str | None, patience: float) -> str | None:
    """The attempt whose failure came last; a client that waits for a job does not hear of those at its very end."""
    if mapred is None or job is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603  # Hadoop's own command
            [mapred, "job", "-events", job, "0", EVENTS], capture_output=True, check=False, timeout=patience
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    failed = re.findall(r"^(?:TIP)?FAILED (attempt_\S+)", done.stdout.decode("utf-8", "replace"), re.MULTILINE)
    return failed[-1] if failed else None


def attempt_logs(
    mapred: str | None, job: str | None, attempt: str, folders: Iterable[Path], patience: float
) -> AttemptLogs:
    """The logs of one attempt, from ``mapred job -logs`` or from folders that hold ``userlogs``."""
    local = _from_folders(attempt, folders)
    if local is not None:
        return local
    if mapred is None or job is None:
        return AttemptLogs(None, None, [], "there is no mapred command to ask")
    deadline = time.monotonic() + patience
    while True:
        told = ""
        try:
            done = subprocess.run(  # noqa: S603  # Hadoop's own command
                [mapred, "job", "-logs", job, attempt], capture_output=True, check=False, timeout=patience
            )
            told = done.stdout.decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            pass
        except OSError as error:
            return AttemptLogs(None, None, [], f"mapred does not start ({error})")
        if "LogType:" in told:
            return _parsed(told.splitlines())
        if time.monotonic() > deadline:
            return AttemptLogs(None, None, [], "the cluster has not aggregated the container's logs")
        time.sleep(SECONDS_BETWEEN)


def stderr_lines(yarn: str | None, application: str, patience: float) -> Generator[str, None, None]:
    """Lines that the containers of an application wrote to standard error, for at most ``patience`` seconds."""
    if yarn is None:
        return
    deadline = time.monotonic() + patience
    found = False
    while not found and time.monotonic() < deadline:
        process = subprocess.Popen(  # noqa: S603  # Hadoop's own command
            [yarn, "logs", "-applicationId", application, "-log_files", "stderr"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        watch = threading.Timer(max(deadline - time.monotonic(), 0), process.kill)
        watch.start()
        try:
            for line in process.stdout:
                found = found or line.startswith(b"LogType:")
                yield line.decode("utf-8", "replace").rstrip("\r\n")
        finally:
            watch.cancel()
            process.kill()
            process.stdout.close()
            process.wait()
        if not found:
            time.sleep(SECONDS_BETWEEN)


def _parsed(lines: Iterable[str]) -> AttemptLogs:
    host = log_type = None
    contents = False
    stderr: list[str] = []
    syslog: list[str] = []
    for line in lines:
        if found := _CONTAINER.match(line):
            host = host or found[1]
        elif found := _LOG_TYPE.match(line):
            log_type, contents = found[1], False
        elif line.startswith("End of LogType:"):
            log_type = None
        elif line == "LogContents:" and not contents:
            contents = True
        elif contents and log_type == "stderr":
            stderr.append(line)
        elif contents and log_type == "syslog":
            syslog.append(line)
    return _known(host, stderr, syslog)


def _known(host: str | None, stderr: list[str], syslog: list[str]) -> AttemptLogs:
    split = next((found[1] for line in syslog if (found := _SPLIT.search(line))), None)
    java: list[str] = []
    for line in syslog:
        if found := _JAVA.search(line):
            java = [f"Error: {found[1]}"]
        elif java and not _DATED.match(line):
            java.append(line)
        elif java:
            break
    causes = [line for line in java[JAVA_LINES:] if line.startswith("Caused by:")]
    return AttemptLogs(host, split, _trimmed(stderr), java="\n".join(java[:JAVA_LINES] + causes))


def _from_folders(attempt: str, folders: Iterable[Path]) -> AttemptLogs | None:
    """A container's own log need not name its attempt; that of the application's master, on whichever node, says which
    it was given."""
    application = "application_" + "_".join(attempt.split("_")[1:3])
    assigned = re.compile(rf"Assigned container (container_\w+) to {attempt}\b")
    containers = [found for folder in folders for found in folder.glob(f"userlogs/{application}/container_*")]
    given = {found[1] for container in containers if (found := assigned.search(_text(container / "syslog")))}
    for container in containers:
        if container.name in given and (container / "stderr").exists():
            return _known(None, _text(container / "stderr").splitlines(), _text(container / "syslog").splitlines())
    return None


def _text(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.exists() else ""


def _trimmed(lines: list[str]) -> list[str]:
    told = [line for line in lines if not line.startswith(_NOISE)]
    while told and not told[-1].strip():
        told.pop()
    while told and not told[0].strip():
        told.pop(0)
    return told
