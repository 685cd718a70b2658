"""What training all weights takes, held against what is there."""

import pytest

from mint_ray.alignment.size import disk_shortfall, memory_shortfall, training_size
from mint_ray.config import AlignmentSection
from mint_ray.models import load_model

GIB = 2**30


def section(model, **settings) -> AlignmentSection:
    return AlignmentSection(model=str(model), **{"lora": None, **settings})


def test_weights_gradients_and_moments_are_four_times_the_weights(tiny_model):
    import torch

    held = 4 * sum(weight.numel() for weight in load_model(tiny_model, torch.float32).parameters())
    assert training_size(section(tiny_model)) == (4 * held, 6 * held)
    assert training_size(section(tiny_model, method="dpo")).memory == 5 * held  # and the reference
    assert training_size(section(tiny_model, lora={})) == (0, 0)


def test_a_node_without_the_memory_is_told_before_anything_starts(tiny_model):
    wanted = training_size(section(tiny_model)).memory
    assert memory_shortfall(section(tiny_model), [wanted / 2, wanted]) is None
    told = memory_shortfall(section(tiny_model), [wanted / 2])
    assert told and "alignment.lora is null" in told and "the largest node has 0.0 GiB" in told
    assert memory_shortfall(section(tiny_model, use_gpu=True), [0]) is None  # a GPU's memory is not Ray's to tell


@pytest.mark.parametrize(("free", "said"), [(10 * GIB, None), (1000, "two checkpoints of all weights")])
def test_a_disk_without_room_for_checkpoints_is_told(free, said, tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": free}))
    told = disk_shortfall(section(tiny_model), tmp_path / "not" / "yet")
    assert (said in told) if said else told is None
