"""Fields that stand in the path of a file, as Hive and Spark lay out partitions: ``dt=2026-01-01/part-0``.

They become fields of each record of the file, as text, before anything else looks at it: in what the model gets and in
what is written. A record that has a field of that name keeps its own.
"""

from collections.abc import Iterable, Iterator
from urllib.parse import unquote

from model_scoring.formats.ldjson import encode, read_line

__all__ = ["add_fields", "partition_fields", "with_partition_fields"]


def partition_fields(path: str) -> dict[str, str]:
    """The ``key=value`` folders of a path or URI, outermost first, percent signs decoded; the file's name is none."""
    folders = path.split("/")[:-1]
    pairs = (folder.split("=", 1) for folder in folders if "=" in folder and not folder.startswith("="))
    return {unquote(key): unquote(value) for key, value in pairs}


def with_partition_fields(batches: Iterable[tuple[str, list[bytes]]]) -> Iterator[tuple[str, list[bytes]]]:
    """The batches of ``(path, lines)`` with the fields of their paths in their records."""
    for path, lines in batches:
        fields = partition_fields(path)
        yield path, [add_fields(line, fields) for line in lines] if fields else lines


def add_fields(line: bytes, fields: dict[str, str]) -> bytes:
    """The line of a record with fields added at its end; a line that is no record stays as it is."""
    text, record, _ = read_line(line)
    if not isinstance(record, dict):
        return line
    missing = {name: value for name, value in fields.items() if name not in record}
    if not missing:
        return line
    body = line[: len(line) - len(text)] + text.rstrip()[:-1]
    return body + (b", " if record else b"") + encode(missing)[1:]
