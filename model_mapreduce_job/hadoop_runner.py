"""The runner for ``-r hadoop``: mrjob's, with fewer commands, and errors that say what happened.

It overrides private methods of mrjob 0.7.4, its last release; ``requirements.txt`` pins it. What differs from mrjob:
each ``hadoop`` command is a Java process of a second, so one asks for all that has to be known before the job, one
uploads all input, and the job's own files travel with its submission; a packed environment is published once; what a
failed task said is fetched from its container and told before what Java says of it; an interrupted launcher ends its
application; a failed job's output cannot be taken for a whole one.
"""

import getpass
import logging
import os
import posixpath
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Any

from mrjob.hadoop import HadoopJobRunner
from mrjob.logs.step import _interpret_hadoop_jar_command_stderr, _is_counter_log4j_record
from mrjob.parse import is_uri
from mrjob.step import StepFailedException

from model_mapreduce_job.command_line import FIRST_FILES, CommandLineError
from model_mapreduce_job.container_logs import LOG_SECONDS, attempt_logs, failed_attempt, stderr_lines
from model_mapreduce_job.counters import GROUP, LINES
from model_mapreduce_job.examples import parse_example
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
from model_mapreduce_job.summary import NOT_RUN
from model_mapreduce_job.task_failure import damaged_input, exit_code, java_side, told_by, with_local_paths
from model_scoring.errors import ScoringError
from model_scoring.formats.lines import decompressed, read_blocks, split_blocks

__all__ = ["HadoopRunner"]

log = logging.getLogger("mrjob.hadoop")  # where mrjob's own --quiet and --verbose reach it

_VERSION_IN_NAME = re.compile(r"(\d+\.\d+\.\d+[\w.-]*)\.jar$")
_MISSING = re.compile(r"^ls: `(.*)': No such file or directory$")
_SERIOUS = re.compile(r"^-?ls: ")
# Permissions, replicas, owner, group (which may have blanks), size, date, time, path; of files, not of folders.
_LISTED = re.compile(r"^-.*?\s(\d+) \d{4}-\d\d-\d\d \d\d:\d\d (.+)$")
_SUBMITTED = re.compile(r"^Submitted application (\S+)")
_SPLITS = re.compile(r"^number of splits:(\d+)")
_RUNNING = re.compile(r"^Running job: (\S+)")
_ATTEMPT_FAILED = re.compile(r"^Task Id *: *(attempt_\S+), Status *: FAILED")
_END_OF_FAILED_JOB = re.compile(r"^(Job \S+ failed with state|Job not successful|Streaming Command Failed)")
# Files in HDFS whose first lines are looked at before the job; the tasks look at all.
FIRST_LINES = 64
_HAS_ZSTD = re.compile(r"^zstd *: *true", re.MULTILINE)
# In a task's shell.
NODES_HADOOP = (
    '$(for each in "$HADOOP_COMMON_HOME/bin/hadoop" "$HADOOP_HOME/bin/hadoop" hadoop %s; '
    'do command -v "$each" || :; done | head -n 1)'
)
# Seconds for a command that tidies up.
PATIENCE = 60


class HadoopError(ScoringError):
    """Hadoop, or a command of it, does not do what it is asked for."""


class HadoopRunner(HadoopJobRunner):  # type: ignore[misc]  # mrjob has no types
    """Runs a job on the Hadoop cluster that the ``hadoop`` command of this machine knows."""

    without_counts = NOT_RUN

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # mrjob would take it for a URI of the cluster's, and each node would look on its own disk.
        self._input_paths: list[str] = [path.removeprefix("file://") for path in self._input_paths]
        self.examples: dict[str, dict[str, Any]] = {}
        self._wanted_output: str | None = kwargs.get("output_dir") and self._output_dir
        self._archive = environment_archive(self._opts["upload_archives"])
        self._used_hadoop_tmp = False
        self._input_manifest_path: str | None = None
        # What the client has said: of all steps, and of the one that was started last.
        self._applications: list[str] = []
        self._job: str | None = None
        self._splits: list[int | None] = []
        self._before = 0
        self._failed_attempts: list[tuple[str, str]] = []
        self._last_words: list[str] = []
        # What was asked for before the job: size by path, and what is not there.
        self._listed: dict[str, int] = {}
        self._missing: set[str] = set()

    @classmethod
    def _default_opts(cls) -> dict[str, Any]:
        # What mrjob keeps of a failed job is as large as its input; the error has named what is needed to find it.
        # And a file of a few blocks needs no more tasks than blocks: Hadoop's own default is two.
        return {
            **super()._default_opts(),
            "cleanup_on_failure": ["TMP"],
            "jobconf": {"mapreduce.job.maps": "1"},
        }

    def _combine_opts(self, opt_list: list[dict[str, Any]]) -> dict[str, Any]:
        return shipped_options(super()._combine_opts(opt_list))

    # --- before the job

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
        if zstd is not None and not _HAS_ZSTD.search(self._hadoop("checknative").stdout.decode("utf-8", "replace")):
            raise CommandLineError(
                f"input {zstd} is compressed with zstandard, which Hadoop reads by a native library that is not there; "
                "see: hadoop checknative. Compress it with gzip or bzip2."
            )

    def _list(self, asked: list[str]) -> None:
        done = self._hadoop("fs", "-ls", "-R", *asked)
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

    def tell_tasks(self, arguments: list[str]) -> None:
        """Adds to the arguments of all tasks."""
        self._extra_args += arguments

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
        with self._reading(path, "-cat", path) as stream:
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
        done = self._hadoop("fs", "-put", source, folder)
        if done.returncode:
            self._checked("fs", "-mkdir", "-p", folder)
            self._checked("fs", "-put", source, folder)

    def _publish(self) -> None:
        """Puts the environment into HDFS, unless it is there: whole or not at all, whoever does it at the same time."""
        place = self._published()
        if self._archive is None or place is None or place not in self._missing:
            return
        log.info("Publishing %s to %s, once for as long as nothing in it changes...", self._archive.name, place)
        folder = posixpath.dirname(place)
        temporary = posixpath.join(folder, f".{self._job_key}")
        self._checked("fs", "-mkdir", "-p", folder)
        moved = False
        try:
            self._checked("fs", "-put", self._archive.as_uri(), temporary)
            moved = not self._hadoop("fs", "-mv", temporary, place).returncode
        finally:
            if not moved:
                self._hadoop("fs", "-rm", "-f", "-skipTrash", temporary)
        if not moved:  # somebody else was quicker, or it cannot be done
            self._checked("fs", "-test", "-e", place)

    # --- the job itself

    def _run_hadoop(
        self, hadoop_args: list[str], env: dict[str, str], record_callback: Any
    ) -> tuple[int, dict[str, Any]]:
        self._used_hadoop_tmp |= self._wanted_output is None or self._num_steps() > 1
        self._job, self._failed_attempts, self._last_words = None, [], []
        self._before = len(self._applications)
        self._splits.append(None)
        # Counters, and the name of the application to end, are told at this level.
        env = {**env, "HADOOP_ROOT_LOGGER": "INFO,console", "HADOOP_LOGLEVEL": "INFO"}
        # A session of its own: Ctrl-C would end this client and leave the application running, and paid for.
        process = subprocess.Popen(  # noqa: S603  # mrjob built them
            hadoop_args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, start_new_session=True
        )
        try:
            told = _interpret_hadoop_jar_command_stderr(process.stdout, record_callback=self._heed)
            code = process.wait()
        except BaseException:
            self._end_application()
            raise
        finally:
            process.kill()
            process.wait()
        if code and not any("failed with state" in words for words in self._last_words):
            self._end_application()  # the client has given up, which does not end what it has started
        return code, told

    @property
    def _submitted(self) -> bool:
        """Whether the step that was started last has got as far as the cluster."""
        return len(self._applications) > self._before

    def _heed(self, record: dict[str, Any]) -> None:
        """Passes on what Hadoop's client says, but for Java's side of a failure: that comes after Python's."""
        message = record["message"]
        if found := _SUBMITTED.match(message):
            self._applications.append(found[1])
        if found := _RUNNING.match(message):
            self._job = found[1]
        if found := _SPLITS.match(message):
            self._splits[-1] = int(found[1])
        if found := _ATTEMPT_FAILED.match(message):
            self._failed_attempts.append((found[1], message.partition("\n")[2]))
            log.warning("  %s failed", found[1])
        elif _END_OF_FAILED_JOB.match(message) or record.get("level") in ("ERROR", "FATAL"):
            self._last_words.append(message)
        elif not _is_counter_log4j_record(record):
            log.log(getattr(logging, record.get("level") or "", logging.INFO), "  %s", message)

    def _end_application(self) -> None:
        for application in self._applications[-1:]:
            log.error("Ending %s...", application)
            done = self._command("yarn", "application", "-kill", application)
            if done is None or done.returncode:
                log.error("It could not be ended; do so yourself: yarn application -kill %s", application)

    def _log_counters(self, log_interpretation: dict[str, Any], step_num: int) -> None:
        """Nothing: the summary says it, and says it once."""

    def _pick_error(self, log_interpretation: dict[str, Any], step_type: str) -> None:
        """Nothing: ``failure_report`` says it."""

    def interrupted(self) -> None:
        """Says so in the output folder: ``_run_hadoop`` has ended the application, which may have been done by then."""
        self.abandon("The launcher has ended before the job.\n")

    def counters(self) -> list[dict[str, dict[str, int]]]:
        """The counters of each step; where there was nothing to read and no task has run, that none was read."""
        found: list[dict[str, dict[str, int]]] = super().counters()
        return [
            counted if splits != 0 else {GROUP: {LINES: 0}} for counted, splits in zip(found, self._splits, strict=True)
        ]

    # --- after the job

    def mark_succeeded(self) -> None:
        """Writes ``_SUCCESS`` into the output folder."""
        self._mark("_SUCCESS")

    def _mark(self, name: str, text: str = "") -> None:
        place = posixpath.join(str(self._output_dir), name)
        done = self._hadoop("fs", "-put", "-", place, stdin=text.encode())
        if done.returncode:
            raise HadoopError(f"{place} could not be written: {done.stderr.decode('utf-8', 'replace').strip()}")

    def mark_failed(self, text: str) -> None:
        """Writes ``_FAILED``; the reason for it counts for more than a mark that cannot be written."""
        if self._wanted_output is None:
            return
        try:
            self._mark("_FAILED", text)
        except HadoopError as error:
            log.warning("%s", error)

    def abandon(self, text: str) -> None:
        """Leaves nothing of a job that failed that could be taken for output: no folder, or one that says so.

        A folder with part files is not removed, and one that Hadoop has not taken for this job is not touched.
        """
        folder = self._wanted_output
        if folder is None or not self._submitted or len(self._splits) < self._num_steps():
            return
        if self._hadoop("fs", "-rmdir", folder).returncode and not self._hadoop("fs", "-test", "-d", folder).returncode:
            self._hadoop("fs", "-put", "-", posixpath.join(folder, "_FAILED"), stdin=text.encode())

    def cat_output(self) -> Iterator[bytes]:
        """The output in blocks, part after part in order, decompressed."""
        parts = posixpath.join(str(self._output_dir), "part-*")
        with self._reading(f"the output in {self._output_dir}", "-text", parts) as stream:
            yield from split_blocks(stream)

    def fetch_examples(self, wanted: int) -> None:
        """Fills ``examples`` with the first failure of each kind, from the containers' logs, as far as they are had."""
        for application in self._applications if wanted else ():
            with suppress(OSError), closing(stderr_lines(self._tool("yarn"), application, LOG_SECONDS)) as lines:
                for example in filter(None, map(parse_example, lines)):
                    self.examples.setdefault(example["kind"], example)
                    if len(self.examples) >= wanted:
                        return

    def failure_report(self, _error: StepFailedException) -> tuple[str, int | None]:
        """What is known of the job's failure (the task's own words, host, input and exit code first, Java's last), and
        the exit code that it stands for, None where nothing says so."""
        rows = []
        mapred = self._tool("mapred")
        heard, told = self._failed_attempts[-1] if self._failed_attempts else (None, "")
        attempt = failed_attempt(mapred, self._job, PATIENCE) or heard
        logs = None
        if attempt is not None:
            logs = attempt_logs(mapred, self._job, attempt, self._log_folders(), LOG_SECONDS)
        java = "\n".join([logs.java if logs and logs.java else told, *self._last_words]).strip("\n")
        rows += damaged_input(java, logs.split if logs else None)
        if attempt is not None and logs is not None:
            rows += told_by(attempt, logs, java)
        elif not self._submitted:
            rows.append("the job was not submitted; Hadoop's client said why.")
        rows += java_side(java)
        if self._submitted:
            rows.append(f"All logs: yarn logs -applicationId {self._applications[-1]}")
        return with_local_paths("\n".join(rows), self._upload_mgr.path_to_uri()), exit_code(java)

    def _log_folders(self) -> list[Path]:
        return [Path(path) for path in self._hadoop_log_dirs() if not is_uri(path)]

    def _cleanup_hadoop_tmp(self) -> None:
        if self._used_hadoop_tmp:
            self._hadoop("fs", "-rm", "-r", "-f", "-skipTrash", self._hadoop_tmp_dir)

    # --- Hadoop's commands

    def _hadoop(self, *args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [*self.get_hadoop_bin(), *args]
        log.debug("> %s", command)
        return subprocess.run(command, input=stdin, capture_output=True, check=False)  # noqa: S603  # Hadoop's own

    @contextmanager
    def _reading(self, what: str, *args: str) -> Iterator[BufferedReader]:
        """What ``hadoop fs`` writes; raises ``HadoopError`` where the command has failed when it has been read."""
        command = [*self.get_hadoop_bin(), "fs", *args]
        with tempfile.TemporaryFile() as complaints:  # not a pipe: nobody reads it while the other is read
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints)  # noqa: S603  # as above
            assert isinstance(process.stdout, BufferedReader)
            try:
                yield process.stdout
                if process.wait():
                    complaints.seek(0)
                    told = complaints.read().decode("utf-8", "replace").strip()
                    raise HadoopError(f"{what} could not be read: {told or f'exit code {process.returncode}'}")
            finally:
                process.kill()
                process.stdout.close()
                process.wait()

    def _checked(self, *args: str) -> None:
        done = self._hadoop(*args)
        if done.returncode:
            complaint = done.stderr.decode("utf-8", "replace").partition("\nUsage:")[0].strip()
            raise HadoopError(f"hadoop {' '.join(args)} failed: {complaint or f'exit code {done.returncode}'}")

    def _tool(self, name: str) -> str | None:
        """``yarn`` or ``mapred``, which are beside ``hadoop`` or on PATH."""
        beside = Path(shutil.which(self.get_hadoop_bin()[0]) or "").parent
        return shutil.which(name, path=str(beside)) or shutil.which(name)

    def _command(self, name: str, *args: str) -> subprocess.CompletedProcess[bytes] | None:
        tool = self._tool(name)
        if tool is None:
            return None
        try:
            return subprocess.run([tool, *args], capture_output=True, check=False, timeout=PATIENCE)  # noqa: S603  # as above
        except subprocess.TimeoutExpired:
            return None


def _for_hdfs(paths: list[str]) -> Iterator[str]:
    """The paths; files one by one where a folder has names that HDFS does not take, since a file can be renamed."""
    for path in paths:
        files = list(files_below(path)) if Path(path).is_dir() else []
        yield from files if any(map(SPECIAL.search, files)) else [path]
