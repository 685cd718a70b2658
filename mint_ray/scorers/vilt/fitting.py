"""Fit a ViLT scorer: the driver's part, around the workers of Ray Train."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import ViltForQuestionAnswering, set_seed

from mint_ray.corpora.store import run_labels
from mint_ray.errors import CorpusError
from mint_ray.models import resolve_model
from mint_ray.scorers.files import SETTINGS
from mint_ray.scorers.fitting.survey import fitting_split, survey
from mint_ray.scorers.fitting.tokens import build_tokenizer
from mint_ray.scorers.fitting.training import Plan
from mint_ray.scorers.fitting.workers import encoded_examples, train
from mint_ray.scorers.vilt.inputs import ViltInputs, build_processor
from mint_ray.scorers.vilt.model import (
    inputs_of,
    labelled,
    load_inputs,
    load_vilt,
    new_config,
    new_vilt,
    read_config,
    save_scorer,
)
from mint_ray.storage import local_copy
from mint_ray.tasks.base import Label

if TYPE_CHECKING:
    from mint_ray.runs import Run
    from mint_ray.scorers.vilt import Vilt

logger = logging.getLogger(__name__)


def fit_vilt(section: Vilt, run: Run, folder: Path) -> dict:
    """Fit on the run's cases for it, leave a finished scorer in `folder`, return the training curve.

    Raises:
        CorpusError: there is nothing to learn from.
        ModelError: `pretrained` is no ViLT.
        TrainingError: the loss is not finite, or the workers failed.
    """
    seen, labels, training = survey(run, (fitting_split(run),)), run_labels(run), folder / "training"
    if seen.usable < section.workers:
        raise CorpusError(f"{run.dir}: {seen.usable} training cases have a label and something to see; none to fit on")
    start = training / "start"
    if not (start / SETTINGS).exists():
        set_seed(run.config.run.seed)
        public = run.config.task.vocabulary()
        save_scorer(*starting_point(section, seen.texts, labels, seen.groups, public), labels, section, start)
    here = local_copy(start)
    config = read_config(here)
    vilt, inputs = load_vilt(here, config), load_inputs(here, config, section.missing_text)
    examples = encoded_examples(run, run.config.task.scorer_view, inputs, labels, section.workers)
    cases = examples.fitted.usable
    logger.info("scorer: %d training cases, %d labels, %d weights", cases, len(labels), vilt.num_parameters())
    figures = train(Plan(section, start, run.config.run.seed, cases), examples, training, vilt)
    save_scorer(vilt, inputs, labels, section, folder)
    return {"weights": vilt.num_parameters(), **figures}


def starting_point(
    section: Vilt,
    texts: list[str],
    labels: list[Label],
    groups: list[str] | None = None,
    public: Iterable[str] = (),
) -> tuple[ViltForQuestionAnswering, ViltInputs]:
    """The model and inputs that fitting starts from: `pretrained` with a new head, or random weights.

    Args:
        texts: of the training cases, with the `groups` that they are of.
        public: terms whose words are no secret; see `build_tokenizer`.
    """
    if section.pretrained:
        folder = resolve_model(section.pretrained)
        config = labelled(read_config(folder), labels)
        return load_vilt(folder, config, new_head=True), load_inputs(folder, config, section.missing_text)
    tokenizer = build_tokenizer(texts, section.size.vocabulary, public=public, groups=groups)
    config = labelled(new_config(section.size, len(tokenizer), tokenizer.pad_token_id), labels)
    processor = build_processor(config.image_size, config.patch_size)
    return new_vilt(config), inputs_of(config, tokenizer, processor, section.missing_text)
