"""Requests to the stand-in itself, and the faults they ask for, in front of moto."""

import json
import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from tests.engines.emr.settings import CONTROL, OWN_AGENT

SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message>"
    b"<RequestId>stand-in</RequestId><HostId>stand-in</HostId></Error>"
)

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Control:
    """WSGI middleware: answers below `/_stand_in/`, and 503 to as many requests of S3's as it was asked to."""

    def __init__(self, application: Application, facts: Callable[[], dict[str, Any]]) -> None:
        self._application = application
        self._facts = facts
        self._faults = 0
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith(CONTROL):
            return self._control(environ, start_response)
        if _is_s3(environ) and OWN_AGENT not in environ.get("HTTP_USER_AGENT", "") and self._take_fault():
            _read_body(environ)
            headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(SLOW_DOWN)))]
            start_response("503 Slow Down", headers)
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [SLOW_DOWN]
        return self._application(environ, start_response)

    def _control(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        asked = parse_qs(environ.get("QUERY_STRING", ""))
        with self._lock:
            if "fail_s3" in asked:
                self._faults = int(asked["fail_s3"][0])
            body = json.dumps({"faults_left": self._faults, **self._facts()}).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    def _take_fault(self) -> bool:
        with self._lock:
            fails = self._faults > 0
            self._faults -= fails
            return fails


def _is_s3(environ: dict[str, Any]) -> bool:
    return "/s3/aws4_request" in environ.get("HTTP_AUTHORIZATION", "")


def _read_body(environ: dict[str, Any]) -> None:
    """A client that is still sending takes an answer for a broken connection."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    while length > 0 and (block := environ["wsgi.input"].read(min(length, 1 << 20))):
        length -= len(block)
