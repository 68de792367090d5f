"""How the failure of a task on a cluster is told: its own words first, Java's last; and the exit code it stands for."""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from model_mapreduce_job.container_logs import AttemptLogs

__all__ = ["damaged_input", "exit_code", "java_side", "told_by", "with_local_paths"]

# What Java's decompressors say of a file that is cut off or damaged.
_DAMAGED = re.compile(
    r"Unexpected end of input stream|incorrect (data|header) check|invalid (block|code|stored|distance)|"
    r"not a gzip file|(gzip|bz2?|BZip2) .*(corrupt|invalid)|crc error|bad block header|Stream is not BZip2|"
    r"gzip stream CRC failure|stored gzip (crc|size)|IOException: unexpected end of stream$",
    re.IGNORECASE | re.MULTILINE,
)
_NOT_STARTED = re.compile(r'Cannot run program "([^"]+)".*error=\d+, (.+)')
_CODE = re.compile(r"subprocess failed with code (\d+)")
# What mrjob's script says at the end where a task is given a file to read whole.
_FILE = re.compile(r"while reading input from (\S+)$")
# Lines of a container's standard error that are shown; its traceback is at the end.
SHOWN_LINES = 40


def exit_code(java: str) -> int | None:
    """The exit code that Java's words stand for, None where they do not say."""
    if _DAMAGED.search(java):
        return 3  # as a task of ours that reads a damaged file; here it is Java that reads
    code = _task_code(java)
    return code if code in (3, 4) else None  # 2 is what Python ends with, too, where a node lacks the script


def _task_code(java: str) -> int | None:
    codes = _CODE.findall(java)
    return int(codes[-1]) if codes else None


def damaged_input(java: str, split: str | None) -> list[str]:
    """The line that says so where Java could not decompress the input; none otherwise."""
    if not _DAMAGED.search(java):
        return []
    told = "the compressed data is cut off or damaged. Nothing of it can be trusted to be whole; replace the file."
    return [f"{split or 'a file of the input'}: {told}"]


def told_by(attempt: str, logs: AttemptLogs, java: str) -> list[str]:
    """The lines that say which attempt failed, where, on what, and what it wrote to standard error."""
    number = _task_code(java)
    code = "" if number is None else f", exit code {number}"
    stderr, read = logs.stderr, logs.split
    if stderr and (file := _FILE.match(stderr[-1])):
        stderr, read = stderr[:-1], file[1]
    rows = [f"{attempt} failed on {logs.host or 'an unknown host'}{code}, reading {read or 'an unknown input'}."]
    if stderr:
        rows.append("What it wrote to standard error" + (", in the end:" if len(stderr) > SHOWN_LINES else ":"))
        rows += [f"  {line}" for line in stderr[-SHOWN_LINES:]]
    elif logs.reason:
        rows.append(f"What it wrote to standard error is not to be had: {logs.reason}")
    elif found := _NOT_STARTED.search(java):
        rows.append(f"{found[1]} could not be started there: {found[2]}. Is --python-bin the Python of the nodes?")
    else:
        rows.append("It wrote nothing to standard error: it was ended from outside, or its interpreter crashed.")
    return rows


def java_side(java: str) -> list[str]:
    """The lines that say what Java said."""
    return ["Java's side of it:", *(f"  {line}" for line in java.splitlines())]


def with_local_paths(text: str, uploaded: Mapping[str, str]) -> str:
    """The text with the paths that the user has given in place of the URIs that they were uploaded to, and are gone."""
    places = {path: urlsplit(uri).path for path, uri in uploaded.items()}
    for path in sorted(places, key=lambda path: len(places[path]), reverse=True):
        for found in set(re.findall(rf"\w+://[^/\s]*{re.escape(places[path])}", text)):
            text = text.replace(found, path)
    return text
