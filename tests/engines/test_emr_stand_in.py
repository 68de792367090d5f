"""The stand-in for AWS itself: what the tests of the job on EMR rely on."""

import gzip
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.engines.emr.aws import Aws
from tests.engines.emr.settings import REGION, SHARED
from tests.engines.emr.ssh import parse
from tests.engines.emr.steps import StepCommand, step_command
from tests.engines.hadoop.cluster import TOP
from tests.engines.hadoop.configuration import HOST

MARK = f"installed-{uuid4().hex}"
# What a bootstrap finds and leaves in a node; it fails where something is otherwise.
LOOKS = f"""\
#!/bin/sh -ex
test "$(id -un)" = hadoop
test "$(python3.11 -m pip list --format freeze | cut -d= -f1)" = pip
for each in numpy sklearn mrjob boto3 msgspec; do ! python3.11 -c "import $each"; done
! command -v python3
! ls {TOP}/tests
! python3.11 -m pip install six
! dnf install -y bash
sudo dnf install -y python3.11-pip
! sudo dnf install -y no-such-program
! sudo pip3.11 install six
python3.11 -m venv --without-pip /home/hadoop/environment
sudo sh -c 'printf "#!/bin/sh\\necho it is here\\n" > /usr/local/bin/{MARK}; chmod 755 /usr/local/bin/{MARK}'
aws s3 cp "$1" copied
test "$(cat copied)" = content
echo "the bootstrap's last words" >&2
"""


@pytest.fixture(scope="module", autouse=True)
def roles(aws: Aws) -> None:
    aws.create_default_roles()


@pytest.fixture(scope="module")
def bucket(aws: Aws) -> str:
    name = f"stand-in-{uuid4().hex}"
    aws.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return name


def create(aws: Aws, bucket: str, *, core: int = 0, bootstrap: str = "", keep: bool = True, **more: Any) -> str:
    """A cluster, with a script of this text as its bootstrap; its first argument names an object of S3."""
    groups = [{"InstanceRole": "MASTER", "InstanceType": "m6i.xlarge", "InstanceCount": 1}]
    if core:
        groups.append({"InstanceRole": "CORE", "InstanceType": "m6i.xlarge", "InstanceCount": core})
    actions = []
    if bootstrap:
        aws.s3.put_object(Bucket=bucket, Key="bootstrap.sh", Body=bootstrap.encode())
        aws.s3.put_object(Bucket=bucket, Key="object", Body=b"content")
        path, arguments = f"s3://{bucket}/bootstrap.sh", [f"s3://{bucket}/object"]
        actions = [{"Name": "looks", "ScriptBootstrapAction": {"Path": path, "Args": arguments}}]
    asked = {
        "Name": "test",
        "LogUri": f"s3://{bucket}/logs/",
        "ReleaseLabel": "emr-7.10.0",
        "JobFlowRole": "EMR_EC2_DefaultRole",
        "ServiceRole": "EMR_DefaultRole",
        "Instances": {"InstanceGroups": groups, "KeepJobFlowAliveWhenNoSteps": keep},
        "BootstrapActions": actions,
    }
    return str(aws.emr.run_job_flow(**asked | more)["JobFlowId"])


def step(*command: str, on_failure: str = "CONTINUE") -> dict[str, Any]:
    jar = {"Jar": "command-runner.jar", "Args": list(command)}
    return {"Name": "step", "ActionOnFailure": on_failure, "HadoopJarStep": jar}


def add(aws: Aws, cluster: str, *steps: dict[str, Any]) -> list[str]:
    return list(aws.emr.add_job_flow_steps(JobFlowId=cluster, Steps=list(steps))["StepIds"])


def wait_for_step(aws: Aws, cluster: str, step_id: str, *states: str, seconds: float = 60) -> str:
    end = time.monotonic() + seconds
    while True:
        state = str(aws.emr.describe_step(ClusterId=cluster, StepId=step_id)["Step"]["Status"]["State"])
        if state in states:
            return state
        assert time.monotonic() < end, f"{state}, {aws.errors()}"
        time.sleep(0.1)


def log(aws: Aws, bucket: str, cluster: str, name: str) -> str:
    """The one log of the cluster whose name matches the pattern, when the cluster has ended or the step has."""
    listed = aws.s3.list_objects_v2(Bucket=bucket, Prefix=f"logs/{cluster}/").get("Contents", [])
    (key,) = [each["Key"] for each in listed if re.fullmatch(f"logs/{cluster}/{name}.gz", each["Key"])]
    return gzip.decompress(aws.s3.get_object(Bucket=bucket, Key=key)["Body"].read()).decode()


def reason(aws: Aws, cluster: str) -> tuple[str, str]:
    told = aws.emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["StateChangeReason"]
    return told["Code"], told["Message"]


def commands() -> list[str]:
    """The command lines of all processes of this machine."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # gone
            continue
    return found


def assert_no_nodes(aws: Aws) -> None:
    assert list(aws.place.nodes.iterdir()) == []
    nodes = str(aws.place.nodes)
    for each in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            assert nodes not in each.read_text()
        except OSError:  # gone
            continue
    # Those who have entered a node learn of its end a moment later.
    end = time.monotonic() + 10
    while any("nsenter" in command and "--pid" in command for command in commands()):
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture(scope="module")
def kept(aws: Aws, bucket: str) -> Iterator[str]:
    """A cluster of two nodes that stays, and is terminated at last."""
    cluster = create(aws, bucket, core=1, bootstrap=LOOKS)
    try:
        state = aws.wait_for(cluster, "WAITING", "TERMINATED_WITH_ERRORS")
        if state != "WAITING":
            pytest.fail(f"{reason(aws, cluster)}: {log(aws, bucket, cluster, 'node/.*/stderr')}")
        yield cluster
    finally:
        if cluster in [each["Id"] for each in aws.emr.list_clusters()["Clusters"]]:  # not after the last test
            aws.emr.terminate_job_flows(JobFlowIds=[cluster])
            aws.wait_for(cluster, "TERMINATED", "TERMINATED_WITH_ERRORS")


def test_nodes_are_bare_and_keep_what_a_bootstrap_does(aws: Aws, bucket: str, kept: str) -> None:
    if aws.shared_node:
        pytest.skip(f"all nodes are this machine itself: {aws.shared_node}")
    (task,) = add(
        aws,
        kept,
        step(
            "hadoop-streaming",
            *("-D", "mapreduce.job.reduces=0", "-D", "mapreduce.job.maps=1"),
            *("-input", f"s3://{bucket}/object", "-output", f"s3://{bucket}/output/"),
            *("-mapper", MARK),
        ),
    )
    assert wait_for_step(aws, kept, task, "COMPLETED", "FAILED") == "COMPLETED", log(
        aws, bucket, kept, "steps/.*syslog"
    )
    part = aws.s3.get_object(Bucket=bucket, Key="output/part-00000")["Body"].read()
    assert part.split() == [b"it", b"is", b"here"]
    # Here, outside, nothing has changed.
    assert not Path("/usr/local/bin", MARK).exists()
    assert "Running job: job_" in log(aws, bucket, kept, f"steps/{task}/syslog")
    # mrjob's way to the core node's logs, through the master's ssh.
    instances = aws.emr.list_instances(ClusterId=kept, InstanceGroupTypes=["CORE"])["Instances"]
    master = aws.emr.describe_cluster(ClusterId=kept)["Cluster"]["MasterPublicDnsName"]
    ssh = ssh_command(aws)
    command = [*ssh, "-i", "key", f"hadoop@{master}", *ssh, "-A", f"hadoop@{instances[0]['PrivateIpAddress']}"]
    command += ["sudo", "find", "-L", "/mnt/var/log/hadoop-yarn/containers", "-name", "stderr"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert len(done.stdout.splitlines()) == 2  # of the application master and the task


def ssh_command(aws: Aws) -> list[str]:
    told = yaml.safe_load(aws.conf(ssh=True).read_text())["runners"]["emr"]["ssh_bin"]
    return [str(each) for each in told]


def test_a_step_is_cancelled(aws: Aws, kept: str) -> None:
    running, pending = add(aws, kept, step("sleep", "31415"), step("true"))
    wait_for_step(aws, kept, running, "RUNNING")
    told = aws.emr.cancel_steps(ClusterId=kept, StepIds=[pending, running])["CancelStepsInfoList"]
    assert [each["Status"] for each in told] == ["SUBMITTED", "SUBMITTED"]
    assert wait_for_step(aws, kept, running, "CANCELLED") == "CANCELLED"
    assert wait_for_step(aws, kept, pending, "CANCELLED") == "CANCELLED"
    assert not any("sleep 31415" in each for each in commands())
    assert aws.wait_for(kept, "WAITING") == "WAITING"


def test_a_failed_step_cancels_those_after_it(aws: Aws, bucket: str, kept: str) -> None:
    first, second = add(aws, kept, step("sh", "-c", "echo why >&2; exit 3", on_failure="CANCEL_AND_WAIT"), step("true"))
    assert wait_for_step(aws, kept, second, "CANCELLED", "COMPLETED") == "CANCELLED"
    assert wait_for_step(aws, kept, first, "FAILED") == "FAILED"
    assert log(aws, bucket, kept, f"steps/{first}/stderr") == "why\n"
    assert aws.wait_for(kept, "WAITING") == "WAITING"


def test_termination_ends_what_runs(aws: Aws, bucket: str, kept: str) -> None:
    (task,) = add(
        aws,
        kept,
        step(
            "hadoop-streaming",
            *("-D", "mapreduce.job.reduces=0", "-input", f"s3://{bucket}/object"),
            *("-output", f"s3://{bucket}/never/", "-mapper", "sleep 27182"),
        ),
    )
    end = time.monotonic() + 60
    while not any("sleep 27182" in each and "hadoop" not in each for each in commands()):
        assert time.monotonic() < end
        time.sleep(0.2)
    other = create(aws, bucket, keep=False, Steps=[step("true")])
    time.sleep(0.5)
    assert aws.state(other) == "STARTING"  # until there is room
    aws.emr.terminate_job_flows(JobFlowIds=[kept])
    assert aws.wait_for(kept, "TERMINATED", seconds=30) == "TERMINATED"
    assert reason(aws, kept) == ("USER_REQUEST", "Terminated by user request")
    assert wait_for_step(aws, kept, task, "CANCELLED") == "CANCELLED"
    assert not any("sleep 27182" in each for each in commands())
    with pytest.raises(ClientError, match="shutting down, terminated, or finished may not be modified"):
        add(aws, kept, step("true"))
    assert aws.wait_for(other, "TERMINATED", "TERMINATED_WITH_ERRORS") == "TERMINATED"
    assert reason(aws, other) == ("ALL_STEPS_COMPLETED", "Steps completed")
    assert_no_nodes(aws)
    assert aws.errors() == []


def test_a_bootstrap_that_fails(aws: Aws, bucket: str) -> None:
    script = "#!/bin/sh -x\npython3.11 -c 'import missing'\nexit 1\n"
    cluster = create(aws, bucket, bootstrap=script, keep=False, Steps=[step("true")])
    assert aws.wait_for(cluster, "TERMINATED_WITH_ERRORS") == "TERMINATED_WITH_ERRORS"
    code, message = reason(aws, cluster)
    assert code == "BOOTSTRAP_FAILURE"
    pattern = r"On the master instance \((i-[0-9a-f]+)\), bootstrap action 1 returned a non-zero return code"
    found = re.fullmatch(pattern, message)
    assert found, message
    told = log(aws, bucket, cluster, f"node/{found[1]}/bootstrap-actions/1/stderr")
    assert "No module named 'missing'" in told
    (only,) = aws.emr.list_steps(ClusterId=cluster)["Steps"]
    assert only["Status"]["State"] == "CANCELLED"
    assert_no_nodes(aws)


def test_a_cluster_that_cannot_start(aws: Aws, bucket: str) -> None:
    cluster = create(aws, bucket, ServiceRole="Nobody")
    assert aws.wait_for(cluster, "TERMINATED_WITH_ERRORS") == "TERMINATED_WITH_ERRORS"
    assert reason(aws, cluster)[1].endswith(":role/Nobody is invalid")
    too_large = create(aws, bucket, core=3)
    assert aws.wait_for(too_large, "TERMINATED_WITH_ERRORS") == "TERMINATED_WITH_ERRORS"
    assert reason(aws, too_large)[1] == "The stand-in has one master and 2 other instances at most"
    with pytest.raises(ClientError, match="Cluster id 'j-MISSING' is not valid"):
        add(aws, "j-MISSING", step("true"))
    with pytest.raises(ClientError, match=r"The supplied release label is invalid: emr-9.9.9"):
        create(aws, bucket, ReleaseLabel="emr-9.9.9")
    assert "emr-7.10.0" in aws.emr.list_release_labels()["ReleaseLabels"]
    assert aws.emr.describe_release_label(ReleaseLabel="emr-7.10.0")["ReleaseLabel"] == "emr-7.10.0"


def test_s3_fails_as_often_as_asked(aws: Aws, bucket: str) -> None:
    impatient = aws.client("s3", config=Config(retries={"total_max_attempts": 1}))
    aws.fail_s3(2)
    with pytest.raises(ClientError, match="SlowDown"):
        impatient.put_object(Bucket=bucket, Key="refused", Body=b"x" * 100_000)
    with pytest.raises(ClientError, match="503"):
        impatient.head_bucket(Bucket=bucket)
    assert aws.faults_left() == 0
    impatient.head_bucket(Bucket=bucket)
    assert "Contents" not in impatient.list_objects_v2(Bucket=bucket, Prefix="refused")
    aws.emr.list_clusters()


def test_buckets_have_regions(aws: Aws, bucket: str) -> None:
    elsewhere = f"elsewhere-{uuid4().hex}"
    place = {"LocationConstraint": "eu-west-1"}
    aws.client("s3", "eu-west-1").create_bucket(Bucket=elsewhere, CreateBucketConfiguration=place)
    assert aws.s3.get_bucket_location(Bucket=elsewhere)["LocationConstraint"] == "eu-west-1"
    assert aws.s3.head_bucket(Bucket=elsewhere)["BucketRegion"] == "eu-west-1"
    assert aws.s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] == REGION
    with pytest.raises(ClientError, match="404"):
        aws.s3.head_bucket(Bucket=f"missing-{uuid4().hex}")
    assert aws.client("sts").get_caller_identity()["Account"]
    assert aws.iam.get_role(RoleName="EMR_DefaultRole")
    assert aws.iam.get_instance_profile(InstanceProfileName="EMR_EC2_DefaultRole")


def test_what_a_step_runs() -> None:
    assert step_command("command-runner.jar", ["hadoop-streaming", "-x"]) == StepCommand(["hadoop-streaming", "-x"])
    jar = step_command("s3://b/my.jar", ["-x"], "Main")
    assert jar == StepCommand(["hadoop", "jar", "my.jar", "Main", "-x"], {"my.jar": "s3://b/my.jar"})
    script = step_command("s3://us-west-2.elasticmapreduce/libs/script-runner/script-runner.jar", ["s3://b/a.sh", "x"])
    assert script.command[-2:] == ["a.sh", "x"]
    assert script.fetched == {"a.sh": "s3://b/a.sh"}


def test_ssh_is_asked_as_mrjob_asks() -> None:
    options = ["-i", "key", "-o", "StrictHostKeyChecking=no", "-A", "-q"]
    assert parse([*options, "hadoop@host", "sudo", "cat", "-n"]) == ("host", ["sudo", "cat", "-n"])
    with pytest.raises(SystemExit, match="no tunnels"):
        parse(["-L", "1:host:2", "hadoop@host"])


def test_nothing_listens_for_others(aws: Aws) -> None:
    found = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, timeout=30, check=True).stdout
    addresses = [line.split()[3] for line in found.splitlines()]
    assert [each for each in addresses if each.endswith(f":{aws.place.port}")] == [f"{HOST}:{aws.place.port}"]


def test_a_mistake_of_its_own_ends_the_cluster(aws: Aws) -> None:
    cluster = create(aws, f"missing-{uuid4().hex}", keep=False, Steps=[step("true")])
    assert aws.wait_for(cluster, "TERMINATED_WITH_ERRORS", seconds=60) == "TERMINATED_WITH_ERRORS"
    assert reason(aws, cluster)[0] == "INTERNAL_ERROR"
    assert any("NoSuchBucket" in each for each in aws.errors())
    assert_no_nodes(aws)


# The last one: what AWS held is gone after it.
def test_stop_leaves_nothing_and_a_machine_can_be_the_node(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"stand-in-{uuid4().hex}"
    aws.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    create(aws, name, bootstrap="#!/bin/sh\nsleep 16180\n")
    end = time.monotonic() + 30
    while not any("sleep 16180" in each for each in commands()):
        assert time.monotonic() < end
        time.sleep(0.1)
    aws.stop()
    assert_no_nodes(aws)
    assert not any("sleep 16180" in each for each in commands())
    with socket.socket() as found:
        assert found.connect_ex((HOST, aws.place.port)) != 0
    monkeypatch.setenv(SHARED, "1")
    aws.start()
    try:
        assert aws.shared_node == f"{SHARED} is set"
        aws.create_default_roles()
        aws.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        script = (
            '#!/bin/sh -ex\naws s3 cp "$1" copied\nsudo true\nsudo dnf install -y bash\npython3.11 -m pip --version\n'
        )
        cluster = create(aws, name, core=2, bootstrap=script, keep=False, Steps=[step("hadoop", "version")])
        aws.wait_for(cluster, "TERMINATED", "TERMINATED_WITH_ERRORS")
        assert reason(aws, cluster) == ("ALL_STEPS_COMPLETED", "Steps completed"), log(
            aws, name, cluster, "node.*stderr"
        )
        assert "Hadoop 3" in log(aws, name, cluster, "steps/.*/stdout")
        assert_no_nodes(aws)
    finally:
        monkeypatch.delenv(SHARED)
        aws.stop()
        aws.start()
