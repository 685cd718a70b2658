"""A tiny Llama with random weights behind the packaged tokenizer, and pairs for it."""

from pathlib import Path

import pytest

from mint_ray.models import resolve_model
from mint_ray.records import Message
from mint_ray.tasks.base import View
from mint_ray.tasks.rare_disease import RareDisease
from tests.tiny_model import save_tiny_llama

DISEASES = (
    "Kabuki syndrome 1",
    "Noonan syndrome 4",
    "Sotos syndrome",
    "Apert syndrome",
    "Cohen syndrome",
    "Fragile X syndrome",
)
FINDINGS = ("Seizure", "Short stature", "Scoliosis", "Hypotonia", "Cleft palate", "Hearing impairment", "Microcephaly")


@pytest.fixture(scope="session")
def packaged_model() -> Path:
    return resolve_model("packaged:smollm2-135m-instruct")


@pytest.fixture(scope="session")
def tokenizer(packaged_model):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(packaged_model)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory, tokenizer) -> Path:
    """A model folder: Llama of width 64 and two layers, random weights from a fixed seed."""
    return save_tiny_llama(tmp_path_factory.mktemp("models") / "tiny", tokenizer)


@pytest.fixture(scope="session")
def encoded(tokenizer):
    """24 pairs as tokens."""
    from mint_ray.alignment.collation import encode_pairs

    return encode_pairs([pair(i) for i in range(24)], tokenizer, 512)[0]


@pytest.fixture
def make(tiny_model, encoded, tmp_path, monkeypatch):
    """A function from settings to a trainer of the tiny model over 24 pairs, in fp32, two epochs of 8 a step."""
    from mint_ray.alignment.methods import build_trainer
    from mint_ray.config import AlignmentSection, LoraSection

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "tensorboard"))

    def build(validation=(), scratch="scratch", dropout=0.0, model=tiny_model, **settings):
        defaults = dict(precision="fp32", batch_size=8, epochs=2, learning_rate=1e-2, save_steps=4)
        defaults["lora"] = LoraSection(rank=4, alpha=8, dropout=dropout)
        section = AlignmentSection(model=str(model), **{**defaults, **settings})
        pairs = {"train": held(encoded), "validation": list(validation)}
        return build_trainer(section, model, pairs, 7, tmp_path / scratch)

    return build


def held(pairs):
    """The pairs as a trainer is given them: a test may have them on disk."""
    return pairs


def pair(number: int, split: str = "train") -> dict:
    """A pair in the columns of `PreferencePair`; lengths differ from pair to pair."""
    task = RareDisease(kind="rare_disease", answer_size=2)
    text = "Findings: " + "; ".join(FINDINGS[: 1 + number % len(FINDINGS)])
    chosen, rejected = DISEASES[number % 3 : number % 3 + 2], DISEASES[3 + number % 2 : 5 + number % 3]
    return {
        "prompt": [message.model_dump() for message in task.prompt(View(text=text))],
        "chosen": [Message(role="assistant", content=task.answer(list(chosen))).model_dump()],
        "rejected": [Message(role="assistant", content=task.answer(list(rejected))).model_dump()],
        "images": [],
        "case_id": f"case-{number}",
        "group_id": f"group-{number}",
        "split": split,
        "label_id": None,
        "chosen_label_ids": ["A:1", "A:2"],
        "rejected_label_ids": ["A:3", "A:4"],
        "chosen_scores": [-1.0, -2.0],
        "rejected_scores": [-8.0, -9.0],
        "withheld": [],
        "scorer": "none",
        "scorer_digest": "0",
        "policy": "{}",
        "schema_version": 1,
    }
