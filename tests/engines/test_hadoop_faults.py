"""Faults that strike in the middle of a split: no record is lost or doubled, and the user is told what happened.

Each fault leaves a mark when it strikes, so that no test passes because nothing has happened; each output is looked at
record by record.
"""

import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.engines.hadoop.cluster import HadoopCluster
from tests.engines.hadoop_jobs import (
    FAULT_SETTINGS,
    FAULTS,
    RUN,
    assert_each_once,
    finish,
    names,
    numbered,
    output_lines,
    put,
    start_job,
    wait_for,
)
from tests.model_mapreduce_job_tests.jobs import IRIS

# What fails in every attempt takes no longer to show it.
ONCE = ("-D", "mapreduce.map.maxattempts=1")
AGGREGATION = "<name>yarn.log-aggregation-enable</name><value>{}</value>"
RECORDS = 20_000
STRUCK = 12_000


class FaultyJob:
    """A job over numbered records, one of which brings the fault."""

    def __init__(self, cluster: HadoopCluster, folder: Path, name: str) -> None:
        self.cluster = cluster
        self.mark = folder / "mark"
        self.source = f"{RUN}/in/{name}"
        self.output = f"{RUN}/out/{name}"

    def start(self, fault: dict[str, Any], *arguments: object, records: int = RECORDS, struck: int = STRUCK) -> None:
        self.records = records
        content = numbered(records, {struck: {**fault, "mark": str(self.mark)}})
        put(self.cluster, f"{self.source}/part-0", content)
        self._start(*arguments)

    def _start(self, *arguments: object) -> None:
        self.job = start_job(
            self.cluster,
            *(*FAULTS, "--batch_size", "500", f"hdfs://{self.source}", "--output-dir", f"hdfs://{self.output}"),
            *arguments,
            environment=FAULT_SETTINGS,
        )

    def finish(self, code: int = 0) -> str:
        ran = finish(self.job)
        told = ran.stderr.decode()
        assert self.mark.exists(), f"nothing was struck:\n{told}"
        assert ran.returncode == code, told
        return told

    def succeed(self, failed: tuple[int, ...] = ()) -> str:
        told = self.finish()
        assert_each_once(output_lines(self.cluster, self.output).elements(), self.records, failed)
        assert "_SUCCESS" in names(self.cluster, self.output)
        return told


@pytest.fixture
def faulty(cluster: HadoopCluster, tmp_path: Path, request: pytest.FixtureRequest) -> FaultyJob:
    return FaultyJob(cluster, tmp_path, request.node.name)


def test_python_of_a_task_killed(faulty: FaultyJob) -> None:
    faulty.start({"do": "wait", "seconds": 200})
    os.kill(wait_for(faulty.mark)["pid"], signal.SIGKILL)
    told = faulty.succeed()
    assert re.search(r"attempt_\S+_m_000000_0 failed", told)


@pytest.mark.disruptive
def test_node_manager_killed(faulty: FaultyJob) -> None:
    faulty.start({"do": "wait", "seconds": 200})
    met = wait_for(faulty.mark)
    [name] = re.findall(r"nodemanager\d", met["container"])
    faulty.cluster.kill(name, containers=True)
    try:
        faulty.succeed()
    finally:
        faulty.cluster.start(name)
    assert wait_for(faulty.mark)["attempt"] == met["attempt"]


@pytest.mark.disruptive
def test_data_node_killed(faulty: FaultyJob) -> None:
    # So many that the task has most of its input still to read and most of its output still to write.
    faulty.start({"do": "wait", "seconds": 5}, records=600_000, struck=100_000)
    wait_for(faulty.mark)
    faulty.cluster.kill("datanode1")
    try:
        faulty.succeed()
    finally:
        faulty.cluster.start("datanode1")


@pytest.mark.disruptive  # it needs room for a second attempt
def test_slow_task_is_overtaken_by_a_second_attempt(faulty: FaultyJob) -> None:
    for number in range(1, 4):
        put(faulty.cluster, f"{faulty.source}/part-{number}", b"")
    # So many that much is still to be read: a task with all its input in the pipe counts as nearly done, not as slow.
    faulty.start(
        {"do": "wait", "seconds": 1000},
        *("-D", "mapreduce.map.speculative=true"),
        *("-D", "mapreduce.job.speculative.slowtaskthreshold=0.1"),
        records=600_000,
    )
    told = faulty.succeed()
    assert wait_for(faulty.mark)["attempt"].endswith("_0")
    assert " failed" not in told.replace("0 failed", ""), "the slow attempt was ended, it has not failed"


def test_task_out_of_memory(faulty: FaultyJob) -> None:
    faulty.start({"do": "grow"})
    told = faulty.succeed()
    assert re.search(r"attempt_\S+_m_000000_0 failed", told)


def test_slow_batch_is_not_ended_as_idle(faulty: FaultyJob) -> None:
    faulty.start({"do": "wait", "seconds": 25, "always": True}, "-D", "mapreduce.task.timeout=10000")
    told = faulty.succeed()
    assert not re.search(r"attempt_\S+ failed", told)


def test_record_that_hangs(faulty: FaultyJob) -> None:
    faulty.start({"do": "wait", "seconds": 3600, "always": True}, "--record_timeout", "2")
    told = faulty.succeed(failed=(STRUCK,))
    assert not re.search(r"attempt_\S+ failed", told)
    assert "longer than 2" in told


def test_record_that_crashes_the_interpreter_isolated(faulty: FaultyJob) -> None:
    faulty.start({"do": "crash", "always": True}, "--isolate")
    told = faulty.succeed(failed=(STRUCK,))
    assert not re.search(r"attempt_\S+ failed", told)
    assert "SIGSEGV" in told


def test_record_that_crashes_the_interpreter_is_named(faulty: FaultyJob) -> None:
    faulty.start({"do": "crash", "always": True}, "-D", "mapreduce.map.maxattempts=2")
    told = faulty.finish(code=4)
    assert "SIGSEGV" in told
    assert f'"n": {STRUCK}' in told
    assert f"{faulty.source}/part-0" in told
    assert names(faulty.cluster, faulty.output) <= {"_FAILED"}


def test_traceback_comes_first_and_java_after(cluster: HadoopCluster) -> None:
    job = start_job(
        cluster,
        *("--no-conf", "--python-bin", "/usr/bin/python3", *IRIS, "data/input.ldjson", *ONCE),
        *("--output-dir", f"hdfs://{RUN}/out/no_environment"),
    )
    ran = finish(job)
    told = ran.stderr.decode()
    assert ran.returncode == 1, told
    report = told[told.index("TaskFailedError") :]
    assert re.match(r"TaskFailedError: attempt_\S+ failed on \S+, exit code 1, reading data/input\.ldjson:0\+", report)
    assert re.search(r"ModuleNotFoundError: No module named '\w+'", report)
    assert report.index("ModuleNotFoundError") < report.index("Java's side") < report.index("PipeMapRed")
    assert "PipeMapRed" not in told[: told.index("TaskFailedError")]
    assert names(cluster, f"{RUN}/out/no_environment") <= {"_FAILED"}


@pytest.mark.disruptive
def test_logs_are_read_from_folders_where_the_cluster_does_not_aggregate_them(
    cluster: HadoopCluster, tmp_path: Path
) -> None:
    nodes = ("nodemanager1", "nodemanager2")
    try:
        for node in nodes:
            settings = tmp_path / f"conf-{node}"
            shutil.copytree(cluster.folder / "conf" / node, settings)
            text = (settings / "yarn-site.xml").read_text()
            text = text.replace(AGGREGATION.format("true"), AGGREGATION.format("false"))
            text = text.replace(f"{cluster.folder}/data/{node}/logs", f"{tmp_path}/{node}/userlogs")
            (settings / "yarn-site.xml").write_text(text)
            cluster.kill(node, signal.SIGTERM)
            cluster.start(node, settings=settings, wait=False)
        cluster.wait_ready(nodes)
        (tmp_path / "mrjob.conf").write_text(
            json.dumps({"runners": {"hadoop": {"hadoop_log_dirs": [str(tmp_path / node) for node in nodes]}}})
        )
        ran = finish(
            start_job(
                cluster,
                *("--conf-path", tmp_path / "mrjob.conf", "--python-bin", "/usr/bin/python3", *IRIS, *ONCE),
                *("data/input.ldjson", "--output-dir", f"hdfs://{RUN}/out/not_aggregated"),
            )
        )
        told = ran.stderr.decode()
        assert ran.returncode == 1, told
        assert len(list(tmp_path.glob("nodemanager?/userlogs/application_*/container_*/stderr"))) >= 2
        assert re.search(r"exit code 1, reading data/input\.ldjson:0\+\d+\.", told), told
        assert re.search(r"ModuleNotFoundError: No module named '\w+'", told)
    finally:
        for node in nodes:
            cluster.kill(node, signal.SIGTERM)
            cluster.start(node, wait=False)
        cluster.wait_ready(nodes)


def test_ctrl_c_ends_the_application(faulty: FaultyJob) -> None:
    faulty.start({"do": "wait", "seconds": 600})
    wait_for(faulty.mark)
    faulty.job.send_signal(signal.SIGINT)
    told = faulty.finish(code=130)
    application = re.search(r"Ending (application_\S+)\.\.\.", told)
    assert application is not None
    state = faulty.cluster.run("yarn", "application", "-status", application[1]).stdout
    assert re.search(r"Final-State : KILLED", state), state
    # What is left of the tasks is hidden, and the folder says that it is nobody's output.
    assert names(faulty.cluster, faulty.output) in (set(), {"_FAILED"}, {"_FAILED", "_temporary"})
