"""What both trainings on Ray Train, the scorer's and the alignment, have in common in their driver."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import gettempdir

from ray.actor import ActorHandle
from ray.train.torch import TorchTrainer

from mint_ray.errors import MintError, TrainingError
from mint_ray.storage import refused_somewhere

RESTARTS = 2  # of workers that die, within one training
# As the operating system, safetensors and torch tell of it.
_DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded|PytorchStreamWriter failed writing")


class Training(TorchTrainer):
    """Ray Train's, but that Ctrl-C is the job's to answer: Ray aborts the workers before they could save, ends the
    process with 0 or 1 and without a word, and keeps on answering it so in every stage after."""

    def _register_sigint_handler(self, controller: ActorHandle) -> None:
        pass


def what_failed(error: Exception, folder: Path) -> MintError:
    """What ended the workers: what one of them or the store refused, else in a sentence where it is a full disk."""
    failures = getattr(error, "worker_failures", {}).values()
    mine = next((failure for failure in failures if isinstance(failure, MintError)), None)
    return mine or refused_somewhere(error, folder) or TrainingError(_why_failed(error, folder))


def _why_failed(error: Exception, folder: Path) -> str:
    if _DISK_FULL.search(str(error)):
        return (
            f"the disk was full when a checkpoint or an adapter was written (of {folder}, or of {gettempdir()} on a "
            "worker's node). Free some space and run the same command again: it goes on after the last whole checkpoint"
        )
    return f"the workers failed {RESTARTS + 1} times: {error}"
