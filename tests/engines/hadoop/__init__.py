"""A small but real Hadoop cluster (HDFS, YARN, MapReduce) on this machine, for tests and for trying the job."""

from tests.engines.hadoop.cluster import HadoopCluster
from tests.engines.hadoop.installation import HadoopError

__all__ = ["HadoopCluster", "HadoopError"]
