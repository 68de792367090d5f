"""A stand-in for the AWS that `mrjob -r emr` talks to: its API is moto's, its clusters run what they are given on the
Hadoop of the tests, its nodes are mount namespaces of this machine."""

from tests.engines.emr.aws import Aws
from tests.engines.emr.settings import AwsError

__all__ = ["Aws", "AwsError"]
