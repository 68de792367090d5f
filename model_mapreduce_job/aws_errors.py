"""What AWS refuses, told with what to do about it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)

from model_mapreduce_job.command_line import CommandLineError
from model_scoring.errors import ScoringError

__all__ = ["AwsError", "check_region", "explained", "region_of", "told_with_remedy"]

_CREDENTIALS = (
    "Run `aws configure`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name an AWS_PROFILE that has them."
)
_SIGN_IN = "The credentials are not accepted; look at them with `aws sts get-caller-identity`, and get new ones."
_SECTION = "Check the section emr of the configuration; `make emr-preflight` looks into it before money is spent."
_RIGHTS = "Ask whoever administers the account for the right to do this; docs/emr.md lists what a job needs."
# boto3's own variables: up to ten attempts, the last of them half a minute after the one before.
PATIENCE = {"AWS_RETRY_MODE": "standard", "AWS_MAX_ATTEMPTS": "10"}
# The beginnings of error codes, and what helps.
_REMEDIES = {
    "ExpiredToken": "The session has expired: sign in again.",
    "InvalidClientTokenId": _SIGN_IN,
    "InvalidAccessKeyId": _SIGN_IN,
    "UnrecognizedClient": _SIGN_IN,
    "SignatureDoesNotMatch": _SIGN_IN,
    "RequestTimeTooSkewed": "The clock of this machine is wrong.",
    "AccessDenied": _RIGHTS,
    "UnauthorizedOperation": _RIGHTS,
    "403": _RIGHTS,
    "NoSuchBucket": "Create it: aws s3 mb s3://NAME --region REGION.",
    "SlowDown": "S3 was asked too often, and many times; run the job again later.",
    "Throttling": "AWS was asked too often, and many times; run the job again later.",
    "ValidationException": _SECTION,
    "InvalidRequest": _SECTION,
    "LimitExceeded": "The account's quota is used up: end what is not needed, or ask AWS for more.",
}


class AwsError(ScoringError):
    """AWS cannot be reached, or refuses what it is asked for."""


def explained(error: Exception) -> str:
    """One line: what AWS was asked for, what it said, and what helps."""
    if isinstance(error, NoCredentialsError):
        return f"there are no AWS credentials. {_CREDENTIALS}"
    if isinstance(error, PartialCredentialsError | ProfileNotFound):
        return f"{error}. {_CREDENTIALS}"
    if isinstance(error, ClientError):
        known = error.response.get("Error", {})
        code, told = known.get("Code", "unknown"), known.get("Message", str(error))
        remedy = next((remedy for begin, remedy in _REMEDIES.items() if code.startswith(begin)), "")
        return f"AWS refuses {error.operation_name}: {code}: {told.rstrip('.')}. {remedy}".rstrip()
    if isinstance(error, ConnectionError | HTTPClientError):
        return f"AWS cannot be reached: {error}. Check the network, and that the region is spelled right."
    return f"{error}"


def region_of(answer: Any) -> str:
    """The region that ``GetBucketLocation`` has answered with, which spells two of them in ways of its own."""
    constraint = str(answer["LocationConstraint"] or "us-east-1")
    return "eu-west-1" if constraint == "EU" else constraint


def check_region(name: str) -> None:
    """Raises ``CommandLineError`` for a region without EMR, by what boto3 knows here; nothing is asked."""
    session = boto3.session.Session()
    partitions = session.get_available_partitions()
    known = [region for each in partitions for region in session.get_available_regions("emr", each)]
    if name not in known:
        near = get_close_matches(name, known, n=3) or known
        raise CommandLineError(f"EMR has no region {name!r}. Known regions: {', '.join(near)}.")


@contextmanager
def told_with_remedy() -> Iterator[None]:
    """Raises ``AwsError`` in place of what boto3 raises, ``CommandLineError`` for a place that is not in S3.

    boto3 gives up after four retries within a few seconds; a cluster that is paid for is worth some patience.
    """
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    try:
        yield
    except (ClientError, BotoCoreError, Boto3Error) as error:  # some are OSErrors, too
        raise AwsError(explained(error)) from error
    except OSError as error:
        if not str(error).endswith("is not a directory!"):  # mrjob's, of a folder that the configuration names
            raise
        raise CommandLineError(f"{error} If it is of the bootstrap, build it: make dist") from error
    except ValueError as error:
        if not str(error).startswith("Invalid S3 URI"):
            raise
        raise CommandLineError(
            f"{error}. What EMR reads and writes is in a folder of S3: s3://BUCKET/FOLDER"
        ) from error
