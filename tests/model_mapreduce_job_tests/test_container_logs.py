"""Logs of containers, in the words of Hadoop 3.4.2, from commands that print them and from folders."""

import stat
from pathlib import Path

import pytest

from model_mapreduce_job.container_logs import attempt_logs, failed_attempt, stderr_lines

ATTEMPT = "attempt_1795271713920_0003_m_000000_3"
TOLD = f"""\
Container: container_1795271713920_0003_01_000005 on node7.example.org_45454
LogAggregationType: AGGREGATED
=============================================================================
LogType:stderr
LogLastModifiedTime:Sat Nov 21 14:42:00 +0000 2026
LogLength:70
LogContents:
log4j:WARN No appenders could be found for logger
Traceback (most recent call last):
LogContents: of a model
ValueError: no

End of LogType:stderr
***********************************************************************

Container: container_1795271713920_0003_01_000005 on node7.example.org_45454
LogType:syslog
LogContents:
2026-11-21 14:42:00,000 INFO [main] org.apache.hadoop.mapred.MapTask: Processing split: hdfs://nn:9000/in/part-0:0+12
2026-11-21 14:42:01,000 WARN [main] org.apache.hadoop.mapred.YarnChild: Exception running child : java.io.IOException: a
	at org.apache.Some.where(Some.java:1)
2026-11-21 14:42:01,000 INFO [main] org.apache.hadoop.mapred.Task: Runnning cleanup for the task
End of LogType:syslog
{ATTEMPT}
"""


def command(folder: Path, name: str, text: str) -> str:
    (folder / "told").write_text(text)
    path = folder / name
    path.write_text(f"#!/bin/sh\nexec cat {folder}/told\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return str(path)


def test_attempt_from_aggregated_logs(tmp_path: Path) -> None:
    logs = attempt_logs(command(tmp_path, "mapred", TOLD), "job_1795271713920_0003", ATTEMPT, [], 5)
    assert logs.host == "node7.example.org"
    assert logs.split == "hdfs://nn:9000/in/part-0:0+12"
    assert logs.java == "Error: java.io.IOException: a\n\tat org.apache.Some.where(Some.java:1)"
    assert logs.stderr == ["Traceback (most recent call last):", "LogContents: of a model", "ValueError: no"]


def test_attempt_from_folders_of_logs(tmp_path: Path) -> None:
    application = tmp_path / "userlogs/application_1795271713920_0003"
    for number in range(3):
        container = application / f"container_1795271713920_0003_01_00000{number}"
        container.mkdir(parents=True)
        (container / "syslog").write_text(f"INFO [main] MapTask: Processing split: hdfs://nn/part-{number}:0+12\n")
        (container / "stderr").write_text(f"error {number}\n")
    (application / "container_1795271713920_0003_01_000000/syslog").write_text(
        f"INFO Assigned container container_1795271713920_0003_01_000002 to {ATTEMPT[:-1]}2\n"
        f"INFO Assigned container container_1795271713920_0003_01_000001 to {ATTEMPT}\n"
    )
    logs = attempt_logs(None, None, ATTEMPT, [tmp_path / "nothing", tmp_path], 5)
    assert logs == (None, "hdfs://nn/part-1:0+12", ["error 1"], None, "")


def test_attempt_that_failed_last(tmp_path: Path) -> None:
    events = (
        f"Number of events (from 0) are: 3\nFAILED {ATTEMPT[:-1]}2 n:1/x\nTIPFAILED {ATTEMPT} n:1/x\nKILLED a_1 n:1\n"
    )
    assert failed_attempt(command(tmp_path, "mapred", events), "job_1795271713920_10003", 5) == ATTEMPT
    assert failed_attempt(command(tmp_path, "mapred", ""), "job_1795271713920_10003", 5) is None
    assert failed_attempt(None, "job_1795271713920_10003", 5) is None


@pytest.mark.parametrize("mapred", [None, "/no/such/mapred"])
def test_logs_that_are_not_to_be_had(mapred: str | None) -> None:
    logs = attempt_logs(mapred, "job_1795271713920_0003", ATTEMPT, [], 0.1)
    assert logs.reason
    assert not logs.stderr


def test_logs_that_are_not_aggregated_yet_are_asked_for_again(tmp_path: Path) -> None:
    logs = attempt_logs(command(tmp_path, "mapred", "not yet\n"), "job_1795271713920_0003", ATTEMPT, [], 0.7)
    assert logs.reason == "the cluster has not aggregated the container's logs"


def test_standard_error_of_an_application(tmp_path: Path) -> None:
    lines = list(stderr_lines(command(tmp_path, "yarn", TOLD), "application_1795271713920_0003", 5))
    assert "ValueError: no" in lines
    assert list(stderr_lines(None, "application_1795271713920_0003", 5)) == []
