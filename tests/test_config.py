"""The configuration refuses wrong settings in the user's words, and every shipped recipe is valid."""

from pathlib import Path

import pytest

from mint_ray.config import load_config
from mint_ray.errors import ConfigError
from mint_ray.sections import result_settings
from tests.conftest import REPOSITORY

DEMO = REPOSITORY / "configs" / "demo.yaml"
RECIPES = sorted((REPOSITORY / "configs").glob("*.yaml"))


def problems(*overrides: str, path: Path = DEMO) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, list(overrides))
    return str(caught.value)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.stem)
def test_every_recipe_is_valid(recipe):
    assert load_config(recipe).run.dir.name


def test_an_override_reaches_its_setting():
    config = load_config(DEMO, ["alignment.learning_rate=1e-3", "run.dir=/data/x", "inference.models=[base]"])
    assert (config.alignment.learning_rate, str(config.run.dir), config.inference.models) == (1e-3, "/data/x", ["base"])


def test_an_unknown_kind_is_refused_with_the_kinds_on_offer():
    message = problems("corpus={kind: phenopacket}")
    assert message.startswith("- corpus:") and "phenopackets" in message and "simulated_patients" in message


def test_an_unknown_key_of_a_kind_names_the_near_one():
    assert "task.answer_sise: is no setting; did you mean answer_size?" in problems("task.answer_sise=5")


def test_a_k_above_the_number_of_labels_is_refused():
    message = problems("preferences.chosen=5000", "task.answer_size=5000")
    assert "preferences.chosen is 5000, but the corpus has" in message


def test_overlap_of_chosen_and_rejected_is_refused():
    assert "overlap" in problems("preferences.rejected=5000")


def test_chosen_and_asked_answers_of_different_length_are_refused():
    assert "preferences.chosen is 3 and task.answer_size is 5" in problems("preferences.chosen=3")


def test_splits_that_do_not_add_up_are_refused():
    assert "must add up to 1" in problems("splits={train: 0.5, validation: 0.1, test: 0.1}")


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    assert "cannot be read (FileNotFoundError)" in problems(path=tmp_path / "none.yaml")


def test_a_file_that_is_no_yaml_names_the_line(tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text("run:\n  dir: [unclosed\n")
    assert "is no YAML, line 3" in problems(path=broken)


def test_hardware_settings_do_not_belong_to_a_result():
    settings = result_settings(load_config(DEMO).alignment)
    assert "use_gpu" not in settings and settings["lora"]["rank"] >= 1


def test_a_corpus_of_genes_needs_a_task_that_asks_for_genes():
    genes = REPOSITORY / "configs" / "genes_phenopackets_smollm2_cpu.yaml"
    assert load_config(genes).corpus.label == "gene"
    assert "gives a gene as label and task.kind rare_disease asks for a disease" in problems(
        "task.kind=rare_disease", path=genes
    )
