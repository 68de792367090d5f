"""What the cluster's *-site.xml files say, and the addresses of its daemons."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from tests.engines.hadoop.installation import JAVA_17, QUICK_START, HadoopError, Installation

HOST = "127.0.0.1"
# Below the ports that Linux hands out by itself (from 32768), and clear of Hadoop's own defaults.
DEFAULT_BASE_PORT = 19000
NODES = (1, 2)

Settings = dict[str, str | int]


@dataclass(frozen=True)
class Daemon:
    name: str
    main_class: str
    port: int  # the first of its ports, which follow one another
    http_port: int

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"


def base_port() -> int:
    text = os.environ.get("HADOOP_BASE_PORT", str(DEFAULT_BASE_PORT))
    if not text.isdecimal() or not 1024 <= int(text) <= 65000:
        raise HadoopError(f"HADOOP_BASE_PORT is {text!r} and should be a number from 1024 to 65000")
    return int(text)


def all_daemons(base: int) -> dict[str, Daemon]:
    """The daemons in the order of their start."""
    hdfs, yarn = "org.apache.hadoop.hdfs.server", "org.apache.hadoop.yarn.server"
    daemons = [Daemon("namenode", f"{hdfs}.namenode.NameNode", base, base + 1)]
    daemons += [Daemon(f"datanode{n}", f"{hdfs}.datanode.DataNode", base + 10 * n, base + 10 * n + 2) for n in NODES]
    daemons += [
        Daemon("resourcemanager", f"{yarn}.resourcemanager.ResourceManager", base + 30, base + 34),
        *(
            Daemon(f"nodemanager{n}", f"{yarn}.nodemanager.NodeManager", base + 30 + 10 * n, base + 32 + 10 * n)
            for n in NODES
        ),
        Daemon("jobhistoryserver", "org.apache.hadoop.mapreduce.v2.hs.JobHistoryServer", base + 60, base + 61),
    ]
    return {daemon.name: daemon for daemon in daemons}


def core_site(folder: Path, base: int) -> Settings:
    return {
        "fs.defaultFS": f"hdfs://{HOST}:{base}",
        "hadoop.tmp.dir": f"{folder}/tmp",  # noqa: S108 - a folder of the cluster's own
        "hadoop.security.token.service.use_ip": "true",
    } | s3a(base)


def s3_port(base: int) -> int:
    """Where the AWS stand-in (tests/engines/emr) listens, when there is one."""
    return base + 90


def s3a(base: int) -> Settings:
    """s3:// by S3A, as s3a:// is; on EMR it is EMRFS's."""
    return {
        "fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "fs.AbstractFileSystem.s3.impl": "org.apache.hadoop.fs.s3a.S3A",
        "fs.s3a.endpoint": f"http://{HOST}:{s3_port(base)}",
        "fs.s3a.endpoint.region": "us-east-1",
        "fs.s3a.path.style.access": "true",
        "fs.s3a.connection.ssl.enabled": "false",
        "fs.s3a.aws.credentials.provider": "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
        # The stand-in takes any.
        "fs.s3a.access.key": "stand-in",
        "fs.s3a.secret.key": "stand-in",
    }


def hdfs_site(folder: Path, base: int) -> Settings:
    return {
        "dfs.namenode.rpc-address": f"{HOST}:{base}",
        "dfs.namenode.http-address": f"{HOST}:{base + 1}",
        "dfs.namenode.name.dir": f"file://{folder}/data/namenode",
        "dfs.replication": 2,
        # A client that loses one of two DataNodes while it writes goes on with the other: there is no third.
        "dfs.client.block.write.replace-datanode-on-failure.policy": "NEVER",
        "dfs.namenode.safemode.extension": 0,
        # For the tests' sake: files of several blocks that are small.
        "dfs.namenode.fs-limits.min-block-size": 1024,
        # For the tests' sake: a DataNode is dead after 2 * recheck + 10 * heartbeat = 12 s instead of 10 min 30 s.
        "dfs.heartbeat.interval": 1,
        "dfs.namenode.heartbeat.recheck-interval": 1000,
    }


def datanode(folder: Path, base: int, node: int) -> Settings:
    first = base + 10 * node
    return {
        "dfs.datanode.address": f"{HOST}:{first}",
        "dfs.datanode.ipc.address": f"{HOST}:{first + 1}",
        "dfs.datanode.http.address": f"{HOST}:{first + 2}",
        "dfs.datanode.hostname": HOST,
        "dfs.datanode.data.dir": f"file://{folder}/data/datanode{node}",
    }


def yarn_site(installation: Installation, base: int) -> Settings:
    manager = base + 30
    return {
        "yarn.resourcemanager.hostname": HOST,
        "yarn.resourcemanager.address": f"{HOST}:{manager}",
        "yarn.resourcemanager.scheduler.address": f"{HOST}:{manager + 1}",
        "yarn.resourcemanager.resource-tracker.address": f"{HOST}:{manager + 2}",
        "yarn.resourcemanager.admin.address": f"{HOST}:{manager + 3}",
        "yarn.resourcemanager.webapp.address": f"{HOST}:{manager + 4}",
        "yarn.application.classpath": installation.class_path(installation.configuration).replace(":", ","),
        "yarn.nodemanager.aux-services": "mapreduce_shuffle",
        # Memory is what is scheduled and enforced, as on a real cluster; virtual memory says little about Java.
        "yarn.nodemanager.resource.memory-mb": 4096,
        "yarn.nodemanager.resource.cpu-vcores": 16,
        "yarn.nodemanager.pmem-check-enabled": "true",
        # Otherwise it is left to the control groups of a node that has them, here to the kernel when nothing is free.
        "yarn.nodemanager.resource.memory.enforced": "false",
        "yarn.nodemanager.vmem-check-enabled": "false",
        "yarn.scheduler.minimum-allocation-mb": 256,
        "yarn.scheduler.maximum-allocation-mb": 4096,
        # A developer's disk may be nearly full, and a node that says so takes no work.
        "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage": "100",
        "yarn.log-aggregation-enable": "true",
        "yarn.nodemanager.remote-app-log-dir": "/app-logs",
        "yarn.log-aggregation.retain-seconds": 86400,
        "yarn.log.server.url": f"http://{HOST}:{base + 61}/jobhistory/logs",
        # A container's folder stays a little while for whoever wants to look into it.
        "yarn.nodemanager.delete.debug-delay-sec": 30,
        # A daemon that is started again finds its peers within a second, not half a minute.
        "yarn.resourcemanager.connect.retry-interval.ms": 500,
        # For the tests' sake: a killed NodeManager is noticed after 12 s, not 10 min, and nobody waits 3 min for it.
        "yarn.nm.liveness-monitor.expiry-interval-ms": 12_000,
        # Its application masters are lost with it. One that is only slow to start on a busy machine must not be.
        "yarn.am.liveness-monitor.expiry-interval-ms": 90_000,
        "yarn.client.nodemanager-connect.max-wait-ms": 5_000,
        "yarn.client.nodemanager-connect.retry-interval-ms": 500,
        # For the tests' sake: a task that outgrows its memory is seen within half a second instead of three.
        "yarn.nodemanager.container-monitor.interval-ms": 500,
        # For the tests' sake: short jobs do not wait for the next heartbeat.
        "yarn.resourcemanager.nodemanagers.heartbeat-interval-ms": 100,
        "yarn.client.application-client-protocol.poll-interval-ms": 100,
    }


def nodemanager(folder: Path, base: int, node: int) -> Settings:
    first = base + 30 + 10 * node
    return {
        "yarn.nodemanager.hostname": HOST,
        "fs.AbstractFileSystem.file.impl": "QuickLocalFs",
        "yarn.nodemanager.address": f"{HOST}:{first}",
        "yarn.nodemanager.localizer.address": f"{HOST}:{first + 1}",
        "yarn.nodemanager.webapp.address": f"{HOST}:{first + 2}",
        "yarn.nodemanager.local-dirs": f"{folder}/data/nodemanager{node}/local",
        "yarn.nodemanager.log-dirs": f"{folder}/data/nodemanager{node}/logs",
    }


def mapred_site(installation: Installation, base: int) -> Settings:
    # In the admin options: what a job says about memory does not take the place of these.
    java = " ".join((*JAVA_17, *QUICK_START))
    history = base + 60
    return {
        "mapreduce.framework.name": "yarn",
        "mapreduce.application.classpath": installation.class_path(installation.configuration).replace(":", ","),
        "mapreduce.jobhistory.address": f"{HOST}:{history}",
        "mapreduce.jobhistory.webapp.address": f"{HOST}:{history + 1}",
        "mapreduce.jobhistory.admin.address": f"{HOST}:{history + 2}",
        "yarn.app.mapreduce.am.staging-dir": "/tmp/hadoop-yarn/staging",  # noqa: S108 - a folder of HDFS
        # Here and not in yarn-site.xml, which mapred-default.xml overrides. Any free port: two nodes share an address.
        "mapreduce.shuffle.port": 0,
        "yarn.app.mapreduce.am.resource.mb": 768,
        "yarn.app.mapreduce.am.command-opts": "-Xmx320m",
        # It serves its tasks and clients.
        "yarn.app.mapreduce.am.admin-command-opts": " ".join((java, *installation.loopback_only)),
        # Most of a streaming task's memory is for the program it runs.
        "mapreduce.map.memory.mb": 1024,
        "mapreduce.map.java.opts": "-Xmx256m",
        "mapreduce.reduce.memory.mb": 1024,
        "mapreduce.reduce.java.opts": "-Xmx256m",
        "mapreduce.admin.map.child.java.opts": java,
        "mapreduce.admin.reduce.child.java.opts": java,
        "mapreduce.task.io.sort.mb": 64,
        "mapreduce.job.ubertask.enable": "false",
        "mapreduce.client.submit.file.replication": 2,
        # For the tests' sake: short jobs do not wait for the next look.
        "yarn.app.mapreduce.am.scheduler.heartbeat.interval-ms": 200,
        "mapreduce.client.progressmonitor.pollinterval": 200,
        "mapreduce.client.completion.pollinterval": 200,
        "mapreduce.jobhistory.move.interval-ms": 2000,
    }


def capacity_scheduler() -> Settings:
    return {
        "yarn.scheduler.capacity.root.queues": "default",
        "yarn.scheduler.capacity.root.default.capacity": 100,
        # A small cluster: the usual 10 % would not hold one application master.
        "yarn.scheduler.capacity.maximum-am-resource-percent": "0.5",
        # Every block is as near as any other here.
        "yarn.scheduler.capacity.node-locality-delay": -1,
        # Tasks go to both nodes, not all to the one that calls first.
        "yarn.scheduler.capacity.per-node-heartbeat.maximum-container-assignments": 1,
    }


# Commands report on standard error, at INFO: it is where tools read the job's id and counters.
LOG4J = """log4j.rootLogger=INFO,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{2}: %m%n
# The jars come without native libraries, and each command would say so.
log4j.logger.org.apache.hadoop.util.NativeCodeLoader=ERROR
# Each question whether a daemon is ready would be a line.
log4j.logger.http.requests=WARN
"""


def files(installation: Installation, folder: Path, base: int) -> Mapping[Path, str]:
    """Every configuration file with its text: the clients' folder, and one for each daemon that differs from it."""
    texts: dict[Path, str] = {}
    variants: dict[Path, tuple[Settings, Settings]] = {installation.configuration: ({}, {})}
    for node in NODES:
        variants[folder / f"conf/datanode{node}"] = (datanode(folder, base, node), {})
        variants[folder / f"conf/nodemanager{node}"] = ({}, nodemanager(folder, base, node))
    for place, (hdfs, yarn) in variants.items():
        texts[place / "core-site.xml"] = xml(core_site(folder, base))
        texts[place / "hdfs-site.xml"] = xml(hdfs_site(folder, base) | hdfs)
        texts[place / "yarn-site.xml"] = xml(yarn_site(installation, base) | yarn)
        texts[place / "mapred-site.xml"] = xml(mapred_site(installation, base))
        texts[place / "capacity-scheduler.xml"] = xml(capacity_scheduler())
        texts[place / "log4j.properties"] = LOG4J
    return texts


def xml(settings: Settings) -> str:
    properties = "".join(
        f"  <property><name>{escape(name)}</name><value>{escape(str(value))}</value></property>\n"
        for name, value in settings.items()
    )
    return f'<?xml version="1.0"?>\n<configuration>\n{properties}</configuration>\n'
