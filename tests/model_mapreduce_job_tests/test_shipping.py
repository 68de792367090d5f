"""What travels with a job on a cluster, as far as it shows without one."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from model_mapreduce_job.command_line import CommandLineError
from model_mapreduce_job.environment_archive import MANIFEST
from model_mapreduce_job.hadoop_settings import with_whole_lines
from model_mapreduce_job.ml_model_map_reduce_job import MLModelMapReduceJob, settings
from model_mapreduce_job.shipping import environment_archive, shipped_options
from tests.model_mapreduce_job_tests.jobs import IRIS, run_command


def job_options(*arguments: object) -> dict[str, Any]:
    job = MLModelMapReduceJob(["-r", "hadoop", "--no-conf", *map(str, (*IRIS, *arguments))])
    with job.make_runner() as runner:
        options: dict[str, Any] = runner._opts
        return options


def test_without_an_archive_the_code_travels() -> None:
    options = job_options()
    names = {path.rpartition("#")[2] for path in options["upload_dirs"]}
    assert {"model_mapreduce_job", "model_scoring", "iris_model"} <= names
    assert options["cmdenv"]["PYTHONPATH"] == "."
    assert options["bootstrap_mrjob"] is not False


def test_with_an_archive_only_what_the_user_names_travels(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    options = shipped_options(
        job_options("--dirs", tmp_path / "mine") | {"upload_archives": ["dist/environment.tar.gz#env"]}
    )
    assert [Path(path.partition("#")[0]) for path in options["upload_dirs"]] == [tmp_path / "mine"]
    assert options["upload_files"] == []
    assert options["bootstrap_mrjob"] is False


def test_archive_is_found_by_its_name_and_its_link_followed(tmp_path: Path) -> None:
    whole = tmp_path / "environment-0123456789abcdef.tar.gz"
    whole.write_bytes(b"")
    (tmp_path / "environment.tar.gz").symlink_to(whole.name)
    assert environment_archive([f"{tmp_path}/environment.tar.gz#env"]) == whole.resolve()
    assert environment_archive([f"{whole}#env"]) == whole.resolve()
    assert environment_archive(["hdfs:///somewhere/environment.tar.gz#env", f"{tmp_path}/data.tar.gz#data"]) is None


def test_archive_that_has_not_been_built_is_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(CommandLineError, match="Build it: make archive"):
        environment_archive([f"{tmp_path}/environment.tar.gz#env"])
    (tmp_path / "mrjob.conf").write_text(
        f"runners: {{hadoop: {{upload_archives: ['{tmp_path}/environment.tar.gz#env']}}}}"
    )
    ran = run_command(*IRIS, "-r", "hadoop", "--conf-path", tmp_path / "mrjob.conf", "data/input.ldjson")
    assert ran.returncode == 2
    assert b"Build it: make archive" in ran.stderr


def environment(folder: Path, **changes: Any) -> Path:
    """An archive of nothing but its manifest: what a job looks into before it ships the rest."""
    manifest = {
        "hash": "0123456789abcdef",
        "python": "3.11.0",
        "platform": "linux-x86_64",
        "c_library": "glibc 2.36",
        "settings": "model_mapreduce_job.config.ProdConfig",
        "models": [],
        "packages": {},
        "distributions": {},
        **changes,
    }
    path = folder / "environment-0123456789abcdef.tar.gz"
    content = json.dumps(manifest).encode()
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo(MANIFEST)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return path


def test_archive_of_other_settings_is_refused(tmp_path: Path) -> None:
    archive = environment(tmp_path, settings="parcels.settings.Settings")
    with pytest.raises(CommandLineError, match=r"for the settings parcels\.settings\.Settings, and this job runs with"):
        job_options("--archives", f"{archive}#env")


def test_archive_of_other_models_is_refused(tmp_path: Path) -> None:
    archive = environment(tmp_path, settings=settings.name, packages={"model_mapreduce_job": "other"})
    with pytest.raises(
        CommandLineError, match=r"has another .*iris_model.* than this machine\. Build it anew: APP_SET"
    ):
        job_options("--archives", f"{archive}#env")


def test_hadoop_that_is_not_there_is_told_in_a_line(tmp_path: Path) -> None:
    clean = dict.fromkeys(("HADOOP_HOME", "HADOOP_PREFIX", "HADOOP_INSTALL", "HADOOP_MAPRED_HOME"), "")
    ran = run_command(
        *IRIS, "-r", "hadoop", "--no-conf", "data/input.ldjson", environment=clean | {"PATH": str(tmp_path)}
    )
    assert ran.returncode == 2
    assert b"Set HADOOP_HOME" in ran.stderr
    assert b"Traceback" not in ran.stderr


@pytest.mark.parametrize("reducer", [False, True])
def test_settings_that_keep_lines_whole(reducer: bool) -> None:
    mapper = {"type": "script"}
    step = {"type": "streaming", "mapper": mapper, "jobconf": {"mapreduce.job.reduces": 2}}
    if reducer:
        step["reducer"] = mapper
    settings = with_whole_lines(step)["jobconf"]
    assert settings["stream.reduce.output" if reducer else "stream.map.output"] == "keyonlytext"
    assert ("stream.map.output" in settings) is not reducer, "between mapper and reducer the key must be split off"
    assert settings["textinputformat.record.delimiter"] == "\n"
    assert settings["mapreduce.job.reduces"] == 2
    combined = with_whole_lines({**step, "reducer": mapper, "combiner": mapper})["jobconf"]
    assert not {"stream.map.output", "stream.reduce.output"} & combined.keys(), "a combiner's pairs are not lines"
    assert with_whole_lines({"type": "jar"}) == {"type": "jar"}
