"""Settings of Hadoop without which streaming changes bytes or a failed job looks whole; for every cluster runner.

They are set for each step, over whatever a configuration file says: the job's promises rest on them.
"""

from typing import Any

__all__ = ["with_whole_lines"]

_ALWAYS = {
    # The launcher writes _SUCCESS, when the counts have added up.
    "mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    # Version 2 moves what a task has written into the output folder while the job may still fail.
    "mapreduce.fileoutputcommitter.algorithm.version": "1",
}
_INPUT = {
    # Otherwise CR ends a line, too.
    "textinputformat.record.delimiter": "\n",
    # Folders of folders; names that start with _ or . are left out at every level.
    "mapreduce.input.fileinputformat.input.dir.recursive": "true",
}
# Otherwise a line without a tab gets one at its end.
_WHOLE_LINES = "keyonlytext"


def with_whole_lines(step: dict[str, Any]) -> dict[str, Any]:
    """The description of a step with these settings in its ``jobconf``; steps that do not stream stay as they are."""
    if step.get("type") != "streaming":
        return step
    settings = {**step.get("jobconf", {}), **_ALWAYS, **_INPUT}
    if "reducer" not in step:
        settings["stream.map.output"] = _WHOLE_LINES
    elif "combiner" not in step:  # whose output is read in the same way, and must be keys and values
        settings["stream.reduce.output"] = _WHOLE_LINES
    return {**step, "jobconf": settings}
