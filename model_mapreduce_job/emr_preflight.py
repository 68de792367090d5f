"""``make emr-preflight``: asks AWS whether a job could run on EMR. It makes nothing there, and costs nothing.

``python -m model_mapreduce_job.emr_preflight [--conf-path mrjob.conf] [--region R] [s3://BUCKET/FOLDER ...]`` takes the
section ``emr`` of the configuration and checks, in the order in which a job would meet them: names of options,
credentials, region, release label, roles, buckets, and the files that the bootstrap ships. Each check is a line; the
exit code is 1 when one has failed, 2 when there is no configuration.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

from model_mapreduce_job.distutils_stand_in import import_mrjob

import_mrjob()

import boto3  # noqa: E402
from boto3.exceptions import Boto3Error  # noqa: E402
from botocore.exceptions import BotoCoreError, ClientError  # noqa: E402
from mrjob.conf import combine_opts, load_opts_from_mrjob_confs  # noqa: E402
from mrjob.emr import EMRJobRunner  # noqa: E402
from mrjob.options import _combiners  # noqa: E402
from mrjob.parse import parse_s3_uri  # noqa: E402

from model_mapreduce_job.aws_errors import check_region, explained, region_of  # noqa: E402
from model_mapreduce_job.command_line import CommandLineError, check_configuration  # noqa: E402
from model_mapreduce_job.shipping import bootstrap_files  # noqa: E402

__all__ = ["main"]

# On Amazon Linux 2023, with the C library that `make dist` fetches wheels for.
SERIES = "emr-7."
CREATE_ROLES = "Create both roles: aws emr create-default-roles"


class NotReadyError(Exception):
    """A job could not run; the message says why, and what helps."""


class Preflight:
    """The checks of one configuration; each returns what it has found, or raises."""

    def __init__(self, options: dict[str, Any], paths: list[str]) -> None:
        self._options = options
        self._paths = paths
        self._region: str = options.get("region") or "us-west-2"  # mrjob's own choice

    def checks(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """Each check with its name, those that others need first."""
        yield "configuration", self._known_options
        yield "credentials", self._credentials
        yield "region", self._known_region
        yield "release label", self._release_label
        yield "service role", self._service_role
        yield "instance profile", self._instance_profile
        for name in ("cloud_tmp_dir", "cloud_log_dir"):
            if self._options.get(name):
                yield name, lambda path=self._options[name]: self._bucket(path)  # type: ignore[misc]
        for path in self._paths:
            yield path, lambda path=path: self._bucket(path)  # type: ignore[misc]
        yield "bootstrap files", self._bootstrap_files

    def _client(self, service: str) -> Any:
        # Names of mrjob's options for somebody else's endpoint; Amazon's own needs none.
        endpoint = self._options.get(f"{service}_endpoint")
        if endpoint and "://" not in endpoint:
            endpoint = f"https://{endpoint}"
        return boto3.client(service, region_name=self._region, endpoint_url=endpoint)  # type: ignore[call-overload]

    def _known_options(self) -> str:
        unknown = sorted(self._options.keys() - EMRJobRunner.OPT_NAMES)
        if unknown:
            raise NotReadyError(f"mrjob knows no option {', '.join(unknown)}, and leaves it out.")
        return f"{len(self._options)} options"

    def _credentials(self) -> str:
        caller = self._client("sts").get_caller_identity()
        return f"{caller['Arn']}"

    def _known_region(self) -> str:
        check_region(self._region)
        return self._region

    def _release_label(self) -> str:
        label = self._options.get("release_label")
        if not label:
            raise NotReadyError("the configuration names no release_label, and mrjob's own is of 2020. Name one.")
        client = self._client("emr")
        labels: list[str] = []
        token: dict[str, str] = {}
        while True:
            page = client.list_release_labels(**token)
            labels += page["ReleaseLabels"]
            if not page.get("NextToken"):
                break
            token = {"NextToken": page["NextToken"]}
        newest = max((each for each in labels if each.startswith(SERIES)), key=_version, default="none")
        if label not in labels:
            raise NotReadyError(f"there is no {label} in {self._region}; the newest is {newest}.")
        if not label.startswith(SERIES):
            raise NotReadyError(f"{label} is not of the series {SERIES}x, for which the wheels are built.")
        return label if label == newest else f"{label} (the newest is {newest})"

    def _service_role(self) -> str:
        role = self._options.get("iam_service_role")
        if not role:
            return "none is named: mrjob makes one, for which you need the right"
        try:
            self._client("iam").get_role(RoleName=role)
        except ClientError as error:
            raise _missing(error, f"there is no role {role}. {CREATE_ROLES}") from error
        return str(role)

    def _instance_profile(self) -> str:
        name = self._options.get("iam_instance_profile")
        if not name:
            return "none is named: mrjob makes one, for which you need the right"
        try:
            profile = self._client("iam").get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
        except ClientError as error:
            raise _missing(error, f"there is no instance profile {name}. {CREATE_ROLES}") from error
        if not profile["Roles"]:
            raise NotReadyError(f"the instance profile {name} holds no role. {CREATE_ROLES}")
        return str(name)

    def _bucket(self, path: str) -> str:
        try:
            bucket, _ = parse_s3_uri(f"{path.rstrip('/')}/")
        except ValueError:
            raise NotReadyError(f"{path} is no place in S3: s3://BUCKET/FOLDER") from None
        client = self._client("s3")
        create = f"there is no bucket {bucket}. Create it: aws s3 mb s3://{bucket} --region {self._region}"
        try:
            region = region_of(client.get_bucket_location(Bucket=bucket))
            client.head_bucket(Bucket=bucket)
        except ClientError as error:
            raise _missing(error, create) from error
        if region != self._region:
            raise NotReadyError(f"the bucket {bucket} is in {region} and the cluster would be in {self._region}.")
        return f"bucket {bucket} in {region}"

    def _bootstrap_files(self) -> str:
        return ", ".join(bootstrap_files(self._options)) or "none"


def _version(label: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", label)))


def _missing(error: ClientError, told: str) -> Exception:
    """``told`` where what was asked for is not there, else the error itself."""
    code = error.response["Error"]["Code"]
    return NotReadyError(told) if code in ("404", "NoSuchEntity", "NoSuchBucket") else error


def _options(conf_paths: list[str]) -> dict[str, Any]:
    """The options as mrjob's runner combines them: of lists it takes those of all files."""
    check_configuration("emr", conf_paths)
    given = [options for _, options in load_opts_from_mrjob_confs("emr", conf_paths)]
    options: dict[str, Any] = combine_opts(_combiners(EMRJobRunner.OPT_NAMES), *given)
    return options


def main(arguments: list[str] | None = None) -> int:
    """Runs the checks and prints a line for each; returns the exit code."""
    parser = argparse.ArgumentParser(prog="emr_preflight", description="Asks AWS whether a job could run on EMR.")
    parser.add_argument(
        "--conf-path", action="append", help="mrjob's configuration; may be repeated, the last one wins; lists add up"
    )
    parser.add_argument("--region", help="instead of the configuration's")
    parser.add_argument("paths", nargs="*", metavar="s3://BUCKET/FOLDER", help="input and output of the job")
    args = parser.parse_args(arguments)
    try:
        options = _options(args.conf_path or ["mrjob.conf"])
    except CommandLineError as error:
        print(error, file=sys.stderr)
        return 2
    if args.region:
        options["region"] = args.region
    failed = 0
    for name, check in Preflight(options, args.paths).checks():
        try:
            state, told = "ok", check()
        except (NotReadyError, CommandLineError, ClientError, BotoCoreError, Boto3Error) as error:
            state, told = "FAILED", explained(error)
        failed += state == "FAILED"
        print(f"{state:<7} {name}: {told}")
        if state == "FAILED" and name in ("credentials", "region"):
            print("        The rest cannot be asked without.")
            break
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
