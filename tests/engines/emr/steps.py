"""What a step runs on the master: the command that EMR makes of its jar and arguments."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

# The folder of a step in a node, where its jar and scripts are fetched to and its process works.
STEPS = "/mnt/var/lib/hadoop/steps"


@dataclass(frozen=True)
class StepCommand:
    command: list[str]
    fetched: dict[str, str] = field(default_factory=dict)  # URI by the file's name in the step's folder


def step_command(jar: str, arguments: Sequence[str], main_class: str | None = None) -> StepCommand:
    """`command-runner.jar` runs its arguments, `script-runner.jar` a script of S3's, any other is a jar for Hadoop."""
    name = PurePosixPath(jar).name
    if name == "command-runner.jar":
        return StepCommand(list(arguments))
    if name == "script-runner.jar":
        script, *rest = arguments
        local = PurePosixPath(script).name
        return StepCommand(["/bin/sh", "-c", 'chmod +x "$0" && exec "./$0" "$@"', local, *rest], {local: script})
    command = ["hadoop", "jar", name if jar.startswith("s3") else jar]
    command += [main_class] if main_class else []
    return StepCommand([*command, *arguments], {name: jar} if jar.startswith("s3") else {})
