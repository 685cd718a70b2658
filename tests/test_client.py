"""The client: what it sends, and what it makes of answers. Transports are small honest servers."""

import asyncio

import httpx
import pytest

from mint_ray.client import AsyncScorerClient, QueryCase, Ranked, Refused, ScorerClient, ServiceError
from mint_ray.transport import Patience

RESULTS = {
    "scorer": {"name": "toy", "digest": "00"},
    "results": [
        {
            "outcome": "ranking",
            "id": "a",
            "top": [{"rank": 1, "id": "L", "name": "Label", "score": -0.5}],
            "bottom": [],
        },
        {
            "outcome": "problem",
            "id": None,
            "problem": {"status": 422, "code": "empty-case", "detail": "", "errors": []},
        },
    ],
}
PROBLEM = {"content-type": "application/problem+json"}
QUICK = Patience(seconds=0.05, base=0.001)


class Script:
    """Answers with what it is given, in order, and remembers what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception):
        self.answers, self.asked = list(answers), []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def busy(**headers: str) -> httpx.Response:
    return httpx.Response(503, json={"title": "busy", "code": "overloaded"}, headers=PROBLEM | headers)


def by_both(make_script, **options):
    """The outcome and the script of the same conversation held by the sync and by the async client."""

    def sync(script):
        with ScorerClient("http://x", patience=QUICK, transport=httpx.MockTransport(script), **options) as client:
            return client.rank([QueryCase(id="a", text="t", image=b"\x01\x02")])

    async def asynchronous(script):
        async with AsyncScorerClient(
            "http://x", patience=QUICK, transport=httpx.MockTransport(script), **options
        ) as client:
            return await client.rank([QueryCase(id="a", text="t", image=b"\x01\x02")])

    for hold in (sync, lambda script: asyncio.run(asynchronous(script))):
        script = make_script()
        try:
            yield hold(script), script
        except ServiceError as error:
            yield error, script


def test_results_are_typed_and_the_token_goes_along():
    for results, script in by_both(lambda: Script(httpx.Response(200, json=RESULTS)), token="secret"):
        assert isinstance(results[0], Ranked)
        assert (results[0].id, results[0].top[0].name, results[0].top[0].score) == ("a", "Label", -0.5)
        assert results[1] == Refused(None, 422, "empty-case", "", [])
        (request,) = script.asked
        assert request.headers["authorization"] == "Bearer secret"
        assert b'"image":"AQI="' in request.content


def test_what_may_pass_is_asked_again():
    for results, script in by_both(lambda: Script(httpx.ConnectError("refused"), httpx.Response(200, json=RESULTS))):
        assert (len(results), len(script.asked)) == (2, 2)


@pytest.mark.parametrize("status", [400, 401, 413, 422, 500])
def test_what_cannot_pass_is_not_repeated(status):
    for error, script in by_both(
        lambda: Script(httpx.Response(status, headers=PROBLEM, json={"title": "no", "code": "c"}))
    ):
        assert (error.status, error.code) == (status, "c")
        assert len(script.asked) == 1


@pytest.mark.parametrize(
    "error", [httpx.UnsupportedProtocol("ftp"), httpx.LocalProtocolError("x"), httpx.TooManyRedirects("x")]
)
def test_a_request_that_never_was_one_is_not_repeated(error):
    for told, script in by_both(lambda: Script(error)):
        assert (told.status, len(script.asked)) == (None, 1)


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"3", b"\xff", b""])
def test_an_answer_that_is_none_of_the_services_is_said_to_be(content):
    for status, headers in ((200, {}), (422, PROBLEM)):
        for told, script in by_both(lambda: Script(httpx.Response(status, headers=headers, content=content))):  # noqa: B023
            assert isinstance(told, ServiceError)
            assert (told.status, len(script.asked)) == (status, 1)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"results": None},
        {"results": 3},
        {"results": [3]},
        {"results": ["x"]},
        {"results": [{"outcome": "ranking"}]},
        {"results": [{"outcome": "ranking", "id": "a", "top": [{"place": 1}], "bottom": []}]},
    ],
    ids=str,
)
def test_the_json_of_another_service_is_said_to_be_none_of_this_one(body):
    for told, script in by_both(lambda: Script(httpx.Response(200, json=body))):
        assert isinstance(told, ServiceError) and "is the address right?" in str(told)
        assert (told.status, len(script.asked)) == (200, 1)
    transport = httpx.MockTransport(Script(httpx.Response(200, json=body)))
    with (
        ScorerClient("http://x", transport=transport) as client,
        pytest.raises(ServiceError, match="is the address right"),
    ):
        client.labels()


def test_what_does_not_pass_is_told():
    for error, _ in by_both(lambda: Script(busy(**{"retry-after": "60"}))):
        assert (error.status, error.code) == (503, "overloaded")
    for error, _ in by_both(lambda: Script(httpx.ReadTimeout("x"))):
        assert (error.status, str(error)) == (None, "the service cannot be reached (ReadTimeout)")


def test_a_case_shows_its_id_alone():
    assert repr(QueryCase(id="a", text="Erika", sex="female", image=b"x")) == "QueryCase(id='a')"
