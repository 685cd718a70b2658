"""The Ray that a job runs on: the one it was submitted to, the one RAY_ADDRESS names, else a local one; what it lost."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mint_ray import hpo
from mint_ray.config import ClusterSection
from mint_ray.errors import led_to

# Token authentication as Ray 2.60 wants it; every port on the loopback address; no reporting home; quiet TRL.
ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # a report waits for the next check: 2 s by default
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # with it, what a worker prints appears twice
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "RAY_DEDUP_LOGS": "0",  # of workers' news of their progress each line counts
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "VLLM_NO_USAGE_STATS": "1",
}


@contextmanager
def ray_session(section: ClusterSection) -> Iterator[None]:
    """Connect for the time of the block. `section.cpus` are logical and count only for a Ray started here."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    address = os.environ.get("RAY_ADDRESS", "local")
    if address == "local":
        ray.init(address, num_cpus=section.cpus, runtime_env={"worker_process_setup_hook": name_own_ray})
    else:
        chosen = {hpo.FOLDER: os.environ[hpo.FOLDER]} if os.environ.get(hpo.FOLDER) else {}
        ray.init(address, runtime_env={"env_vars": chosen} if chosen else None)
    data = ray.data.DataContext.get_current()
    data.use_datasource_v2 = False  # the V1 reader makes a block of a file, which checkpointing needs
    data.enable_progress_bars = False  # `mint_ray.progress` has the terminal
    try:
        yield
    finally:
        ray.shutdown()


def name_own_ray() -> None:
    """In a worker: set RAY_ADDRESS to the Ray that it belongs to.

    Ray Train asks a Ray, found by this variable or else by what was started last on the machine, whether its controller
    lives, and takes its workers' resources away if that one does not know it: with `ray start` beside a local job, the
    wrong one.
    """
    import ray

    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address


def ray_runs() -> bool:
    """Whether this process is connected to a Ray."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


def in_worker() -> bool:
    """Whether this process is one of Ray's, which its tasks and actors run in."""
    ray = sys.modules.get("ray")
    return ray_runs() and ray is not None and ray.get_runtime_context().worker.mode == ray.WORKER_MODE


def lost_nodes() -> list[dict[str, str]]:
    """The nodes that died since this process's Ray was started, each with its address and why; none where no Ray runs."""
    if not ray_runs():
        return []
    import ray

    return [
        {"node": node["NodeID"], "address": node["NodeManagerAddress"], "why": node["DeathReasonMessage"]}
        for node in ray.nodes()
        if was_lost(node)
    ]


# Of `ray.exceptions`: what tells of the caller, of a bound, or of a worker's own exception is none of Ray's end.
_NOT_RAYS_END = ("RayTaskError", "TaskCancelledError", "GetTimeoutError", "UserCodeException", "AuthenticationError")


def end_of_ray(error: BaseException | None) -> str | None:
    """What of Ray ended, where an error, or one that led to it, says so by its type: `LocalRayletDiedError: ...`."""
    for each in led_to(error):
        kinds = [base.__name__ for base in type(each).__mro__ if base.__module__ == "ray.exceptions"]
        if kinds and not set(kinds) & set(_NOT_RAYS_END):
            return f"{kinds[0]}: {next(iter(str(each).strip().splitlines()), 'no more is known')}"
    return None


def was_lost(node: dict[str, Any]) -> bool:
    """Whether a node of `ray.nodes()` is dead; one that the autoscaler sent away had nothing left to do."""
    from ray.core.generated.common_pb2 import NodeDeathInfo  # pyright: ignore[reportAttributeAccessIssue] protobuf makes its names at run time

    return not node["Alive"] and node["DeathReason"] != NodeDeathInfo.AUTOSCALER_DRAIN_IDLE
