"""What training all weights takes: several times the model, where an adapter takes next to nothing beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from mint_ray.config import AlignmentSection

_FP32 = 4
_KEPT = 2  # checkpoints at one time: the last whole one, and the one that is being written


class Size(NamedTuple):
    """Bytes that a training takes, activations and batches apart.

    Args:
        memory: of one worker: weights, gradients and Adam's two moments, in fp32; for DPO the reference, too.
        disk: of the run's folder, for checkpoints: weights and moments.
    """

    memory: int
    disk: int


def training_size(section: AlignmentSection) -> Size:
    """What `alignment.lora: null` asks for; nothing that would be worth a look where an adapter is trained.

    Raises:
        ModelError: there is no such model.
    """
    if section.lora is not None:
        return Size(0, 0)
    from mint_ray.alignment.check import bare_model
    from mint_ray.models import resolve_model

    weights = sum(weight.numel() for weight in bare_model(resolve_model(section.model)).parameters())
    copies = 4 + (section.method == "dpo")
    return Size(copies * _FP32 * weights, _KEPT * 3 * _FP32 * weights)


def memory_shortfall(section: AlignmentSection, nodes: Iterable[float]) -> str | None:
    """What a training on CPUs lacks in memory, in the user's words; None where a node has it.

    Args:
        nodes: bytes of each node that is there.
    """
    wanted, most = training_size(section).memory, max(nodes, default=0)
    if section.use_gpu or wanted <= most:
        return None
    return (
        f"alignment.lora is null: training all weights of {section.model} by {section.method} holds {_gib(wanted)} of "
        f"weights, gradients and moments in each worker; the largest node has {_gib(most)}. Train an adapter "
        "(alignment.lora), take a smaller model, or a node with more memory"
    )


def disk_shortfall(section: AlignmentSection, folder: Path) -> str | None:
    """What a folder of this machine lacks for checkpoints, in the user's words; None where it has it."""
    wanted = training_size(section).disk
    if not wanted:
        return None
    there = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(there).free
    if wanted <= free:
        return None
    return (
        f"alignment.lora is null: two checkpoints of all weights of {section.model} take {_gib(wanted)}, and {there} has "
        f"{_gib(free)} left. Free some space, take another run.dir, or train an adapter (alignment.lora)"
    )


def _gib(count: float) -> str:
    return f"{count / 2**30:.1f} GiB"
