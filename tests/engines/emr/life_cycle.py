"""The life of a cluster, which moto leaves out: STARTING, BOOTSTRAPPING, RUNNING, WAITING, TERMINATING, TERMINATED."""

import json
import threading
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any

from moto.core.utils import utcnow

from tests.engines.emr.commands import Commands, InterruptedLifeError, now
from tests.engines.emr.history import keep_histories
from tests.engines.emr.image import STEP_LOG4J
from tests.engines.emr.logs import LogPusher, split_uri
from tests.engines.emr.nodes import Node
from tests.engines.emr.settings import WORKERS
from tests.engines.emr.stage import BY_USER, End, Stage
from tests.engines.emr.steps import STEPS, step_command
from tests.engines.emr.yarn import end_applications, sign_off

READY_SECONDS = 120
ENDED = ("TERMINATING", "TERMINATED", "TERMINATED_WITH_ERRORS")


class LifeCycle:
    """Lives the life of one cluster of moto's, whose state it sets. A mistake of its own ends the cluster."""

    def __init__(self, cluster: Any, stage: Stage) -> None:
        self.cluster = cluster
        self.stage = stage
        self.changed = threading.Condition(threading.RLock())
        self._end: End | None = None
        self._nodes: list[Node] = []
        self._has_room = False  # it is the one cluster that may have nodes
        self._commands = Commands()
        self._logs = LogPusher(stage.s3, cluster.log_uri, cluster.id)
        self._thread = threading.Thread(target=self._run, name=cluster.id, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    # --- what the API asks for

    def terminate(self, end: End = BY_USER) -> None:
        """Begins the end, unless it has begun: what runs is killed, what waits is cancelled."""
        with self.changed:
            if self._end is None:
                self._end = end
                self._say("TERMINATING", end.code, end.message)
                self._commands.end()
            self.changed.notify_all()

    def cancel(self, step: Any) -> str | None:
        """Cancels a step; the reason where it cannot be, else None."""
        with self.changed:
            if step.state == "PENDING":
                self._finish_step(step, "CANCELLED", "Cancelled by user")
            elif step.state == "RUNNING":
                step.state = "CANCEL_PENDING"
                self._commands.kill(step.id)
            else:
                return f"step is {step.state}"
            return None

    def wake(self) -> None:
        with self.changed:
            self.changed.notify_all()

    # --- the thread

    def _run(self) -> None:
        try:
            self._live()
        except InterruptedLifeError:
            pass
        except Exception:
            self._blame(traceback.format_exc())
        for tidy in (self._leave, self._bury):
            try:
                tidy()
            except Exception:
                self._blame(traceback.format_exc())
        with self.changed:
            assert self._end is not None
            self.cluster.end_datetime = utcnow()
            self._say(self._end.state, self._end.code, self._end.message)

    def _blame(self, told: str) -> None:
        self.stage.errors.append(f"{self.cluster.id}: {told}")
        self.terminate(End("TERMINATED_WITH_ERRORS", "INTERNAL_ERROR", f"The stand-in failed: {told.splitlines()[-1]}"))

    def _live(self) -> None:
        self._check_roles()
        self._check_size()
        while not self.stage.free.acquire(timeout=0.1):
            self._check()
        self._has_room = True
        self._make_nodes()
        self._say("BOOTSTRAPPING")
        self._bootstrap_all()
        self._start_workers()
        self.cluster.ready_datetime = utcnow()
        self._run_steps()

    def _note(self, text: str) -> None:
        """For the stand-in's own log: what it does, and when."""
        print(f"{now()} {self.cluster.id} {text}", flush=True)

    def _check(self) -> None:
        if self._end is not None:
            raise InterruptedLifeError

    def _check_roles(self) -> None:
        account = self.cluster.emr_backend.account_id
        for kind, name in (("role", self.cluster.service_role), ("instance-profile", self.cluster.role)):
            short = str(name).rpartition("/")[2]
            if not self.stage.iam(kind, short):
                message = f"arn:aws:iam::{account}:{kind}/{short} is invalid"
                self.terminate(End("TERMINATED_WITH_ERRORS", "VALIDATION_ERROR", message))
                raise InterruptedLifeError

    def _instances(self) -> tuple[list[Any], list[Any]]:
        """The masters and the others, as far as moto has made them."""
        roles = [(each, each.instance_group.role == "MASTER") for each in self.cluster.ec2_instances]
        return [each for each, is_master in roles if is_master], [each for each, is_master in roles if not is_master]

    def _check_size(self) -> None:
        master, workers = self._instances()
        if len(master) != 1 or len(workers) > len(WORKERS):
            message = f"The stand-in has one master and {len(WORKERS)} other instances at most"
            self.terminate(End("TERMINATED_WITH_ERRORS", "VALIDATION_ERROR", message))
            raise InterruptedLifeError

    def _make_nodes(self) -> None:
        master, workers = self._instances()
        chosen = [*master, *workers]
        self._nodes = list(self.stage.make_nodes(self.stage.place, [each.ec2_instance_id for each in chosen]))
        named = {self.cluster.master_public_dns_name: self._nodes[0]}
        named |= {each.private_ip_address: node for each, node in zip(chosen, self._nodes, strict=False)}
        hosts = {name: node.command() for name, node in named.items()}
        self.stage.place.hosts.write_text(json.dumps(hosts), encoding="utf-8")

    # --- bootstrap

    def _bootstrap_all(self) -> None:
        actions = self.cluster.bootstrap_actions
        with ThreadPoolExecutor(len(self._nodes)) as pool:
            failed = list(pool.map(lambda node: self._bootstrap_node(node, actions), self._nodes))
        self._check()
        if not any(failed):
            return
        if failed[0]:
            where, number = f"On the master instance ({self._nodes[0].instance})", failed[0]
        else:
            number = min(filter(None, failed))
            bad = [node.instance for node, each in zip(self._nodes, failed, strict=True) if each == number]
            where = f"On {len(bad)} slave instances (including {' and '.join(bad[:2])})"
        message = f"{where}, bootstrap action {number} returned a non-zero return code"
        self.terminate(End("TERMINATED_WITH_ERRORS", "BOOTSTRAP_FAILURE", message))
        raise InterruptedLifeError

    def _bootstrap_node(self, node: Node, actions: Sequence[Any]) -> int | None:
        """The number of the action that failed, from one; None where none did."""
        for number, action in enumerate(actions, 1):
            logs = node.folder / f"mnt/var/log/bootstrap-actions/{number}"
            name = PurePosixPath(action.script_path).name
            folder = f"/emr/instance-controller/lib/bootstrap-actions/{number}"
            try:
                script = self._fetch(action.script_path)
            except Exception as error:  # EMR's own words for it are not known; the log has the reason
                node.make_folder(logs)
                (logs / "stderr").write_text(f"{action.script_path} could not be fetched: {error}\n")
                return number
            node.put(f"{folder}/{name}", script)
            if self._commands.run(node, [f"./{name}", *action.args], logs=logs, folder=folder):
                return number
        return None

    def _start_workers(self) -> None:
        # A single node is master and worker.
        workers = self._nodes[1:] or self._nodes
        names = WORKERS[: len(workers)]
        self._note("starting workers")
        for node, name in zip(workers, names, strict=True):
            node.start_worker(name)
        self.stage.place.hadoop.wait_ready(names, READY_SECONDS)

    # --- steps

    def _run_steps(self) -> None:
        while True:
            with self.changed:
                self._check()
                step = next((each for each in self.cluster.steps if each.state == "PENDING"), None)
                if step is None and not self.cluster.keep_job_flow_alive_when_no_steps:
                    self._all_done(failed=False)
                    return
                if step is None:
                    self._say("WAITING", None, "Cluster ready after last step completed.")
                    self.changed.wait(1)
                    continue
                self._say("RUNNING", None, "Running step")
                step.state = "RUNNING"
                step.start_date_time = utcnow()
            self._note(f"step {step.id} runs")
            code = self._run_step(step)
            self._note(f"step {step.id} ended with {code}")
            end_applications(self.stage.place.hadoop)
            self._keep_history(step)
            self._logs.push(self._nodes)
            with self.changed:
                self._conclude(step, code)

    def _run_step(self, step: Any) -> int:
        master = self._nodes[0]
        logs = master.folder / "mnt/var/log/hadoop/steps" / step.id
        folder = f"{STEPS}/{step.id}"
        made = step_command(step.jar, step.args, step.hadoop_jar_step.get("MainClass"))
        for name, uri in made.fetched.items():
            master.put(f"{folder}/{name}", self._fetch(uri))
        syslog = f"-Dlog4j.configuration=file:{master.named(STEP_LOG4J)} -Dstep.syslog={master.inside(logs / 'syslog')}"
        return self._commands.run(
            master, made.command, logs=logs, folder=folder, step=step.id, environment={"HADOOP_CLIENT_OPTS": syslog}
        )

    def _keep_history(self, step: Any) -> None:
        logs = self._nodes[0].folder / "mnt/var/log"
        syslog = logs / "hadoop/steps" / step.id / "syslog"
        keep_histories(self.stage.place.hadoop, syslog, logs / "hadoop-mapreduce/history")

    def _conclude(self, step: Any, code: int) -> None:
        """What a step's end means for it, for those after it and for the cluster."""
        if step.state == "CANCEL_PENDING":
            self._finish_step(step, "CANCELLED", "Cancelled by user")
        elif self._end is not None:
            self._finish_step(step, "CANCELLED", "Job terminated")
        elif code == 0:
            self._before_last()
            self._finish_step(step, "COMPLETED")
        else:
            if step.action_on_failure in ("TERMINATE_CLUSTER", "TERMINATE_JOB_FLOW"):
                self.terminate(End("TERMINATED_WITH_ERRORS", "STEP_FAILURE", "Shut down as step failed"))
            elif step.action_on_failure == "CANCEL_AND_WAIT":
                self._cancel_pending("Job terminated")
            self._before_last(failed=True)
            self._finish_step(step, "FAILED", "Unknown Error.")

    def _before_last(self, *, failed: bool = False) -> None:
        # Before the step is said to be over: who sees that it is must also see that the cluster ends, and that its logs
        # are worth waiting for.
        pending = any(each.state == "PENDING" for each in self.cluster.steps)
        if not pending and not self.cluster.keep_job_flow_alive_when_no_steps:
            self._all_done(failed=failed)

    def _all_done(self, *, failed: bool) -> None:
        failed = failed or any(each.state == "FAILED" for each in self.cluster.steps)
        words = "Steps completed with errors" if failed else "Steps completed"
        self.terminate(End("TERMINATED", "ALL_STEPS_COMPLETED", words))

    def _finish_step(self, step: Any, state: str, reason: str | None = None) -> None:
        step.state = state
        step.end_date_time = utcnow()
        step.last_state_change_reason = reason

    def _cancel_pending(self, reason: str) -> None:
        for step in self.cluster.steps:
            if step.state == "PENDING":
                self._finish_step(step, "CANCELLED", reason)

    # --- the end

    def _leave(self) -> None:
        with self.changed:
            for step in self.cluster.steps:
                if step.state in ("PENDING", "RUNNING", "CANCEL_PENDING"):
                    self._finish_step(step, "CANCELLED", "Job terminated")
        if not self._nodes:
            return
        hadoop = self.stage.place.hadoop
        end_applications(hadoop)
        self._note("applications ended")
        sign_off(hadoop, WORKERS)
        self._note("workers ended")
        self._logs.push(self._nodes)
        self._note("logs pushed")

    def _bury(self) -> None:
        nodes, self._nodes = self._nodes, []
        if nodes:
            self.stage.place.hosts.unlink(missing_ok=True)
        try:
            for node in nodes:
                node.end()
            self._note("nodes ended")
        finally:
            if self._has_room:
                self.stage.free.release()

    # --- what these need

    def _fetch(self, uri: str) -> bytes:
        bucket, key = split_uri(uri)
        read: bytes = self.stage.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return read

    def _say(self, state: str, code: str | None = None, message: str | None = None) -> None:
        with self.changed:
            if self._end is not None and state not in ENDED:
                return
            if state != self.cluster.state:
                self._note(f"{state} {message or ''}")
            self.cluster.state = state
            self.cluster.state_change_code = code
            self.cluster.last_state_change_reason = message
