"""What the launcher asks of ``-r emr``: answered beside mrjob's own EMR runner, which stays as it is.

A cluster costs money from the moment it is asked for, so everything that can be known before is looked at before. It
reads private attributes of mrjob 0.7.4, its last release; ``requirements.txt`` pins it.
"""

import logging
import os
import posixpath
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from io import BufferedReader, RawIOBase
from itertools import islice
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from mrjob.emr import _MAX_MINS_IDLE_BOOTSTRAP_ACTION_PATH, EMRJobRunner
from mrjob.parse import is_s3_uri, is_uri, parse_s3_uri
from mrjob.setup import WorkingDirManager
from mrjob.step import StepFailedException

from model_mapreduce_job.aws_errors import AwsError, check_region, explained, region_of
from model_mapreduce_job.command_line import FIRST_FILES, CommandLineError
from model_mapreduce_job.container_logs import LOG_SECONDS, AttemptLogs
from model_mapreduce_job.examples import parse_example
from model_mapreduce_job.local_input import (
    ODD_UPLOADED,
    SPECIAL,
    check_cluster_name,
    check_whole_file,
    left_out,
    safe_names,
)
from model_mapreduce_job.output_folder import check_output_name, refuse_output
from model_mapreduce_job.runner_extras import MrjobExtras
from model_mapreduce_job.shipping import bootstrap_files
from model_mapreduce_job.task_failure import damaged_input, exit_code, java_side, told_by, with_local_paths
from model_scoring.formats.lines import decompressed, read_blocks

__all__ = ["EmrExtras"]

log = logging.getLogger("mrjob.emr")  # where mrjob's own --quiet and --verbose reach it

_CAUSE = "\nProbable cause of failure:"
# Containers whose logs are looked into for the summary's examples.
LOOKED_INTO = 100
ALIVE = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING")
# What cannot be read without being restored.
ARCHIVED = ("GLACIER", "DEEP_ARCHIVE")
MISSING = ("404", "NoSuchBucket", "NoSuchKey")
# What EMR says of a cluster that it does not know, or whose id is none.
NO_CLUSTER = ("InvalidRequestException", "ValidationException")


class EmrExtras(MrjobExtras):
    """Answers for a job on EMR."""

    def __init__(self, runner: EMRJobRunner) -> None:
        super().__init__(runner)
        # They are read from the step's log; who has turned that off knows that there are none.
        self.without_counts = (
            "the tasks' counts stand in the log of the step, and that could not be read: it has not reached S3, or the "
            "wait for it was cut short. The output has not been checked."
            if runner._read_logs()
            else ""
        )
        self._started = datetime.now(UTC)
        own = runner._output_dir == f"{runner._cloud_tmp_dir}output/"
        self._wanted_output: str | None = None if own else runner._output_dir.rstrip("/")
        self._causes: list[str] = []
        log.addFilter(self._heed)

    def _heed(self, record: logging.LogRecord) -> bool:
        """Keeps back what mrjob says of a failure, Java first: ``failure_report`` says it."""
        text = record.getMessage()
        if text.startswith(_CAUSE):
            self._causes.append(text.removeprefix(_CAUSE).strip("\n"))
            return False
        return True

    # --- before the job

    def check_paths(self) -> None:
        """Raises ``CommandLineError`` where input is missing, the output folder not free, or a bucket elsewhere."""
        runner = self._runner
        check_region(runner._opts["region"])
        if runner._opts["cluster_id"]:
            self._check_cluster(runner._opts["cluster_id"])
            # Its bootstrap has run long ago: nothing of this one is built, looked for or uploaded.
            runner._bootstrap, runner._bootstrap_dir_mgr = [], WorkingDirManager()
            runner._opts["bootstrap_actions"] = []
        else:
            bootstrap_files(runner._opts)
        if runner._uses_input_manifest():
            # mrjob would put hidden files into the list, too.
            named = [path for path in runner._input_paths if path != os.devnull]
            runner._input_paths = [each for path in named for each in self._single_files(path)]
        for path in runner._input_paths:
            if is_uri(path):
                self._check_remote(path)
            elif path != "-":
                runner._upload_mgr.add(path)
        safe_names(runner._upload_mgr._path_to_name, ODD_UPLOADED if runner._uses_input_manifest() else SPECIAL)
        runner._opts["check_input_paths"] = False  # done, by Hadoop's rules, and once
        wanted = self._wanted_output
        if wanted is None:
            return
        check_output_name(wanted)
        if not self._check_region(wanted, "--output-dir"):
            bucket, _ = parse_s3_uri(wanted)
            raise CommandLineError(
                f"--output-dir {wanted}: there is no bucket {bucket}. Create it: aws s3 mb s3://{bucket} --region "
                f"{runner._opts['region']}"
            )
        names = self._names_below(wanted)
        if names:
            refuse_output(wanted, [name for name in names if name], f"aws s3 rm --recursive {wanted}")

    def _check_cluster(self, cluster: str) -> None:
        """Raises ``CommandLineError`` where no job can be given to the cluster."""
        region = self._runner._opts["region"]
        running = f"See which run: aws emr list-clusters --active --region {region}"
        try:
            status = self._runner.make_emr_client().describe_cluster(ClusterId=cluster)["Cluster"]["Status"]
        except ClientError as error:
            if error.response["Error"]["Code"] not in NO_CLUSTER:
                raise
            raise CommandLineError(f"--cluster-id: there is no cluster {cluster} in {region}. {running}") from error
        if status["State"] not in ALIVE:
            raise CommandLineError(f"--cluster-id: the cluster {cluster} is {status['State']}. {running}")

    def _single_files(self, path: str) -> list[str]:
        found = [each for each, _ in self._objects(path)] if is_uri(path) else [path]
        for each in found:
            check_whole_file(each, fetched=is_uri(path))
        return found or [path]

    def _check_remote(self, path: str) -> None:
        check_cluster_name(path)
        if not self._check_region(path, "input"):
            raise CommandLineError(f"input {path}: there is no bucket {parse_s3_uri(path)[0]}.")
        found = False
        for each, summary in self._objects(path):
            found = True
            if summary.storage_class in ARCHIVED:
                raise CommandLineError(
                    f"input {each} is archived ({summary.storage_class}). Restore and copy it first."
                )
        if not found:
            raise CommandLineError(
                f"input {path} does not exist. Name an object, a folder or a pattern that matches one."
            )

    def _objects(self, named: str) -> Iterator[tuple[str, Any]]:
        """The objects that Hadoop would read for a path: what it matches, part by part, and what is below that."""
        path = named.rstrip("/")
        base = re.split(r"[\[\]{}*?]", path, maxsplit=1)[0]
        pattern = re.compile(_as_regex(path) + "(?:/.*)?", re.DOTALL)
        above = path.count("/")
        for each, summary in self._runner.fs.s3._ls(base if base == path else f"{base}*"):
            below = each.split("/")[above:]
            if pattern.fullmatch(each) and below[-1] and not left_out(below):
                yield each, summary

    def _check_region(self, path: str, what: str) -> bool:
        """Whether the bucket of the path is there, as far as it shows; raises where it is in another region."""
        if not is_s3_uri(path):
            return True
        bucket, _ = parse_s3_uri(path)
        wanted = self._runner._opts["region"]
        try:
            answer = self._runner.fs.s3.make_s3_client().get_bucket_location(Bucket=bucket)
        except ClientError as error:
            # Who may not ask where a bucket is may still be allowed to read it.
            return error.response["Error"]["Code"] not in MISSING
        region = region_of(answer)
        if region != wanted:
            raise CommandLineError(
                f"{what} {path}: the bucket is in {region} and the cluster would be in {wanted}; what crosses regions "
                f"is slow, and paid for by the byte. Use --region {region}, or a bucket in {wanted}."
            )
        return True

    def first_files(self, *, all_of_them: bool = False) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The files of the input, in order, each with its bytes, decompressed; a few of those in S3, or all."""
        for path in self._runner._get_input_paths():
            if is_uri(path):
                yield from islice(self._remote_files(path), None if all_of_them else FIRST_FILES)
            else:
                yield path, read_blocks(path)

    def _remote_files(self, named: str) -> Iterator[tuple[str, Iterator[bytes]]]:
        for path, found in self._objects(named):
            if found.size:
                yield path, _body(path, found)

    # --- while and after it runs

    def interrupted(self) -> None:
        """Ends the cluster, or on one that is kept the job's steps, and says so; first of all, for it costs money."""
        runner = self._runner
        region = runner._opts["region"]
        cluster = runner._cluster_id
        # One that has no id yet is this job's: of others mrjob knows the id first.
        given, pooled = runner._opts["cluster_id"], runner._opts["pool_clusters"]
        made = not given and (not pooled or cluster is None or runner._created_cluster)
        kept = not made
        try:
            client = runner.make_emr_client()
            cluster = cluster or self._made(client)
            if cluster is None:
                return
            # The next job of a pool may have been given to a cluster that this one has made.
            kept = not made or (pooled and bool(self._steps(client, cluster, own=False)))
            if kept:
                self._cancel_steps(client, cluster)
            else:
                client.terminate_job_flows(JobFlowIds=[cluster])
                log.error("Cluster %s is ended%s.", cluster, self._state(client, cluster))
                log.error("Its logs stay in %s%s/", runner._opts["cloud_log_dir"], cluster)
        except (ClientError, BotoCoreError) as error:
            which = f"list-steps --cluster-id {cluster}" if kept else f"terminate-clusters --cluster-ids {cluster}"
            command = f"aws emr {which if cluster else 'list-clusters --active'} --region {region}"
            log.error("%s What the job has started may go on, and be paid for; see: %s", explained(error), command)
        self.abandon("The launcher has ended before the job.\n")

    def _made(self, client: Any) -> str | None:
        """The cluster that was asked for when the launcher was interrupted, before its id was known."""
        pages = client.get_paginator("list_clusters").paginate(CreatedAfter=self._started, ClusterStates=ALIVE)
        key = self._runner.get_job_key()  # a pool's cluster has the pool's name behind it
        made = [each["Id"] for page in pages for each in page["Clusters"] if each["Name"].split(" ")[0] == key]
        return made[0] if made else None

    @staticmethod
    def _state(client: Any, cluster: str) -> str:
        try:
            status = client.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]
        except (ClientError, BotoCoreError):
            return ""
        # It may have ended by itself, and for a reason: AWS takes a role for invalid only now.
        reason = status.get("StateChangeReason", {}).get("Message", "").rstrip(".")
        return f": its state is {status['State']}" + (f", {reason}" if reason else "")

    def _steps(self, client: Any, cluster: str, *, own: bool) -> list[str]:
        """The steps of this job that have not ended, or those of others."""
        key = self._runner.get_job_key()
        pages = client.get_paginator("list_steps").paginate(ClusterId=cluster, StepStates=["PENDING", "RUNNING"])
        return [each["Id"] for page in pages for each in page["Steps"] if each["Name"].startswith(key) is own]

    def _cancel_steps(self, client: Any, cluster: str) -> None:
        steps = self._steps(client, cluster, own=True)
        if not steps:
            return
        answer = client.cancel_steps(ClusterId=cluster, StepIds=steps, StepCancellationOption="TERMINATE_PROCESS")
        for each in answer.get("CancelStepsInfoList", ()):
            log.error("Step %s, its cancellation: %s %s", each["StepId"], each["Status"], each.get("Reason", ""))
        # EMR ends the step's client; what that has submitted is YARN's.
        log.error(
            "Cluster %s is kept. What YARN runs of the job goes on until it is ended on the master: "
            "yarn application -list, yarn application -kill ID",
            cluster,
        )

    def failure_report(self, error: StepFailedException) -> tuple[str, int | None]:
        """What is known of a failed step: the task's own words first, Java's last; and the exit code it stands for."""
        known = self._runner._log_interpretations[-1] if self._runner._log_interpretations else {}
        found = next((each for each in known.get("task", {}).get("errors", ()) if "task_error" in each), None)
        if found is not None:
            java = found["hadoop_error"]["message"]
            logs = _logs(found)
            rows = damaged_input(java, logs.split) + told_by(self._attempt(found, known), logs, java) + java_side(java)
            code = exit_code(java)
        else:
            rows, code = [f"{error}.", *self._causes], exit_code("\n".join(self._causes))
        text = "\n".join([*rows, *self._cluster_rows()])
        return with_local_paths(text, self._runner._upload_mgr.path_to_uri()), code

    @staticmethod
    def _attempt(found: dict[str, Any], known: dict[str, Any]) -> str:
        containers = known.get("history", {}).get("attempt_to_container_id", {})
        names = [attempt for attempt, container in containers.items() if container == found.get("container_id")]
        return str(found.get("attempt_id") or next(iter(names), None) or found.get("container_id") or "a task")

    def _cluster_rows(self) -> list[str]:
        try:
            cluster = self._runner._describe_cluster()
        except (ClientError, BotoCoreError):
            return []
        status = cluster["Status"]
        reason = status.get("StateChangeReason", {}).get("Message", "").rstrip(".")
        rows = [f"Cluster {cluster['Id']}: {status['State']}" + (f", {reason}." if reason else ".")]
        if "bootstrap action" in reason:
            rows.append("Its commands stand in the configuration (mrjob.conf, section emr) under bootstrap.")
        return [*rows, f"All logs: {self._runner._s3_log_dir()}"]

    def abandon(self, text: str) -> None:
        """Leaves nothing of a job that failed that could be taken for output.

        A folder that Hadoop has not taken for this job is not touched: it may be somebody else's by now.
        """
        folder, known = self._wanted_output, self._runner._log_interpretations
        if folder is None or len(known) < self._runner._num_steps() or not known[-1].get("step", {}).get("job_id"):
            return
        try:
            names = self._names_below(folder)
            if any(names):
                self._keep(text)
            elif names:  # the marker of an empty folder, which would be in the way of the next run
                self._runner.fs.rm(f"{folder}/")
        except (ClientError, BotoCoreError) as error:
            log.warning("%s could not be looked at: %s", folder, explained(error))

    def fetch_examples(self, wanted: int) -> None:
        """Fills ``examples`` with the first failure of each kind, from the containers' logs, as far as they are had."""
        end = time.monotonic() + LOG_SECONDS
        with suppress(OSError, ClientError, BotoCoreError):
            for path in islice(self._stderr_files() if wanted else (), LOOKED_INTO):
                lines = b"".join(self._runner.fs.cat(path)).decode("utf-8", "replace").splitlines()
                for example in filter(None, map(parse_example, lines)):
                    self.examples.setdefault(example["kind"], example)
                if len(self.examples) >= wanted or time.monotonic() > end:
                    return

    def _stderr_files(self) -> Iterator[str]:
        for known in self._runner._log_interpretations:
            application = known.get("step", {}).get("application_id")
            # The first place that mrjob names: for a next one it would wait, of a cluster that goes on, ten minutes.
            for folders in islice(self._runner._stream_task_log_dirs(application_id=application), 1):
                for folder in folders if application else ():
                    with suppress(OSError):  # over SSH each node is asked, and not each has run a task
                        for path in self._runner.fs.ls(folder):
                            if posixpath.basename(path).startswith("stderr"):
                                yield path

    def tidy_up(self) -> None:
        """Removes the job's temporary files but for the bootstrap's, where a cluster that was made for a pool goes on:
        nodes that have not run it yet, or join later, fetch it from there. mrjob would remove all.
        """
        runner = self._runner
        removes = {"ALL", "TMP", "CLOUD_TMP"} & set(runner._cleanup_mode())
        if not removes or not runner._created_cluster or not runner._opts["pool_clusters"]:
            return
        try:
            if runner._describe_cluster()["Status"]["State"] not in ALIVE:
                return
            needed = self._bootstrap_uris()
            for path in [each for each in runner.fs.ls(runner._cloud_tmp_dir) if each not in needed]:
                runner.fs.rm(path)
        except (ClientError, BotoCoreError) as error:
            log.warning("Temporary files stay in %s: %s", runner._cloud_tmp_dir, explained(error))
        else:
            log.info("What its nodes are made with stays for those that join later: %s", runner._cloud_tmp_dir)
        runner._cloud_tmp_dir = None  # as mrjob says that there is nothing left to remove

    def _bootstrap_uris(self) -> set[str]:
        runner = self._runner
        paths = [*runner._bootstrap_dir_mgr.paths(), runner._master_bootstrap_script_path]
        paths += [*(action["path"] for action in runner._bootstrap_actions()), _MAX_MINS_IDLE_BOOTSTRAP_ACTION_PATH]
        uploaded = runner._upload_mgr.path_to_uri()
        return {uploaded[path] for path in paths if path in uploaded}

    def mark_succeeded(self) -> None:
        """Writes ``_SUCCESS`` into the output folder."""
        self._mark("_SUCCESS", "")

    def mark_failed(self, text: str) -> None:
        """Writes ``_FAILED``, and keeps the logs; the reason counts for more than a mark that cannot be written."""
        with suppress(ClientError, BotoCoreError):
            log.error("The logs stay in %s", self._runner._s3_log_dir())
        self._keep(text)

    def _keep(self, text: str) -> None:
        # mrjob takes a job whose steps have run for one that succeeded, and would remove them.
        self._runner._opts["cleanup"] = ["TMP"]
        if self._wanted_output is None:
            self._runner._opts["cleanup"] = ["LOCAL_TMP"]
            log.error("The output is left in %s", self._runner.get_output_dir())
            return
        try:
            self._mark("_FAILED", text)
        except (ClientError, BotoCoreError) as error:
            log.warning("_FAILED could not be written: %s", explained(error))

    def _mark(self, name: str, text: str) -> None:
        bucket, folder = parse_s3_uri(self._wanted_output)
        key = posixpath.join(folder, name)
        self._runner.fs.s3.make_s3_client().put_object(Bucket=bucket, Key=key, Body=text.encode())

    def _names_below(self, folder: str) -> list[str]:
        """The names of what is in a folder; ``""`` is the marker of a folder that may be empty."""
        base = f"{folder}/"
        return [path.removeprefix(base) for path in self._runner.fs.ls(base)]


def _body(path: str, found: Any) -> Iterator[bytes]:
    yield from decompressed(BufferedReader(_Body(found.get()["Body"])), path)  # asked for when it is read


def _logs(found: dict[str, Any]) -> AttemptLogs:
    split = found.get("split", {})
    place = split.get("path")
    if place and "start_line" in split:
        place = f"{place}:{split['start_line']}+{split['num_lines']}"
    lines = [line for line in found["task_error"]["message"].splitlines() if not re.match(r"reporter:|\s*$", line)]
    return AttemptLogs(found.get("container_id"), place, lines)


def _as_regex(pattern: str) -> str:
    """Hadoop's glob as a regular expression: ``*`` and ``?`` stay within a part of the path."""
    parts = {"*": "[^/]*", "?": "[^/]"}
    tokens = re.findall(r"\[\^?[^\]]*\]|\{[^}]*\}|.", pattern, re.DOTALL)
    written = []
    for token in tokens:
        if token.startswith("{"):
            written.append(f"(?:{'|'.join(map(_as_regex, token[1:-1].split(',')))})")
        elif token.startswith("[") and len(token) > 1:
            written.append(token)
        else:
            written.append(parts.get(token) or re.escape(token))
    return "".join(written)


class _Body(RawIOBase):
    """An object's bytes. botocore's errors of a connection are also ``OSError``, which read as damage to the file."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._body.read(len(buffer))
        except BotoCoreError as error:
            raise AwsError(explained(error)) from error
        buffer[: len(data)] = data
        return len(data)
