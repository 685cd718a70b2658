"""When a request is sent again: transports here are small honest servers, and one real one that cuts its answer off."""

import asyncio
import gzip
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from mint_ray.transport import AsyncPatientTransport, Patience, PatientTransport, Tries, asked_wait, proxy_of

QUICK = Patience(seconds=10, base=0.001)
PROBLEM = {"content-type": "application/problem+json"}


class Script:
    """Answers with what it is given, in order, and the last again and again; counts what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception):
        self.answers, self.asked = list(answers), 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


def both(*answers: httpx.Response | Exception, patience: Patience = QUICK):
    """Outcome and number of tries of a POST, by the sync and by the async transport."""

    def sync(transport: httpx.MockTransport):
        with httpx.Client(transport=PatientTransport(transport, patience)) as client:
            return client.post("http://x/v1/rank", json={"cases": []})

    async def asynchronous(transport: httpx.MockTransport):
        async with httpx.AsyncClient(transport=AsyncPatientTransport(transport, patience)) as client:
            return await client.post("http://x/v1/rank", json={"cases": []})

    for ask in (sync, lambda transport: asyncio.run(asynchronous(transport))):
        script = Script(*answers)
        try:
            yield ask(httpx.MockTransport(script)), script.asked
        except httpx.TransportError as error:
            yield error, script.asked


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("nobody"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("ended without an answer"),
        httpx.Response(429),
        httpx.Response(500, text="Internal Server Error"),
        httpx.Response(502),
        httpx.Response(503, headers=PROBLEM | {"retry-after": "0"}),
        httpx.Response(504, headers=PROBLEM | {"retry-after": "0"}),
    ],
    ids=repr,
)
def test_what_was_not_reached_or_is_busy_is_asked_again(failure):
    for answer, asked in both(failure, failure, httpx.Response(200, json=5)):
        assert (answer.status_code, answer.json(), asked) == (200, 5, 3)


@pytest.mark.parametrize(
    "failure", [httpx.ReadTimeout("slow"), httpx.WriteTimeout("slow"), httpx.Response(504)], ids=repr
)
def test_what_may_still_run_is_not_asked_again(failure):
    for outcome, asked in both(failure, httpx.Response(200)):
        assert (type(outcome), asked) == (type(failure), 1)


@pytest.mark.parametrize(
    "failure",
    [
        httpx.UnsupportedProtocol("ftp"),
        httpx.LocalProtocolError("x"),
        *[httpx.Response(status, headers=PROBLEM) for status in (400, 401, 404, 413, 422, 500)],
    ],
    ids=repr,
)
def test_what_no_repeat_will_mend_is_not_asked_again(failure):
    for outcome, asked in both(failure, httpx.Response(200)):
        assert (type(outcome), asked) == (type(failure), 1)


def test_the_last_outcome_stands_when_patience_ends():
    patience = Patience(seconds=0.2, base=0.001)
    for answer, asked in both(httpx.Response(503), patience=patience):
        assert answer.status_code == 503 and asked > 3
    for error, asked in both(httpx.ConnectError("x"), patience=patience):
        assert isinstance(error, httpx.ConnectError) and asked > 3


def test_no_try_begins_where_the_server_asks_for_more_patience_than_there_is():
    for answer, asked in both(httpx.Response(503, headers={"retry-after": "11"}), httpx.Response(200)):
        assert (answer.status_code, asked) == (503, 1)


def test_waits_grow_by_chance_to_a_bound_and_keep_what_the_server_asks_for():
    def waits(asked: float = 0.0) -> list[float]:
        tries = Tries(Patience(seconds=10_000, base=0.2))
        return [tries.wait(asked) for _ in range(12)]

    many = [waits() for _ in range(300)]
    for number, bound in enumerate([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10, 10, 10, 10]):
        found = [each[number] for each in many]
        assert 0 <= min(found) < 0.1 * bound and 0.9 * bound < max(found) <= bound
    assert min(waits(asked=2.0)) >= 2.0


@pytest.mark.parametrize(("said", "seconds"), [("2", 2.0), ("²", 0.0), ("soon", 0.0), ("-1", 0.0), ("", 0.0)])
def test_whatever_a_server_says_of_waiting_is_no_error(said, seconds):
    assert asked_wait(httpx.Response(503, headers={"retry-after": said.encode("latin-1")})) == seconds


class CutsOff(BaseHTTPRequestHandler):
    """Ends the connection in the middle of its first answer; the second is whole, and compressed."""

    asked = 0

    def do_POST(self) -> None:
        CutsOff.asked += 1
        self.rfile.read(int(self.headers["content-length"]))
        body = gzip.compress(b"whole")
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: 5 if CutsOff.asked == 1 else None])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def cutting_off():
    """The address of a server that cuts its first answer off."""
    CutsOff.asked = 0
    server = HTTPServer(("127.0.0.1", 0), CutsOff)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_an_answer_that_is_cut_off_is_asked_for_again(cutting_off):
    with httpx.Client(transport=PatientTransport(httpx.HTTPTransport(), QUICK)) as client:
        assert (client.post(cutting_off, content=b"x").text, CutsOff.asked) == ("whole", 2)


def test_it_is_by_the_async_transport_too(cutting_off):
    async def ask() -> str:
        async with httpx.AsyncClient(transport=AsyncPatientTransport(httpx.AsyncHTTPTransport(), QUICK)) as client:
            return (await client.post(cutting_off, content=b"x")).text

    assert (asyncio.run(ask()), CutsOff.asked) == ("whole", 2)


def test_the_environments_proxy_is_kept(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    assert proxy_of("http://models.example:8001/v1") is None
    monkeypatch.setenv("all_proxy", "http://proxy.example:1")
    monkeypatch.setenv("https_proxy", "http://proxy.example:2")
    monkeypatch.setenv("no_proxy", "127.0.0.1,inside.example")
    assert proxy_of("http://models.example:8001/v1") == "http://proxy.example:1"
    assert proxy_of("https://models.example/v1") == "http://proxy.example:2"
    assert proxy_of("http://127.0.0.1:8001/v1") is None
    assert proxy_of("https://a.inside.example/v1") is None
