"""Simulated patients: what stands where, the rates, and that nothing but the seed and the patient decides."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from mint_ray import hpo
from mint_ray.config import load_config
from mint_ray.errors import ConfigError, CorpusError
from mint_ray.synthetic import faces
from mint_ray.synthetic.patients import Draw, SimulatedPatients, profile

KABUKI, NOONAN, WILLIAMS, APERT = "OMIM:147920", "OMIM:163950", "OMIM:194050", "OMIM:101200"


def corpus(**settings) -> SimulatedPatients:
    given = {"diseases": [KABUKI, NOONAN, WILLIAMS, APERT], "patients_per_disease": 5, "image_size": 32}
    return SimulatedPatients(kind="simulated_patients", **given | settings)


def recorded(count: int, disease: str = KABUKI, sex: str = "female", **settings) -> list[list]:
    """The phenotypes of so many patients, without their pictures."""
    return [Draw(corpus(**settings), disease, i, seed=1).phenotypes(sex) for i in range(count)]


def in_text(phenotypes: list, excluded: bool = False) -> set[str]:
    return {p.id for p in phenotypes if p.modality == "text" and p.excluded == excluded}


NOTHING_ELSE = {"missing": 0, "imprecise": 0, "noise": 0, "excluded": 0, "max_text_terms": 1000}


def test_a_patient_is_the_same_each_time_and_another_with_another_seed():
    assert corpus().patient(7, seed=1) == corpus().patient(7, seed=1)
    assert corpus().patient(7, seed=1).image != corpus().patient(7, seed=2).image


def test_a_patient_does_not_depend_on_how_many_or_which_others_there_are():
    among_four = {c.case_id: c for c in (corpus(noise=0, excluded=0).patient(n, 1) for n in range(8))}
    fewer = corpus(diseases=[APERT, KABUKI], patients_per_disease=99, noise=0, excluded=0)
    among_two = {c.case_id: c for c in (fewer.patient(n, 1) for n in range(4))}
    assert len(among_two.keys() & among_four.keys()) == 4
    assert all(among_four[case_id] == case for case_id, case in among_two.items())


def test_patients_of_the_same_number_in_different_diseases_are_strangers():
    firsts = [corpus(variation=0).patient(n, 1) for n in range(4)]
    assert len({case.age_years for case in firsts}) > 1


def test_every_patient_is_marked_as_synthetic():
    case = corpus().patient(0, 1)
    assert case.synthetic and case.case_id.startswith("synthetic-") and "simulated" in case.source


def test_no_finding_of_the_face_stands_in_a_text():
    face = hpo.ontology().descendants(hpo.FACE)
    for disease in (KABUKI, NOONAN, WILLIAMS, APERT):
        for phenotypes in recorded(60, disease, noise=3, excluded=3, missing=0, max_text_terms=100):
            text = in_text(phenotypes) | in_text(phenotypes, excluded=True)
            assert not text & face
            assert not any(map(faces.drawable, text))
            assert all(faces.drawable(p.id) for p in phenotypes if p.modality == "image")


def test_findings_appear_as_often_as_they_are_annotated():
    patients = recorded(400, **NOTHING_ELSE)
    shown = Counter(p.id for phenotypes in patients for p in phenotypes)
    frequencies = profile(KABUKI).image | profile(KABUKI).text
    possible = {t: f for t, f in frequencies.items() if "HP:0010461" not in hpo.ontology().ancestors(t)}
    worst = max(abs(shown[t] / 400 - f) for t, f in possible.items())
    assert worst < 0.11  # four and a half standard errors at a frequency of one half
    assert shown.keys() <= possible.keys()


def test_the_missing_rate_is_the_share_of_text_findings_lost_and_leaves_the_face_alone():
    whole = recorded(200, **NOTHING_ELSE)
    half = recorded(200, **NOTHING_ELSE | {"missing": 0.5})
    assert sum(map(len, map(in_text, half))) / sum(map(len, map(in_text, whole))) == pytest.approx(0.5, abs=0.03)
    shown = [sum(p.modality == "image" for phenotypes in patients for p in phenotypes) for patients in (whole, half)]
    assert shown[0] == shown[1]


def test_imprecise_findings_are_ancestors_of_annotated_ones_and_as_many_as_the_rate_says():
    annotated = set(profile(NOONAN).text)
    above = {a for t in annotated for a in hpo.ontology().ancestors(t)}
    told = [t for p in recorded(300, NOONAN, **NOTHING_ELSE | {"imprecise": 0.3}) for t in in_text(p)]
    assert set(told) <= above and hpo.PHENOTYPIC_ABNORMALITY not in told
    share = sum(t not in annotated for t in told) / len(told)
    assert 0.18 < share < 0.3  # some ancestors are annotated themselves, some findings have none, some fall together


def test_noise_is_as_much_as_asked_for():
    others = {t for p in recorded(300, NOONAN, **NOTHING_ELSE | {"noise": 2, "missing": 1}) for t in in_text(p)}
    assert others <= {t for d in (KABUKI, NOONAN, WILLIAMS, APERT) for t in profile(d).text}
    counts = [len(in_text(p)) for p in recorded(300, NOONAN, **NOTHING_ELSE | {"noise": 2, "missing": 1})]
    assert np.mean(counts) == pytest.approx(2, abs=0.3)


def test_a_text_has_no_more_findings_than_allowed():
    counts = [len(in_text(p)) for p in recorded(100, missing=0, max_text_terms=4)]
    assert max(counts) == 4


def test_an_excluded_finding_is_neither_present_nor_above_a_present_one():
    ontology = hpo.ontology()
    seen = 0
    for phenotypes in recorded(100, **NOTHING_ELSE | {"excluded": 4}):
        has = {a for t in in_text(phenotypes) for a in ontology.ancestors(t)}
        seen += len(in_text(phenotypes, excluded=True))
        assert not in_text(phenotypes, excluded=True) & has
    assert seen > 100


def test_no_one_has_a_finding_of_the_other_sex():
    ontology = hpo.ontology()
    for sex, branch in (("female", "HP:0010461"), ("male", "HP:0010460")):
        terms = {p.id for phenotypes in recorded(150, sex=sex, missing=0, excluded=3, noise=3) for p in phenotypes}
        assert not [t for t in terms if branch in ontology.ancestors(t)]
    assert "HP:0000028" in {p.id for phenotypes in recorded(50, sex="male", **NOTHING_ELSE) for p in phenotypes}


def test_sex_and_age_follow_the_settings():
    cases = [corpus(female=0.25, ages=(2, 10)).patient(n, 1) for n in range(100)]
    assert sum(c.sex == "female" for c in cases) / 100 == pytest.approx(0.25, abs=0.13)
    assert min(c.age_years for c in cases) >= 2 and max(c.age_years for c in cases) <= 10


def test_a_face_follows_its_findings():
    draw = Draw(corpus(), KABUKI, 0, 1)
    findings = [p.id for p in draw.phenotypes("female") if p.modality == "image"]
    with_all, with_one_less = (
        Draw(corpus(), KABUKI, 0, 1).picture(terms, "female", 5) for terms in (findings, findings[1:])
    )
    assert with_all != with_one_less


def test_families_are_groups():
    groups = Counter(corpus(patients_per_group=2).patient(n, 1).group_id for n in range(4 * 5))
    assert sorted(groups.values()) == [1] * 4 + [2] * 8


def test_what_the_face_shows_tells_diseases_apart_that_texts_confuse():
    """A naive Bayes ranker of the findings, seen in text alone and with those of the picture."""
    demo = load_config("configs/demo.yaml").corpus.model_copy(update={"missing": 0.7})
    patients = {d: [Draw(demo, d, i, 1).phenotypes("female") for i in range(60)] for d in demo.disease_ids()}
    text_only, both = (share_right(patients, modalities) for modalities in ({"text"}, {"text", "image"}))
    assert 0.8 < text_only < 0.96 and both > text_only + 0.04


def share_right(patients: dict[str, list], modalities: set[str]) -> float:
    """Of the last 10 patients of each disease, ranked first by counts over the others."""
    seen = {d: [{p.id for p in case if p.modality in modalities} for case in cases] for d, cases in patients.items()}
    terms = sorted({t for cases in seen.values() for case in cases for t in case})
    has = np.array([[[t in case for t in terms] for case in cases] for cases in seen.values()], float)
    known, asked = has[:, :-10], has[:, -10:]
    p = (known.sum(axis=1) + 0.1) / (known.shape[1] + 0.2)
    scores = asked @ np.log(p).T + (1 - asked) @ np.log1p(-p).T
    return float((scores.argmax(axis=-1) == np.arange(len(seen))[:, None]).mean())


def test_named_diseases_are_labels_in_their_order():
    assert corpus().label_count() == 4
    labels = corpus().labels()
    assert [label.id for label in labels] == [KABUKI, NOONAN, WILLIAMS, APERT]
    assert (labels[0].name, labels[3].name) == ("Kabuki Syndrome 1", "Apert syndrome")


def test_a_number_takes_so_many_diseases_each_with_enough_facial_findings():
    some = corpus(diseases=40, min_facial_terms=6)
    assert some.label_count() == len(some.labels()) == len({label.name for label in some.labels()}) == 40
    assert min(len(profile(d).image) for d in some.disease_ids()) >= 6


def test_more_diseases_than_have_enough_facial_findings_are_refused_with_their_number():
    with pytest.raises(CorpusError, match=r"diseases is 500, but only \d+ diseases have 20 facial"):
        corpus(diseases=500, min_facial_terms=20).labels()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"diseases": [KABUKI, "OMIM:147921"]}, r"no OMIM disease .* is OMIM:147921, nearest is OMIM:147920 \(Kabuki"),
        ({"diseases": [KABUKI, 163951]}, r"no OMIM disease .* is 163951, nearest is OMIM:163950 \(Noonan syndrome 1\)"),
        ({"diseases": [KABUKI, "noonan syndrom 1"]}, r"nearest is OMIM:163950"),
        ({"diseases": [KABUKI, KABUKI]}, "each of them once"),
        ({"diseases": 1}, "two diseases at least"),
        ({"ages": (9, 3)}, "0 <= least <= greatest"),
        ({"missing": 1.5}, "less than or equal to 1"),
    ],
)
def test_wrong_settings_are_refused_in_plain_words(settings, message):
    with pytest.raises(ValidationError, match=message):
        corpus(**settings)


def test_the_demos_diseases_can_each_be_seen_in_a_face():
    demo = load_config("configs/demo.yaml").corpus
    assert 10 <= demo.label_count() <= 12
    assert min(len(profile(d).image) for d in demo.disease_ids()) >= 5


def test_a_wrong_disease_is_reported_under_its_key():
    with pytest.raises(ConfigError, match=r"^- corpus.diseases: .*; no OMIM disease with HPO annotations is OMIM:1,"):
        load_config("configs/demo.yaml", ["corpus.diseases=[OMIM:1,OMIM:147920]"])


def test_checking_the_settings_loads_neither_ray_nor_torch():
    check = "import sys, mint_ray.config as c; c.load_config('configs/demo.yaml'); print({'ray', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_stream_holds_every_patient_once_however_it_is_cut_into_blocks(local_ray, monkeypatch):
    from mint_ray.corpora import base

    expected = {case.case_id: case.model_dump() for case in (corpus().patient(n, 3) for n in range(20))}
    for rows in (64, 3):
        monkeypatch.setattr(base, "_DRAWN_AT_ONCE", rows)
        rows_out = corpus().outcomes(3).take_all()
        assert all(row["refusal"] is None for row in rows_out)
        assert len(rows_out) == 20
        assert {row["case"]["case_id"]: row["case"] for row in rows_out} == expected
