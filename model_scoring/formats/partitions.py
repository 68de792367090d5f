"""Fields that stand in the path of a file, as Hive and Spark lay out partitions: ``dt=2026-01-01/part-0``.

They become fields of each record of the file, before anything else looks at it: in what the model gets and in what is
written. As the cells of a CSV file, they are text unless the model's input schema takes something else for them. A
record that has a field of that name keeps its own.
"""

from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from model_scoring.formats.batches import ReadBatch
from model_scoring.formats.cells import Cell, CellError, cell_kinds
from model_scoring.formats.json_text import decode, encode
from model_scoring.outcome import Failure

__all__ = ["PartitionFields", "partition_fields"]

# What Hive and Spark write for null; no field, here.
NULL = "__HIVE_DEFAULT_PARTITION__"


def partition_fields(path: str) -> dict[str, str]:
    """The ``key=value`` folders of a path or URI, outermost first, percent signs decoded; the file's name is none."""
    folders = path.split("/")[:-1]
    pairs = (folder.split("=", 1) for folder in folders if "=" in folder and not folder.startswith("="))
    return {unquote(key): unquote(value) for key, value in pairs}


class PartitionFields:
    """Puts the fields of a file's path into its records; ``described`` is the JSON Schema of the model's records."""

    def __init__(self, described: dict[str, Any] | None) -> None:
        self._described = described
        self._source: str | None = None
        self._texts: dict[str, bytes] = {}

    def fields(self, source: str) -> dict[str, bytes]:
        """JSON text of each field of a path."""
        if source != self._source:
            found = {name: value for name, value in partition_fields(source).items() if value != NULL}
            cells = map(Cell, cell_kinds(found, self._described))
            self._texts = {name: _text(cell, found[name]) for name, cell in zip(found, cells, strict=True)}
            self._source = source
        return self._texts

    def add(self, source: str, read: ReadBatch) -> ReadBatch:
        """The batch, of a file of this name, with the fields in its records and their texts."""
        fields = self.fields(source)
        if not fields:
            return read
        added = [self.add_to(fields, text, item) for text, item in zip(read.texts, read.items, strict=True)]
        return read._replace(texts=[text for text, _ in added], items=[item for _, item in added], rows=None)

    @staticmethod
    def add_to(fields: dict[str, bytes], text: bytes, item: Any) -> tuple[bytes, Any]:
        """A record's text and the record with the fields; what is none stays as it is."""
        record = item.record if isinstance(item, Failure) else item
        if not isinstance(record, dict):
            return text, item
        missing = {name: value for name, value in fields.items() if name not in record}
        if not missing:
            return text, item
        added = b", ".join(b"%b: %b" % (encode(name), value) for name, value in missing.items())
        text = text.rstrip()[:-1] + (b", " if record else b"") + added + b"}"
        record = {**record, **{name: decode(value) for name, value in missing.items()}}
        return text, replace(item, record=record) if isinstance(item, Failure) else record


def _text(cell: Cell, value: str) -> bytes:
    if not value:
        return encode(value)
    try:
        return cell.text(value.encode("utf-8", "surrogateescape"))
    except (CellError, UnicodeDecodeError):  # the schema's business
        return encode(value.encode("utf-8", "replace").decode())
