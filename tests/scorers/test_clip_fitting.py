"""CLIP fitted on Ray Train from images and captions, and measured on cases that it has not seen."""

from mint_ray.records import Case
from mint_ray.scorers.clip.fitting import captioned
from mint_ray.scorers.fitting.fit import fit_scorer
from mint_ray.tasks.tissue import Tissue
from tests.scorers.test_clip_scorer import tiny_clip
from tests.scorers.tiny import coloured_run

LEARNS = {"epochs": 15, "learning_rate": 5e-3, "batch_size": 16}


def test_captions_teach_and_do_not_score():
    case = Case(case_id="a", group_id="a", image=b"png", text="a caption")
    view = captioned(case, Tissue(kind="tissue"))
    assert (view.image, view.text) == (b"png", "a caption")
    assert captioned(case.model_copy(update={"image": None}), Tissue(kind="tissue")).text is None


def test_labels_that_show_in_the_picture_are_learned_from_captions(local_ray, tmp_path):
    run = coloured_run(tmp_path, tiny_clip(**LEARNS, stain=0.0, templates=("a face with {}.", "{}")))
    run.carry_out("scorer", fit_scorer)
    figures = run.stage("scorer").manifest["figures"]
    assert figures["training_cases"] == 48
    assert figures["held_out"]["image_only"]["top1"] > 0.9
    assert "text_only" not in figures["held_out"] or figures["held_out"]["text_only"]["top1"] < 0.5
    assert figures["curve"][-1]["loss"] < figures["curve"][0]["loss"]
