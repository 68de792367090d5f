"""moto's EMR with the life of a cluster in it, and the calls that moto has not."""

from collections.abc import Callable, Mapping
from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.emr.exceptions import InvalidRequestException, ValidationException
from moto.emr.models import Application, Cluster, ElasticMapReduceBackend, Step
from moto.emr.responses import ElasticMapReduceResponse

from tests.engines.emr.life_cycle import ENDED, LifeCycle
from tests.engines.emr.stage import Stage
from tests.engines.hadoop.installation import VERSION

Api = ElasticMapReduceResponse


def fill_in(stage: Stage, life_cycles: dict[str, LifeCycle]) -> None:
    """Replaces in moto what only pretends; `life_cycles` gets those that are begun, by the cluster's id."""
    _name_missing_clusters()
    _fill_in_models(life_cycles)
    _fill_in_calls(stage, life_cycles)


class _Clusters(dict[str, Cluster]):
    """moto looks clusters up without a word for those that there are not."""

    def __missing__(self, name: str) -> Cluster:
        raise InvalidRequestException(f"Cluster id '{name}' is not valid.")


def _name_missing_clusters() -> None:
    begin_of_moto: Callable[..., None] = ElasticMapReduceBackend.__init__

    def begin(self: Any, *args: Any, **how: Any) -> None:
        begin_of_moto(self, *args, **how)
        self.clusters = _Clusters()

    ElasticMapReduceBackend.__init__ = begin  # type: ignore[method-assign]


def _fill_in_models(life_cycles: Mapping[str, LifeCycle]) -> None:
    def start_cluster(self: Any) -> None:
        self.state = "STARTING"
        self.state_change_code = None
        self.start_datetime = utcnow()

    def run_bootstrap_actions(self: Any) -> None:
        """Not here: its instances are not known yet."""

    def add_steps(self: Any, steps: list[dict[str, Any]]) -> list[Step]:
        life = life_cycles.get(self.id)
        if life is None:  # those that came with the cluster
            self.steps += (added := [Step(state="PENDING", **step) for step in steps])
            return added
        with life.changed:
            if self.state in ENDED:
                raise ValidationException(
                    "A job flow that is shutting down, terminated, or finished may not be modified."
                )
            self.steps += (added := [Step(state="PENDING", **step) for step in steps])
            life.wake()
        return added

    def terminate(self: Any) -> None:
        life_cycles[self.id].terminate()

    def add_applications(self: Any, applications: list[dict[str, Any]]) -> None:
        # moto's default has neither a name nor a version that comes through.
        for each in applications:
            name = each.get("name") or each.get("Name") or "Hadoop"
            version = VERSION if name.lower() == "hadoop" else each.get("version", "")
            self.applications.append(Application(name=name, version=version, args=[], additional_info={}))

    for function in (start_cluster, run_bootstrap_actions, add_steps, terminate, add_applications):
        setattr(Cluster, function.__name__, function)
    _say_reasons(Cluster, "state_change_code")
    _say_reasons(Step, "state_change_code")


def _say_reasons(model: type, code: str) -> None:
    inherited: Callable[[Any], dict[str, Any]] = model.status.fget  # type: ignore[attr-defined]

    def status(self: Any) -> dict[str, Any]:
        told = inherited(self)
        if reason_code := getattr(self, code, None):
            told["StateChangeReason"]["Code"] = reason_code
        return told

    model.status = property(status)  # type: ignore[attr-defined]


def _fill_in_calls(stage: Stage, life_cycles: dict[str, LifeCycle]) -> None:
    run_job_flow_of_moto = Api.run_job_flow

    def run_job_flow(self: Any) -> ActionResult:
        _check_label(self.backend, self._get_param("ReleaseLabel"))
        if self._get_param("Instances.InstanceFleets"):
            raise ValidationException("The stand-in has instance groups only, no fleets.")
        result: Any = run_job_flow_of_moto(self)
        cluster = self.backend.clusters[result.result["JobFlowId"]]
        life = life_cycles[cluster.id] = LifeCycle(cluster, stage)
        life.start()
        return ActionResult(result.result)

    def cancel_steps(self: Any) -> ActionResult:
        life = life_cycles[self._get_param("ClusterId")]
        by_id = {step.id: step for step in life.cluster.steps}
        infos = []
        for step_id in self._get_param("StepIds"):
            refused = life.cancel(by_id[step_id])
            infos.append({"StepId": step_id, "Status": "FAILED" if refused else "SUBMITTED", "Reason": refused or ""})
        return ActionResult({"CancelStepsInfoList": infos})

    for function in (run_job_flow, cancel_steps, describe_release_label):
        setattr(Api, function.__name__, function)


def describe_release_label(self: Any) -> ActionResult:
    label = self._get_param("ReleaseLabel")
    _check_label(self.backend, label)
    return ActionResult({"ReleaseLabel": label, "Applications": [{"Name": "Hadoop", "Version": VERSION}]})


def _check_label(backend: ElasticMapReduceBackend, label: str | None) -> None:
    if label not in backend.list_release_labels():
        raise ValidationException(f"The supplied release label is invalid: {label}.")
