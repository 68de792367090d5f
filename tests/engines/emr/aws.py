"""The stand-in as tests have it: started, looked into with boto3, asked for faults, stopped."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import yaml

from tests.engines.emr import image
from tests.engines.emr.hdfs import make_home
from tests.engines.emr.settings import CONTROL, CREDENTIALS, REGION, SHARED, WORKERS, AwsError, Place
from tests.engines.hadoop import processes
from tests.engines.hadoop.cluster import TOP, HadoopCluster
from tests.engines.hadoop.configuration import HOST
from tests.engines.hadoop.installation import last_lines

READY_SECONDS = 60
STOP_SECONDS = 60
SSH = Path(__file__).with_name("ssh.py")


class Aws:
    """S3, IAM, STS, EC2 and EMR of one account on one port of this machine; clusters run on the Hadoop of the tests.

    Core nodes take the places of Hadoop's NodeManagers, which are stopped for as long as the stand-in runs.
    """

    def __init__(self, hadoop: HadoopCluster) -> None:
        self.place = Place(hadoop)
        self._pid_file = self.place.folder / "server.json"
        self._log = self.place.folder / "server.log"

    # The whole

    def start(self) -> None:
        """Starts the stand-in with nothing in it; one that was left behind is stopped before."""
        self.place.folder.mkdir(exist_ok=True)
        self._stop_server()
        shutil.rmtree(self.place.nodes, ignore_errors=True)
        self.place.nodes.mkdir()
        image.build(self.place)
        self._stop_workers()
        make_home(self.place.hadoop)
        command = [sys.executable, "-m", "tests.engines.emr.server"]
        command += [str(self.place.hadoop.folder), str(self.place.hadoop.base_port)]
        processes.launch(command, self._server_environment(), self._log, self._pid_file)
        self._wait_ready()
        if self.shared_node:
            print(
                f"WARNING: all nodes of EMR clusters are this machine itself: {self.shared_node}", file=sys.__stderr__
            )

    def stop(self) -> None:
        """Ends every cluster and the stand-in; Hadoop has its NodeManagers again."""
        self._stop_server()
        self._stop_workers()
        for name in WORKERS:
            self.place.hadoop.start(name, wait=False)

    # For programs that use it

    def environment(self) -> dict[str, str]:
        """The environment of a program that works with the stand-in: this process's own without other accounts."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MRJOB_"))}
        folder = self.place.folder
        return (
            own
            | CREDENTIALS
            | {
                "AWS_DEFAULT_REGION": REGION,
                "AWS_ENDPOINT_URL": self.place.endpoint,
                "AWS_EC2_METADATA_DISABLED": "true",
                "AWS_CONFIG_FILE": str(folder / "no-config"),
                "AWS_SHARED_CREDENTIALS_FILE": str(folder / "no-credentials"),
            }
        )

    def conf(self, *, ssh: bool = False) -> Path:
        """A file for a second --conf-path: endpoints and a test's patience; with `ssh`, what mrjob needs to read logs
        on nodes, as it does on a cluster that goes on living."""
        options: dict[str, Any] = {f"{name}_endpoint": self.place.endpoint for name in ("emr", "s3", "iam", "ec2")}
        options |= {"check_cluster_every": 0.5, "cloud_fs_sync_secs": 0}
        if ssh:
            key = self.place.folder / "key.pem"
            key.write_text("no key: ssh.py asks for none\n")
            options |= {"ec2_key_pair": "stand-in", "ec2_key_pair_file": str(key), "ssh_add_bin": ["true"]}
            options["ssh_bin"] = [sys.executable, str(SSH), str(self.place.hosts)]
        path = self.place.folder / ("ssh.conf" if ssh else "mrjob.conf")
        path.write_text(yaml.safe_dump({"runners": {"emr": options}}))
        return path

    # For tests to look with

    @cached_property
    def s3(self) -> Any:
        return self.client("s3")

    @cached_property
    def emr(self) -> Any:
        return self.client("emr")

    @cached_property
    def iam(self) -> Any:
        return self.client("iam")

    def client(self, service: str, region: str = REGION, **how: Any) -> Any:
        make: Any = boto3.client
        return make(
            service,
            region_name=region,
            endpoint_url=self.place.endpoint,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            **how,
        )

    def state(self, cluster: str) -> str:
        return str(self.emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"])

    def wait_for(self, cluster: str, *states: str, seconds: float = 120) -> str:
        """The first of these states that the cluster is seen in."""
        end = time.monotonic() + seconds
        while (state := self.state(cluster)) not in states:
            if time.monotonic() > end:
                raise AwsError(
                    f"{cluster} is {state} after {seconds:.0f} s, not {' or '.join(states)}: {self.errors()}"
                )
            time.sleep(0.1)
        return state

    def create_default_roles(self) -> None:
        """What `aws emr create-default-roles` makes, by that command."""
        command = [sys.executable, "-c", "import sys; from awscli.clidriver import main; sys.exit(main())"]
        done = subprocess.run(
            [*command, "emr", "create-default-roles"],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise AwsError(f"aws emr create-default-roles: {done.stderr}")

    def fail_s3(self, count: int) -> None:
        """The next `count` requests to S3, the nodes' included, are answered with 503 Slow Down."""
        self._ask(f"?fail_s3={count}")

    def faults_left(self) -> int:
        return int(self._ask()["faults_left"])

    def errors(self) -> list[str]:
        """Mistakes of the stand-in's own; each has ended a cluster with TERMINATED_WITH_ERRORS."""
        return list(self._ask()["errors"])

    @property
    def shared_node(self) -> str | None:
        """Why all nodes are this machine itself, with a PATH of its own; None where they are nodes of their own."""
        reason = self._ask()["shared_node"]
        return None if reason is None else str(reason)

    # What these need

    def _server_environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(Path.home()),
            "PYTHONPATH": str(TOP),
            "PYTHONUNBUFFERED": "1",
            "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(self.place.folder / "no-config"),
            **{name: value for name, value in os.environ.items() if name in ("JAVA_HOME", "USER", "LOGNAME", SHARED)},
        }

    def _ask(self, query: str = "") -> Any:
        connection = http.client.HTTPConnection(HOST, self.place.port, timeout=10)
        try:
            connection.request("POST", f"{CONTROL}{query}")
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def _wait_ready(self) -> None:
        end = time.monotonic() + READY_SECONDS
        server = processes.known(self._pid_file)
        while True:
            with suppress(OSError, ValueError):
                if server and self._ask()["pid"] == server.pid:
                    return
            if not server or not server.alive or time.monotonic() > end:
                raise AwsError(f"the stand-in has not started:\n{last_lines(self._log.read_text(errors='replace'))}")
            time.sleep(0.05)

    def _stop_server(self) -> None:
        server = processes.known(self._pid_file)
        if server and server.alive:
            server.kill(signal.SIGTERM)
            if not server.wait(STOP_SECONDS):
                server.kill(signal.SIGKILL)
                server.wait(10)
        self._pid_file.unlink(missing_ok=True)

    def _stop_workers(self) -> None:
        alive = {each.name for each in self.place.hadoop.status() if each.alive}
        for name in WORKERS:
            if name in alive:
                self.place.hadoop.kill(name, signal.SIGTERM)
