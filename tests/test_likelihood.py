"""The likelihood-ratio ranker against the annotations that it is made from, and against published patients."""

import gzip
from itertools import islice

import numpy as np
import pytest

from mint_ray import hpo
from mint_ray.corpora.phenopackets import read_packet
from mint_ray.likelihood import LEAST, MOST, MOST_SOUGHT, UNRELATED, LikelihoodRatio, background, implied
from mint_ray.records import Case, Phenotype
from mint_ray.tasks.rare_disease import RareDisease

KABUKI, NOONAN, ANGELMAN, MARFAN = "OMIM:147920", "OMIM:163950", "OMIM:105830", "OMIM:154700"
RANKER = LikelihoodRatio({d: [d] for d in (KABUKI, NOONAN, ANGELMAN, MARFAN)})


def found(*term_ids: str, excluded: bool = False) -> list[Phenotype]:
    return [Phenotype(id=i, name=hpo.ontology().terms[i].name, excluded=excluded) for i in term_ids]


def test_who_shows_a_term_shows_all_above_it():
    frequencies = implied({"HP:0001166": 0.8, "HP:0001238": 0.3})  # arachnodactyly, slender finger: one below the other
    assert frequencies["HP:0001166"] == 0.8
    assert frequencies["HP:0001238"] == 0.8  # the more frequent one counts
    assert frequencies["HP:0000118"] == 0.8


def test_the_background_is_the_mean_over_all_diseases():
    seizure = "HP:0001250"
    direct = np.mean([implied(d.frequencies).get(seizure, 0.0) for d in hpo.diseases().values()])
    assert background()[seizure] == pytest.approx(direct)
    assert 0.1 < direct < 0.5


def test_a_finding_multiplies_the_odds_by_its_frequency_over_the_background():
    (lens,) = found("HP:0001083")  # ectopia lentis
    given = min(MOST, implied(hpo.diseases()[MARFAN].frequencies)[lens.id])
    ratios = RANKER.log_ratios([lens])
    assert ratios[3] == pytest.approx(np.log(given / background()[lens.id]))
    assert ratios[0] < 0 < ratios[3]


def test_an_excluded_finding_speaks_by_its_lack_and_by_having_been_looked_for():
    (lens,) = found("HP:0001083", excluded=True)
    given = min(MOST, implied(hpo.diseases()[MARFAN].frequencies)[lens.id])
    lack = np.log((1 - given) / (1 - background()[lens.id]))
    assert RANKER.log_ratios([lens])[3] == pytest.approx(lack + np.log(MOST_SOUGHT))  # annotated to few diseases
    assert RANKER.sought(lens.id)[0] < 0 < RANKER.sought(lens.id)[3]
    assert RANKER.log_ratios([lens])[3] < RANKER.log_ratios(found("HP:0001083"))[3]


def test_what_most_diseases_may_show_is_looked_for_in_none_of_them_more():
    assert RANKER.sought("HP:0000707") == pytest.approx([0, 0, 0, 0])  # abnormality of the nervous system


def test_a_nearer_look_at_an_annotated_finding_still_speaks_for_the_disease():
    # Angelman syndrome is annotated with seizures, not with this kind of them; Marfan syndrome with neither.
    kind = "HP:0002373"  # febrile seizure
    while kind in implied(hpo.diseases()[ANGELMAN].frequencies):
        kind = hpo.ontology().children[kind][0]
    angelman, marfan = RANKER.frequency(kind)[[2, 3]]
    assert marfan <= angelman
    assert marfan >= LEAST * UNRELATED and angelman <= UNRELATED


def test_a_label_stands_for_its_best_disease_and_one_without_annotations_is_last():
    ranker = LikelihoodRatio({"nothing": [], "unknown": ["OMIM:0"], "both": [KABUKI, MARFAN], "marfan": [MARFAN]})
    ratios = ranker.log_ratios(found("HP:0001083"))
    assert ratios[2] == ratios[3] and ratios[0] == ratios[1] == -np.inf
    assert ranker.rank(found("HP:0001083")) == ["both", "marfan", "nothing", "unknown"]


def test_what_patients_were_looked_at_for_and_never_show_is_no_nearer_look():
    # Kabuki syndrome: 0/n pelvic kidney, though an ectopic kidney is annotated; Marfan syndrome: neither.
    pelvic = "HP:0000125"
    assert pelvic in hpo.diseases()[KABUKI].absent
    (parent,) = hpo.ontology().terms[pelvic].parents
    assert parent in implied(hpo.diseases()[KABUKI].frequencies)
    usual = background()[pelvic]
    assert RANKER.frequency(pelvic)[0] == pytest.approx(max(UNRELATED * usual, LEAST * UNRELATED))
    below = Phenotype(id=pelvic, name="Pelvic kidney")
    assert RANKER.log_ratios([below])[0] < 0


def test_an_absent_term_that_a_finding_below_it_implies_is_shown_after_all():
    seizure = "HP:0001250"  # annotated 0/n beside kinds of seizure that patients do have
    disease = hpo.diseases()["OMIM:620450"]
    assert seizure in disease.absent and seizure in implied(disease.frequencies)
    ranker = LikelihoodRatio({disease.id: [disease.id]})
    assert ranker.frequency(seizure)[0] == pytest.approx(min(MOST, implied(disease.frequencies)[seizure]))


def test_without_a_known_finding_there_is_no_ranking():
    assert RANKER.rank([]) is None
    unknown = ["HP:9999999", "HP:0001726", "HP:0000007"]  # nobody's, obsolete, a mode of inheritance
    assert RANKER.rank([Phenotype(id=i, name="unknown") for i in unknown]) is None
    lens = found("HP:0001083")
    assert RANKER.rank([*lens, Phenotype(id="HP:9999999", name="unknown")]) == RANKER.rank(lens)


@pytest.fixture(scope="module")
def published(real_data) -> list[Case]:
    with gzip.open(real_data("phenopackets/phenopackets.jsonl.gz")) as lines:
        rows = [read_packet({"source": "f", "row": 1, "text": t, "problem": None}) for t in islice(lines, 0, 6800, 40)]
    return [row for row in rows if isinstance(row, Case) and row.label_id in hpo.diseases()]


def test_on_published_patients_it_is_far_above_chance(published):
    ranker = LikelihoodRatio({case.label_id: [case.label_id] for case in published})
    first = [ranker.rank(case.phenotypes)[0] == case.label_id for case in published]
    assert len(published) > 100 and len(ranker.label_ids) > 60
    assert np.mean(first) > 0.4  # chance is below 0.02


def test_excluded_findings_help_where_the_annotations_do_not_know_the_patients(published):
    without = RareDisease(kind="rare_disease").held_out(published)
    ranker = LikelihoodRatio({disease_id: [disease_id] for disease_id in hpo.diseases()}, without)
    ways = (lambda c: c.phenotypes, lambda c: [p for p in c.phenotypes if not p.excluded])
    told, observed = (np.mean([1 / (1 + ranker.rank(way(c)).index(c.label_id)) for c in published]) for way in ways)
    assert told > observed + 0.01
