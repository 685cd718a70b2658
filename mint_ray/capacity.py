"""What a run asks of its cluster, held against what the cluster has before any stage starts.

Ray waits for resources that never come without a word, so a recipe for four GPUs would hang on a cluster of one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from mint_ray.alignment.size import memory_shortfall
from mint_ray.config import ASKING_CPUS, Configuration, NodeGroup
from mint_ray.errors import ConfigError
from mint_ray.line import LINE, function_of
from mint_ray.scorers.base import FittedSection


@dataclass(frozen=True)
class Demand:
    """`count` actors or workers that run at one time, each on one node with `cpus` and `gpus`.

    Args:
        beside: CPUs that the tasks which feed them take, on any node; without them the stage would wait for ever.
        count_key, cpus_key, gpus_key: the settings that ask for them, by dotted key; "" where it is fixed.
    """

    count_key: str
    count: int
    cpus: float
    gpus: float
    cpus_key: str = ""
    gpus_key: str = ""
    beside: float = 0


def check_capacity(config: Configuration, stages: Iterable[str]) -> None:
    """Stop where a stage would wait for ever for what this cluster does not have and will not get.

    Raises:
        ConfigError: with every stage that does not fit: setting, wanted, available, ways out.
    """
    stages, now, at_most = list(stages), nodes_now(), config.cluster.autoscaling
    found = [shortfall(demand, now, at_most) for name in stages for demand in demands(config, name)]
    if "alignment" in stages and not at_most:  # what a cluster may grow to is told without its memory
        found.append(memory_shortfall(config.alignment, memory_now()))
    if problems := [problem for problem in found if problem]:
        raise ConfigError(problems)


def nodes_now() -> list[NodeGroup]:
    """The nodes of the Ray that this process is connected to."""
    import ray

    nodes = cast("list[dict[str, Any]]", ray.nodes())
    alive: list[dict[str, float]] = [node["Resources"] for node in nodes if node["Alive"]]
    return [NodeGroup(nodes=1, cpus=have.get("CPU", 0), gpus=have.get("GPU", 0)) for have in alive]


def memory_now() -> list[float]:
    """Bytes of memory that each node of this process's Ray has for workers."""
    import ray

    nodes = cast("list[dict[str, Any]]", ray.nodes())
    return [node["Resources"].get("memory", 0.0) for node in nodes if node["Alive"]]


def shortfall(demand: Demand, now: Sequence[NodeGroup], at_most: Sequence[NodeGroup] = ()) -> str | None:
    """What is wanted and not there, in the user's words; None where the demand fits."""
    if _fits(demand, now) or _fits(demand, at_most):
        return None
    without_cpus = replace(demand, cpus=0, beside=0)
    if demand.gpus and not (_fits(without_cpus, now) or _fits(without_cpus, at_most)):
        return _told(demand, "GPU", demand.gpus, demand.gpus_key, now, at_most)
    return _told(demand, "CPU", demand.cpus, demand.cpus_key, now, at_most)


def _fits(demand: Demand, nodes: Iterable[NodeGroup]) -> bool:
    nodes = list(nodes)
    cpus = sum(group.nodes * group.cpus for group in nodes)
    room = sum(_room(group, demand) for group in nodes)
    return room >= demand.count and cpus >= demand.count * demand.cpus + demand.beside


def _room(group: NodeGroup, demand: Demand) -> int:
    """How many of the demand's workers these nodes hold."""
    has_and_wants = [(group.cpus, demand.cpus), (group.gpus, demand.gpus)]
    return group.nodes * min(math.floor(has / wants + 1e-9) for has, wants in has_and_wants if wants)


def _told(
    demand: Demand, kind: str, each: float, key: str, now: Sequence[NodeGroup], at_most: Sequence[NodeGroup]
) -> str:
    keys = [name for name in (demand.count_key, key) if name]
    grown = f", which may grow to {_shapes(at_most, kind)}" if at_most else ""
    beside = f" and {demand.beside:g} more to read the cases" if demand.beside and kind == "CPU" else ""
    return (
        f"{' and '.join(keys)}: {demand.count} x {each:g} {kind} wanted, each on one node{beside}; this cluster has "
        f"{_shapes(now, kind)}{grown}. Lower {' or '.join(keys)}, run on a cluster that has them, or say in "
        "cluster.autoscaling what this one may grow to"
    )


def _shapes(nodes: Sequence[NodeGroup], kind: str) -> str:
    sizes: Counter[float] = Counter()
    for node in nodes:
        sizes[node.gpus if kind == "GPU" else node.cpus] += node.nodes
    told = [f"{count:g} x {size:g}" for size, count in sorted(sizes.items(), reverse=True) if size and count]
    return f"{' + '.join(told)} {kind}" if told else f"no {kind}"


def demands(config: Configuration, stage: str) -> list[Demand]:
    """What a stage asks for; nothing where it streams on whatever there is."""
    asks = LINE[stage].asks
    found = [function_of(asks)(config)] if asks else []
    # The model of a round is asked in between.
    return [*found, answers_demand(config)] if stage == "alignment" and config.alignment.rounds else found


def scorer_demand(config: Configuration) -> Demand:
    scorer = config.scorer
    gpus = 1 if getattr(scorer, "use_gpu", False) else 0
    if scorer.ready_made or not isinstance(scorer, FittedSection):
        return Demand("", 1, 1, gpus, gpus_key="scorer.use_gpu", beside=1)
    return Demand(
        "scorer.workers",
        scorer.workers,
        scorer.cpus_per_worker,
        gpus,
        "scorer.cpus_per_worker",
        "scorer.use_gpu",
        beside=1,
    )


def rankings_demand(config: Configuration) -> Demand:
    settings = config.rankings
    return Demand(
        "rankings.actors",
        settings.actors,
        settings.cpus_per_actor,
        settings.gpus_per_actor,
        "rankings.cpus_per_actor",
        "rankings.gpus_per_actor",
        beside=1,
    )


def alignment_demand(config: Configuration) -> Demand:
    settings = config.alignment
    return Demand("alignment.workers", settings.workers, 1, 1 if settings.use_gpu else 0, gpus_key="alignment.use_gpu")


def answers_demand(config: Configuration) -> Demand:
    settings = config.inference
    if settings.endpoint:
        return Demand("inference.engines", settings.engines, ASKING_CPUS, 0, beside=1)
    gpus = settings.tensor_parallel if settings.use_gpu else 0
    key = "inference.tensor_parallel" if settings.use_gpu else ""
    return Demand(
        "inference.engines",
        settings.engines,
        settings.cpus_per_engine,
        gpus,
        "inference.cpus_per_engine",
        key,
        beside=1,
    )
