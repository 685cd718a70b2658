"""A tiny ViLT, invented patients whose disease is the colour of their picture, and a run that holds them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import ViltForQuestionAnswering

from mint_ray.records import Case, Phenotype
from mint_ray.runs import Run
from mint_ray.scorers.fitting.tokens import LEAST_GROUPS
from mint_ray.scorers.vilt import Vilt
from mint_ray.scorers.vilt.fitting import starting_point
from mint_ray.scorers.vilt.model import save_scorer
from mint_ray.tasks.base import Label
from tests.tiny_run import LABELS, tiny_config, write_cases

COLOURS = [(220, 40, 40), (40, 220, 40), (40, 40, 220), (220, 220, 40), (40, 220, 220), (220, 40, 220)]
TEXTS = ["Sex female Age 3 years Hypotonia", "Sex male Age 40 years Global developmental delay", "Seizure"]
SIZE = {"hidden_size": 32, "layers": 2, "heads": 4, "image_size": 32, "patch_size": 8, "text_tokens": 24}


def tiny_section(**settings) -> Vilt:
    defaults = {"kind": "vilt", "size": SIZE, "epochs": 2, "batch_size": 8, "cpus_per_worker": 1}
    return Vilt(**(defaults | settings))


def tiny_vilt(section: Vilt | None = None, labels: list[Label] = LABELS) -> tuple[ViltForQuestionAnswering, object]:
    """A model and its inputs; weights are spread so that logits differ well."""
    torch.manual_seed(5)
    vilt, inputs = starting_point(section or tiny_section(), TEXTS * LEAST_GROUPS, labels)
    with torch.no_grad():
        for weight in vilt.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return vilt, inputs


def tiny_scorer(folder: Path, section: Vilt | None = None, labels: list[Label] = LABELS) -> Path:
    """A finished scorer's folder."""
    section = section or tiny_section()
    folder.mkdir(parents=True, exist_ok=True)
    save_scorer(*tiny_vilt(section, labels), labels, section, folder)
    return folder


def picture(colour: tuple[int, int, int], seed: int = 0, size: tuple[int, int] = (32, 32)) -> bytes:
    noise = np.random.default_rng(seed).integers(-30, 30, (*size[::-1], 3))
    encoded = io.BytesIO()
    Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(encoded, "PNG")
    return encoded.getvalue()


def coloured_case(number: int, split: str, **fields) -> Case:
    """A patient whose disease shows in the picture's colour and nowhere in the text."""
    label = LABELS[number % len(LABELS)]
    values = {
        "case_id": f"{split}-{number:03}",
        "group_id": f"{split}-{number:03}",
        "split": split,
        "label_id": label.id,
        "label_name": label.name,
        "image": picture(COLOURS[number % len(LABELS)], number),
        "phenotypes": [Phenotype(id="HP:0001252", name="Hypotonia")],
        "sex": ("female", "male")[number // 6 % 2],
        "synthetic": True,
        "source": f"tiny:{number}",
    }
    return Case(**(values | fields))


def coloured_run(
    folder: Path, section: Vilt, train: int = 48, validation: int = 12, extra: tuple[Case, ...] = ()
) -> Run:
    """A run with complete cases: `train` to learn from, `validation` to validate, 18 to test."""
    run = Run(tiny_config(folder, scorer=section))
    counts = {"train": train, "validation": validation, "test": 18}
    write_cases(run, [coloured_case(i, split) for split, n in counts.items() for i in range(n)] + list(extra))
    return run
