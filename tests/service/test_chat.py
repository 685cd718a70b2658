"""The models' application without engines: what is open, what is counted, and whether it is ready. No Ray."""

import asyncio
import re

import httpx
import pytest
from ray.llm._internal.serve.core.configs.openai_api_models import ChatCompletionRequest, CompletionRequest

from mint_ray.service import pages
from mint_ray.service.chat import CancellingHandle, ModelEndpoint, create_app
from mint_ray.service.guards import guarded
from mint_ray.service.metrics import HttpMetrics
from mint_ray.service.openai_errors import error_response
from mint_ray.service.readiness import Readiness
from mint_ray.service.settings import AutoscalingSection, ModelLimits, ModelSection

TOKEN = "0123456789abcdef0123"
PREFIXES = ["", "/models", "/v1"]


class Endpoint:
    """What Ray's router offers, with nothing behind."""

    async def models(self):
        return {"data": []}

    async def model_data(self, model: str):
        return {"id": model, "object": "model", "owned_by": "nobody", "permission": []}

    async def chat(self, body: ChatCompletionRequest):
        return {}

    async def completions(self, body: CompletionRequest):
        raise RuntimeError(f"the engine failed over {body}")


def door(checks: dict | None = None):
    metrics = HttpMetrics()
    app = create_app(Endpoint(), Readiness(checks or {}), metrics)
    return guarded(app, ModelLimits(), TOKEN, metrics, pages.routes(app), error_response)


def answers(*asked, prefix: str = "", bearer: bool = False, checks: dict | None = None) -> list[httpx.Response]:
    """What a fresh application answers to paths (with a method or none), or to bodies of chats and completions."""

    async def scenario() -> list[httpx.Response]:
        transport = httpx.ASGITransport(door(checks), root_path=prefix)
        headers = {"Authorization": f"Bearer {TOKEN}"} if bearer else {}
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
            return [
                await (
                    client.post(address(each), json=each)
                    if isinstance(each, dict)
                    else client.request(*_got(each, prefix))
                )
                for each in asked
            ]

    return asyncio.run(scenario())


def _got(asked: str | tuple[str, str], prefix: str) -> tuple[str, str]:
    method, path = ("GET", asked) if isinstance(asked, str) else asked
    return method, prefix + path


def address(body: dict) -> str:
    return "/v1/chat/completions" if "messages" in body else "/v1/completions"


USER = {"role": "user", "content": "Erika Mustermann"}


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [USER], "top_logprobs": -5},
        {"messages": [USER], "top_logprobs": 5},
        {"messages": [USER], "prompt_logprobs": -2},
        {"messages": [USER], "stream_options": {"include_usage": True}},
        {"messages": [USER], "tool_choice": "required"},
        {"messages": [USER], "response_format": {"type": "json_schema"}},
        {"messages": [USER], "structured_outputs": {"regex": "a", "choice": ["b"]}},
        {"messages": [{"role": "system", "content": 3}]},
        {"messages": [{"role": "system", "content": [3]}]},
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]},
        {"messages": [{"role": "assistant", "tool_calls": 5}]},
        {"messages": [{"role": "assistant", "tool_calls": [5]}]},
        {"messages": [[]]},
        {"messages": 5},
        {"prompt": "Erika Mustermann", "logprobs": -3},
        {"prompt": "Erika Mustermann", "prompt_logprobs": -2},
        {"prompt": "Erika Mustermann", "logprobs": "x"},
        {"prompt": ["Erika Mustermann"] * 65},
        {"prompt": [[5]] * 65},
        {"prompt": ["Erika Mustermann"] * 33, "n": 2},
        {"prompt": [[5], [6]], "n": "33"},
        {"prompt": "Erika Mustermann", "n": 65},
        {"prompt": None},
        {"prompt": {"a": "Mustermann"}},
    ],
    ids=str,
)
def test_what_vllm_cannot_read_is_the_requests_fault_and_its_words_stay_here(body, caplog):
    (answer,) = answers({"model": "base"} | body, bearer=True)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid-request")
    assert "Mustermann" not in answer.text + caplog.text


@pytest.mark.parametrize("body", [{"prompt": ["a"] * 32, "n": 2}, {"prompt": [5] * 100, "n": 64}], ids=str)
def test_as_many_answers_as_are_given_go_on_to_the_engine(body):
    assert answers({"model": "base"} | body, bearer=True)[0].status_code == 500  # this one fails over all


def test_a_chat_that_can_be_read_goes_on_to_the_engine():
    assert answers({"model": "base", "messages": [USER], "logprobs": True}, bearer=True)[0].json() == {}


def test_an_engine_that_fails_says_nothing_of_what_it_was_asked(caplog, capfd):
    failed, metrics = answers({"prompt": "Erika Mustermann"}, "/metrics", bearer=True)
    assert (failed.status_code, failed.json()["error"]["code"]) == (500, "internal")
    printed = capfd.readouterr()
    assert "RuntimeError" in caplog.text
    assert "Mustermann" not in failed.text + metrics.text + caplog.text + printed.out + printed.err


@pytest.mark.parametrize("prefix", PREFIXES)
def test_health_is_open_and_nothing_else_is(prefix):
    assert [answer.status_code for answer in answers("/livez", "/readyz", prefix=prefix)] == [200, 200]
    heads = answers(*[("HEAD", path) for path in ("/livez", "/readyz", "/v1/models")], prefix=prefix)
    assert [(answer.status_code, answer.content) for answer in heads] == [(200, b""), (200, b""), (401, b"")]
    guarded_paths = ("/v1/models", "/v1/models/base", "/metrics", "/v1/chat/completions", "/nothing", "/v1/livez")
    found = answers(*guarded_paths, prefix=prefix)
    assert [(answer.status_code, answer.json()["error"]["code"]) for answer in found] == [(401, "unauthorised")] * 6


@pytest.mark.parametrize("prefix", PREFIXES)
def test_requests_are_counted_by_address_and_never_by_what_was_asked_for(prefix):
    *_, metrics = answers("/v1/models/Mustermann", "/v1/models", "/livez", "/x", "/metrics", prefix=prefix, bearer=True)
    counted = set(re.findall(r'requests_total{.*?route="(.*?)",status="(.*?)"}', metrics.text))
    assert {route for route, _ in counted} == {"/v1/models/{model}", "/v1/models", "/livez", "other"}
    assert "Mustermann" not in metrics.text


class Engine:
    """Says that it is well as long as it is."""

    def __init__(self, fault: Exception | None = None):
        self.fault, self.asked = fault, 0

    async def __call__(self):
        self.asked += 1
        if isinstance(self.fault, TimeoutError):
            await asyncio.Event().wait()
        if self.fault:
            raise self.fault


@pytest.mark.parametrize("fault", [RuntimeError("the engine died over Erika Mustermann"), TimeoutError()])
def test_it_is_ready_while_every_engine_answers_for_itself(monkeypatch, caplog, fault):
    monkeypatch.setattr("mint_ray.service.readiness.PATIENCE_SECONDS", 0.05)
    (answer,) = answers("/readyz", checks={"base": Engine(), "aligned": Engine()})
    assert answer.status_code == 200
    ready, live = answers("/readyz", "/livez", checks={"base": Engine(), "aligned": Engine(fault)})
    assert (ready.status_code, ready.json()["error"]["code"], live.status_code) == (503, "not-ready", 200)
    assert "aligned" in ready.json()["error"]["message"]
    assert "base" not in ready.json()["error"]["message"]
    assert ready.headers["retry-after"]
    assert "Mustermann" not in caplog.text + ready.text


def test_however_many_ask_an_engine_is_asked_once_in_a_while():
    engine = Engine()
    answers(*["/readyz"] * 20, checks={"base": engine})
    assert engine.asked == 1


def test_an_engine_that_comes_back_is_ready_again(monkeypatch):
    monkeypatch.setattr("mint_ray.service.readiness.FRESH_SECONDS", -1.0)
    engine = Engine(RuntimeError())

    async def twice() -> list:
        readiness, found = Readiness({"base": engine}), []
        for fault in (RuntimeError(), None):
            engine.fault = fault
            try:
                found.append(await readiness.check())
            except Exception as problem:
                found.append(problem.code)
        return found

    assert asyncio.run(twice()) == ["not-ready", None]


def test_engines_that_may_sleep_are_not_woken_by_a_probe():
    assert ModelSection(model="m", autoscaling=AutoscalingSection(min_replicas=0)).may_sleep
    assert not ModelSection(model="m", autoscaling=AutoscalingSection()).may_sleep


class Answers:
    """What a streaming handle gives: some pieces at once, and then nothing for ever."""

    def __init__(self, *pieces: str):
        self._pieces, self.cancelled = list(pieces), False

    def __aiter__(self):
        return self

    async def __anext__(self) -> str:
        if not self._pieces:
            await asyncio.Event().wait()
        return self._pieces.pop(0)

    def cancel(self) -> None:
        self.cancelled = True


class Handle:
    """A deployment's, for one call."""

    def __init__(self, answers: Answers):
        self._answers, self.chat, self.asked = answers, self, []

    def options(self, **_):
        return self

    def remote(self, *arguments) -> Answers:
        self.asked.append(arguments)
        return self._answers


@pytest.mark.parametrize("pieces", [(), ("a", "b")], ids=["nothing yet", "in the middle"])
def test_an_engine_stops_where_our_bound_on_time_ends_a_request(pieces):
    answers, heard = Answers(*pieces), []
    handle = Handle(answers)

    async def ask() -> None:
        async with asyncio.timeout(0.05):
            async for each in CancellingHandle(handle).options(session_id="x").chat.remote("body", None):
                heard.append(each)

    with pytest.raises(TimeoutError):
        asyncio.run(ask())
    assert (tuple(heard), handle.asked, answers.cancelled) == (pieces, [("body", None)], True)


def test_rays_router_asks_an_engine_by_a_handle_that_cancels():
    answers = Answers("a")
    handle = Handle(answers)
    handle.completions = handle
    endpoint = object.__new__(ModelEndpoint.func_or_class)
    endpoint._model_cards, endpoint._configured_serve_handles = {"base": None}, {"base": handle}

    async def ask() -> None:
        async with asyncio.timeout(0.05):
            body = CompletionRequest(model="base", prompt="Erika")
            async for _ in endpoint._get_response(body=body, call_method="completions"):
                pass

    with pytest.raises(TimeoutError):
        asyncio.run(ask())
    assert (handle.asked[0][0].prompt, answers.cancelled) == ("Erika", True)
