"""The rare-disease task: what each model sees, the published forms, and answers read back."""

import pytest

from mint_ray.hpo import ontology
from mint_ray.records import Case, Phenotype
from mint_ray.tasks.base import View
from mint_ray.tasks.rare_disease import RareDisease

TASK = RareDisease(kind="rare_disease", answer_size=3)
CASE = Case(
    case_id="c1",
    group_id="g1",
    image=b"face",
    sex="male",
    age_years=3 + 2 / 12,
    ethnicity="European",
    phenotypes=[
        Phenotype(id="HP:0000343", name="Long philtrum"),
        Phenotype(id="HP:0000316", name="Hypertelorism", modality="image"),
        Phenotype(id="HP:0004322", name="Short stature (mild)"),
        Phenotype(id="HP:0001250", name="Seizure", excluded=True),
    ],
)


def test_the_scorer_reads_the_published_text_form_and_sees_the_photograph():
    view = TASK.scorer_view(CASE)
    assert view.text == "Sex male Age 3 years 2 months Ethnicity European Long philtrum Short stature mild"
    assert (view.image, view.withheld) == (b"face", ())


def test_the_scorer_reads_the_most_specific_findings_first_and_the_model_reads_from_a_to_z():
    names = {
        "HP:0001250": "Seizure",  # a quarter of all diseases
        "HP:0011097": "Epileptic spasm",
        "HP:0001212": "Prominent fingertip pads",
        "HP:0000118": "Phenotypic abnormality",  # says nothing
        "HP:9999999": "A finding of next year",
    }
    forwards = [Phenotype(id=id, name=name) for id, name in names.items()]
    excluded = Phenotype(id="HP:0000316", name="Hypertelorism", excluded=True)
    for phenotypes in (forwards, forwards[::-1]):
        case = Case(case_id="c", group_id="g", sex="male", text="A note.", phenotypes=[excluded, *phenotypes])
        expected = "Sex male A finding of next year Prominent fingertip pads Epileptic spasm Seizure Phenotypic abnormality A note"
        assert TASK.scorer_view(case).text == expected
        assert TASK.blinded_view(case).text == expected
        findings = TASK.downstream_view(case).text.splitlines()[1]
        assert findings == "Findings: " + "; ".join(sorted(names.values()))


def test_the_language_model_sees_text_alone_and_what_was_withheld_is_recorded():
    view = TASK.downstream_view(CASE)
    assert view.image is None and "Hypertelorism" not in view.text
    assert view.withheld == ("image", "HP:0000316")
    assert view.text.splitlines() == [
        "Patient: male, 3 years, European",
        "Findings: Long philtrum; Short stature (mild)",
        "Excluded: Seizure",
    ]


def test_the_order_in_which_findings_were_recorded_is_not_told():
    lower = Phenotype(id="", name="long philtrum")  # a name in the user's own spelling
    one, another = (
        CASE.model_copy(update={"phenotypes": p}) for p in ([*CASE.phenotypes, lower], [lower, *CASE.phenotypes])
    )
    assert TASK.downstream_view(one).text == TASK.downstream_view(another).text
    assert TASK.query(one) == TASK.query(another) == "Long philtrum; long philtrum; Short stature (mild)"


def test_a_whole_branch_can_be_withheld():
    view = RareDisease(kind="rare_disease", withhold_branches=["HP:0000271"]).downstream_view(CASE)
    assert "philtrum" not in view.text and "Short stature" in view.text
    assert view.withheld == ("image", "HP:0000343", "HP:0000316")


def test_a_term_that_nobody_can_place_is_withheld_with_any_branch():
    placed = [
        Phenotype(id="HP:9999999", name="new"),
        Phenotype(id="HP:0000578", name="by its old id"),  # hypertelorism, which is not of the face
        Phenotype(id="HP:0410263", name="Brain imaging abnormality"),
        Phenotype(id="", name="as somebody put it"),
    ]
    case = CASE.model_copy(update={"phenotypes": placed, "image": None})
    assert TASK.downstream_view(case).withheld == ()
    withheld = RareDisease(kind="rare_disease", withhold_branches=["HP:0000271"]).downstream_view(case).withheld
    assert withheld == ("HP:9999999",)
    eyes = RareDisease(kind="rare_disease", withhold_branches=["HP:0000478"]).downstream_view(case).withheld
    assert eyes == ("HP:9999999", "HP:0000578")


def test_the_answer_has_the_published_form():
    assert TASK.answer(["A", "B"]) == "POTENTIAL_DISEASES:\n1. 'A'\n2. 'B'"


def test_an_answer_is_read_back():
    names = ["Kabuki syndrome 1", "Beckwith-Wiedemann syndrome", "Alzheimer's disease"]
    assert TASK.parse(TASK.answer(names)) == names


def test_answers_in_other_forms_are_read_too():
    assert TASK.parse("Sure.\nPOTENTIAL_DISEASES:\n1) \"A\"\n 2: B\n\n3. ‘C’\n4. 'D'") == ["A", "B", "C"]
    assert TASK.parse("1. 'A'\ntext\n2. ''") == ["A"]
    assert TASK.parse("I cannot say.") == []


def test_the_prompt_asks_for_as_many_names_as_the_answer_holds():
    (message,) = TASK.prompt(View(text="Findings: x"))
    assert message.role == "user" and "3 most likely" in message.content and message.content.endswith("Findings: x")


def test_the_prompt_for_one_name_asks_in_the_singular():
    (message,) = RareDisease(kind="rare_disease", answer_size=1).prompt(View(text="Findings: x"))
    assert message.content == (
        "You are a clinical geneticist. Name the most likely rare genetic disease of the patient. Answer with the line "
        "POTENTIAL_DISEASES: followed by one numbered name in single quotes.\n\nFindings: x"
    )


@pytest.mark.parametrize("view", ["downstream_view", "blinded_view", "query"])
def test_twice_the_findings_are_twice_the_work(view, monkeypatch):
    task = RareDisease(kind="rare_disease", withhold_branches=["HP:0000271"])
    terms = [term for term in ontology().terms.values() if not term.obsolete][:80]
    asked, compared = [], []
    monkeypatch.setattr(
        "mint_ray.tasks.rare_disease._may_be_below", lambda roots, term_id: asked.append(term_id) or len(asked) % 2
    )
    monkeypatch.setattr(Phenotype, "__eq__", lambda one, other: compared.append(one) or one is other)

    def work(count: int) -> int:
        asked.clear()
        found = [Phenotype(id=term.id, name=term.name) for term in terms[:count]]
        getattr(task, view)(Case(case_id="c", group_id="g", text="a note", phenotypes=found))
        return len(asked)

    assert work(80) == 2 * work(40) <= 3 * 80
    assert not compared
