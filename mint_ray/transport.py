"""Asking again: the one transport of every HTTP client here, and how long it is patient.

    httpx.Client(transport=PatientTransport(httpx.HTTPTransport(proxy=proxy_of(url)), Patience(seconds=10)))

A request is sent again where no try of it still runs: nothing was reached, the connection is gone, or the server said that
it is busy. A read that timed out is not, since the server may still be at work on it. All that is asked here changes
nothing on the server, so a POST is sent again as a GET is.

Why not `httpx-retries` (0.6): it knows statuses but neither their headers nor bodies, so a gateway's 504, behind which the
first try runs on, is repeated like our own; it bounds the seconds slept, not the time since the first try; and it hands
the response on unread, so an answer that is cut off is never repeated. `stamina` retries exceptions, not responses.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from urllib.request import getproxies, proxy_bypass

import httpx

TOKEN = "MINT_RAY_TOKEN"  # the environment variable that services and those who ask them read
LONGEST_WAIT = 10.0
BUSY = frozenset({429, 502, 503})
GONE = (httpx.NetworkError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.RemoteProtocolError)


@dataclass(frozen=True)
class Patience:
    """No try begins later than `seconds` after the first.

    The wait before a repeat is what the server asks for, and a random time beside: up to `base` seconds at first, then up
    to twice as long each time, 10 seconds at most.
    """

    seconds: float = 10.0
    base: float = 0.2

    def tries(self) -> Tries:
        return Tries(self)


class Tries:
    """The tries of one request."""

    def __init__(self, patience: Patience):
        self._bound, self._until = patience.base, time.monotonic() + patience.seconds

    def wait(self, asked: float = 0.0) -> float | None:
        """Seconds until the next try, `asked` at least; None where it would begin too late."""
        wait = asked + random.uniform(0, self._bound)
        self._bound = min(2 * self._bound, LONGEST_WAIT)
        return wait if time.monotonic() + wait <= self._until else None


def pause(outcome: httpx.Response | httpx.TransportError, tries: Tries) -> float | None:
    """Seconds until a request with this outcome is sent again; None where the outcome stands."""
    if isinstance(outcome, httpx.TransportError):
        return tries.wait() if isinstance(outcome, GONE) else None
    return tries.wait(asked_wait(outcome)) if may_repeat(outcome) else None


def may_repeat(answer: httpx.Response) -> bool:
    """Whether the same request may fare better, and no longer runs.

    A 500 that is not JSON comes from Serve's proxy, of a replica that died. A 504 with Retry-After comes from a service that
    has ended its work; behind any other the work may still run.
    """
    if answer.status_code == 500:
        return "json" not in answer.headers.get("content-type", "")
    return answer.status_code in BUSY or (answer.status_code == 504 and "retry-after" in answer.headers)


def asked_wait(answer: httpx.Response) -> float:
    """Seconds that a server asks to be left alone; a date counts as none."""
    asked = answer.headers.get("retry-after", "")
    return float(asked) if asked.isdecimal() else 0.0


def proxy_of(url: str) -> str | None:
    """The proxy that the environment names for an address; httpx looks there itself only where it is given no transport."""
    address, proxies = httpx.URL(url), getproxies()
    return None if proxy_bypass(address.host) else proxies.get(address.scheme, proxies.get("all"))


class PatientTransport(httpx.BaseTransport):
    """Sends requests that change nothing again, where they may fare better. Answers come read to their end."""

    def __init__(self, transport: httpx.BaseTransport, patience: Patience):
        self._transport, self._patience = transport, patience

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The first answer that stands, or the last.

        Raises:
            httpx.TransportError: nothing answered.
        """
        tries = self._patience.tries()
        while (wait := pause(outcome := self._outcome(request), tries)) is not None:
            time.sleep(wait)
        return _answer(outcome)

    def _outcome(self, request: httpx.Request) -> httpx.Response | httpx.TransportError:
        try:
            answer = self._transport.handle_request(request)
            answer.read()
        except httpx.TransportError as error:
            return error
        return answer

    def close(self) -> None:
        self._transport.close()


class AsyncPatientTransport(httpx.AsyncBaseTransport):
    """As `PatientTransport`."""

    def __init__(self, transport: httpx.AsyncBaseTransport, patience: Patience):
        self._transport, self._patience = transport, patience

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As `PatientTransport.handle_request`."""
        tries = self._patience.tries()
        while (wait := pause(outcome := await self._outcome(request), tries)) is not None:
            await asyncio.sleep(wait)
        return _answer(outcome)

    async def _outcome(self, request: httpx.Request) -> httpx.Response | httpx.TransportError:
        try:
            answer = await self._transport.handle_async_request(request)
            await answer.aread()
        except httpx.TransportError as error:
            return error
        return answer

    async def aclose(self) -> None:
        await self._transport.aclose()


def _answer(outcome: httpx.Response | httpx.TransportError) -> httpx.Response:
    if isinstance(outcome, httpx.TransportError):
        raise outcome
    return outcome
