"""A run of the demo's configuration, aligned as far as a service can tell: an adapter that nobody trained."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml
from peft import LoraConfig, get_peft_model

from mint_ray.config import load_config
from mint_ray.models import load_model, resolve_model
from mint_ray.runs import Run
from tests.conftest import REPOSITORY
from tests.tiny_run import finish_stage

MODEL = "packaged:smollm2-135m-instruct"
# In bfloat16 the first two tokens of some answers are equally likely, and which is taken is chance.
INFERENCE = {"precision": "fp32", "max_tokens": 16, "max_model_len": 320, "cache_gib": 0.25, "cpus_per_engine": 1}


def aligned_run(folder: Path, start: Path | None = None, **inference) -> Run:
    """The run; with `start`, its training is said to have started from that adapter."""
    settings = INFERENCE | inference
    overrides = [f"run.dir={folder}", *(f"inference.{name}={value}" for name, value in settings.items())]
    overrides += [f"alignment.start={start}"] if start else []
    run = Run(load_config(REPOSITORY / "configs/demo.yaml", overrides))
    save_adapter(run.stage("alignment").path / "adapter")
    finish_stage(run, "alignment")
    (folder / "config.yaml").write_text(yaml.safe_dump(run.config.model_dump(mode="json")))
    return run


def save_adapter(folder: Path) -> None:
    torch.manual_seed(0)
    model = load_model(resolve_model(MODEL), torch.float32)
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)).save_pretrained(folder)
