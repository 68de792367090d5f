"""The Hadoop cluster itself: what the other tests of this folder rely on."""

import getpass
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.engines.hadoop import hidden_python
from tests.engines.hadoop.cluster import TOP, HadoopCluster
from tests.engines.hadoop.installation import HadoopError, Installation, last_lines
from tests.engines.hadoop.processes import Process, start_ticks


@pytest.fixture
def folder(cluster: HadoopCluster) -> Iterator[str]:
    path = f"/user/{getpass.getuser()}/test-cluster-{uuid4().hex}"
    cluster.hdfs("-mkdir", "-p", path)
    yield path
    cluster.hdfs("-rm", "-r", "-skipTrash", path)


def test_up_starts_nothing_twice(cluster: HadoopCluster) -> None:
    before = cluster.status()
    assert cluster.up() == []
    assert cluster.status() == before


def test_status_names_each_daemon(cluster: HadoopCluster) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.engines.hadoop", "status"],
        cwd=TOP,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(cluster.daemons)
    for line, daemon in zip(lines, cluster.status(), strict=True):
        assert line.split()[1:] == [str(daemon.pid), "alive", daemon.address]


def test_a_cluster_that_is_down(tmp_path: Path) -> None:
    cluster = HadoopCluster(tmp_path / "hadoop")
    assert not any(daemon.alive for daemon in cluster.status())
    assert cluster.down() == []
    assert cluster.down() == []
    with pytest.raises(HadoopError, match="the namenode is not running"):
        cluster.kill("namenode")


def test_a_process_is_known_by_its_start_too() -> None:
    ticks = start_ticks(os.getpid())
    assert ticks is not None
    assert Process(os.getpid(), ticks, time.time()).alive
    assert not Process(os.getpid(), ticks - 1, time.time()).alive
    Process(os.getpid(), ticks - 1, time.time()).kill(signal.SIGKILL)  # and none is sent to another


@pytest.mark.parametrize(("program", "message"), [("java", "Java is missing"), ("mvn", "Maven is missing")])
def test_a_missing_program_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, message: str
) -> None:
    (tmp_path / "bin").mkdir()
    if program == "mvn":
        (tmp_path / "bin/java").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(HadoopError, match=message):
        Installation(tmp_path / "home").install()
    assert not (tmp_path / "home").exists()


def test_a_file_lies_on_both_datanodes(cluster: HadoopCluster, folder: str, tmp_path: Path) -> None:
    content = "".join(f"line {number}\n" for number in range(1000))
    (tmp_path / "numbers.txt").write_text(content)
    cluster.hdfs("-D", "dfs.blocksize=4096", "-put", str(tmp_path / "numbers.txt"), folder)
    assert cluster.hdfs("-cat", f"{folder}/numbers.txt") == content
    report = cluster.run("hdfs", "fsck", f"{folder}/numbers.txt", "-files", "-blocks", "-locations").stdout
    for node in ("datanode1", "datanode2"):
        assert report.count(cluster.daemons[node].address) >= 2, report  # one of each of its blocks
    assert "Average block replication:\t2.0" in report


def streaming(cluster: HadoopCluster, folder: str, mapper: str) -> subprocess.CompletedProcess[str]:
    jar = str(cluster.installation.streaming_jar)
    command = ["hadoop", "jar", jar, "-D", "mapreduce.job.reduces=0", "-D", "mapreduce.job.maps=1"]
    command += ["-input", f"{folder}/input", "-output", f"{folder}/output", "-mapper", mapper]
    return cluster.run(*command)


def test_a_streaming_job_and_its_logs(cluster: HadoopCluster, folder: str, tmp_path: Path) -> None:
    (tmp_path / "input").write_text("one\ttwo\nthree\tfour\n")
    cluster.hdfs("-put", str(tmp_path / "input"), f"{folder}/input")
    mark = uuid4().hex
    done = streaming(cluster, folder, f"/bin/sh -c 'echo {mark} >&2; cat'")
    assert cluster.hdfs("-cat", f"{folder}/output/part-*") == "one\ttwo\nthree\tfour\n"
    job = re.search(r"Running job: job_(\d+_\d+)", done.stderr)
    assert job, done.stderr
    logs = "none"
    end = time.monotonic() + 60
    while mark not in logs and time.monotonic() < end:  # they are uploaded when the application master has left
        logs = cluster.run("yarn", "logs", "-applicationId", f"application_{job[1]}", check=False).stdout
    assert mark in logs


def test_nothing_listens_for_others(cluster: HadoopCluster) -> None:
    pids = {str(daemon.pid) for daemon in cluster.status()}
    found = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, timeout=30, check=True).stdout
    sockets = [line.split() for line in found.splitlines() if set(re.findall(r"pid=(\d+)", line)) & pids]
    assert len(sockets) >= 25
    assert {address.rpartition(":")[0] for _, _, _, address, *_ in sockets} == {"127.0.0.1"}


@pytest.mark.disruptive
def test_a_daemon_that_was_lost_comes_back(cluster: HadoopCluster) -> None:
    others = [daemon for daemon in cluster.status() if daemon.name != "datanode2"]
    cluster.kill("datanode2")
    try:
        assert [daemon.name for daemon in cluster.status() if not daemon.alive] == ["datanode2"]
        with pytest.raises(HadoopError, match="the datanode2 is not running; the end of its log:") as caught:
            cluster.wait_ready()
        assert last_lines((cluster.folder / "logs/datanode2.log").read_text("utf-8")) in str(caught.value)
    finally:
        started = cluster.up()
    assert started == ["datanode2"]
    assert [daemon for daemon in cluster.status() if daemon.name != "datanode2"] == others


@pytest.mark.disruptive
def test_a_node_without_python(cluster: HadoopCluster) -> None:
    look = 'for each in "$@"; do "$each" -c "print(1)" && echo "$each runs"; done; exit 0'
    programs = [str(each) for each in hidden_python.programs()]
    assert str(Path(sys.executable).resolve()) in {str(Path(each).resolve()) for each in programs}
    cluster.kill("nodemanager1", signal.SIGTERM)
    try:
        cluster.start("nodemanager1", hide_python=True)
        command = ["sh", "-c", look, "sh", "python3", "python", sys.executable, *programs]
        inside = subprocess.run(
            cluster.inside("nodemanager1", command), capture_output=True, text=True, timeout=60, check=True
        )
        assert inside.stdout == ""
        assert cluster.hdfs("-ls", "/")
        # Here, outside, nothing has changed.
        subprocess.run([sys.executable, "-c", ""], timeout=60, check=True)
    finally:
        cluster.kill("nodemanager1", signal.SIGTERM)
        cluster.start("nodemanager1")


def test_a_refused_namespace_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuses = tmp_path / "unshare"
    refuses.write_text("#!/bin/sh\necho 'Operation not permitted' >&2\nexit 1\n")
    refuses.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(HadoopError, match=r"hiding Python needs a mount namespace .* refused: Operation not permitted"):
        hidden_python.wrapped(["true"], TOP)
