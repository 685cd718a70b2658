"""Base and aligned models behind the OpenAI-compatible API: the running service, as the README starts it."""

import httpx
import openai
import pytest
import torch
from peft import PeftModel
from transformers import AutoTokenizer

from mint_ray.client import ModelClient
from mint_ray.client.model import log_probabilities
from mint_ray.errors import ConfigError, ModelError, RunError
from mint_ray.inference.asking import chat_request
from mint_ray.inference.predict import predict
from mint_ray.inference.store import answer_table
from mint_ray.models import load_model, model_digest, resolve_model
from mint_ray.runs import Run
from mint_ray.service.file import Application, bound
from mint_ray.service.models import served_models
from mint_ray.service.settings import ModelSection
from tests.aligned_run import MODEL, aligned_run, save_adapter
from tests.browser import browser
from tests.service.models import IMPORT_PATH, write_models_config
from tests.service.running import running
from tests.tiny_run import tiny_case, write_cases

TOKEN = "0123456789abcdef0123"
PATIENCE = 400
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """Three patients, and an adapter."""
    run = aligned_run(tmp_path_factory.mktemp("models") / "run")
    write_cases(run, [tiny_case(0), tiny_case(1, sex="male"), tiny_case(2, text="A note.")])
    return run


@pytest.fixture(scope="module")
def service(run, tmp_path_factory):
    config = write_models_config(tmp_path_factory.mktemp("service"), run=str(run.dir), limits={"body_bytes": 65536})
    with running(config, patience=PATIENCE, MINT_RAY_TOKEN=TOKEN) as found:
        yield found


@pytest.fixture
def http(service):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=f"{service.url}/v1", headers=headers, timeout=120) as client:
        yield client


def words(model: str, **more) -> dict:
    return {"model": model, "messages": [{"role": "user", "content": "Name a fruit."}], "max_tokens": 4, **more}


def first_words(run: Run, model, case) -> str:
    """What a model of transformers says first, greedily: four tokens."""
    tokenizer = AutoTokenizer.from_pretrained(resolve_model(MODEL))
    messages = chat_request(run.config.task, run.config.task.downstream_view(case), "")["messages"]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")
    said = model.generate(**prompt, do_sample=False, max_new_tokens=4)
    return tokenizer.decode(said[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)


def test_the_models_are_listed_with_what_they_are_made_of(http, run):
    cards = {card["id"]: card["metadata"] for card in http.get("/models").json()["data"]}
    assert list(cards) == ["base", "aligned"]
    assert cards["base"]["model_digest"] == cards["aligned"]["model_digest"]
    assert (cards["base"]["adapter_digest"], len(cards["aligned"]["adapter_digest"])) == (None, 16)
    assert cards["base"]["precision"] == "fp32", "the engine is set as the run's inference section has it"
    assert http.get("/models/aligned").json()["metadata"] == cards["aligned"]


def test_each_name_answers_with_its_own_weights_through_the_openai_client(service, run):
    client = openai.OpenAI(base_url=f"{service.url}/v1", api_key=TOKEN)
    case, adapter = tiny_case(0), run.stage("alignment").path / "adapter"
    base = load_model(resolve_model(MODEL), torch.float32)
    said = {}
    for name in ("base", "aligned"):
        answer = client.chat.completions.create(
            **chat_request(run.config.task, run.config.task.downstream_view(case), name, max_tokens=4)
        )
        said[name] = answer.choices[0].message.content
    assert said["base"] == first_words(run, base, case)
    assert said["aligned"] == first_words(run, PeftModel.from_pretrained(base, adapter), case)
    assert said["base"] != said["aligned"]


def test_an_answer_may_be_streamed(service):
    client = openai.OpenAI(base_url=f"{service.url}/v1", api_key=TOKEN)
    pieces = [chunk.choices[0].delta.content for chunk in client.chat.completions.create(**words("base"), stream=True)]
    whole = client.chat.completions.create(**words("base"))
    assert "".join(filter(None, pieces)) == whole.choices[0].message.content


def test_the_client_asks_as_alignment_did_and_knows_how_probable_each_token_was(service, run):
    with ModelClient(f"{service.url}/v1", TOKEN, task=run.config.task, max_tokens=4) as client:
        answer = client.ask(tiny_case(0))
    adapter = run.stage("alignment").path / "adapter"
    model = PeftModel.from_pretrained(load_model(resolve_model(MODEL), torch.float32), adapter)
    assert (answer.text, answer.complete) == (first_words(run, model, tiny_case(0)), False)
    body = words("base", logprobs=True)
    said = httpx.post(f"{service.url}/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {TOKEN}"})
    (choice,) = said.json()["choices"]
    tokens = [(bytes(token["bytes"]), token["logprob"]) for token in choice["logprobs"]["content"]]
    text = choice["message"]["content"]
    (whole,) = log_probabilities(text, [(0, len(text))], tokens)
    assert whole == pytest.approx(sum(value for _, value in tokens)) and whole < 0


def test_the_page_asks_in_the_words_of_alignment_and_shows_what_the_model_says(service, run):
    case = tiny_case(0)
    found = [{"id": p.id, "name": p.name, "excluded": p.excluded} for p in case.phenotypes]
    with httpx.Client(base_url=service.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=120) as client:
        fields = {"phenotypes": found, "sex": case.sex, "age_years": case.age_years, "text": case.text}
        asked = client.post("/v1/ask/request", json={"case": {k: v for k, v in fields.items() if v is not None}}).json()
        view = run.config.task.downstream_view(case)
        bound = run.config.inference.max_tokens
        assert asked["request"] == chat_request(run.config.task, view, "aligned", temperature=0, max_tokens=bound)
        said = client.post("/v1/chat/completions", json=asked["request"]).json()["choices"][0]["message"]["content"]
    with browser() as window:
        window.open(service.url + "/")
        window.tab_to("token")
        window.keys(TOKEN)
        window.run("document.getElementById('observed').focus()")
        for each in case.phenotypes:
            window.keys(each.name, "Enter")
        for field, value in (("sex", case.sex), ("age", case.age_years)):
            window.run("document.getElementById(arguments[0]).value = arguments[1]", field, value)
        window.tab_to("go")
        window.keys("Enter")
        window.wait(lambda: " with an id." in window.text("#status"))
        assert window.run("document.getElementById('text').textContent") == said
        assert window.complaints() == []


@pytest.mark.parametrize("name", ["nobody", "aligned:other", ""])
def test_an_unknown_model_is_404_and_the_known_are_named(http, name):
    answer = http.post("/chat/completions", json=words(name))
    assert answer.status_code == 404
    assert "base, aligned" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"json": {"model": "base"}}, 422, "invalid-request"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, "malformed-body"),
        ({"content": b"{}", "headers": {"content-type": "text/plain"}}, 415, "unsupported-media-type"),
        ({"json": words("base", user="x" * 70_000)}, 413, "body-too-large"),
        ({"json": words("base") | {"max_tokens": 5000}}, 400, "BadRequestError"),
    ],
)
def test_a_bad_request_is_refused_in_openais_form(http, body, status, code):
    answer = http.post("/chat/completions", **body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize("header", [None, "Bearer wrong", f"Basic {TOKEN}"])
def test_without_the_token_nothing_is_said(service, header):
    headers = {"Authorization": header} if header else {}
    for method, path in (("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("GET", "/metrics")):
        answer = httpx.request(method, service.url + path, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorised")
    assert httpx.get(service.url + "/readyz").status_code == 200


def test_no_page_of_elsewhere_is_let_in_by_its_origin(http):
    answer = http.get("/models", headers={"Origin": "https://elsewhere.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_refusals_are_counted_and_no_log_holds_what_was_asked(http, service):
    marker = "a-note-that-no-log-may-hold"
    http.post("/chat/completions", json=words("base") | {"messages": [{"role": "clown", "content": marker}]})
    http.post("/chat/completions", json=words("base") | {"messages": [{"role": "user", "content": marker * 100}]})
    assert (
        'mint_ray_refusals_total{code="unauthorised"'
        in httpx.get(service.url + "/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    )
    assert marker not in service.log.read_text()


def test_batch_inference_through_the_service_writes_the_answers_of_an_engine_of_its_own(
    run, service, local_ray, monkeypatch
):
    tables = []
    for setting in ({"endpoint": f"{service.url}/v1"}, {}):
        monkeypatch.setenv("MINT_RAY_TOKEN", TOKEN)
        inference = run.config.inference.model_copy(update={"models": ["aligned"], "batch_size": 2} | setting)
        asked = Run(run.config.model_copy(update={"inference": inference}))
        asked.stage("answers").clear()
        asked.stage("answers").begin()
        report = predict(asked)
        assert (report.rows_in, report.rows_out, report.refused) == (3, 3, {})
        tables.append(answer_table(asked, "aligned"))
    assert tables[0].equals(tables[1])


def test_any_other_address_needs_a_token(monkeypatch, tmp_path):
    monkeypatch.delenv("MINT_RAY_TOKEN", raising=False)
    with pytest.raises(ConfigError, match=r"'0\.0\.0\.0', which other machines can reach, and no token is set"):
        bound(Application(import_path=IMPORT_PATH, args={"run": str(tmp_path)}), "0.0.0.0")


def test_a_run_that_is_not_aligned_and_an_adapter_that_is_none_are_refused_by_name(tmp_path):
    with pytest.raises(RunError, match=r"is no run's directory \(no config.yaml\)"):
        served_models(ModelSection(run=tmp_path))
    with pytest.raises(ModelError, match="is no adapter"):
        served_models(ModelSection(model=MODEL, adapters={"mine": tmp_path / "nothing"}))


def test_a_served_adapter_lies_on_what_its_training_started_from(tmp_path):
    save_adapter(tmp_path / "earlier")
    run = aligned_run(tmp_path / "run", start=tmp_path / "earlier")
    _, served = served_models(ModelSection(run=run.dir))
    assert served["base"].digest == model_digest(resolve_model(MODEL))
    assert served["aligned"].digest == model_digest(run.dir / "alignment" / "start") != served["base"].digest


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({}, "one of the two"),
        ({"run": "r", "model": "m"}, "one of the two"),
        ({"run": "r", "adapters": {"aligned": "a"}}, "are taken"),
        ({"model": "m", "adapters": {"a:b": "x"}}, "pattern"),
        ({"model": "m", "names": ["aligned"]}, "there is no aligned; there is base"),
    ],
)
def test_names_that_cannot_be_served_are_refused(args, words):
    with pytest.raises(ValueError, match=words):
        ModelSection.model_validate(args)
