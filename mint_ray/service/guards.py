"""What stands before the application, as plain ASGI: each request passes through in this order.

Heads      makes a HEAD its GET without the body: load balancers and gateways ask after health so
Watch      counts and times every answer, turns whatever escapes into a problem, gives freed memory back
Access     a bearer token, or this machine alone
Bounds     a body's size and time, enforced on what arrives and not on what its header says
Admission  how many requests and how many bytes may be held at one time; what `Bounds` drops is not held
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress

from starlette._utils import get_route_path  # the router's own rule: what it finds and what is guarded never differ
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mint_ray.service.memory import memory_returner
from mint_ray.service.metrics import HttpMetrics
from mint_ray.service.problems import Problem, from_http_exception, overloaded, response
from mint_ray.service.settings import HttpLimits, is_loopback

logger = logging.getLogger(__name__)

OPEN = frozenset({"/", "/docs", "/openapi.json", "/livez", "/readyz"})  # hold nothing of a case, nothing to protect
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


def is_open(scope: Scope) -> bool:
    """Whether an address needs no token, below whatever prefix; with a slash too many it is led to the same place."""
    return (get_route_path(scope).removesuffix("/") or "/") in OPEN


def guarded(
    app: ASGIApp,
    limits: HttpLimits,
    token: str | None,
    metrics: HttpMetrics,
    routes: Sequence[Route],
    render: Callable[[Problem], Response] = response,
) -> ASGIApp:
    """An application behind all guards: the one place where access to any service is decided.

    Args:
        token: the bearer token that it asks for, if any.
        routes: the application's, whose addresses requests are counted by.
        render: a problem as the application's clients read errors.
    """
    return Heads(Watch(Access(Bounds(Admission(app, limits), limits), token), metrics, routes, render))


class Watch:
    """The outermost guard: one count and one time for each answer, and no exception leaves it."""

    def __init__(
        self, app: ASGIApp, metrics: HttpMetrics, routes: Sequence[Route], render: Callable[[Problem], Response]
    ):
        self._app, self._metrics, self._routes, self._render = app, metrics, routes, render
        self._give_back = memory_returner()
        self.in_flight = 0
        metrics.watch(lambda: self.in_flight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started, sent = time.perf_counter(), _Sent(send, HEADERS)
        self.in_flight += 1
        try:
            await self._app(scope, receive, sent)
        except HTTPException as error:
            await self._say(from_http_exception(error), scope, receive, sent)
        except Exception as error:
            _log_without_content(error)
            await self._say(Problem("internal"), scope, receive, sent)
        finally:
            self.in_flight -= 1
            self._metrics.request(self._route(scope), sent.status or 499, time.perf_counter() - started)
            self._give_back()

    def _route(self, scope: Scope) -> str:
        """The address as the application has it: no prefix, and the name of what varies in it."""
        path = get_route_path(scope)
        return next((route.path for route in self._routes if route.path_regex.match(path)), "other")

    async def _say(self, problem: Problem, scope: Scope, receive: Receive, sent: _Sent) -> None:
        self._metrics.refusal(problem.code)
        if not sent.status:
            await self._render(problem)(scope, receive, sent)


class _Sent:
    """Remembers the status, and puts headers on every answer."""

    def __init__(self, send: Send, headers: Sequence[tuple[bytes, bytes]] = ()):
        self._send, self._headers, self.status = send, headers, 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", []), *self._headers]
        await self._send(message)


def _log_without_content(error: Exception) -> None:
    """Where it happened and of what kind; never an exception's text, which may quote a patient's."""
    frames = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)[-12:]]
    logger.error("%s at %s", type(error).__name__, " < ".join(reversed(frames)))


class Access:
    """With a token: everyone who brings it. Without: this machine, addressed as this machine.

    The second rule is also what keeps a web page of somewhere else from asking through a person's browser
    under a name that it made resolve to this machine.
    """

    def __init__(self, app: ASGIApp, token: str | None):
        self._app = app
        self._token = token.encode() if token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            if self._token is None:
                self._check_local(scope, headers)
            elif not is_open(scope):
                self._check_token(headers, self._token)
        await self._app(scope, receive, send)

    def _check_local(self, scope: Scope, headers: Headers) -> None:
        client = (scope.get("client") or ("",))[0]
        name = headers.get("host", "")
        host = name.rpartition(":")[0] if name.rpartition(":")[2].isdigit() else name
        if (client and not is_loopback(client)) or not is_loopback(host):
            raise Problem("foreign-host", "set a token to serve other machines")

    def _check_token(self, headers: Headers, token: bytes) -> None:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token):
            raise Problem(
                "unauthorised",
                "send Authorization: Bearer <token>",
                headers={"WWW-Authenticate": 'Bearer realm="mint_ray"'},
            )


class Heads:
    """Answers a HEAD with the status and the headers of the same GET (RFC 9110, section 9.3.2)."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            return await self._app(scope, receive, send)

        async def send_head(message: Message) -> None:
            await send(message | {"body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET"}, receive, send_head)


class Admission:
    """Refuses at once what cannot be held: above `requests` in flight, or `bytes_in_flight` of bodies."""

    def __init__(self, app: ASGIApp, limits: HttpLimits):
        self._app, self._limits = app, limits
        self._requests = self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_open(scope):
            return await self._app(scope, receive, send)
        if self._requests >= self._limits.requests:
            raise overloaded(f"{self._requests} requests are in flight", self._limits.retry_after_seconds)
        held = 0

        async def receive_counted() -> Message:
            nonlocal held
            message = await receive()
            size = len(message.get("body", b""))
            if self._bytes + size > self._limits.bytes_in_flight:
                raise _closing(overloaded("too many bodies are being held", self._limits.retry_after_seconds))
            held, self._bytes = held + size, self._bytes + size
            return message

        self._requests += 1
        try:
            await self._app(scope, receive_counted, send)
        finally:
            self._requests -= 1
            self._bytes -= held


class Bounds:
    """A body no larger than `body_bytes`, arriving within `body_seconds`; an answer within `request_seconds` of the first byte."""

    def __init__(self, app: ASGIApp, limits: HttpLimits):
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        scope.setdefault("state", {})["limits"] = self._limits
        body, sent = _BoundedBody(receive, self._limits), _Sent(send)
        await self._check_length(Headers(scope=scope), body)
        try:
            async with asyncio.timeout(self._limits.request_seconds):
                await self._app(scope, body, sent)
        except TimeoutError:
            if not sent.status:
                raise _timed_out(self._limits) from None

    async def _check_length(self, headers: Headers, body: _BoundedBody) -> None:
        length = 0
        with suppress(ValueError):
            length = int(headers.get("content-length", "0"))
        if length > self._limits.body_bytes:
            if "expect" not in headers:  # who asks first sends nothing before it has the answer
                await body.discard()
            raise _too_large(self._limits)


class _BoundedBody:
    """`receive` with a bound on bytes and on time until the body is complete."""

    def __init__(self, receive: Receive, limits: HttpLimits):
        self._receive, self._limits = receive, limits
        self._left, self._complete = limits.body_bytes, False
        self._deadline = time.monotonic() + limits.body_seconds

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout(self._deadline - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            raise _closing(
                Problem("slow-body", f"the body must arrive within {self._limits.body_seconds:g} s")
            ) from None
        self._left -= len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._left < 0:
            await self.discard()
            raise _too_large(self._limits)
        return message

    async def discard(self) -> None:
        """Read on without keeping, up to twice what a body may have in all: a client that is still sending when the
        connection closes is reset, and may never see the answer."""
        left = self._left + self._limits.body_bytes
        with suppress(TimeoutError):
            async with asyncio.timeout(self._deadline - time.monotonic()):
                while left > 0 and not self._complete:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    self._complete = not message.get("more_body", False)


def _timed_out(limits: HttpLimits) -> Problem:
    """Its work is cancelled, so that it may be asked anew: Retry-After says so to clients."""
    retry = {"Retry-After": str(limits.retry_after_seconds)}
    return Problem("timeout", f"no answer within {limits.request_seconds:g} s", headers=retry)


def _too_large(limits: HttpLimits) -> Problem:
    return _closing(Problem("body-too-large", f"at most {limits.body_bytes} bytes"))


def _closing(problem: Problem) -> Problem:
    """What is left of the body will not be read, so the connection cannot be used again."""
    problem.headers = {**(problem.headers or {}), "Connection": "close"}
    return problem
