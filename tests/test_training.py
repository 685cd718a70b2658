"""What both trainings on Ray Train say of their end, and that Ctrl-C is left to the job."""

import signal

import pytest
from ray.train.torch import TorchTrainer
from ray.train.v2.api.exceptions import WorkerGroupError

from mint_ray.errors import ModelError
from mint_ray.training import Training, what_failed
from tests.conftest import REPOSITORY


def test_ctrl_c_is_no_abort_of_ray_train_s():
    before = signal.getsignal(signal.SIGINT)
    assert "_register_sigint_handler" in dir(TorchTrainer), "Ray answers Ctrl-C by another name: see `Training`"
    Training(print)._register_sigint_handler(None)
    assert signal.getsignal(signal.SIGINT) is before


def test_no_training_goes_by_ray_s_own_trainer():
    named = [path.name for path in (REPOSITORY / "mint_ray").rglob("*.py") if "TorchTrainer" in path.read_text()]
    assert named == ["training.py"]


@pytest.mark.parametrize(
    "cause",
    [
        OSError(28, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:668] . PytorchStreamWriter failed writing file data/0"),
        Exception("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_disk_that_is_full_of_checkpoints_is_called_that(cause, tmp_path):
    failed = WorkerGroupError(f"Rank 0 Error: {cause!r}", {0: cause})
    assert "the disk was full" in str(what_failed(failed, tmp_path))
    assert str(what_failed(WorkerGroupError("another", {}), tmp_path)).startswith("the workers failed 3 times")
    refused = ModelError("no such folder on this node")
    assert what_failed(WorkerGroupError("a", {0: RuntimeError("b"), 1: refused}), tmp_path) is refused
