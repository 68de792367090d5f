"""Applications of the cluster: asked for and ended by HTTP, which needs no JVM."""

import getpass
import http.client
import json
import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from tests.engines.hadoop.cluster import HadoopCluster
from tests.engines.hadoop.configuration import HOST

LIVING = ("NEW", "NEW_SAVING", "SUBMITTED", "ACCEPTED", "RUNNING")


def end_applications(hadoop: HadoopCluster, seconds: float = 20) -> None:
    """Ends every application that lives: there is one EMR cluster at a time, and they are all its own."""
    end = time.monotonic() + seconds
    path = "/ws/v1/cluster/apps"
    while found := (_ask(hadoop, "GET", f"{path}?states={','.join(LIVING)}")["apps"] or {}).get("app"):
        if time.monotonic() > end:
            raise TimeoutError(f"applications have not ended: {', '.join(each['id'] for each in found)}")
        for each in found:
            _ask(hadoop, "PUT", f"{path}/{each['id']}/state", {"state": "KILLED"})
        time.sleep(0.1)


def sign_off(hadoop: HadoopCluster, names: Iterable[str], seconds: float = 20) -> None:
    """Asks NodeManagers to end, and waits until the ResourceManager gives them no more work.

    They take ten seconds for that, and of one that is only gone the ResourceManager goes on to expect something.
    """
    asked = {each.name: each.pid for each in hadoop.status() if each.alive and each.name in names}
    for pid in asked.values():
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
    ports = tuple(f":{hadoop.daemons[name].port}" for name in asked)
    end = time.monotonic() + seconds
    while ports:
        found = _ask(hadoop, "GET", "/ws/v1/cluster/nodes?states=RUNNING")["nodes"] or {}
        if not any(each["id"].endswith(ports) for each in found.get("node", [])):
            return
        if time.monotonic() > end:
            raise TimeoutError(f"{', '.join(asked)} have not signed off in {seconds:.0f} s")
        time.sleep(0.1)


def _ask(hadoop: HadoopCluster, method: str, path: str, body: Any = None) -> Any:
    mark = "&" if "?" in path else "?"
    connection = http.client.HTTPConnection(HOST, hadoop.daemons["resourcemanager"].http_port, timeout=10)
    try:
        connection.request(
            method,
            f"{path}{mark}user.name={getpass.getuser()}",
            None if body is None else json.dumps(body),
            {"Content-Type": "application/json", "Accept": "application/json"},
        )
        answer = connection.getresponse()
        read = answer.read()
        if answer.status >= 300:
            raise OSError(f"{method} {path}: {answer.status} {read.decode(errors='replace')}")
        return json.loads(read)
    finally:
        connection.close()
