"""What the service offers to fill in is what its task reads: on the page, in the form, in the examples."""

import pytest

from mint_ray.service.api import rank_example
from mint_ray.tasks.base import Task
from mint_ray.tasks.tissue import Tissue
from tests.service.test_access import DISEASE, answers

TISSUE = Tissue(kind="tissue")
FIELDS = ("text", "sex", "age_years", "ethnicity", "image")


def offered(task: Task) -> tuple[set[str], str, str]:
    """The fields of the upload form, the page to rank by hand, the page of the API."""
    described, page, docs = answers(("GET", "/openapi.json", {}), ("GET", "/", {}), ("GET", "/docs", {}), task=task)
    (form,) = [schema for name, schema in described.json()["components"]["schemas"].items() if name.startswith("Body_")]
    return form["properties"].keys() & {*FIELDS}, page.text, docs.text


def test_a_task_of_images_alone_asks_for_nothing_else():
    form, page, docs = offered(TISSUE)
    assert form == {"image"}
    assert 'id="file"' in page and 'id="top"' in page
    assert not any(f'id="{field}"' in page for field in ("findings", "note", "sex", "age"))
    assert "-F image=@image.png</pre>" in docs


def test_a_task_of_patients_asks_for_their_findings_in_its_own_terms():
    form, page, docs = offered(DISEASE)
    assert form == {*FIELDS}
    assert all(f'id="{field}"' in page for field in ("findings", "note", "sex", "age", "file", "top"))
    assert "no HP:0001250 Seizure" in page and "an id of the Human Phenotype Ontology" in page
    assert "-F text=&#39;Recurrent infections" in docs or "-F text='Recurrent infections" in docs


@pytest.mark.parametrize("task", [TISSUE, DISEASE])
def test_the_example_of_the_description_is_the_tasks_and_can_be_ranked(task):
    (described,) = answers(("GET", "/openapi.json", {}), task=task)
    (example,) = described.json()["components"]["schemas"]["RankRequest"]["examples"]
    assert example == rank_example(task)
    (ranked,) = answers(("POST", "/v1/rank", {"json": example}), task=task)
    assert ranked.status_code == 200 and ranked.json()["results"][0]["outcome"] == "ranking"


def test_a_case_of_which_the_task_reads_nothing_is_told_what_to_send():
    (answer,) = answers(("POST", "/v1/rank", {"json": {"cases": [{"text": "Short stature"}]}}), task=TISSUE)
    problem = answer.json()["results"][0]["problem"]
    assert (problem["code"], problem["detail"]) == ("empty-case", "send something of image")
