"""Fit a CLIP scorer: the driver's part, around the workers of Ray Train."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import CLIPModel, set_seed

from mint_ray.corpora.store import case_table, run_labels
from mint_ray.errors import CorpusError
from mint_ray.models import resolve_model
from mint_ray.records import Case
from mint_ray.scorers.clip.inputs import ClipInputs
from mint_ray.scorers.clip.model import load_clip, load_inputs, new_config, new_processor, save_scorer
from mint_ray.scorers.files import SETTINGS
from mint_ray.scorers.fitting.survey import fitting_split, survey
from mint_ray.scorers.fitting.tokens import build_tokenizer
from mint_ray.scorers.fitting.training import Plan
from mint_ray.scorers.fitting.workers import encoded_examples, train
from mint_ray.storage import local_copy
from mint_ray.tasks.base import Label, Task, View

if TYPE_CHECKING:
    from mint_ray.runs import Run
    from mint_ray.scorers.clip import Clip

logger = logging.getLogger(__name__)


def fit_clip(section: Clip, run: Run, folder: Path) -> dict:
    """Fit on the run's cases for it, leave a finished scorer in `folder`, return the training curve.

    Raises:
        CorpusError: there is nothing to learn from.
        ModelError: `pretrained` is no CLIP.
        TrainingError: the loss is not finite, or the workers failed.
    """
    seen, labels, training = survey(run, (fitting_split(run),)), run_labels(run), folder / "training"
    if seen.usable < 2 * section.workers:
        raise CorpusError(f"{run.dir}: {seen.usable} training cases have a label and an image; too few to fit on")
    start = training / "start"
    if not (start / SETTINGS).exists():
        set_seed(run.config.run.seed)
        captions, groups = _captions(run)
        save_scorer(*starting_point(section, captions, labels, groups), labels, section, start)
    here = local_copy(start)
    clip = load_clip(here)
    inputs = load_inputs(here, clip.config)
    view_of = partial(captioned, task=run.config.task)
    examples = encoded_examples(run, view_of, inputs, labels, 2 * section.workers)
    cases = examples.fitted.usable
    logger.info("scorer: %d training cases, %d labels, %d weights", cases, len(labels), clip.num_parameters())
    figures = train(Plan(section, start, run.config.run.seed, cases), examples, training, clip)
    save_scorer(clip, inputs, labels, section, folder)
    return {"weights": clip.num_parameters(), **figures}


def starting_point(
    section: Clip, captions: list[str], labels: list[Label], groups: list[str] | None = None
) -> tuple[CLIPModel, ClipInputs]:
    """The model and inputs that fitting starts from: `pretrained`, or random weights."""
    if section.pretrained:
        origin = resolve_model(section.pretrained)
        clip = load_clip(origin)
        return clip, load_inputs(origin, clip.config)
    templates = [caption for label in labels for caption in section.captions(label.name)]
    tokenizer = build_tokenizer(
        captions + templates, section.size.vocabulary, public=templates, groups=groups and groups + templates
    )
    ends = tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id
    config = new_config(section.size, len(tokenizer), *ends)
    return CLIPModel(config), ClipInputs(tokenizer, new_processor(section.size.image_size), config)


def captioned(case: Case, task: Task) -> View:
    """What fitting sees of a case: the image that the scorer will see, and the caption that it will not."""
    image = task.scorer_view(case).image
    return View(image=image, text=case.text if image is not None else None)


def _captions(run: Run) -> tuple[list[str], list[str]]:
    """The texts of the cases that have one, and the group of each."""
    rows = case_table(run, ["text", "group_id"], [fitting_split(run)]).to_pylist()
    told = [(row["text"], row["group_id"]) for row in rows if row["text"]]
    return [text for text, _ in told], [group for _, group in told]
