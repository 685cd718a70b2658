"""The client of the models: what it sends for a case, and what it makes of answers. Transports are small honest servers."""

import asyncio
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
import yaml

from mint_ray.client import Answer, AsyncModelClient, ModelClient, Named, ServiceError
from mint_ray.client.model import log_probabilities
from mint_ray.config import load_config
from mint_ray.runs import Run
from mint_ray.tasks.base import Label
from mint_ray.tasks.rare_disease import RareDisease
from mint_ray.tasks.tissue import Tissue
from mint_ray.transport import Patience
from tests.conftest import REPOSITORY
from tests.tiny_run import tiny_case, write_cases

URL = "http://models.example/v1"
TASK = RareDisease(kind="rare_disease", withhold_branches=["HP:0000271"])
LABELS = [Label(id="OMIM:1", name="Noonan syndrome 1"), Label(id="OMIM:2", name="Märchen-Syndrom", synonyms=("MS",))]
TEXT = "\n".join([TASK.header, "1. 'Noonan syndrome 1'", "2. 'Märchen-Syndrom'", "3. 'Nothing known'"])
TOKENS = [("POTENTIAL_DISEASES:\n1. '", -0.5), ("Noon", -1.0), ("an syndrome 1'", -0.25), ("\n2. 'M", -2.0)]
SPLIT = [(b"\xc3", -0.125), (b"\xa4", -0.125)]  # a letter of two tokens, as byte-level vocabularies have it
REST = [("rchen-Syndrom'\n3. 'Nothing", -0.5), (" known'", -4.0), ("<|end|>", -0.1)]


def spoken() -> list[dict]:
    """The tokens of the text and the end's, in OpenAI's form."""
    parts = [(part.encode() if isinstance(part, str) else part, value) for part, value in [*TOKENS, *SPLIT, *REST]]
    return [{"token": part.decode(errors="replace"), "bytes": list(part), "logprob": value} for part, value in parts]


def completion(text: str = TEXT, tokens: list[dict] | None = None, reason: str = "stop") -> httpx.Response:
    logprobs = {"content": tokens} if tokens is not None else None
    choice = {"message": {"content": text}, "finish_reason": reason, "logprobs": logprobs}
    return httpx.Response(200, json={"choices": [choice]})


def by_both(answer, asked, **options):
    """What both clients make of an answer, and the body that reached the service."""
    reached = []

    def handle(request: httpx.Request) -> httpx.Response:
        reached.append(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    options = {"task": TASK, "labels": LABELS, "patience": Patience(seconds=0), **options}

    async def asynchronous():
        async with AsyncModelClient(URL, "secret", transport=httpx.MockTransport(handle), **options) as client:
            return await client.ask(asked)

    def sync():
        with ModelClient(URL, "secret", transport=httpx.MockTransport(handle), **options) as client:
            return client.ask(asked)

    for ask in (sync, lambda: asyncio.run(asynchronous())):
        try:
            yield ask(), reached.pop()
        except ServiceError as error:
            yield error, reached.pop()


def test_a_case_is_asked_in_the_words_of_alignment_and_its_answer_has_names_ids_and_log_probabilities():
    case = tiny_case(0)
    view = TASK.downstream_view(case)
    for answer, request in by_both(completion(tokens=spoken()), case):
        assert answer == Answer(
            [
                Named(1, "Noonan syndrome 1", "OMIM:1", -1.25),
                Named(2, "Märchen-Syndrom", "OMIM:2", -2.75),
                Named(3, "Nothing known", None, -4.5),
            ],
            TEXT,
            complete=True,
            withheld=view.withheld,
        )
        body = json.loads(request.content)
        assert body["messages"] == [message.model_dump() for message in TASK.prompt(view)]
        assert (body["model"], body["temperature"], body["logprobs"]) == ("aligned", 0, True)
        assert (str(request.url), request.headers["authorization"]) == (f"{URL}/chat/completions", "Bearer secret")


def test_messages_are_asked_as_they_are_and_another_model_too():
    messages = [{"role": "user", "content": "Name a fruit."}]
    for answer, request in by_both(completion("Apple", reason="length"), messages, model="base", max_tokens=5):
        assert answer == Answer([], "Apple", complete=False)
        body = json.loads(request.content)
        assert (body["messages"], body["model"], body["max_tokens"]) == (messages, "base", 5)


def test_a_model_that_sees_images_is_shown_one():
    for _, request in by_both(completion(), tiny_case(0), task=Tissue(kind="tissue")):
        picture, words = json.loads(request.content)["messages"][0]["content"]
        assert picture["image_url"]["url"].startswith("data:image/png;base64,") and words["type"] == "text"


@pytest.mark.parametrize("tokens", [None, [], [{"token": "another text", "logprob": -1.0}]], ids=str)
def test_where_no_log_probabilities_are_kept_there_are_none(tokens):
    for answer, _ in by_both(completion(tokens=tokens), tiny_case(0)):
        assert [named.log_probability for named in answer.names] == [None] * 3
        assert [named.id for named in answer.names] == ["OMIM:1", "OMIM:2", None]


def test_a_span_has_the_tokens_that_hold_a_part_of_it_and_no_others():
    tokens = [(b"A\n", -1.0), (b"B", -2.0), (b"A", -4.0)]
    assert log_probabilities("A\nBA", [(0, 1), (2, 3), (3, 4), (2, 4)], tokens) == [-1.0, -2.0, -4.0, -6.0]


def test_a_short_name_is_looked_for_in_its_own_line():
    text = f"{TASK.header}\n1. 'AR'\n2. 'A'"
    tokens = [{"token": part, "logprob": -float(n)} for n, part in enumerate([text[:-2], "A", "'"])]
    for answer, _ in by_both(completion(text, tokens), tiny_case(0)):
        assert [(named.name, named.log_probability) for named in answer.names] == [("AR", 0.0), ("A", -1.0)]


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (httpx.Response(404, json={"error": {"message": "Erika", "code": "not-found"}}), 404, "not-found"),
        (httpx.Response(400, json={"error": {"message": "Erika", "code": 400}}), 400, None),
        (httpx.Response(401, json={"detail": "Erika"}), 401, None),
        (httpx.Response(502, text="Erika"), 502, None),
        (httpx.Response(200, json={"choices": []}), 200, None),
        (httpx.Response(200, json={"choices": [{"message": {"content": 5}, "finish_reason": "stop"}]}), 200, None),
        (httpx.Response(200, json=[]), 200, None),
        (httpx.Response(200, text="<html>Erika"), 200, None),
    ],
    ids=str,
)
def test_a_refusal_has_its_code_and_quotes_nothing(answer, status, code):
    for error, _ in by_both(answer, tiny_case(0)):
        assert (error.status, error.code) == (status, code)
        assert "Erika" not in str(error)


def test_an_answers_text_is_not_shown_by_accident():
    assert "Hypotonia" not in repr(Answer([], "the patient has Hypotonia", complete=True))


class Served(BaseHTTPRequestHandler):
    """A models' service that has one answer."""

    asked = []

    def do_POST(self) -> None:
        Served.asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        body = completion(tokens=spoken()).content
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_the_example_of_the_documentation_runs(tmp_path, capsys):
    two_names = ["task.answer_size=2", "preferences.chosen=2", "preferences.cut=2"]
    run = Run(load_config(REPOSITORY / "configs/demo.yaml", [f"run.dir={tmp_path}", *two_names]))
    write_cases(run, [tiny_case(0)])
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(run.config.model_dump(mode="json")))
    page = (REPOSITORY / "docs/aligned_model.md").read_text()
    (example,) = [each for each in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "client.ask(" in each]
    with HTTPServer(("127.0.0.1", 0), Served) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        exec(example.replace("127.0.0.1:8001", address).replace("runs/demo", str(tmp_path)), {})
        server.shutdown()
    assert "1 Noonan syndrome 1 OMIM:3 -1.25\n2 Märchen-Syndrom None -2.75\n" in capsys.readouterr().out
    (message,) = Served.asked[0]["messages"]
    assert "Findings: Hypotonia, Short stature" in message["content"].replace(";", ",")
