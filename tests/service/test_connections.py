"""Whatever a client sends, however slowly: its connection ends. uvicorn as Serve starts it, without Serve."""

import asyncio
import socket
import threading

import pytest
from ray.serve._private.http_util import start_asgi_http_server
from ray.serve.config import HTTPOptions
from uvicorn import config

from mint_ray.service import connections
from mint_ray.service.connections import BoundProtocol, bound_connections
from mint_ray.service.ports import free_ports

BOUND = 0.3
GIVE_UP = 20  # seconds, when a connection that has not ended counts as held


async def app(scope, receive, send):
    """Answers at once, but for `/never`; `/large` is more than a socket's buffers hold."""
    if scope["type"] != "http" or scope["path"] == "/never":
        await asyncio.Event().wait()
    body = b"x" * (2**25 if scope["path"] == "/large" else 2)
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


async def serve(port: int, ready: threading.Event, over: asyncio.Event):
    """Until it is over; nothing is left running."""
    options = HTTPOptions(host="127.0.0.1", port=port, keep_alive_timeout_s=1)
    _, server = await start_asgi_http_server(app, options, event_loop=asyncio.get_running_loop())
    while not server.started:
        await asyncio.sleep(0.01)
    ready.set()
    await over.wait()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


@pytest.fixture(scope="module")
def port():
    """A server on loopback whose connections are bound."""
    (port,), loop, ready, over = free_ports(1), asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(config.HTTP_PROTOCOLS, "auto", config.HTTP_PROTOCOLS["auto"])
        patch.setattr(BoundProtocol, "head_seconds", BOUND)
        patch.setattr(BoundProtocol, "request_seconds", None)
        patch.setattr(connections, "GRACE_SECONDS", 0)
        assert bound_connections(BOUND) == []
        bound_connections()  # Serve's own call changes nothing
        thread = threading.Thread(target=loop.run_until_complete, args=[serve(port, ready, over)])
        thread.start()
        assert ready.wait(30)
        yield port
        loop.call_soon_threadsafe(over.set)
        thread.join(30)


def held(port: int, *parts: bytes, endless: bytes = b"") -> bytes:
    """What is said on a connection until it ends; fails where it does not. `endless` is sent bit by bit until then."""
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=BOUND / 6 if endless else GIVE_UP) as connection:
        for part in parts:
            connection.sendall(part)
        for _ in range(int(GIVE_UP / (BOUND / 6))):
            try:
                if endless:
                    connection.sendall(endless)
                part = connection.recv(65536)
            except TimeoutError:
                continue
            except ConnectionError:
                return said
            said += part
            if not part:
                return said
    raise AssertionError(f"the connection is held: {said[:200]!r}")


GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
NEVER = b"GET /never HTTP/1.1\r\nHost: localhost\r\n"


def test_an_ordinary_request_is_answered_and_the_connection_serves_the_next(port):
    with socket.create_connection(("127.0.0.1", port), timeout=GIVE_UP) as connection:
        for _ in range(3):
            connection.sendall(GET)
            said = b""
            while not said.endswith(b"\r\n\r\nxx"):
                part = connection.recv(65536)
                assert part
                said += part
            assert said.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("first", [b"", GET], ids=["first", "second"])
@pytest.mark.parametrize("head", [b"", b"GET /", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nX-Slow: "])
def test_a_head_that_does_not_end_is_told_so_and_let_go(port, first, head):
    said = held(port, first, head, endless=b"x" if head else b"")
    assert (b"HTTP/1.1 200" in said) == bool(first)
    if head:
        assert b"HTTP/1.1 408" in said


@pytest.mark.parametrize(
    "request_",
    [
        NEVER + b"\r\n",
        NEVER + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        NEVER + b"Content-Length: 5\r\n\r\nab",
        NEVER + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
        NEVER + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nab",
        NEVER + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        NEVER + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        NEVER + b"\r\n" + NEVER + b"\r\n" + GET,
        GET + NEVER + b"\r\n",
        b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /never HTTP/1.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_a_request_that_would_never_be_answered_is_let_go(port, request_):
    held(port, request_)


def test_the_rest_of_a_body_that_nobody_reads_holds_nothing(port):
    said = held(port, b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n", endless=b"x")
    assert said.startswith(b"HTTP/1.1 200")


def test_who_reads_nothing_of_a_large_answer_is_let_go(port):
    with socket.create_connection(("127.0.0.1", port), timeout=GIVE_UP) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until = threading.Event()
        for _ in range(int(GIVE_UP / 0.1)):
            until.wait(0.1)
            try:
                connection.send(b"x")
            except ConnectionError:
                return
    raise AssertionError("the connection is held")
