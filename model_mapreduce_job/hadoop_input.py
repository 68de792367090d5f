"""What comes before a job with ``-r hadoop``: its input is looked at, and what is not on the cluster is put there.

One command asks for all that has to be known, one uploads all input; the job's own files travel with its submission,
and a packed environment is published once.
"""

import getpass
import logging
import os
import posixpath
import re
import shlex
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from mrjob.hadoop import HadoopJobRunner
from mrjob.parse import is_uri

from model_mapreduce_job.command_line import FIRST_FILES, CommandLineError
from model_mapreduce_job.hadoop_commands import HadoopCommands, HadoopError
from model_mapreduce_job.local_input import (
    ODD_UPLOADED,
    SPECIAL,
    check_cluster_name,
    check_local_input,
    check_whole_file,
    files_below,
    left_out,
    matching_paths,
    quoted_special,
    safe_names,
)
from model_mapreduce_job.output_folder import check_output_name, refuse_output
from model_mapreduce_job.shipping import ENVIRONMENTS, environment_archive, shipped_options
from model_scoring.formats.lines import decompressed, read_blocks

__all__ = ["HadoopInputRunner"]

log = logging.getLogger("mrjob.hadoop")  # where mrjob's own --quiet and --verbose reach it

_VERSION_IN_NAME = re.compile(r"(\d+\.\d+\.\d+[\w.-]*)\.jar$")
_MISSING = re.compile(r"^ls: `(.*)': No such file or directory$")
_SERIOUS = re.compile(r"^-?ls: ")
# Permissions, replicas, owner, group (which may have blanks), size, date, time, path; of files, not of folders.
_LISTED = re.compile(r"^-.*?\s(\d+) \d{4}-\d\d-\d\d \d\d:\d\d (.+)$")
# Files in HDFS whose first lines are looked at before the job; the tasks look at all.
FIRST_LINES = 64
_HAS_ZSTD = re.compile(r"^zstd *: *true", re.MULTILINE)
# In a task's shell.
NODES_HADOOP = (
    '$(for each in "$HADOOP_COMMON_HOME/bin/hadoop" "$HADOOP_HOME/bin/hadoop" hadoop %s; '
    'do command -v "$each" || :; done | head -n 1)'
)


class HadoopInputRunner(HadoopJobRunner):  # type: ignore[misc]  # mrjob has no types
    """mrjob's runner, with its own ways of getting input and environment to the cluster."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hadoop = HadoopCommands(self.get_hadoop_bin)
        # mrjob would take it for a URI of the cluster's, and each node would look on its own disk.
        self._input_paths: list[str] = [path.removeprefix("file://") for path in self._input_paths]
        self._wanted_output: str | None = kwargs.get("output_dir") and self._output_dir
        self._archive = environment_archive(self._opts["upload_archives"])
        self._used_hadoop_tmp = False
        self._input_manifest_path: str | None = None
        # What was asked for before the job: size by path, and what is not there.
        self._listed: dict[str, int] = {}
        self._missing: set[str] = set()

    def _combine_opts(self, opt_list: list[dict[str, Any]]) -> dict[str, Any]:
        return shipped_options(super()._combine_opts(opt_list))

    # --- what is there

    def get_hadoop_version(self) -> str:
        """From the name of the streaming jar, where it has one: asking ``hadoop`` takes a second."""
        jar = self.get_hadoop_streaming_jar()
        found = _VERSION_IN_NAME.search(jar or "")
        if found:
            self.fs.hadoop._hadoop_version = found[1]
            return found[1]
        return str(super().get_hadoop_version())

    def _find_binaries_and_jars(self) -> None:
        if shutil.which(self.get_hadoop_bin()[0]) is None:
            home = os.environ.get("HADOOP_HOME")
            raise CommandLineError(
                f"-r hadoop needs Hadoop's own command, and {self.get_hadoop_bin()[0]} is not to be found"
                + (f"; HADOOP_HOME is {home}" if home else "")
                + ". Set HADOOP_HOME to where Hadoop is installed, or put its bin folder on PATH."
            )
        if not self.get_hadoop_streaming_jar():
            raise CommandLineError(
                "-r hadoop needs hadoop-streaming-VERSION.jar, and there is none below HADOOP_HOME. "
                "Name it with --hadoop-streaming-jar."
            )

    def _look(self) -> None:
        """Asks HDFS, in one command, for the input, the output folder and the published environment."""
        self._find_binaries_and_jars()
        local = [path for path in self._input_paths if not is_uri(path)]
        for path in local:
            try:
                check_local_input(path)
            except CommandLineError as error:
                raise CommandLineError(
                    f"{error} Of this machine, that is; what is in HDFS begins with hdfs://"
                ) from None
        asked = [path for path in self._input_paths if is_uri(path)]
        for path in asked:
            check_cluster_name(path)
        asked += [path for path in (self._wanted_output, self._published()) if path]
        if asked:
            self._list(asked)
        self._check_files([*self._local_files(), *self._remote_files()])
        for path in self._input_paths:
            if path in self._missing:
                raise CommandLineError(
                    f"input {path} does not exist. Name a file, a folder or a pattern that matches one."
                )

    def _check_files(self, paths: list[str]) -> None:
        if self._uses_input_manifest():
            for path in paths:
                check_whole_file(path, fetched=is_uri(path))
            return
        zstd = next((path for path in paths if path.lower().endswith(".zst")), None)
        if zstd is not None and not _HAS_ZSTD.search(self.hadoop.run("checknative").stdout.decode("utf-8", "replace")):
            raise CommandLineError(
                f"input {zstd} is compressed with zstandard, which Hadoop reads by a native library that is not there; "
                "see: hadoop checknative. Compress it with gzip or bzip2."
            )

    def _list(self, asked: list[str]) -> None:
        done = self.hadoop.run("fs", "-ls", "-R", *asked)
        complaints = done.stderr.decode("utf-8", "replace").splitlines()
        self._missing = {found[1] for line in complaints if (found := _MISSING.match(line))}
        serious = [line for line in complaints if _SERIOUS.match(line) and not _MISSING.match(line)]
        if serious or (done.returncode and not self._missing):
            told = serious or complaints[-5:] or [f"exit code {done.returncode}"]
            raise HadoopError(f"HDFS cannot be asked for {', '.join(asked)}: {'; '.join(told)}")
        lines = done.stdout.decode("utf-8", "surrogateescape").split("\n")
        self._listed = {found[2]: int(found[1]) for line in lines if (found := _LISTED.match(line))}

    def check_paths(self) -> None:
        """Raises ``CommandLineError`` where the output folder exists, and says what is in it, or input is missing."""
        folder = self._wanted_output
        if folder is not None:
            check_output_name(folder)
        self._look()
        if folder is None or folder in self._missing:
            return
        names = [posixpath.relpath(path, folder) for path in self._listed if path.startswith(f"{folder.rstrip('/')}/")]
        refuse_output(folder, names, f"hadoop fs -rm -r {folder}")

    def input_names(self) -> Iterator[str]:
        """The names of all files of the input."""
        yield from self._local_files()
        yield from self._remote_files()

    def first_files(self, *, all_of_them: bool = False) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The files of the input, those of this machine first, each with its bytes, decompressed; in HDFS a few."""
        for path in self._local_files():
            yield path, read_blocks(path)
        for path in islice(self._remote_files(), FIRST_LINES if all_of_them else FIRST_FILES):
            yield path, self._fetch(path)

    def _local_files(self) -> Iterator[str]:
        for path in super()._get_input_paths():
            if not is_uri(path):
                yield from files_below(path)

    def _remote_files(self) -> Iterator[str]:
        # Hadoop leaves out names below the folder that was named, not those above it.
        above = max((named.rstrip("/").count("/") for named in self._input_paths if is_uri(named)), default=0)
        # An empty file has no lines; one of a format that is read whole is damaged, and a task says so.
        whole = self._uses_input_manifest()
        return (path for path, size in self._listed.items() if (size or whole) and self._is_input(path, above))

    def _is_input(self, path: str, above: int) -> bool:
        return not left_out(path.split("/")[above:]) and path != self._published()

    def _fetch(self, path: str) -> Iterator[bytes]:
        with self.hadoop.reading(path, "-cat", path) as stream:
            # Asked first: what could not be read must not be taken for a file that is cut off.
            if stream.peek(1):
                yield from decompressed(stream, path)

    # --- shipping

    def _published(self) -> str | None:
        """Where the environment is, or will be, on the cluster: its name says what is in it."""
        if self._archive is None:
            return None
        # A folder for each user: what is taken from it is run.
        folder = posixpath.join(posixpath.dirname(self._hadoop_tmp_dir), f"{ENVIRONMENTS}-{getpass.getuser()}")
        return posixpath.join(folder, self._archive.name)

    def _check_input_paths(self) -> None:
        """Nothing: ``check_paths`` has looked."""

    def _default_sh_bin(self) -> list[str]:
        return ["/bin/sh", "-e"]  # mrjob's -x shows each command to whoever wants to read an error

    def _wd_mirror(self) -> None:
        """Nowhere: ``hadoop jar`` takes the job's own files along when it submits."""

    def _add_job_files_for_upload(self) -> None:
        """None, for the same reason."""

    def _archive_arg_hash_paths(self, named_paths: Any = None) -> Iterator[str]:
        for hash_path in super()._archive_arg_hash_paths(named_paths):
            path, _, name = hash_path.rpartition("#")
            if self._archive is not None and Path(path).resolve() == self._archive:
                yield f"{self._published()}#{name}"
            else:
                yield hash_path

    def _get_input_paths(self) -> list[str]:
        if self._input_manifest_path:
            return [self._input_manifest_path]
        if self._uses_input_manifest():
            return [*self._local_files(), *self._remote_files()]
        found: list[str] = []
        for path in super()._get_input_paths():
            found += [path] if is_uri(path) else _for_hdfs(matching_paths(path))
        return found

    def _create_input_manifest_if_needed(self) -> None:
        """Writes the list of files for a job whose tasks get a file each; nothing has to be asked for it."""
        if self._input_manifest_path or not self._uses_input_manifest():
            return
        paths = self._get_input_paths()
        uris = [path if is_uri(path) else self._upload_mgr.uri(path) for path in paths]
        manifest = Path(self._get_local_tmp_dir(), "input-manifest.txt")
        manifest.write_text("".join(f"{uri}\n" for uri in uris), "utf-8", "surrogateescape")
        self._input_manifest_path = str(manifest)
        self._upload_mgr.add(self._input_manifest_path)

    def _manifest_download_commands(self) -> list[tuple[str, str]]:
        # The node's own command, wherever the launching machine has its.
        named = self._opts["hadoop_bin"]
        command = shlex.join(named) if named else NODES_HADOOP % shlex.quote(self.get_hadoop_bin()[0])
        return [("*://*", f"{command} fs -copyToLocal")]

    def _add_input_files_for_upload(self) -> None:
        super()._add_input_files_for_upload()
        safe_names(self._upload_mgr._path_to_name, ODD_UPLOADED if self._uses_input_manifest() else SPECIAL)
        # mrjob uploads a file by its name alone; the folders that tell of its records are kept above it.
        for path, name in self._upload_mgr._path_to_name.items():
            parts = list(map(quoted_special, Path(path).absolute().parts))
            folders = [folder for folder in parts[:-1] if "=" in folder]
            if folders or "=" in parts[-1]:
                unique = f"{name.replace('=', '-')}.in"
                last = ODD_UPLOADED.sub("-", parts[-1]) if self._uses_input_manifest() else parts[-1]
                self._upload_mgr._path_to_name[path] = posixpath.join(unique, *folders, last)

    def _upload_local_files(self) -> None:
        self._publish()
        to_upload = self._upload_mgr.path_to_uri()
        if not to_upload:
            return
        # One command for everything: a folder of links, whose names are those that the cluster is to see.
        folder = Path(self._get_local_tmp_dir(), "upload", posixpath.basename(self._hadoop_tmp_dir))
        for path, uri in to_upload.items():
            link = folder / posixpath.relpath(uri, self._hadoop_tmp_dir)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path(path).absolute())
        self._used_hadoop_tmp = True
        self._put(folder.as_uri(), posixpath.dirname(self._hadoop_tmp_dir) + "/")

    def _put(self, source: str, folder: str) -> None:
        done = self.hadoop.run("fs", "-put", source, folder)
        if done.returncode:
            self.hadoop.checked("fs", "-mkdir", "-p", folder)
            self.hadoop.checked("fs", "-put", source, folder)

    def _publish(self) -> None:
        """Puts the environment into HDFS, unless it is there: whole or not at all, whoever does it at the same time."""
        place = self._published()
        if self._archive is None or place is None or place not in self._missing:
            return
        log.info("Publishing %s to %s, once for as long as nothing in it changes...", self._archive.name, place)
        folder = posixpath.dirname(place)
        temporary = posixpath.join(folder, f".{self._job_key}")
        self.hadoop.checked("fs", "-mkdir", "-p", folder)
        moved = False
        try:
            self.hadoop.checked("fs", "-put", self._archive.as_uri(), temporary)
            moved = not self.hadoop.run("fs", "-mv", temporary, place).returncode
        finally:
            if not moved:
                self.hadoop.run("fs", "-rm", "-f", "-skipTrash", temporary)
        if not moved:  # somebody else was quicker, or it cannot be done
            self.hadoop.checked("fs", "-test", "-e", place)


def _for_hdfs(paths: list[str]) -> Iterator[str]:
    """The paths; files one by one where a folder has names that HDFS does not take, since a file can be renamed."""
    for path in paths:
        files = list(files_below(path)) if Path(path).is_dir() else []
        yield from files if any(map(SPECIAL.search, files)) else [path]
