"""HDFS by HTTP, as its superuser: no JVM has to start for it."""

import getpass
import http
import http.client
from urllib.parse import quote, urlsplit

from tests.engines.hadoop.cluster import HadoopCluster
from tests.engines.hadoop.configuration import HOST
from tests.engines.hadoop.installation import HadoopError

# Of the client on EMR's nodes; mrjob knows the histories of jobs by it.
USER = "hadoop"


def make_home(hadoop: HadoopCluster) -> None:
    """Makes room for EMR's user beside the one who has started the cluster."""
    for folder, permission in (("", 1777), ("/staging", 1777), ("/staging/history", 755)):
        path = f"/tmp/hadoop-yarn{folder}"  # noqa: S108 - a folder of HDFS
        _change(hadoop, path, "op=MKDIRS")
        _change(hadoop, path, f"op=SETPERMISSION&permission={permission}")
    _change(hadoop, f"/user/{USER}", "op=MKDIRS")
    _change(hadoop, f"/user/{USER}", f"op=SETOWNER&owner={USER}&group={USER}")


def read(hadoop: HadoopCluster, path: str, operation: str = "OPEN") -> bytes | None:
    """None for what is not there, or no longer."""
    status, content = _answer(hadoop, "GET", path, f"op={operation}")
    return content if status == http.HTTPStatus.OK else None


def _change(hadoop: HadoopCluster, path: str, query: str) -> None:
    status, content = _answer(hadoop, "PUT", path, query)
    if status != http.HTTPStatus.OK:
        raise HadoopError(f"HDFS, {query} of {path}: {status} {content.decode(errors='replace')}")


def _answer(hadoop: HadoopCluster, method: str, path: str, query: str) -> tuple[int, bytes]:
    port = hadoop.daemons["namenode"].http_port
    url = f"http://{HOST}:{port}/webhdfs/v1{quote(path)}?user.name={getpass.getuser()}&{query}"
    for _ in range(2):
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=20)
        try:
            connection.request(method, f"{parts.path}?{parts.query}")
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.TEMPORARY_REDIRECT:
            break
        url = answer.headers["Location"]
    return answer.status, content
