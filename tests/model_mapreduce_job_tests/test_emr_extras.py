"""What is known of a job on EMR without AWS; the rest is rehearsed in tests/engines."""

import io
import re
import signal
import subprocess
import sys

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError

from model_mapreduce_job.aws_errors import AwsError, check_region, explained, region_of, told_with_remedy
from model_mapreduce_job.command_line import CommandLineError, undisturbed
from model_mapreduce_job.emr_extras import _as_regex, _Body
from model_mapreduce_job.ml_model_map_reduce_job import MLModelMapReduceJob
from model_mapreduce_job.output_folder import check_output_name
from model_scoring.formats.lines import decompressed
from tests.model_mapreduce_job_tests.jobs import IRIS


@pytest.mark.parametrize(
    ("pattern", "matched", "left"),
    [
        ("s3://b/in/*.ldjson", "s3://b/in/a.ldjson", "s3://b/in/dt=1/a.ldjson"),
        ("s3://b/in/dt=?", "s3://b/in/dt=1", "s3://b/in/dt=12"),
        ("s3://b/{x,y*}/a", "s3://b/yes/a", "s3://b/z/a"),
        ("s3://b/a[0-2]", "s3://b/a1", "s3://b/a3"),
        ("s3://b/a.b", "s3://b/a.b", "s3://b/axb"),
    ],
)
def test_patterns_are_hadoops(pattern: str, matched: str, left: str) -> None:
    assert re.fullmatch(_as_regex(pattern), matched)
    assert not re.fullmatch(_as_regex(pattern), left)


def test_what_aws_refuses_is_told_with_what_helps() -> None:
    expired = ClientError({"Error": {"Code": "ExpiredToken", "Message": "It has."}}, "ListBuckets")
    assert (
        explained(expired) == "AWS refuses ListBuckets: ExpiredToken: It has. The session has expired: sign in again."
    )
    assert "aws configure" in explained(NoCredentialsError())
    assert "cannot be reached" in explained(EndpointConnectionError(endpoint_url="https://s3.nowhere.amazonaws.com"))
    with pytest.raises(AwsError, match="cannot be reached"), told_with_remedy():  # an OSError, too
        raise ReadTimeoutError(endpoint_url="https://s3.amazonaws.com")
    with pytest.raises(CommandLineError, match=r"build it: make dist"), told_with_remedy():
        raise OSError("dist/nodes is not a directory!")
    with pytest.raises(ZeroDivisionError), told_with_remedy():
        _ = 1 / 0


def test_regions_that_s3_spells_in_its_own_way() -> None:
    spelled = {None: "us-east-1", "EU": "eu-west-1", "eu-central-1": "eu-central-1"}
    assert {name: region_of({"LocationConstraint": name}) for name in spelled} == spelled


def test_a_region_without_emr_is_refused_and_a_near_one_named() -> None:
    for name in ("us-west-2", "eu-central-1", "cn-north-1", "us-gov-west-1"):
        check_region(name)
    with pytest.raises(CommandLineError, match=r"EMR has no region 'us-wets-2'\. Known regions: us-west-2"):
        check_region("us-wets-2")
    with pytest.raises(CommandLineError, match=r"Known regions: .*eu-west-1.*us-east-1"):
        check_region("Frankfurt")


@pytest.mark.parametrize("name", ["/home/scored", "s3://bucket", "s3://bucket/", "scored", "hdfs:///scored"])
def test_output_that_is_in_no_folder_of_s3_is_refused(name: str) -> None:
    job = MLModelMapReduceJob(["-r", "emr", "--no-conf", *IRIS, "--output-dir", name])
    with pytest.raises(CommandLineError, match=rf"--output-dir {name}: EMR writes into a folder in S3"):
        job.make_runner()


def test_a_connection_that_breaks_is_no_damaged_file() -> None:
    class Breaks:
        def read(self, _size: int) -> bytes:
            raise ReadTimeoutError(endpoint_url="https://s3.amazonaws.com")

    with pytest.raises(AwsError, match="cannot be reached"):
        list(decompressed(io.BufferedReader(_Body(Breaks())), "s3://b/a.gz"))


@pytest.mark.parametrize("name", ["s3://b/out#1", "s3://b/out 1", "hdfs:///out[1]", "hdfs:///out/*"])
def test_output_names_that_would_be_taken_for_others(name: str) -> None:
    with pytest.raises(CommandLineError, match="Name another"):
        check_output_name(name)
    check_output_name("s3://b/dt=2026-01-01/out_1")


def test_a_second_ctrl_c_does_not_keep_a_cluster_running() -> None:
    with undisturbed():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_nohup_is_heeded() -> None:
    program = (
        "import signal\n"
        "from model_mapreduce_job.command_line import signals_interrupt\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with signals_interrupt(True):\n"
        "    signal.raise_signal(signal.SIGHUP)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
