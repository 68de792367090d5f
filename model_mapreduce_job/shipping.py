"""What travels to the nodes with a job: the packed environment, or else the code alone.

The environment archive is what ``environment_archive.py`` builds; ``upload_archives`` of the runner names it. Without
it the packages that the job consists of are shipped, and the nodes must have everything else.
"""

import re
from pathlib import Path
from typing import Any

from mrjob.parse import is_s3_uri, is_uri, parse_s3_uri
from mrjob.setup import parse_setup_cmd

from model_mapreduce_job.command_line import CommandLineError
from model_mapreduce_job.local_input import single_files
from model_mapreduce_job.node_wheels import NAME, check_wheels
from model_scoring.settings import Settings

__all__ = ["ENVIRONMENTS", "bootstrap_files", "check_environment", "environment_archive", "for_emr", "shipped_options"]

# The folder on the cluster, among mrjob's temporary ones, that holds a user's published environments.
ENVIRONMENTS = "environments"
INSTANCE_TYPES = ("instance_type", "master_instance_type", "core_instance_type", "task_instance_type")
_NAME = re.compile(r"environment(-[0-9a-f]+)?\.tar\.gz$")


def environment_archive(archives: list[Any]) -> Path | None:
    """The environment archive on this machine among the archives that are to be shipped, its links followed.

    Raises ``CommandLineError`` when it has not been built.
    """
    for archive in archives:
        path = str(archive).partition("#")[0]
        if is_uri(path) or not _NAME.search(path):
            continue
        if not Path(path).exists():
            raise CommandLineError(
                f"{Path(path).absolute()}, the environment that is to be shipped, does not exist. Build it: make "
                "archive (or python -m model_mapreduce_job.environment_archive)."
            )
        return Path(path).resolve()
    return None


def shipped_options(options: dict[str, Any]) -> dict[str, Any]:
    """A runner's options with what they ship settled: with an environment nothing else of ours has to travel."""
    if any(_NAME.search(str(archive).partition("#")[0]) for archive in options["upload_archives"]):
        # The job's class has put its own packages there; whatever else is there the user wants.
        options["upload_dirs"] = [each for each in options["upload_dirs"] if not _is_ours(each)]
        options["upload_files"] = [each for each in options["upload_files"] if not _is_ours(each)]
        options["bootstrap_mrjob"] = False
    else:
        # Python looks beside the script for imports, and follows links: to a cache where the script is alone.
        options["cmdenv"] = {"PYTHONPATH": ".", **options["cmdenv"]}
    return options


def for_emr(kwargs: dict[str, Any]) -> dict[str, Any]:
    """What mrjob's EMR runner is made with, so that it needs no change.

    It uploads single files only. Python looks beside the script for imports, in a cache where the script is alone. And
    to find the log of a failed task it reads the job's history, as JSON only, which is not Hadoop's default any more.
    """
    output = kwargs.get("output_dir")
    if output and not (is_s3_uri(output) and parse_s3_uri(output)[1].strip("/")):
        raise CommandLineError(f"--output-dir {output}: EMR writes into a folder in S3: s3://BUCKET/FOLDER")
    history = {"mapreduce.jobhistory.jhist.format": "json"}
    return {
        **kwargs,
        "steps": [{**step, "jobconf": {**step.get("jobconf", {}), **history}} for step in kwargs["steps"]],
        "input_paths": single_files(kwargs["input_paths"]),
        "cmdenv": {"PYTHONPATH": ".", **kwargs["cmdenv"]},
    }


def bootstrap_files(options: dict[str, Any]) -> list[str]:
    """What the bootstrap of EMR's nodes takes from this machine, by the runner's options.

    Raises ``CommandLineError`` where one of them has not been built, or not for these nodes.
    """
    commands = [parse_setup_cmd(line) for line in options.get("bootstrap") or ()]
    instance_types = [options[name] for name in INSTANCE_TYPES if options.get(name)]
    named = sorted({token["path"] for command in commands for token in command if isinstance(token, dict)})
    local = [path for path in named if not is_uri(path)]
    for path in local:
        if not Path(path).exists():
            raise CommandLineError(f"{path}, which the bootstrap installs from, does not exist. Build it: make dist")
        if Path(path).name == NAME:
            check_wheels(Path(path), instance_types)
    return local


def check_environment(archive: Path, settings: Settings) -> None:
    """Raises ``CommandLineError`` when the archive is not of the settings and models that the launcher has loaded."""
    from model_mapreduce_job.environment_archive import read_manifest, stale_packages  # for clusters only

    manifest = read_manifest(archive)
    if manifest.settings != settings.name:
        problem = f"was built for the settings {manifest.settings}, and this job runs with {settings.name}"
    elif stale := stale_packages(manifest, settings):
        problem = f"has another {', '.join(stale)} than this machine"
    else:
        return
    raise CommandLineError(
        f"{archive} {problem}. Build it anew: APP_SETTINGS={settings.name} make archive (or python -m "
        "model_mapreduce_job.environment_archive, where it is to be)."
    )


def _is_ours(path: Any) -> bool:
    folder = Path(__file__).resolve().parent.parent
    return Path(str(path).partition("#")[0]).resolve() in {
        folder / name for name in ("model_mapreduce_job", "model_scoring", "iris_model", "ml_model_abc.py")
    }
