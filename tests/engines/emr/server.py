"""python -m tests.engines.emr.server FOLDER BASE_PORT: the stand-in's process, until SIGTERM."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.iam.models import iam_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from tests.engines.emr import emr_api
from tests.engines.emr.control import Control
from tests.engines.emr.life_cycle import LifeCycle
from tests.engines.emr.nodes import own_nodes
from tests.engines.emr.settings import OWN_AGENT, SHARED, AwsError, Place
from tests.engines.emr.shared_node import shared_nodes
from tests.engines.emr.stage import Stage
from tests.engines.hadoop.cluster import HadoopCluster
from tests.engines.hadoop.configuration import HOST

# For the clusters to end.
END_SECONDS = 30


class Handler(MotoRequestHandler):
    def log_request(self, *_: Any) -> None:
        """Nothing: clusters poll."""


def has_role(kind: str, name: str) -> bool:
    iam = iam_backends[DEFAULT_ACCOUNT_ID]["aws"]
    names = {each.name for each in (iam.roles if kind == "role" else iam.instance_profiles).values()}
    return name in names


def why_shared(place: Place) -> str | None:
    """What stands in the way of nodes of their own, or None."""
    if os.environ.get(SHARED):
        return f"{SHARED} is set"
    try:
        for node in own_nodes(place, ["trial"]):
            node.end()
    except (AwsError, OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(place.nodes / "trial", ignore_errors=True)
        return str(error)
    return None


def serve(place: Place) -> None:
    life_cycles: dict[str, LifeCycle] = {}
    config = Config(user_agent_extra=OWN_AGENT)
    s3 = boto3.client(
        "s3",
        endpoint_url=place.endpoint,
        region_name="us-east-1",
        aws_access_key_id="stand-in",
        aws_secret_access_key="stand-in",  # noqa: S106 - no secret
        config=config,
    )
    refused = why_shared(place)
    stage = Stage(place, s3, has_role, own_nodes if refused is None else shared_nodes)
    emr_api.fill_in(stage, life_cycles)

    def facts() -> dict[str, Any]:
        return {"errors": stage.errors, "pid": os.getpid(), "shared_node": refused}

    application = Control(DomainDispatcherApplication(create_backend_app), facts)
    server = make_server(HOST, place.port, application, threaded=True, request_handler=Handler)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ended.wait()
    for life in life_cycles.values():
        life.terminate()
    for life in life_cycles.values():
        life.join(END_SECONDS)


if __name__ == "__main__":
    serve(Place(HadoopCluster(Path(sys.argv[1]), int(sys.argv[2]))))
