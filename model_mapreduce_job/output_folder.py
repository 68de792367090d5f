"""An output folder that exists: what the user is told of it."""

import posixpath
from collections.abc import Collection

from model_mapreduce_job.command_line import CommandLineError

__all__ = ["refuse_output"]


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
