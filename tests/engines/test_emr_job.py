"""The job on EMR: mrjob's own runner and the configuration that users get, on a stand-in for AWS that runs it all.

One cluster at a time has nodes, so these tests run one after the other; those that need no bootstrap share a cluster.
"""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from benchmarks.records import main as write_records
from tests.engines.emr.aws import Aws
from tests.engines.emr.settings import REGION
from tests.engines.hadoop_jobs import finish
from tests.model_mapreduce_job_tests.jobs import GOLDEN, IRIS, ROOT, SCRIPT, run_command
from tests.model_mapreduce_job_tests.test_foreign_files import FOREIGN

LOCAL_INPUT = "./data/input.ldjson"
ENDED = ("TERMINATED", "TERMINATED_WITH_ERRORS")
ARCHIVE = ("--archives", "dist/environment.tar.gz#env", "--python-bin", "env/bin/python")


@pytest.fixture(scope="module", autouse=True)
def roles(aws: Aws) -> None:
    aws.create_default_roles()


@pytest.fixture(scope="module")
def bucket(aws: Aws) -> str:
    name = f"records-{uuid4().hex}"
    make_bucket(aws, name)
    return name


def make_bucket(aws: Aws, name: str, region: str = REGION) -> None:
    aws.client("s3", region).create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": region})


def start(
    aws: Aws, *arguments: object, script: str = SCRIPT, ssh: bool = False, environment: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Starts a job with the configuration that users get; the stand-in's adds where it is, and shorter waits."""
    clean = {name: value for name, value in aws.environment().items() if name != "APP_SETTINGS"}
    return subprocess.Popen(
        [
            *(sys.executable, script, *IRIS, "--conf-path=./mrjob.conf", f"--conf-path={aws.conf(ssh=ssh)}"),
            *("-r", "emr", "--iam-service-role", "EMR_DefaultRole", *map(str, arguments)),
        ],
        cwd=ROOT,
        env=clean | {"PYTHONPATH": "./"} | (environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def run(aws: Aws, *arguments: object, code: int = 0, **how: Any) -> tuple[bytes, str]:
    """What the job writes to standard output, and what it tells; ``code`` is what it must end with."""
    ran = finish(start(aws, *arguments, **how))
    told = ran.stderr.decode()
    print(told)
    assert ran.returncode == code, aws.errors()
    assert aws.errors() == []
    return ran.stdout, told


def lines_of(content: bytes) -> Counter[bytes]:
    return Counter(content.split(b"\n")[:-1])


def cluster_of(told: str) -> str:
    found = re.search(r"Created new cluster (j-\w+)", told)
    assert found, told
    return found[1]


def clusters(aws: Aws) -> list[str]:
    return [each["Id"] for each in aws.emr.list_clusters()["Clusters"]]


def keys(aws: Aws, bucket: str, prefix: str = "") -> set[str]:
    found = aws.s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    return {each["Key"].removeprefix(prefix) for each in found}


def output(aws: Aws, bucket: str, folder: str) -> Counter[bytes]:
    lines: Counter[bytes] = Counter()
    for name in keys(aws, bucket, folder):
        if name.startswith("part-"):
            lines += lines_of(aws.s3.get_object(Bucket=bucket, Key=folder + name)["Body"].read())
    return lines


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100,000 records, one in twenty bad."""
    path: Path = tmp_path_factory.mktemp("records") / "records.ldjson"
    with path.open("w") as file, redirect_stdout(file):
        write_records(100_000, 0.05)
    return path


# --- clusters of the job's own


def test_the_documented_command(aws: Aws) -> None:
    before = {each["Name"] for each in aws.s3.list_buckets()["Buckets"]}
    written, told = run(aws, LOCAL_INPUT)
    assert lines_of(written) == lines_of((GOLDEN / "input.pairs").read_bytes())
    assert re.search(r"records +15\n +predictions +14\n +failures +1\n", told), "the summary"
    assert "Input should be a valid number" in told, "the example has come from a container's log"
    assert aws.wait_for(cluster_of(told), *ENDED) == "TERMINATED"
    [made] = {each["Name"] for each in aws.s3.list_buckets()["Buckets"]} - before
    assert made.startswith("mrjob-")
    assert keys(aws, made) == set(), "nothing temporary is left"


def test_a_hundred_thousand_records_from_and_to_s3(aws: Aws, bucket: str, records: Path) -> None:
    half = records.read_bytes().index(b"\n", records.stat().st_size // 2) + 1
    aws.s3.put_object(Bucket=bucket, Key="input/dt=2026-01-01/part-0", Body=records.read_bytes()[:half])
    aws.s3.put_object(Bucket=bucket, Key="input/part-1.gz", Body=gzip.compress(records.read_bytes()[half:]))
    aws.s3.put_object(Bucket=bucket, Key="input/_SUCCESS", Body=b"")
    aws.s3.put_object(Bucket=bucket, Key="input/.hidden", Body=b"no record")
    aws.fail_s3(5)
    place = (f"s3://{bucket}/input/", "--output-dir", f"s3://{bucket}/output/")
    written, told = run(aws, *place, "--num-core-instances", "1")
    assert written == b""
    assert aws.faults_left() == 0, "S3 has answered with 503"
    assert output(aws, bucket, "output/") == lines_of(run_command(*IRIS, "--no-conf", records).stdout)
    assert re.search(r"records +100,000\n", told)
    names = keys(aws, bucket, "output/")
    assert "_SUCCESS" in names
    assert not any("_temporary" in name for name in names)
    assert aws.wait_for(cluster_of(told), *ENDED) == "TERMINATED"
    left = [each["Name"] for each in aws.s3.list_buckets()["Buckets"] if each["Name"].startswith("mrjob-")]
    assert [keys(aws, name) for name in left] == [set()] * len(left)


def test_a_bootstrap_that_fails(aws: Aws, bucket: str) -> None:
    _, told = run(
        aws,
        *(
            "--bootstrap",
            "sh -c 'echo the disk is full >&2; exit 7'",
            LOCAL_INPUT,
            "--output-dir",
            f"s3://{bucket}/not_made/",
        ),
        code=1,
    )
    report = told[told.index("TaskFailedError") :]
    assert "the disk is full" in report
    assert "+ sh -c 'echo the disk is full >&2; exit 7'" in report, "the command"
    assert re.search(r"instance \(i-\w+\), bootstrap action \d+ returned a non-zero return code", report)
    assert "mrjob.conf, section emr" in report
    assert aws.wait_for(cluster_of(told), *ENDED) == "TERMINATED_WITH_ERRORS"
    assert keys(aws, bucket, "not_made/") == set()


def test_a_cluster_that_aws_rejects(aws: Aws) -> None:
    _, told = run(aws, "--iam-service-role", "NobodysRole", LOCAL_INPUT, code=1)
    assert re.search(r"Cluster j-\w+.*: (its state is )?TERMINATED_WITH_ERRORS, .*NobodysRole is invalid", told)


def started_cluster(aws: Aws, *pool: str) -> tuple[subprocess.Popen[bytes], str]:
    """A job whose own cluster is being bootstrapped, and that cluster."""
    before = clusters(aws)
    job = start(aws, *pool, "--bootstrap", "sleep 300", LOCAL_INPUT)
    end = time.monotonic() + 60
    while not (made := [each for each in clusters(aws) if each not in before]):
        assert job.poll() is None, finish(job).stderr.decode()
        assert time.monotonic() < end
        time.sleep(0.1)
    aws.wait_for(made[0], "BOOTSTRAPPING")
    time.sleep(1)
    return job, made[0]


@pytest.mark.parametrize("pool", [(), ("--pool-clusters",)])
def test_ctrl_c_ends_the_cluster(aws: Aws, pool: tuple[str, ...]) -> None:
    job, made = started_cluster(aws, *pool)
    job.send_signal(signal.SIGINT)
    ran = finish(job, 60)
    told = ran.stderr.decode()
    assert ran.returncode == 130, told
    assert re.search(rf"Cluster {made} is ended: its state is TERMINAT\w+", told)
    assert re.search(rf"Its logs stay in s3://mrjob-\w+/tmp/logs/{made}/", told)
    assert aws.wait_for(made, *ENDED)


def test_ctrl_c_leaves_a_cluster_on_which_the_step_of_another_job_waits(aws: Aws) -> None:
    job, made = started_cluster(aws, "--pool-clusters")
    try:
        other = {"Name": "another job", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["true"]}}
        [waits] = aws.emr.add_job_flow_steps(JobFlowId=made, Steps=[other])["StepIds"]
        job.send_signal(signal.SIGINT)
        ran = finish(job, 60)
        told = ran.stderr.decode()
        assert ran.returncode == 130, told
        assert f"Cluster {made} is kept." in told
        # What nodes that have not run the bootstrap yet fetch for it is there still, and nothing else.
        stays = re.search(r"stays for those that join later: s3://([^/]+)/(\S+/)", told)
        assert stays, told
        left = {name.rpartition("/")[2] for name in keys(aws, stays[1], stays[2])}
        assert left == {"b.sh", "nodes.tar", "terminate_idle_cluster_emr.sh"}
        time.sleep(3)
        states = {each["Id"]: each["Status"]["State"] for each in aws.emr.list_steps(ClusterId=made)["Steps"]}
        assert states.pop(waits) == "PENDING"
        assert set(states.values()) == {"CANCELLED"}, "the job's own"
        assert aws.state(made) == "BOOTSTRAPPING"
    finally:
        aws.emr.terminate_job_flows(JobFlowIds=[made])
    aws.wait_for(made, *ENDED)


def test_a_cluster_made_by_hand_is_joined_by_jobs_of_its_pool_and_outlives_them(aws: Aws) -> None:
    pool = ("--pool-clusters", "--num-core-instances", "0")
    made = subprocess.run(
        [
            *(sys.executable, "-m", "mrjob.cmd", "create-cluster", *pool),
            *("--conf-path", "mrjob.conf", "--conf-path", str(aws.conf(ssh=True))),
        ],
        cwd=ROOT,
        env=aws.environment(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    cluster = made.stdout.decode().strip()
    try:
        aws.wait_for(cluster, "WAITING")
        job = start(aws, *pool, LOCAL_INPUT, ssh=True)
        aws.wait_for(cluster, "RUNNING")
        job.send_signal(signal.SIGINT)
        ran = finish(job, 60)
        told = ran.stderr.decode()
        assert ran.returncode == 130, told
        assert f"Adding our job to existing cluster {cluster}" in told
        assert re.search(r"Step s-\w+, its cancellation: SUBMITTED", told)
        assert f"Cluster {cluster} is kept." in told
        assert "yarn application -list, yarn application -kill ID" in told
        assert aws.state(cluster) in ("WAITING", "RUNNING")
    finally:
        aws.emr.terminate_job_flows(JobFlowIds=[cluster])
    aws.wait_for(cluster, *ENDED)
    _, told = run(aws, "--cluster-id", cluster, LOCAL_INPUT, code=2)
    assert f"the cluster {cluster} is TERMINATED" in told


# --- a cluster that is kept


@pytest.fixture(scope="module")
def kept(aws: Aws) -> Iterator[str]:
    """A cluster of somebody's, without any bootstrap."""
    group = {"InstanceType": "m6i.xlarge", "Market": "ON_DEMAND"}
    make_bucket(aws, "logs-of-a-kept-cluster")
    made = aws.emr.run_job_flow(
        Name="kept",
        LogUri="s3://logs-of-a-kept-cluster/",
        ReleaseLabel="emr-7.14.0",
        Instances={
            "InstanceGroups": [
                {**group, "InstanceRole": "MASTER", "InstanceCount": 1},
                {**group, "InstanceRole": "CORE", "InstanceCount": 2},
            ],
            "KeepJobFlowAliveWhenNoSteps": True,
        },
        Applications=[{"Name": "Hadoop"}],
        JobFlowRole="EMR_EC2_DefaultRole",
        ServiceRole="EMR_DefaultRole",
    )["JobFlowId"]
    aws.wait_for(made, "WAITING")
    subprocess.run(
        [sys.executable, "-m", "model_mapreduce_job.environment_archive"],
        cwd=ROOT,
        check=True,
        timeout=300,
        env={name: value for name, value in os.environ.items() if name != "APP_SETTINGS"},
    )
    yield made
    aws.emr.terminate_job_flows(JobFlowIds=[made])
    aws.wait_for(made, *ENDED)


def on(kept: str) -> tuple[str, ...]:
    return ("--cluster-id", kept, *ARCHIVE)


def test_a_kept_cluster_needs_nothing_but_the_archive(aws: Aws, bucket: str, kept: str) -> None:
    before = clusters(aws)
    unbuilt = ("--bootstrap", "install dist/none.tar#none/")
    _, told = run(
        aws,
        *on(kept),
        *unbuilt,
        *("data/dirty.ldjson", "--output-dir", f"s3://{bucket}/dirty", "--preflight", "0"),
        ssh=True,
    )
    assert output(aws, bucket, "dirty/") == lines_of((GOLDEN / "dirty.pairs").read_bytes())
    assert "_SUCCESS" in keys(aws, bucket, "dirty/")
    assert "e.g. " in told, "an example has come over SSH"
    assert clusters(aws) == before
    assert aws.state(kept) == "WAITING"


@pytest.mark.parametrize("name", ["parquet", "avro"])
def test_files_that_are_read_whole(aws: Aws, bucket: str, kept: str, name: str) -> None:
    folder = FOREIGN / f"spark_{name}"
    for path in filter(Path.is_file, folder.rglob("*")):
        aws.s3.put_object(Bucket=bucket, Key=f"{name}/{path.relative_to(folder)}", Body=path.read_bytes())
    how = ("--input_format", name, "--output_format", "ldjson", "--partition_fields")
    place = (f"s3://{bucket}/{name}/", "--output-dir", f"s3://{bucket}/scored_{name}")
    _, told = run(aws, *on(kept), *how, *place, ssh=True)
    written = output(aws, bucket, f"scored_{name}/")
    assert written == lines_of(run_command(*IRIS, "--no-conf", *how, folder).stdout)
    assert written.total() == 14
    assert re.search(r"files +2\n", told)


def test_two_steps(aws: Aws, kept: str) -> None:
    script = "tests/engines/two_step_job.py"
    written, _ = run(aws, *on(kept), LOCAL_INPUT, script=script, ssh=True)
    inline = run_command(*IRIS, "--no-conf", LOCAL_INPUT, command=(script,))
    assert written
    assert lines_of(written) == lines_of(inline.stdout)


def test_too_many_failures_keep_the_output_without_success(aws: Aws, bucket: str, kept: str) -> None:
    _, told = run(
        aws,
        *(*on(kept), LOCAL_INPUT, "--max_failure_ratio", "0.01", "--output-dir", f"s3://{bucket}/too_many"),
        code=3,
        ssh=True,
    )
    assert "TooManyFailuresError: 1 of 15 records failed" in told
    assert output(aws, bucket, "too_many/") == lines_of((GOLDEN / "input.pairs").read_bytes())
    names = keys(aws, bucket, "too_many/")
    assert "_SUCCESS" not in names
    reason = aws.s3.get_object(Bucket=bucket, Key="too_many/_FAILED")["Body"].read().decode()
    assert reason.startswith("1 of 15 records failed")
    again = run(aws, *on(kept), LOCAL_INPUT, "--output-dir", f"s3://{bucket}/too_many", code=2, ssh=True)[1]
    assert "part files of a job that failed; its _FAILED says why" in again


def test_a_step_that_fails(aws: Aws, bucket: str, kept: str) -> None:
    _, told = run(
        aws,
        *("--cluster-id", kept, "--python-bin", "/usr/bin/python3.11", LOCAL_INPUT),
        *("--output-dir", f"s3://{bucket}/failed", "-D", "mapreduce.map.maxattempts=1"),
        code=1,
        ssh=True,
    )
    report = told[told.index("TaskFailedError") :]
    assert re.search(r"exit code 1, reading \S+/data/input\.ldjson:0\+\d+\.", report)
    assert re.search(r"ModuleNotFoundError: No module named '\w+'", report)
    assert report.index("Traceback") < report.index("Java's side") < report.index("PipeMapRed")
    assert "PipeMapRed" not in told[: told.index("TaskFailedError")]
    assert keys(aws, bucket, "failed/") <= {"_FAILED"}
    assert aws.state(kept) in ("WAITING", "RUNNING")


# --- refused before a cluster is made


@pytest.fixture
def unmade(aws: Aws) -> Iterator[None]:
    before = clusters(aws)
    yield
    assert clusters(aws) == before, "a cluster was made"


@pytest.mark.usefixtures("unmade")
def test_what_is_refused_before_a_cluster_is_made(aws: Aws, bucket: str) -> None:
    aws.s3.put_object(Bucket=bucket, Key="taken/part-00000", Body=b"x\n")
    elsewhere = f"elsewhere-{uuid4().hex}"
    make_bucket(aws, elsewhere, "eu-west-1")
    aws.client("s3", "eu-west-1").put_object(Bucket=elsewhere, Key="input", Body=b"{}\n")
    cases: list[tuple[tuple[str, ...], int, str]] = [
        (
            (LOCAL_INPUT, "--output-dir", f"s3://{bucket}/taken"),
            2,
            f"taken exists: 1 part files and no _SUCCESS.*aws s3 rm --recursive s3://{bucket}/taken",
        ),
        ((LOCAL_INPUT, "--output-dir", "s3://nobody-has-made-it/x"), 2, "no bucket nobody-has-made-it.*aws s3 mb"),
        (("s3://nobody-has-made-it/x",), 2, "input s3://nobody-has-made-it/x: there is no bucket nobody-has-made-it"),
        (("--cluster-id", "j-NOBODYS", LOCAL_INPUT), 2, f"there is no cluster j-NOBODYS in {REGION}"),
        ((f"s3://{bucket}/nothing",), 2, f"input s3://{bucket}/nothing"),
        ((f"s3://{elsewhere}/input",), 2, rf"is in eu-west-1 and the cluster would be in {REGION}.*--region eu-west-1"),
        (("data/not_there.ldjson",), 2, "data/not_there.ldjson does not exist"),
        (("--model_qualified_name", "none", LOCAL_INPUT), 4, "'none' not found.*Known models: iris_model"),
    ]
    for arguments, code, message in cases:
        _, told = run(aws, *arguments, code=code)
        assert re.search(message, told), told


@pytest.mark.usefixtures("unmade")
def test_no_credentials(aws: Aws) -> None:
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": ""}
    _, told = run(aws, LOCAL_INPUT, code=1, environment=nobody)
    assert "AwsError: there are no AWS credentials. Run `aws configure`" in told


@pytest.mark.usefixtures("unmade")
def test_wheels_that_are_not_there(aws: Aws) -> None:
    _, told = run(aws, "--bootstrap", "install dist/none.tar#none/", LOCAL_INPUT, code=2)
    assert re.search(r"dist/none\.tar, .*Build it: make dist", told)


# --- make emr-preflight


def preflight(aws: Aws, *arguments: object, environment: dict[str, str] | None = None) -> tuple[int, str]:
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "model_mapreduce_job.emr_preflight"),
            *("--conf-path", "mrjob.conf", "--conf-path", str(aws.conf()), *map(str, arguments)),
        ],
        cwd=ROOT,
        env=aws.environment() | {"PYTHONPATH": "./"} | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in ran.stderr, ran.stderr
    return ran.returncode, ran.stdout


def test_preflight_of_an_account_that_is_ready(aws: Aws, bucket: str) -> None:
    code, told = preflight(aws, f"s3://{bucket}/input/")
    assert "FAILED" not in told, told
    assert code == 0
    for name in (
        "configuration",
        "credentials",
        "region",
        "release label",
        "service role",
        "instance profile",
        "bootstrap files",
    ):
        assert re.search(rf"^ok +{name}: \S", told, re.MULTILINE), told
    assert f"bucket {bucket} in {REGION}" in told


@pytest.mark.usefixtures("unmade")
def test_preflight_names_what_is_missing(aws: Aws, tmp_path: Path) -> None:
    conf = tmp_path / "other.conf"
    options = {
        "release_label": "emr-7.999.0",
        "iam_service_role": "NobodysRole",
        "iam_instance_profile": "NobodysProfile",
        "bootstrap": ["install dist/none/#wheels/"],
        "num_core_instance": 2,
    }
    conf.write_text(json.dumps({"runners": {"emr": options}}))
    code, told = preflight(aws, "--conf-path", conf, "s3://nobody-has-made-it/")
    assert code == 1
    for message in (
        "configuration: mrjob knows no option num_core_instance",
        r"release label: there is no emr-7\.999\.0 in \S+; the newest is emr-7\.\d+\.\d",
        "service role: there is no role NobodysRole. Create both roles: aws emr create-default-roles",
        "instance profile: there is no instance profile NobodysProfile",
        "there is no bucket nobody-has-made-it. Create it: aws s3 mb",
        "bootstrap files: dist/none, which the bootstrap installs from, does not exist. Build it: make dist",
    ):
        assert re.search(rf"^FAILED +\S*.*{message}", told, re.MULTILINE), told
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    code, told = preflight(aws, environment=nobody)
    assert code == 1
    assert "there are no AWS credentials" in told
    code, told = preflight(aws, "--region", "us-wets-2")
    assert code == 1
    assert told.endswith("The rest cannot be asked without.\n")
    assert "release label" not in told
