"""Which nodes count as lost, and what tells of the end of Ray."""

import os

from ray.core.generated.common_pb2 import NodeDeathInfo

from mint_ray.cluster import end_of_ray, lost_nodes, was_lost


def test_the_end_of_ray_is_told_by_the_type_of_an_error_or_of_one_that_led_to_it():
    from ray import exceptions
    from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

    died = exceptions.LocalRayletDiedError()
    for error in (died, ControllerError(died), WorkerGroupError("workers", {0: died})):
        assert end_of_ray(error).startswith("LocalRayletDiedError: The task's local raylet died")
    wrapped = ValueError("ours")
    wrapped.__cause__ = exceptions.RaySystemError("gone")
    assert "RaySystemError" in end_of_ray(wrapped)


def test_a_worker_s_own_error_is_no_end_of_ray():
    from ray.exceptions import GetTimeoutError, RayTaskError
    from ray.train.v2.api.exceptions import WorkerGroupError

    mine = RayTaskError("f", "ray.exceptions.LocalRayletDiedError: in its text alone", ValueError("mine"))
    assert end_of_ray(mine) is None and end_of_ray(mine.as_instanceof_cause()) is None
    assert end_of_ray(WorkerGroupError("x", {0: ValueError("mine")})) is None
    assert end_of_ray(GetTimeoutError("slow")) is None and end_of_ray(ValueError("mine")) is None


def node(alive: bool, reason: int) -> dict:
    return {"Alive": alive, "DeathReason": reason}


def test_a_dead_node_is_lost_unless_the_autoscaler_sent_it_away_idle():
    assert not was_lost(node(True, NodeDeathInfo.UNSPECIFIED))
    assert not was_lost(node(False, NodeDeathInfo.AUTOSCALER_DRAIN_IDLE))
    for reason in ("UNEXPECTED_TERMINATION", "EXPECTED_TERMINATION", "AUTOSCALER_DRAIN_PREEMPTED"):
        assert was_lost(node(False, NodeDeathInfo.Reason.Value(reason)))


def test_a_ray_of_one_living_node_has_lost_none(local_ray):
    assert lost_nodes() == []


def test_a_worker_of_a_ray_started_here_names_that_ray(local_ray):
    import ray

    named = ray.get(ray.remote(lambda: os.environ.get("RAY_ADDRESS")).remote())
    assert named == ray.get_runtime_context().gcs_address


def test_without_ray_none_is_lost(monkeypatch):
    monkeypatch.setattr("mint_ray.cluster.ray_runs", lambda: False)
    assert lost_nodes() == []
