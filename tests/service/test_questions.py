"""A case to the request about it, and an answer to names with ids: what stands around a chat. No Ray."""

import asyncio
import json
import math
from base64 import b64encode

import httpx
import pytest

from mint_ray.client import AsyncScorerClient
from mint_ray.config import Configuration, load_config
from mint_ray.inference.asking import chat_request
from mint_ray.models import load_tokenizer, resolve_model
from mint_ray.service.problems import Problem
from mint_ray.service.questions import Questions, link
from mint_ray.service.settings import ModelLimits, ModelSection
from mint_ray.tasks.base import GREY
from mint_ray.tasks.rare_disease import disease_label
from mint_ray.tasks.tissue import TISSUES
from mint_ray.transport import Patience
from tests.conftest import REPOSITORY

LIMITS = ModelLimits(text_chars=200, phenotypes=3)
KABUKI, WILLIAMS = disease_label("OMIM:147920"), disease_label("OMIM:194050")


FIVE = ("task.answer_size=5", "preferences.chosen=5", "preferences.rejected=3", "preferences.cut=3")


def config(recipe: str = "demo", *more: str) -> Configuration:
    return load_config(REPOSITORY / f"configs/{recipe}.yaml", ["run.dir=nowhere", *FIVE, *more])


@pytest.fixture(scope="module")
def about() -> Questions:
    return Questions(config("demo", "task.withhold_branches=[HP:0000271]"), [KABUKI, WILLIAMS])


def test_the_request_is_the_one_that_the_command_line_makes(about):
    fields = {"phenotypes": [{"name": "short STATURE"}, {"id": "HP:0001250", "name": "x", "excluded": True}]}
    told = about.request(fields, "aligned", LIMITS)
    view = about.task.downstream_view(about.read(fields, LIMITS))
    assert view.text == "Findings: Short stature\nExcluded: Seizure"
    bound = told["request"]["max_tokens"]
    assert told["request"] == chat_request(about.task, view, "aligned", temperature=0, max_tokens=bound)
    assert told["prompt"] == told["request"]["messages"][0]["content"]
    assert (told["withheld"], told["read"]) == ([], [])


def test_an_answer_may_take_as_many_tokens_as_in_batch_inference(about):
    assert Questions(config("demo", "inference.max_tokens=77"), about.labels)._max_tokens == 77
    unset = config("demo", "inference.max_tokens=null")
    tokenizer = load_tokenizer(resolve_model(unset.alignment.model))
    whole = len(tokenizer(about.task.answer([KABUKI.name, WILLIAMS.name]), add_special_tokens=False)["input_ids"]) + 1
    assert Questions(unset, about.labels)._max_tokens == math.ceil(1.25 * whole)


def test_what_is_withheld_is_named_and_black_in_the_note(about):
    told = about.request(
        {"text": "A boy with a broad nasal tip and hypotonia.", "image": b64encode(GREY).decode()}, "base", LIMITS
    )
    assert [(each["id"], each["name"]) for each in told["withheld"]] == [
        ("", "image"),
        ("HP:0000455", "Broad nasal tip"),
    ]
    assert told["withheld"][1]["link"] == "https://hpo.jax.org/browse/term/HP:0000455"
    assert "Note: A boy with a [withheld] and hypotonia." in told["prompt"]
    assert [each["name"] for each in told["read"]] == ["Broad nasal tip", "Hypotonia"]


def test_names_have_the_ids_that_evaluation_gives_them_and_a_place_to_look_them_up(about):
    text = f"POTENTIAL_DISEASES:\n1. 'Kabuki syndrome 1'\n2. 'Nothing'\n3. '{KABUKI.synonyms[0]}'\n4. 'Willi"
    assert [(n["rank"], n["name"], n["id"], n["link"]) for n in about.names(text)] == [
        (1, "Kabuki syndrome 1", "OMIM:147920", "https://omim.org/entry/147920"),
        (2, "Nothing", None, None),
        (3, KABUKI.synonyms[0], "OMIM:147920", "https://omim.org/entry/147920"),
        (4, "Willi", None, None),
    ]


@pytest.mark.parametrize(
    ("curie", "place"),
    [
        ("ORPHA:558", "https://www.orpha.net/en/disease/detail/558"),
        ("MONDO:0007947", "https://monarchinitiative.org/MONDO:0007947"),
        ("HGNC:1100", "https://www.genenames.org/data/gene-symbol-report/#!/hgnc_id/HGNC:1100"),
        ("Bile-duct", None),
        ("OMIM:1/../evil", None),
        ("OMIM:", None),
    ],
)
def test_an_id_leads_to_its_public_page_and_to_no_other(curie, place):
    assert link(curie) == place


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "empty-case"),
        ({"image": b64encode(GREY).decode()}, "empty-case"),  # which the model is not shown
        ({"phenotypes": [{"id": "HP:9999999", "name": "x"}]}, "invalid-case"),
        ({"phenotypes": [{"name": str(i)} for i in range(4)]}, "invalid-case"),
        ({"text": "x" * 201}, "text-too-long"),
        ({"image": "no base64"}, "invalid-case"),
        ({"image": b64encode(b"no image").decode()}, "not-an-image"),
        ({"image": b64encode(GREY[:-30]).decode()}, "broken-image"),  # whose header is good
        ({"name": "Erika Mustermann"}, "invalid-case"),
        ("Erika Mustermann", "invalid-case"),
    ],
)
def test_a_case_with_a_fault_is_refused_without_its_words(about, fields, code):
    with pytest.raises(Problem) as told:
        about.request(fields, "aligned", LIMITS)
    assert told.value.code == code
    assert "Mustermann" not in told.value.details.model_dump_json()


def test_a_model_that_sees_is_shown_the_image_and_asks_for_nothing_else():
    about = Questions(config("demo_tissue"), TISSUES)
    assert (about.shows, about.sees_images) == (("image",), True)
    told = about.request({"image": b64encode(GREY).decode()}, "aligned", LIMITS)
    picture, words = told["request"]["messages"][0]["content"]
    assert picture["image_url"]["url"].startswith("data:image/png;base64,")
    assert words["text"] == told["prompt"]
    with pytest.raises(Problem, match="neither text nor image"):
        about.request({}, "aligned", LIMITS)


def test_an_image_is_offered_where_somebody_looks_at_it(about):
    assert about.shows == ("phenotypes", "text", "sex", "age_years")
    beside = AsyncScorerClient("http://scorer.example")
    assert Questions(about.config, about.labels, beside).shows == (*about.shows, "image")


def test_what_a_runs_own_prompts_hold_beside_is_said(about):
    assert not about.looks_up
    assert Questions(config("demo", "inference.retrieval={}"), about.labels).looks_up


def ranked(about: Questions, answer: httpx.Response | Exception, fields: dict) -> tuple[list, list]:
    """What is ranked, and what the scorer beside was asked."""
    asked = []

    def beside(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    patience = Patience(seconds=0)
    scorer = AsyncScorerClient("http://s", "secret", patience=patience, transport=httpx.MockTransport(beside))
    return asyncio.run(Questions(about.config, about.labels, scorer).ranking(fields, 2, LIMITS)), asked


def test_the_scorer_beside_is_shown_the_whole_case_with_its_note_read(about):
    top = [{"rank": 1, "id": "OMIM:147920", "name": "Kabuki syndrome 1", "score": -0.5}]
    answer = httpx.Response(200, json={"results": [{"outcome": "ranking", "id": "", "top": top, "bottom": []}]})
    found, (asked,) = ranked(
        about, answer, {"text": "A girl with a broad nasal tip.", "image": b64encode(GREY).decode()}
    )
    assert found == [top[0] | {"link": "https://omim.org/entry/147920"}]
    assert asked.headers["authorization"] == "Bearer secret"

    body = json.loads(asked.content)
    (case,) = body["cases"]
    assert [p["name"] for p in case["phenotypes"]] == ["Broad nasal tip"]
    assert (case["sex"], case["text"], body["top_k"]) == ("female", "A girl with a broad nasal tip.", 2)
    assert case["image"]


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (httpx.ConnectError("refused"), "not-ready", "no answer"),
        (httpx.Response(401, json={"code": "unauthorised", "title": "t", "status": 401}), "not-ready", ""),
        (
            httpx.Response(
                200,
                json={
                    "results": [
                        {
                            "outcome": "problem",
                            "id": "",
                            "problem": {"status": 422, "code": "broken-image", "detail": "d", "errors": []},
                        }
                    ]
                },
            ),
            "broken-image",
            "d",
        ),
    ],
)
def test_a_scorer_that_gives_no_ranking_is_told_of(about, answer, code, said):
    with pytest.raises(Problem) as told:
        ranked(about, answer, {"text": "Hypotonia."})
    assert told.value.code == code and said in told.value.details.detail


def test_without_a_scorer_there_is_no_ranking(about):
    with pytest.raises(Problem) as told:
        asyncio.run(about.ranking({"text": "Hypotonia."}, 2, LIMITS))
    assert told.value.code == "not-found"


@pytest.mark.parametrize(
    ("args", "words"),
    [({"model": "m", "scorer": "http://s"}, "without a run"), ({"run": "r", "scorer": "scorer"}, "pattern")],
)
def test_a_scorer_beside_is_an_address_and_stands_beside_a_run(args, words):
    with pytest.raises(ValueError, match=words):
        ModelSection.model_validate(args)
