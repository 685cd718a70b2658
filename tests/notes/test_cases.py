"""A case with its note: what is read of it, what the language model is shown, and that nothing withheld reaches a prompt."""

import pytest

from mint_ray.errors import RowError
from mint_ray.notes.cases import with_note_read
from mint_ray.records import Case, Mention, Phenotype
from mint_ray.tasks.rare_disease import RareDisease, blacked_out

NOTE = (
    "A 4-year-old girl with seizures, hypertelorism and low-set,\nposteriorly rotated ears, but no scoliosis. "
    "Her mother has ptosis and myopia. Possible synophrys."
)
FACIAL = ("hypertelorism", "low-set", "rotated", "ptosis", "synophrys")
FACE = RareDisease(
    kind="rare_disease", withhold_branches=["HP:0000271", "HP:0000478", "HP:0000598"]
)  # with eyes and ears
OPEN = RareDisease(kind="rare_disease")


def case(text: str | None = NOTE, **fields) -> Case:
    return Case(case_id="c", group_id="g", text=text, **fields)


def prompt(task: RareDisease, patient: Case) -> str:
    return task.prompt(task.downstream_view(patient))[0].content


def test_what_a_note_says_joins_what_the_source_says_which_goes_first():
    known = [Phenotype(id="HP:0001250", name="Seizure", excluded=True)]
    read = with_note_read(case(phenotypes=known, age_years=5.0))
    assert (read.sex, read.age_years) == ("female", 5.0)
    assert {p.name: p.excluded for p in read.phenotypes} == {
        "Seizure": True,
        "Hypertelorism": False,
        "Low-set ears": False,
        "Posteriorly rotated ears": False,
        "Scoliosis": True,
    }
    assert {m.name for m in read.mentions if m.status in ("family", "uncertain")} == {"Ptosis", "Myopia", "Synophrys"}


def test_a_case_without_a_note_stays_as_it_is():
    assert with_note_read(case(None)) == case(None) and with_note_read(case("")) == case("")


def test_findings_of_another_tool_are_taken_with_their_places():
    brought = [
        Mention(id="HP:0001250", start=22, end=30),
        Mention(id="HP:0000316", start=32, end=45, status="excluded"),
        Mention(id="HP:0000508", start=110, end=116, status="family"),
    ]
    read = with_note_read(case(mentions=brought))
    assert [(p.name, p.excluded) for p in read.phenotypes] == [("Seizure", False), ("Hypertelorism", True)]
    assert [m.name for m in read.mentions] == ["Seizure", "Hypertelorism", "Ptosis"]


@pytest.mark.parametrize("mention", [Mention(id="HP:0001250", start=5, end=500), Mention(id="HP:9", start=1, end=5)])
def test_a_mention_that_is_none_of_the_note_or_of_no_term_is_refused(mention):
    with pytest.raises(RowError) as error:
        with_note_read(case(mentions=[mention]))
    assert error.value.field == "mentions" and NOTE[:10] not in str(error.value)


def test_no_prompt_says_none_recorded_beside_a_note():
    assert "none recorded" not in prompt(OPEN, with_note_read(case("Nothing of note.")))
    assert "none recorded" not in prompt(OPEN, case(NOTE)) and NOTE in prompt(OPEN, case(NOTE))
    assert "none recorded" in prompt(OPEN, case(None))


def test_the_words_of_a_withheld_finding_reach_no_prompt_no_query_and_no_blinded_scorer():
    read = with_note_read(case())
    for told in (prompt(FACE, read), FACE.query(read), FACE.blinded_view(read).text):
        assert not [word for word in FACIAL if word in told.casefold()] and "[withheld]" in told
        assert "seizure" in told.casefold()
    assert all(word in str(FACE.scorer_view(read).text).casefold() for word in FACIAL[:3])
    assert FACE.blinded_view(read).text != FACE.scorer_view(read).text
    assert set(FACE.downstream_view(read).withheld) == {
        "HP:0000316",
        "HP:0000369",
        "HP:0000358",
        "HP:0000508",
        "HP:0000545",
        "HP:0000664",
    }


def test_a_finding_that_the_photograph_alone_shows_is_blacked_out_of_the_note():
    shown = [Phenotype(id="HP:0000316", name="Hypertelorism", modality="image")]
    read = with_note_read(case("Hypertelorism was striking; widely spaced eyes and seizures.", phenotypes=shown))
    told = prompt(OPEN, read)
    assert "yperteloris" not in told and "spaced" not in told and "seizures" in told
    assert OPEN.downstream_view(read).withheld == ("HP:0000316",)


@pytest.mark.parametrize(
    ("places", "text"),
    [
        ([], "abcdef"),
        ([(1, 3)], "a[withheld]def"),
        ([(3, 5), (1, 4)], "a[withheld]f"),
        ([(0, 6), (2, 3)], "[withheld]"),
    ],
)
def test_places_are_blacked_out_however_they_overlap(places, text):
    assert blacked_out("abcdef", places) == text
