"""Asking served models: what is sent, what is asked again, what is refused and in which words; no network."""

import json
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr, ValidationError
from transformers import AutoTokenizer

from mint_ray.config import InferenceSection, RetrievalSection
from mint_ray.errors import EndpointError
from mint_ray.inference.answering import Weights
from mint_ray.inference.asking import chat_request
from mint_ray.inference.endpoint import Endpoint, EndpointEngine, check_endpoint, said
from mint_ray.inference.retrieval import Passage
from mint_ray.models import resolve_model
from mint_ray.tasks.base import Label
from mint_ray.tasks.rare_disease import RareDisease
from mint_ray.tasks.tissue import Tissue
from mint_ray.transport import Patience
from tests.tiny_run import tiny_case

URL = "http://models.example/v1"
CARDS = {"data": [{"id": "base", "metadata": {"model_digest": "d", "precision": "bf16", "max_model_len": 1024}}]}


def endpoint(*answers: httpx.Response | Exception, token: str | None = None) -> tuple[Endpoint, list[httpx.Request]]:
    """An endpoint that gives these answers in turn, and the requests that reached it."""
    asked, left = [], list(answers)

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    secret = SecretStr(token) if token else None
    return Endpoint(URL, secret, Patience(seconds=0.1, base=0.001), httpx.MockTransport(handle)), asked


def test_a_busy_a_dying_and_an_unreachable_service_are_asked_again():
    busy = httpx.Response(429), httpx.Response(503), httpx.ConnectError("gone")
    served, asked = endpoint(*busy, httpx.Response(200, json=CARDS), token="secret-token-0123456")
    assert served.models() == {"base": CARDS["data"][0]["metadata"]}
    assert len(asked) == 4
    assert {request.headers["authorization"] for request in asked} == {"Bearer secret-token-0123456"}


def test_patience_has_an_end():
    served, asked = endpoint(*[httpx.ConnectError("gone")] * 1000)
    with pytest.raises(EndpointError, match=r"models\.example/v1: the service cannot be reached \(ConnectError\)"):
        served.models()
    assert 1 < len(asked) < 1000


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "set MINT_RAY_TOKEN"), (404, "serves no model 'aligned'"), (400, "it answers with 400")],
)
def test_what_no_repeat_will_mend_is_refused_at_once_and_quotes_nothing(status, words):
    served, asked = endpoint(httpx.Response(status, json={"error": {"message": "a secret note"}}))
    with pytest.raises(EndpointError, match=words) as caught:
        served.complete({"model": "aligned", "messages": []})
    assert len(asked) == 1
    assert "secret" not in str(caught.value)


def test_a_model_of_another_run_or_of_other_settings_is_refused_before_anything_is_asked():
    section = InferenceSection(endpoint=URL, max_model_len=1024, precision="bf16")
    served = {"base": CARDS["data"][0]["metadata"]}
    own = Weights(Path("m"), "d")
    check_endpoint(section, "base", own, served)
    check_endpoint(section, "base", own, {"base": {}})  # a service of another make says nothing
    with pytest.raises(EndpointError, match="no model 'aligned'; it serves base"):
        check_endpoint(section, "aligned", own, served)
    with pytest.raises(EndpointError, match="model_digest is d there and e here"):
        check_endpoint(section, "base", Weights(Path("m"), "e"), served)
    wide = InferenceSection(endpoint=URL, precision="fp32")
    with pytest.raises(EndpointError, match=r"precision is bf16.*max_model_len is 1024 there and 2048 here"):
        check_endpoint(wide, "base", own, served)


def test_a_request_is_the_tasks_own_prompt_and_an_image_stands_before_it():
    disease, tissue = RareDisease(kind="rare_disease"), Tissue(kind="tissue")
    text = chat_request(disease, disease.downstream_view(tiny_case(0)), "aligned", seed=5)
    (message,) = text["messages"]
    assert "Findings: Hypotonia" in message["content"]
    assert (text["model"], text["seed"]) == ("aligned", 5)
    (message,) = chat_request(tissue, tissue.downstream_view(tiny_case(0)), "base")["messages"]
    picture, words = message["content"]
    assert picture["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert words["text"].startswith("You are a pathologist.")


class Asker(EndpointEngine):
    """Asks a service that is passed in; its tokenizer is the packaged model's."""

    def load(self) -> None:
        self.vision, self.tokenizer = None, AutoTokenizer.from_pretrained(self.weights.folder)
        usage = {"prompt_tokens": 7, "completion_tokens": 2}
        body = {"choices": [{"finish_reason": "stop", "message": {"content": "an answer"}}], "usage": usage}
        self.endpoint, self.asked = endpoint(httpx.Response(200, json=body))


def test_what_was_looked_up_is_sent_with_the_question(tmp_path):
    label = Label(id="OMIM:1", name="Hypotonia syndrome")
    section = InferenceSection(endpoint=URL, retrieval=RetrievalSection(), max_tokens=16)
    passages = [Passage(label.id, "Hypotonia syndrome: Hypotonia and a long face"), Passage("OMIM:2", "Other: Fever")]
    weights = Weights(resolve_model("packaged:smollm2-135m-instruct"), "d")
    task, folders = RareDisease(kind="rare_disease"), (tmp_path / "answers", tmp_path / "refused")
    asker = Asker("base", task, section, weights, 0, *folders, passages, token=None)
    prompt = asker.prompt(tiny_case(0))
    assert prompt.retrieved == [label.id]
    assert asker.ask([tiny_case(0)], [prompt]) == [("an answer", True, 7, 2, None)]
    (message,) = json.loads(asker.asked[0].content)["messages"]
    assert "Hypotonia and a long face" in message["content"]
    assert message["content"] in prompt.text


def test_an_answer_that_was_cut_off_is_known_as_such():
    body = {"choices": [{"finish_reason": "length", "message": {"content": None}}]}
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    assert said(json.loads(json.dumps(body | {"usage": usage}))) == ("", False, 7, 2, None)


def test_an_endpoint_and_another_engine_exclude_each_other():
    with pytest.raises(ValidationError, match="remove one"):
        InferenceSection(endpoint=URL, engine="transformers")
    with pytest.raises(ValidationError, match="pattern"):
        InferenceSection(endpoint="models.example/v1")
