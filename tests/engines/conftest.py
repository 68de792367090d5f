"""The engines that the tests of this folder work with."""

from collections.abc import Iterator

import pytest

from tests.engines.emr.aws import Aws
from tests.engines.hadoop.cluster import HadoopCluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[HadoopCluster]:
    """A Hadoop cluster that works. It goes on running if it did before; one that cannot start fails the tests."""
    hadoop = HadoopCluster()
    was_running = any(daemon.alive for daemon in hadoop.status())
    try:
        hadoop.up()
        yield hadoop
    finally:
        if not was_running:
            hadoop.down()


@pytest.fixture(scope="session")
def aws(cluster: HadoopCluster) -> Iterator[Aws]:
    """AWS, as far as EMR needs it, with nothing in it. It takes the cluster's NodeManagers for as long as it runs."""
    stand_in = Aws(cluster)
    try:
        stand_in.start()
        yield stand_in
    finally:
        stand_in.stop()
