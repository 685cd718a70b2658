"""What a task has that says nothing of itself, and that ours say what they read."""

import pytest

from mint_ray.errors import CorpusError
from mint_ray.records import Case, Phenotype
from mint_ray.tasks.base import Label, Task
from mint_ray.tasks.genes import Genes
from mint_ray.tasks.rare_disease import RareDisease
from mint_ray.tasks.tissue import Tissue

FIELDS = ("text", "phenotypes", "sex", "age_years", "ethnicity", "image")
TISSUE, DISEASE = Tissue(kind="tissue"), RareDisease(kind="rare_disease")


@pytest.mark.parametrize(
    ("task", "read"), [(TISSUE, ["image"]), (DISEASE, list(FIELDS)), (Genes(kind="genes"), list(FIELDS))]
)
def test_a_task_reads_the_fields_that_its_example_fills_and_can_show_it_to_its_scorer(task, read):
    assert [field for field in FIELDS if task.reads(field)] == read
    view = task.scorer_view(task.example)
    assert (view.image is not None) == ("image" in read) and bool(view.text) == ("text" in read)


def test_a_finding_is_a_term_of_the_tasks_vocabulary_where_it_has_one():
    assert DISEASE.phenotype("hypotonia") == Phenotype(id="HP:0001252", name="Hypotonia")
    assert DISEASE.phenotype("HP:0001252", excluded=True) == Phenotype(id="HP:0001252", name="Hypotonia", excluded=True)
    assert DISEASE.phenotype("Blue knees") == Phenotype(id="", name="Blue knees")
    assert TISSUE.phenotype("HP:9999999") == Phenotype(id="", name="HP:9999999")
    with pytest.raises(CorpusError, match="HP:9999999: is no id of the Human Phenotype Ontology"):
        DISEASE.phenotype("HP:9999999")


@pytest.mark.parametrize("task", [Task, RareDisease, Tissue], ids=lambda task: task.__name__)
def test_an_example_which_is_made_unchecked_would_pass_the_checks(task):
    assert Case.model_validate(task.example.model_dump()) == task.example


def test_the_example_of_a_task_has_terms_of_its_vocabulary():
    assert [DISEASE.phenotype(p.id, p.excluded) for p in DISEASE.example.phenotypes] == DISEASE.example.phenotypes


def test_publications_of_held_out_patients_are_taken_out_of_a_diseases_knowledge_and_told():
    case = {"group_id": "a", "label_id": "OMIM:619340", "publications": [["PMID:31675180"]]}
    without = DISEASE.held_out([Case(case_id="a", **case), Case(case_id="b", **case | {"publications": []})])
    assert without.publications == {"PMID:31675180"}
    assert DISEASE.taken_out(without)["annotations_taken_out"]["rows"] > 0
    label = Label(id="OMIM:619340", name="Developmental and epileptic encephalopathy 96")
    assert DISEASE.knowledge([label])[label.id] != DISEASE.knowledge([label], without)[label.id]
    assert DISEASE.held_out([Case(case_id="b", group_id="b", label_id="OMIM:1")]) is None
    assert TISSUE.held_out([Case(case_id="a", **case)]) is None and TISSUE.taken_out(None) == {}


def test_what_a_comparison_counts_is_the_tasks():
    case = Case(case_id="a", group_id="a", phenotypes=[DISEASE.phenotype("Seizure"), DISEASE.phenotype("Ptosis", True)])
    assert DISEASE.counts(case) == {"findings observed": 1} and TISSUE.counts(case) == {}
