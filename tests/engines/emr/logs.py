"""Logs of a cluster: from the folders of its nodes, where SSH finds them, to LogUri, where EMR puts them gzipped."""

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.engines.emr.nodes import Node


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key."""
    parts = urlsplit(uri)
    return parts.netloc, parts.path.lstrip("/")


class LogPusher:
    """Copies what a cluster's nodes have logged; what has not changed since it was copied is not copied again."""

    def __init__(self, s3: Any, log_uri: str | None, cluster: str) -> None:
        self._s3 = s3
        self._bucket, folder = split_uri(log_uri or "")
        self._prefix = f"{folder.rstrip('/')}/{cluster}/".lstrip("/") if log_uri else None
        self._pushed: dict[str, tuple[int, int]] = {}

    def push(self, nodes: Iterable[Node]) -> None:
        if self._prefix is None:
            return
        for node in nodes:
            for name, path in _named(node):
                found = path.stat()
                state = (found.st_size, found.st_mtime_ns)
                if self._pushed.get(name) != state:
                    body = gzip.compress(path.read_bytes(), compresslevel=1)
                    self._s3.put_object(Bucket=self._bucket, Key=f"{self._prefix}{name}.gz", Body=body)
                    self._pushed[name] = state


def _named(node: Node) -> Iterator[tuple[str, Path]]:
    """The log files of a node, and what EMR calls them below LogUri."""
    logs = node.folder / "mnt/var/log"
    for folder, name in (
        ("bootstrap-actions", f"node/{node.instance}/bootstrap-actions"),
        ("hadoop/steps", "steps"),
        ("hadoop-yarn/containers", "containers"),
        ("hadoop-mapreduce/history", "hadoop-mapreduce/history"),
    ):
        for path in sorted((logs / folder).rglob("*")):
            if path.is_file():
                yield f"{name}/{path.relative_to(logs / folder)}", path
