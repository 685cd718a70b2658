from mint_ray.evaluation.inputs import rules_of
from mint_ray.evaluation.measure import name_index
from mint_ray.hpo import gene_diseases
from mint_ray.records import Case, Phenotype
from mint_ray.tasks.base import Label
from mint_ray.tasks.genes import Genes
from mint_ray.tasks.rare_disease import RareDisease
from tests.tiny_run import tiny_config

TASK = Genes(kind="genes", answer_size=3)
BRCA = [Label(id="HGNC:1100", name="BRCA1"), Label(id="HGNC:1101", name="BRCA2"), Label(id="HGNC:6554", name="LMX1B")]


def test_the_prompt_asks_for_genes_and_is_otherwise_that_of_the_disease():
    view = TASK.downstream_view(Case(case_id="c", group_id="g", phenotypes=[Phenotype(id="HP:1", name="Seizure")]))
    (genes,), (diseases,) = TASK.prompt(view), RareDisease(kind="rare_disease", answer_size=3).prompt(view)
    swapped = genes.content.replace("causal genes (HGNC symbols)", "rare genetic diseases")
    assert swapped.replace("POTENTIAL_GENES:", "POTENTIAL_DISEASES:") == diseases.content != genes.content


def test_an_answer_has_its_own_header_and_is_read_back():
    answer = TASK.answer(["BRCA1", "BRCA2"])
    assert answer == "POTENTIAL_GENES:\n1. 'BRCA1'\n2. 'BRCA2'"
    assert TASK.parse(answer) == ["BRCA1", "BRCA2"]


def test_symbols_ground_exactly_or_not_at_all(tmp_path):
    index = name_index(rules_of(tiny_config(tmp_path, task=TASK)), BRCA)
    assert [index.ground(name) for name in ("BRCA1", "brca2", "BRCA3", "BRCA", "BRCA12", "LMX1BB", "LMXB")] == [
        *("HGNC:1100", "HGNC:1101", None, None, None, None, None)
    ]
    assert index.similar("BRCA1") == {"HGNC:1100"}


def test_diseases_still_ground_by_likeness(tmp_path):
    index = name_index(rules_of(tiny_config(tmp_path)), [Label(id="OMIM:1", name="Angelman syndrome")])
    assert index.ground("Angelmann syndrome") == "OMIM:1"


def test_a_gene_is_as_likely_as_its_likeliest_disease():
    labels = [
        Label(id="HGNC:3603", name="FBN1"),
        Label(id="HGNC:12496", name="UBE3A"),
        Label(id="HGNC:0", name="NONE0"),
    ]
    assert "OMIM:154700" in gene_diseases()["FBN1"]
    whole, shown = TASK.rankers(labels).values()
    case = Case(case_id="c", group_id="g", phenotypes=[Phenotype(id="HP:0001083", name="Ectopia lentis")])
    assert whole(case) == shown(case) == ["HGNC:3603", "HGNC:12496", "HGNC:0"]


def test_what_the_language_model_does_not_see_one_ranker_does_not_use():
    labels = [Label(id="HGNC:12496", name="UBE3A"), Label(id="HGNC:3603", name="FBN1")]
    whole, shown = TASK.rankers(labels).values()
    lens = Phenotype(id="HP:0001083", name="Ectopia lentis", modality="image")
    case = Case(case_id="c", group_id="g", phenotypes=[lens])
    assert (whole(case)[0], shown(case)) == ("HGNC:3603", None)
