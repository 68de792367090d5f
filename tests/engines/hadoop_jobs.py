"""Ways to run jobs on the cluster of the tests, and to look at what they leave there."""

import http
import http.client
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from getpass import getuser
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

from tests.engines.hadoop.cluster import HOST, HadoopCluster
from tests.model_mapreduce_job_tests.jobs import ROOT, SCRIPT

# A folder of HDFS for one run of the tests: a cluster may have seen an earlier one, and old output is refused.
RUN = f"/run-{uuid4().hex}"

# A code-only job: the nodes are this machine, and this Python has everything.
CODE_ONLY = ("--no-conf", "--python-bin", sys.executable)
FAULTS = (
    *CODE_ONLY,
    *("--model_qualified_name", "fault_model", "--preflight", "0"),
    *("--cmdenv", f"PYTHONPATH=.:{ROOT}"),
)
FAULT_SETTINGS = {"APP_SETTINGS": "tests.engines.fault_model.Settings"}


def start_job(
    cluster: HadoopCluster, *arguments: object, script: str = SCRIPT, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Starts a job on the cluster from the project's folder."""
    clean = {name: value for name, value in cluster.environment().items() if name != "APP_SETTINGS"}
    return subprocess.Popen(
        [sys.executable, script, "-r", "hadoop", *map(str, arguments)],
        cwd=ROOT,
        env=clean | {"PYTHONPATH": "./"} | (environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(job: subprocess.Popen[bytes], seconds: float = 300) -> subprocess.CompletedProcess[bytes]:
    """What the job has left, when it has ended."""
    try:
        out, err = job.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        job.send_signal(signal.SIGINT)  # it ends what it has started
        try:
            out, err = job.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            job.kill()
            out, err = job.communicate()
        raise AssertionError(f"the job has not ended after {seconds} s:\n{err.decode()}") from None
    return subprocess.CompletedProcess(job.args, job.returncode, out, err)


def run_job(cluster: HadoopCluster, *arguments: object, **how: Any) -> subprocess.CompletedProcess[bytes]:
    """Runs a job on the cluster."""
    return finish(start_job(cluster, *arguments, **how))


def _webhdfs(
    cluster: HadoopCluster, method: str, path: str, query: str, content: bytes | None = None
) -> tuple[int, bytes]:
    """An answer of HDFS over HTTP, redirects followed: no Java process has to start for it."""
    url = f"http://{HOST}:{cluster.daemons['namenode'].http_port}/webhdfs/v1{quote(path)}?user.name={getuser()}&{query}"
    for body in (None, content):
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        connection.request(method, f"{parts.path}?{parts.query}", body=body)
        answer = connection.getresponse()
        read = answer.read()
        connection.close()
        if answer.status != http.HTTPStatus.TEMPORARY_REDIRECT:
            break
        url = answer.headers["Location"]
    return answer.status, read


def put(cluster: HadoopCluster, path: str, content: bytes, *, block_size: int | None = None) -> str:
    """Writes a file into HDFS, its folders included."""
    blocks = "" if block_size is None else f"&blocksize={block_size}"
    status, told = _webhdfs(cluster, "PUT", path, f"op=CREATE&overwrite=true{blocks}", content)
    assert status == http.HTTPStatus.CREATED, told
    return f"hdfs://{path}"


def names(cluster: HadoopCluster, folder: str) -> set[str]:
    """The names of what is in a folder of HDFS; none where there is no such folder."""
    status, told = _webhdfs(cluster, "GET", folder, "op=LISTSTATUS")
    if status == http.HTTPStatus.NOT_FOUND:
        return set()
    return {each["pathSuffix"] for each in json.loads(told)["FileStatuses"]["FileStatus"]}


def read(cluster: HadoopCluster, path: str) -> bytes:
    """What a file of HDFS holds."""
    status, content = _webhdfs(cluster, "GET", path, "op=OPEN")
    assert status == http.HTTPStatus.OK, content
    return content


def output_lines(cluster: HadoopCluster, folder: str) -> Counter[bytes]:
    """The lines of all part files of an output folder, as a multiset."""
    lines: Counter[bytes] = Counter()
    for name in names(cluster, folder):
        if name.startswith("part-"):
            content = read(cluster, f"{folder}/{name}")
            assert content == b"" or content.endswith(b"\n")
            lines.update(content.split(b"\n")[:-1])
    return lines


def wait_for(mark: Path, seconds: float = 120) -> dict[str, Any]:
    """What a record has written when it was met."""
    end = time.monotonic() + seconds
    while not mark.exists():
        assert time.monotonic() < end, f"no task has met the record in {seconds} s"
        time.sleep(0.05)
    found: dict[str, Any] = json.loads(mark.read_text())
    return found


def numbered(count: int, special: Mapping[int, dict[str, Any]]) -> bytes:
    """Records ``{"n": …}``, some of them with more in them."""
    return b"".join(json.dumps({"n": number, **special.get(number, {})}).encode() + b"\n" for number in range(count))


def assert_each_once(lines: Iterable[bytes], count: int, failed: Iterable[int] = ()) -> None:
    """Each record of ``numbered`` is there once, with its prediction, or with null where it is among ``failed``."""
    missing = set(failed)
    met: Counter[int] = Counter()
    for line in lines:
        key, _, value = line.partition(b"\t")
        number = json.loads(key)["n"]
        met[number] += 1
        assert json.loads(value) == (None if number in missing else {"twice": 2 * number}), line
    assert met == Counter(range(count))
