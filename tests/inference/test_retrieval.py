"""Retrieval: a disease is found by its own findings, and what is found stands in the prompt that the model reads."""

import json

import numpy as np
import pytest

from mint_ray.config import InferenceSection, RetrievalSection
from mint_ray.errors import ConfigError
from mint_ray.hpo import Disease, disease_names, diseases, ontology
from mint_ray.inference.answering import AnswerEngine, Said, Weights
from mint_ray.inference.predict import knowledge_figures, retrieved_figures
from mint_ray.inference.retrieval import open_retriever, own_passages, read_passages
from mint_ray.models import resolve_model
from mint_ray.records import Answer, Case, Phenotype, from_table, to_table
from mint_ray.runs import Run
from mint_ray.tasks.base import Label
from mint_ray.tasks.rare_disease import RareDisease
from mint_ray.tasks.tissue import Tissue
from tests.tiny_run import tiny_case, tiny_config, write_cases

IDS = ["OMIM:147920", "OMIM:163950", "OMIM:154500", "OMIM:101200", "OMIM:194050", "OMIM:105830", "OMIM:270400"]
LABELS = [Label(id=label_id, name=disease_names()[label_id]) for label_id in IDS]
TASK = RareDisease(kind="rare_disease", answer_size=3)


def findings(label_id: str, count: int = 8) -> list[Phenotype]:
    """A disease's most frequent findings."""
    frequencies, terms = diseases()[label_id].frequencies, ontology().terms
    often = sorted(frequencies, key=lambda term_id: (-frequencies[term_id], term_id))[:count]
    return [Phenotype(id=term_id, name=terms[term_id].name) for term_id in often]


def patient(label_id: str, **fields) -> Case:
    return Case(case_id=label_id, group_id=label_id, label_id=label_id, phenotypes=findings(label_id), **fields)


@pytest.mark.parametrize(("method", "place"), [("lexical", 0.2), ("dense", 1.0)])  # on average; by chance, 3
def test_a_disease_is_found_by_its_own_findings(method, place):
    section = RetrievalSection(method=method)
    retriever = open_retriever(section, read_passages(section, LABELS, TASK))
    places = []
    for label_id in IDS:
        found = [passage.label_id for passage in retriever.search(TASK.query(patient(label_id)), len(IDS))]
        places.append(found.index(label_id))
    assert np.mean(places) <= place


def test_a_finding_that_no_patient_had_is_none_of_the_diseases(monkeypatch):
    annotated = Disease(IDS[0], "Kabuki syndrome 1", {"HP:0001250": 0.0, "HP:0001252": 0.4, "HP:0004322": 0.9})
    monkeypatch.setattr("mint_ray.tasks.rare_disease.diseases", lambda without=None: {IDS[0]: annotated})
    (passage, *_) = read_passages(RetrievalSection(), LABELS, TASK)
    assert passage.text == f"{LABELS[0].name}: Short stature; Hypotonia"


def test_no_passage_of_the_published_annotations_lists_a_finding_of_frequency_0():
    labels = [Label(id=disease.id, name=disease.name) for disease in diseases().values()]
    terms = ontology().terms
    for passage in own_passages(labels, TASK):
        never = {terms[i].name for i, share in diseases()[passage.label_id].frequencies.items() if share == 0}
        often = {terms[i].name for i, share in diseases()[passage.label_id].frequencies.items() if share > 0}
        listed = passage.text.removeprefix(f"{disease_names()[passage.label_id]}: ").split("; ")
        assert not never & set(listed) and (listed == [passage.text] or set(listed) == often), passage.label_id
    assert len(labels) > 8000


def test_a_task_without_a_reference_of_its_own_asks_for_a_file():
    with pytest.raises(
        ConfigError, match=r"knowledge is 'task', and the task tissue has none of the labels: name a JSON"
    ):
        read_passages(RetrievalSection(), LABELS, Tissue(kind="tissue"))


def test_words_that_no_passage_has_find_nothing():
    section = RetrievalSection()
    retriever = open_retriever(section, read_passages(section, LABELS, TASK))
    assert retriever.search("zzzz", 3) == retriever.search("", 3) == []


def test_excluded_findings_look_nothing_up():
    seen, absent = findings("OMIM:163950", 2), findings("OMIM:101200", 2)
    case = Case(
        case_id="a", group_id="a", phenotypes=[*seen, *(p.model_copy(update={"excluded": True}) for p in absent)]
    )
    assert TASK.query(case) == "; ".join(p.name for p in seen)


def test_summaries_are_matched_by_name_or_id_and_those_of_other_diseases_are_left_out(tmp_path):
    path = tmp_path / "summaries.json"
    entries = {LABELS[0].name.upper(): "Arched eyebrows.", IDS[1]: "Webbed neck.", "Another disease": "Fever."}
    path.write_text(json.dumps(entries))
    passages = read_passages(RetrievalSection(knowledge=str(path)), LABELS, TASK)
    assert [(p.label_id, p.text) for p in passages] == [
        (IDS[0], f"{LABELS[0].name}: Arched eyebrows."),
        (IDS[1], f"{LABELS[1].name}: Webbed neck."),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1]", "expected one JSON object"),
        ("{", "cannot be read as JSON"),
        ('{"Another": "x"}', "knows none of the 7 labels"),
        (None, "cannot be read as JSON"),
    ],
)
def test_a_file_that_is_no_knowledge_is_a_wrong_setting(content, said, tmp_path):
    path = tmp_path / "summaries.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=rf"inference\.retrieval\.knowledge.*{said}"):
        read_passages(RetrievalSection(knowledge=str(path)), LABELS, TASK)


def test_the_published_summaries_cover_diseases_of_this_list(real_data):
    section = RetrievalSection(knowledge=str(real_data("gestaltmml/omim_summarized_1.0.9.json")))
    known = {passage.label_id for passage in read_passages(section, LABELS, TASK)}
    assert len(known) >= 3


class Notebook(AnswerEngine):
    """An engine that keeps what it is asked and answers with a word."""

    def load(self):
        from transformers import AutoTokenizer

        self.tokenizer, self.vision, self.asked = (
            AutoTokenizer.from_pretrained(resolve_model("packaged:smollm2-135m-instruct")),
            None,
            [],
        )

    def ask(self, cases, prompts):
        self.asked += prompts
        return [Said("1. 'x'", True, len(prompt.tokens), 3) for prompt in prompts]


def engine(tmp_path, task=TASK, **settings) -> Notebook:
    section = InferenceSection(max_tokens=64, **{"max_model_len": 1024, "retrieval": RetrievalSection(), **settings})
    passages = read_passages(section.retrieval, LABELS, TASK) if section.retrieval else None
    return Notebook("base", task, section, Weights(tmp_path, "d"), 0, tmp_path / "a", tmp_path / "r", passages)


def answered(notebook: Notebook, cases: list[Case]) -> list[Answer]:
    import pyarrow.parquet as pq

    notebook(to_table(cases, Case))
    files = sorted((notebook.answers).glob("*.parquet"))
    return [answer for file in files for answer in from_table(pq.read_table(file), Answer)]


def test_the_model_reads_the_passages_and_the_answer_says_whose_they_were(tmp_path):
    notebook = engine(tmp_path)
    (answer,) = answered(notebook, [patient("OMIM:163950")])
    (prompt,) = notebook.asked
    assert answer.retrieved[0] == "OMIM:163950" and len(answer.retrieved) == 3
    names = [disease_names()[label_id] for label_id in answer.retrieved]
    assert all(f"\n- {name}: " in prompt.text for name in names)
    assert prompt.text.index(names[0]) < prompt.text.index("Findings: ")
    assert answer.prompt_tokens == len(prompt.tokens) == prompt.length


def test_without_retrieval_the_prompt_is_the_pairs_own(tmp_path):
    notebook, case = engine(tmp_path, retrieval=None), patient("OMIM:163950")
    (answer,) = answered(notebook, [case])
    assert answer.retrieved is None
    assert TASK.prompt(TASK.downstream_view(case))[0].content in notebook.asked[0].text


def test_passages_are_cut_to_their_tokens_and_dropped_from_the_last_until_an_answer_fits(tmp_path):
    case = patient("OMIM:163950")
    bare = engine(tmp_path, retrieval=None).prompt(case).length
    section = RetrievalSection(passage_tokens=40)
    whole = engine(tmp_path, retrieval=section).prompt(case)
    assert len(whole.retrieved) == 3
    assert 3 * 35 < whole.length - bare < 3 * 40 + 25
    tight = engine(tmp_path, retrieval=section, max_model_len=whole.length + 64 - 1).prompt(case)
    assert tight.retrieved == whole.retrieved[:2]
    assert tight.length <= whole.length - 1
    none_fits = engine(tmp_path, retrieval=section, max_model_len=bare + 64).prompt(case)
    assert (none_fits.retrieved, none_fits.length) == ([], bare)


def test_a_case_without_words_is_refused_by_name(tmp_path):
    import pyarrow.parquet as pq

    notebook = engine(tmp_path, task=Tissue(kind="tissue"))
    assert answered(notebook, [Case(case_id="a", group_id="a", image=b"x")]) == []
    (refused,) = pq.read_table(tmp_path / "r").to_pylist()
    assert refused["reason"] == "nothing-to-look-up"


def test_the_manifest_says_how_often_the_truth_was_among_the_passages():
    answers = [{"label_id": "A", "retrieved": ["B", "A"]}, {"label_id": "A", "retrieved": []}]
    assert retrieved_figures(answers) == {"passages": 1.0, "truth_retrieved": 0.5}
    assert retrieved_figures([{"label_id": "A", "retrieved": None}]) == {}


@pytest.mark.parametrize(
    ("retrieval", "told"), [({}, {"annotations_taken_out"}), ({"knowledge": "own.json"}, set()), (None, set())]
)
def test_the_manifest_says_what_the_tasks_own_knowledge_left_out(retrieval, told, tmp_path):
    run = Run(tiny_config(tmp_path, inference={"retrieval": retrieval}))
    write_cases(run, [tiny_case(0, publications=[["PMID:31675180"]])])
    assert knowledge_figures(run).keys() == told
