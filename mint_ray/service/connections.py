"""A bound on the time of every request on every port that speaks HTTP, from its first byte.

What `guards` bounds is a request whose head has arrived. Before that, and beside that, a connection belongs to uvicorn,
which waits for ever for the rest of a head, and for whatever it was told to upgrade to. Serve names no protocol to
uvicorn, so this one takes the place that uvicorn looks up in its own table of protocols. Serve calls `bound_connections`
where it is about to listen, in replicas and proxies alike, by RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.protocols.http.auto import AutoHTTPProtocol

HOOK = {"RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": f"{__name__}.bound_connections"}
REQUEST_SECONDS = "MINT_RAY_REQUEST_SECONDS"  # the environment variable: the longest answer of any application here
LONGEST_ANSWER = 600.0  # of the models' service
HEAD_SECONDS = 20.0
GRACE_SECONDS = 30.0  # for the body before the answer, and so that who can still be told why is told by the guards
TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class BoundProtocol(AutoHTTPProtocol):
    """uvicorn's protocol of HTTP/1.1 with one deadline at a time: for a head, for its answer, for the next head.

    One is set for as long as the connection is open, so neither what is sent nor what is not read holds it beyond.
    """

    head_seconds = HEAD_SECONDS
    request_seconds: float | None = None
    _deadline: asyncio.TimerHandle | None = None
    _request: Any = None  # the last that there was a deadline for
    _between = False  # two requests

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._end_in(self.head_seconds)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not self._request:
            self._await_answer()
        elif self._between:  # the first bytes of a head, or the rest of a body that nobody reads
            self._between = False
            self._end_in(self.head_seconds)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.cycle.response_complete:  # the next was there already
            self._await_answer()
        else:
            self._between = True
            self._end_in(self.timeout_keep_alive + self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        super().connection_lost(exc)

    def _await_answer(self) -> None:
        self._request, self._between = self.cycle, False
        self._end_in(self.request_seconds)

    def _end_in(self, seconds: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, self._end)

    def _end(self) -> None:
        if self.transport.is_closing() or (self.cycle is not None and not self.cycle.response_complete):
            self.transport.abort()
        else:
            self.transport.write(TOO_SLOW)
            self.transport.close()
            self._end_in(self.head_seconds)  # where that is not read either


def bound_connections(longest_answer: float | None = None) -> list:
    """Let uvicorn of this process speak by `BoundProtocol`.

    Args:
        longest_answer: seconds; None, as Serve calls its hook: as set before, or as the environment says.

    Returns:
        No middlewares, which is what Serve asks its hook for.
    """
    if longest_answer is None and BoundProtocol.request_seconds is None:
        longest_answer = float(os.environ.get(REQUEST_SECONDS, LONGEST_ANSWER))
    if longest_answer is not None:
        BoundProtocol.request_seconds = longest_answer + GRACE_SECONDS
    HTTP_PROTOCOLS["auto"] = f"{__name__}:{BoundProtocol.__name__}"
    return []
