import pytest

from mint_ray.errors import RowError
from mint_ray.records import Case
from mint_ray.tasks.tissue import TISSUES, Tissue, tissue

TASK = Tissue(kind="tissue")
CASE = Case(case_id="a", group_id="g", image=b"png", text="colon crypts")


def test_pannuke_has_nineteen_tissues_under_its_own_spelling():
    assert len(TISSUES) == 19
    assert {"Adrenal_gland", "Bile-duct", "HeadNeck", "Uterus"} < {t.id for t in TISSUES}
    assert tissue("HeadNeck").name == "Head and neck"
    assert tissue("HeadNeck").synonyms == ("HeadNeck",)


@pytest.mark.parametrize(
    ("written", "meant"), [("Colonn", "Colon"), ("head and neck", "HeadNeck"), ("bile duct", "Bile-duct")]
)
def test_an_unknown_tissue_is_refused_with_the_nearest_one(written, meant):
    with pytest.raises(RowError) as refused:
        tissue(written)
    assert refused.value.reason == "unknown-tissue"
    assert refused.value.expected == f"did you mean {meant}?"


def test_a_name_like_no_tissue_is_answered_with_all_of_them():
    with pytest.raises(RowError, match="one of Adrenal_gland, Bile-duct"):
        tissue("qqq")


def test_both_models_see_the_image_alone_and_the_caption_is_withheld():
    for view in (TASK.scorer_view(CASE), TASK.downstream_view(CASE)):
        assert (view.image, view.text, view.withheld) == (b"png", None, ("caption",))


def test_the_prompt_asks_for_five_and_offers_the_names():
    (message,) = TASK.prompt(TASK.downstream_view(CASE))
    assert "Name the 5 tissues" in message.content
    assert "MOST_LIKELY_TISSUE:" in message.content
    assert "Adrenal gland, Bile duct, Bladder" in message.content
    assert "crypts" not in message.content


def test_the_prompt_for_one_tissue_asks_in_the_singular():
    (message,) = Tissue(kind="tissue", answer_size=1, candidates=("Skin", "Liver")).prompt(TASK.downstream_view(CASE))
    assert message.content == (
        "You are a pathologist. This is a microscope image of nuclei, stained with hematoxylin and eosin. Name the tissue "
        "that it most likely comes from. Choose from: Skin, Liver. Answer with the line MOST_LIKELY_TISSUE: followed by "
        "one numbered name in single quotes."
    )


def test_the_prompt_can_offer_nothing():
    (message,) = Tissue(kind="tissue", candidates=()).prompt(TASK.downstream_view(CASE))
    assert "Choose from" not in message.content


def test_an_answer_has_the_published_form_and_is_read_back():
    answer = TASK.answer(["Breast", "Colon"])
    assert answer == "MOST_LIKELY_TISSUE:\n1. 'Breast'\n2. 'Colon'"
    assert TASK.parse(answer) == ["Breast", "Colon"]
