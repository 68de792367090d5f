"""Histories of jobs: from HDFS, where MapReduce keeps them, to the master's logs, where EMR's releases do.

mrjob looks there for which attempt ran in which container, and so for the log of the one that failed.
"""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.engines.emr.hdfs import read
from tests.engines.hadoop.cluster import HadoopCluster

STAGING = "/tmp/hadoop-yarn/staging/history"  # noqa: S108 - a folder of HDFS
RUNNING = re.compile(r"Running job: (job_\d+_\d+)")


def keep_histories(hadoop: HadoopCluster, syslog: Path, folder: Path, seconds: float = 5) -> None:
    """Copies the histories of the jobs that a step's log names into the folder, as far as there are any in time."""
    text = syslog.read_text(errors="replace") if syslog.exists() else ""
    missing = set(RUNNING.findall(text))
    end = time.monotonic() + seconds
    while missing and time.monotonic() < end:
        for path in _files(hadoop, STAGING):
            job = path.rpartition("/")[2].partition("-")[0]
            if path.endswith(".jhist") and job in missing and (content := read(hadoop, path)) is not None:
                place = folder / time.strftime("%Y/%m/%d/000000", time.gmtime()) / path.rpartition("/")[2]
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
                missing.discard(job)
        if missing:
            time.sleep(0.2)


def _files(hadoop: HadoopCluster, folder: str) -> Iterator[str]:
    told = read(hadoop, folder, "LISTSTATUS")
    listed: list[dict[str, Any]] = json.loads(told)["FileStatuses"]["FileStatus"] if told else []
    for each in sorted(listed, key=lambda each: -each["modificationTime"]):
        path = f"{folder}/{each['pathSuffix']}"
        if each["type"] == "DIRECTORY":
            yield from _files(hadoop, path)
        else:
            yield path
