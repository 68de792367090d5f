"""An output folder: what the user is told of one that exists, and what is in one."""

import posixpath
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from model_mapreduce_job.command_line import CommandLineError
from model_scoring.formats.lines import split_blocks

__all__ = ["check_output_name", "part_blocks", "refuse_output"]

# Hadoop takes them for a pattern, S3's URIs for the end of the key, a shell for the end of a word.
_SPECIAL = re.compile(r"[\[\]{}*?\\#,\s]")


def check_output_name(folder: str) -> None:
    """Raises ``CommandLineError`` for a name that Hadoop, S3 and a shell would not understand as one and the same."""
    if found := _SPECIAL.search(folder):
        raise CommandLineError(f"--output-dir {folder}: Hadoop cannot write to a name with {found[0]!r}. Name another.")


def refuse_output(folder: str, names: Collection[str], remedy: str) -> None:
    """Raises ``CommandLineError`` that says whose output the ``names`` below ``folder`` look like.

    ``remedy`` is the command that removes the folder.
    """
    parts = sum(posixpath.basename(name).startswith("part-") for name in names)
    if "_SUCCESS" in names:
        state = f"the whole output of a job that succeeded ({parts} part files)"
    elif "_FAILED" in names:
        state = f"{parts} part files of a job that failed; its _FAILED says why"
    elif names:
        state = f"{parts} part files and no _SUCCESS, so of a job that failed, was ended or is still running"
    else:
        state = "it is empty"
    raise CommandLineError(f"--output-dir {folder} exists: {state}. Name another folder, or remove it: {remedy}")


def part_blocks(folder: Path) -> Iterator[bytes]:
    """The part files of a folder on this machine in blocks, one after the other in order."""
    for path in sorted(folder.glob("part-*")):
        with path.open("rb") as part:
            yield from split_blocks(part)
