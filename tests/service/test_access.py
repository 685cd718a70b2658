"""Tokens, addresses, and what happens when the forward fails: the application itself, without a network."""

import asyncio
import logging
import re

import httpx
import pytest

from mint_ray.errors import ConfigError
from mint_ray.service.app import create_app
from mint_ray.service.engine import Engine
from mint_ray.service.metrics import Metrics
from mint_ray.service.scoring import LocalScoring
from mint_ray.service.settings import AccessSection, AutoscalingSection, LimitsSection, ServiceSection, is_loopback
from mint_ray.tasks.base import Task
from mint_ray.tasks.rare_disease import RareDisease
from tests.service.toy import ToyScorer

TOKEN = "0123456789abcdef0123"
DISEASE = RareDisease(kind="rare_disease")


def answers(
    *requests: tuple,
    token: str | None = None,
    seconds: float = 0.0,
    together: bool = False,
    prefix: str = "",
    task: Task = DISEASE,
    **limits,
) -> list[httpx.Response]:
    """What a fresh application answers to requests (method, path, options), one after the other or together.

    `prefix` is what Serve mounts it below, by `route_prefix`: the server puts it before every path.
    """

    async def scenario() -> list[httpx.Response]:
        section = LimitsSection(**limits)
        engine = Engine(
            LocalScoring(ToyScorer("00", seconds), threads=1),
            task,
            section,
            max_batch_size=2,
            metrics=Metrics(),
        )
        await engine.start()
        transport = httpx.ASGITransport(create_app(engine, token), root_path=prefix)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            asked = [client.request(method, prefix + path, **options) for method, path, options in requests]
            found = await asyncio.gather(*asked) if together else [await each for each in asked]
        await engine.stop()
        return found

    return asyncio.run(scenario())


def ranking(text: str = "x", count: int = 1) -> tuple:
    return ("POST", "/v1/rank", {"json": {"cases": [{"id": str(i), "text": text} for i in range(count)]}})


@pytest.mark.parametrize("header", [None, "Bearer wrong", f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x", "Bearer é"])
def test_without_the_token_nothing_of_value_is_said(header):
    headers = {"authorization": header.encode("latin-1")} if header else {}
    for path in ("/v1/scorer", "/v1/labels", "/metrics"):
        (answer,) = answers(("GET", path, {"headers": headers}), token=TOKEN)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorised")
        assert answer.headers["www-authenticate"] == 'Bearer realm="mint_ray"'
        assert TOKEN not in answer.text


def test_with_the_token_any_name_of_the_host_will_do():
    headers = {"authorization": f"bearer {TOKEN}", "host": "scorer.hospital.example"}
    (answer,) = answers(("GET", "/v1/scorer", {"headers": headers}), token=TOKEN)
    assert answer.status_code == 200


PREFIXES = ["", "/scorer", "/v1", "/a/b"]
OPEN = ("/", "/docs", "/openapi.json", "/livez", "/readyz")
GUARDED = ("/v1/scorer", "/v1/labels", "/metrics", "/nothing", "/docs/nothing", "/livezz", "/livez//", "/v1/livez")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_pages_and_health_are_open_and_nothing_else_is(prefix):
    found = answers(*[("GET", path, {}) for path in OPEN], token=TOKEN, prefix=prefix)
    assert [answer.status_code for answer in found] == [200] * len(OPEN)
    found = answers(*[("GET", path, {}) for path in GUARDED], token=TOKEN, prefix=prefix)
    assert [answer.status_code for answer in found] == [401] * len(GUARDED)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_head_is_answered_as_its_get_is_without_the_body(prefix):
    asked = [(method, path, {}) for path in (*OPEN, "/v1/scorer", "/v1/rank", "/nothing") for method in ("GET", "HEAD")]
    found = answers(*asked, token=TOKEN, prefix=prefix)
    for got, head in zip(found[::2], found[1::2], strict=True):
        assert (head.status_code, head.headers["content-type"]) == (got.status_code, got.headers["content-type"])
    assert [head.status_code for head in found[1::2]] == [200] * len(OPEN) + [401] * 3
    assert all(not head.content and head.headers["content-length"] != "0" for head in found[1::2])
    headers = {"headers": {"authorization": f"Bearer {TOKEN}"}}
    assert answers(("HEAD", "/v1/rank", headers), token=TOKEN, prefix=prefix)[0].status_code == 405


@pytest.mark.parametrize("prefix", PREFIXES[1:])
def test_an_open_name_below_another_prefix_is_not_open(prefix):
    """The server hands over what lies beside the prefix, too: `/scorerlivez` begins with `/scorer`."""
    found = answers(*[("GET", path, {}) for path in ("livez", "x/livez", "x")], token=TOKEN, prefix=prefix)
    assert [answer.status_code for answer in found] == [401] * 3


@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_open_address_with_a_slash_too_many_or_too_few_leads_to_it(prefix):
    paths = {"/docs/": "/docs", "/livez/": "/livez", "/openapi.json/": "/openapi.json"} | ({"": "/"} if prefix else {})
    found = answers(*[("GET", path, {}) for path in paths], token=TOKEN, prefix=prefix)
    assert [(answer.status_code, answer.headers["location"]) for answer in found] == [
        (307, f"http://localhost{prefix}{path}") for path in paths.values()
    ]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_requests_are_counted_by_the_applications_own_addresses(prefix):
    asked = [
        ranking(),
        ("GET", "/v1/labels", {}),
        ("GET", "/livez", {}),
        ("GET", "/nothing", {}),
        ("GET", "/metrics", {}),
    ]
    *_, metrics = answers(*asked, prefix=prefix)
    counted = set(re.findall(r'requests_total{.*?route="(.*?)",status="(.*?)"}', metrics.text))
    assert counted == {("/v1/rank", "200"), ("/v1/labels", "200"), ("/livez", "200"), ("other", "404")}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_address_that_pages_and_description_tell_exists(prefix):
    page, docs, description = answers(*[("GET", path, {}) for path in ("/", "/docs", "/openapi.json")], prefix=prefix)
    told = description.json()
    base = told.get("servers", [{"url": ""}])[0]["url"]
    described = [base + path for path in told["paths"]]
    shown = re.findall(r"<code>(?:GET|POST) (\S+)</code>", docs.text)
    examples = re.findall(r"curl http://localhost(\S+)", docs.text)
    linked = [str(answer.url.join(link).path) for answer in (page, docs) for link in links(answer.text)]
    assert sorted(shown) == sorted(described)
    assert len(examples) == 2
    assert len(linked) == 4
    for path in {*described, *examples, *linked}:
        assert path.startswith(prefix + "/")
        (answer,) = answers(("GET", path.removeprefix(prefix), {}), prefix=prefix)
        assert answer.status_code in (200, 405), path


def links(page: str) -> list[str]:
    """What a page of ours leads to or asks."""
    return re.findall(r'href="([^"]+)"', page) + re.findall(r'fetch\("([^"]+)"', page)


def test_a_failing_forward_is_a_problem_of_its_case_and_its_words_reach_no_log(caplog):
    with caplog.at_level(logging.DEBUG):
        (answer,) = answers(("POST", "/v1/rank", {"json": {"cases": [{"text": "fail"}, {"text": "fine"}]}}))
    first, second = answer.json()["results"]
    assert (first["problem"]["code"], second["outcome"]) == ("scoring-failed", "ranking")
    assert "secret" not in caplog.text + answer.text


def test_above_the_queues_bound_requests_are_told_so_at_once_and_the_others_are_served():
    found = answers(*[ranking(count=2) for _ in range(10)], together=True, seconds=0.05, cases=2, queued_cases=6)
    assert sorted(answer.status_code for answer in found) == [200] * 3 + [503] * 7
    for answer in found:
        if answer.status_code == 503:
            assert (answer.json()["code"], answer.headers["retry-after"]) == ("overloaded", "1")


def test_above_the_bound_on_requests_in_flight_too():
    found = answers(*[ranking() for _ in range(5)], together=True, seconds=0.05, requests=2)
    assert sorted(answer.status_code for answer in found) == [200, 200, 503, 503, 503]


def test_an_answer_that_takes_too_long_is_a_timeout():
    (answer,) = answers(ranking(), seconds=1.0, request_seconds=0.2)
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (504, "timeout", "1")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "scorer.hospital.example", "", None])
def test_an_address_that_others_reach_needs_a_token(monkeypatch, host):
    monkeypatch.delenv("MINT_RAY_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="MINT_RAY_TOKEN"):
        AccessSection().check(host)
    monkeypatch.setenv("MINT_RAY_TOKEN", TOKEN)
    AccessSection().check(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_loopback_addresses_are_known(host):
    assert is_loopback(host)


def test_a_token_file_is_read_and_a_useless_one_refused(tmp_path):
    path = tmp_path / "token"
    with pytest.raises(ConfigError, match="cannot be read"):
        AccessSection(token_file=path).token()
    for text in ("", "\n", "short\n"):
        path.write_text(text)
        with pytest.raises(ConfigError):
            AccessSection(token_file=path).token()
    path.write_text(f"{TOKEN}\nsecond line\n")
    assert AccessSection(token_file=path).token() == TOKEN


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="no full request would ever be taken"):
        LimitsSection(cases=10, queued_cases=9)
    with pytest.raises(ValueError, match="min_replicas is 3, more than max_replicas 2"):
        AutoscalingSection(min_replicas=3)
    with pytest.raises(ValueError, match="remove one"):
        ServiceSection.model_validate(
            {"scorer": "x", "task": {"kind": "rare_disease"}, "replicas": 2, "autoscaling": {}}
        )
