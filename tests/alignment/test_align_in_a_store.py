"""Training with its run directory in an object store: the same losses, and on after the store refused."""

import pytest

from mint_ray.alignment.align import align
from mint_ray.errors import StorageError
from mint_ray.models import model_digest
from mint_ray.storage import files_below, files_in, local_copy
from tests.alignment.test_align import curve, losses, run_of


@pytest.fixture(scope="module", autouse=True)
def ray_that_reaches_the_store(object_store, local_ray):
    pass


@pytest.fixture(scope="module")
def trained_on_a_disk(local_ray, tiny_model, tmp_path_factory):
    run = run_of(tmp_path_factory.mktemp("disk"), tiny_model)
    align(run)
    return run


def test_an_adapter_is_trained_in_a_store_with_the_losses_of_a_disk(trained_on_a_disk, tiny_model, bucket):
    run = run_of(bucket / "run", tiny_model)
    report = align(run)
    assert losses(run) == pytest.approx(losses(trained_on_a_disk), rel=1e-6)
    folder = run.stage("alignment").path
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {path.name for path in files_in(folder / "adapter")}
    assert [path for path in files_below(folder / "tensorboard") if "tfevents" in path.name]
    assert report.figures["adapter_digest"] == model_digest(local_copy(folder / "adapter"))
    written = (folder / "adapter" / "adapter_config.json").stat().st_mtime
    assert align(run).figures == report.figures
    assert (folder / "adapter" / "adapter_config.json").stat().st_mtime == written


def test_training_that_the_store_refuses_goes_on_after_its_last_checkpoint(
    trained_on_a_disk,
    tiny_model,
    bucket,
    object_store,
):
    run, checkpoints = run_of(bucket / "run", tiny_model), []

    def refused(method: str, path: str) -> str | None:
        checkpoints.extend([path] if method == "PUT" and path.endswith("trainer_state.json") else [])
        return "ExpiredToken" if len(checkpoints) > 1 else None

    object_store.refuse(refused)
    with pytest.raises(StorageError, match=r"the credentials have expired"):
        align(run)
    object_store.refuse(lambda method, path: None)
    align(run_of(bucket / "run", tiny_model))
    assert losses(run) == pytest.approx(losses(trained_on_a_disk), rel=1e-4)
    assert [row["step"] for row in curve(run) if "loss" in row] == list(range(1, 13))
