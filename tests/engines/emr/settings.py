"""What both sides know of each other: the tests (aws.py) and the process they start (server.py)."""

from dataclasses import dataclass
from pathlib import Path

from tests.engines.hadoop.cluster import HadoopCluster
from tests.engines.hadoop.configuration import HOST, s3_port

REGION = "us-west-2"
# moto's, and no secret: the stand-in takes any.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "stand-in", "AWS_SECRET_ACCESS_KEY": "stand-in"}
# In the user agent of requests that no fault is made for: the stand-in's own.
OWN_AGENT = "emr-stand-in"
CONTROL = "/_stand_in/"
# Set to anything, it keeps the stand-in from making nodes of their own.
SHARED = "EMR_SHARED_NODE"
# Core nodes take the places of the cluster's NodeManagers.
WORKERS = ("nodemanager1", "nodemanager2")


class AwsError(Exception):
    """The stand-in cannot do what it was asked for; the message says why."""


@dataclass(frozen=True)
class Place:
    """Where a stand-in is: beside the Hadoop cluster that it runs steps on."""

    hadoop: HadoopCluster

    @property
    def folder(self) -> Path:
        return self.hadoop.folder / "emr"

    @property
    def port(self) -> int:
        return s3_port(self.hadoop.base_port)

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def image(self) -> Path:
        """What is in a node and not of this machine."""
        return self.folder / "image"

    @property
    def nodes(self) -> Path:
        """A folder for each node that there is."""
        return self.folder / "nodes"

    @property
    def hosts(self) -> Path:
        """The nodes by host name, for ssh.py."""
        return self.folder / "hosts.json"
