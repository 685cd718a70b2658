"""Client of the scorer's service, sync and async.

    with ScorerClient("http://127.0.0.1:8000") as client:
        result = client.rank([QueryCase(id="a", text="short stature", image=Path("face.png").read_bytes())])[0]
        if isinstance(result, Ranked):
            print(result.top[0].name)

Both clients are thin: what is sent, what an answer means, and when to ask again are the pure functions below.
Ranking changes nothing on the server, so it may be repeated; a repeat waits a random time within a growing
bound, or as long as the server asks. A request that is given up closes its connection, by which the service ends its
work: no two of one run at a time. The transport is passed in (`transport=httpx.ASGITransport(app)` in tests).
"""

from __future__ import annotations

import asyncio
import base64
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import httpx

from mint_ray.errors import MintError

TOKEN = "MINT_RAY_TOKEN"  # the environment variable that services and those who ask them read
_REPEATABLE_STATUS = frozenset({429, 502, 503, 504})
_NEVER_SENT = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)
_LONGEST_WAIT = 30.0


class ServiceError(MintError):
    """The service refused a request, or could not be reached. `status` and `code` are null where nothing answered."""

    def __init__(
        self, message: str, status: int | None = None, code: str | None = None, errors: Sequence[dict[str, str]] = ()
    ):
        self.status, self.code, self.errors = status, code, list(errors)
        super().__init__(message)

    def __reduce__(self):
        return type(self), (str(self), self.status, self.code, self.errors)


@dataclass(frozen=True)
class QueryCase:
    """A case to rank. `phenotypes` are dictionaries with `name`, and `id` and `excluded` where they are known."""

    id: str = ""
    text: str | None = field(default=None, repr=False)
    phenotypes: Sequence[dict[str, Any]] = field(default=(), repr=False)
    sex: str | None = field(default=None, repr=False)
    age_years: float | None = field(default=None, repr=False)
    ethnicity: str | None = field(default=None, repr=False)
    image: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Label:
    """A label in its place in a ranking; `score` is a log-probability."""

    rank: int
    id: str
    name: str
    score: float


@dataclass(frozen=True)
class Ranked:
    id: str
    top: list[Label]
    bottom: list[Label]


@dataclass(frozen=True)
class Refused:
    """A case that the service could not rank."""

    id: str | None
    status: int
    code: str
    detail: str
    errors: list[dict[str, str]]


@dataclass(frozen=True)
class Retries:
    """At most `attempts` requests in all. The wait before the n-th repeat is random up to `base * 2 ** n` seconds."""

    attempts: int = 4
    base: float = 0.2

    def wait(self, attempt: int, answer: httpx.Response | None, chance: random.Random) -> float | None:
        """Seconds until the next request after the `attempt`-th (from 1) failed; None: it is not to be repeated."""
        if attempt >= self.attempts or not (answer is None or may_repeat(answer)):
            return None
        jitter = chance.uniform(0, self.base * 2 ** (attempt - 1))
        return min(_asked_wait(answer) + jitter, _LONGEST_WAIT)


def may_repeat(answer: httpx.Response) -> bool:
    """Whether the same request may fare better: the service is busy or not there.

    A 500 without problem details comes from the proxy, of a replica that died; one with them is the service's own.
    """
    return answer.status_code in _REPEATABLE_STATUS or (answer.status_code == 500 and not _is_problem(answer))


def _asked_wait(answer: httpx.Response | None) -> float:
    asked = answer.headers.get("retry-after", "") if answer is not None else ""
    return float(asked) if asked.isdigit() else 0.0


def _is_problem(answer: httpx.Response) -> bool:
    return answer.headers.get("content-type", "").startswith("application/problem+json")


def rank_body(cases: Sequence[QueryCase], top_k: int, bottom_q: int) -> dict[str, Any]:
    """The JSON of a ranking request."""
    return {"cases": [_case_body(case) for case in cases], "top_k": top_k, "bottom_q": bottom_q}


def _case_body(case: QueryCase) -> dict[str, Any]:
    body = {name: value for name, value in vars(case).items() if value is not None}
    body["phenotypes"] = [dict(p) for p in case.phenotypes]
    if case.image is not None:
        body["image"] = base64.b64encode(case.image).decode()
    return body


def rank_results(answer: httpx.Response) -> list[Ranked | Refused]:
    """The results of a ranking request.

    Raises:
        ServiceError: the request as a whole was refused, or another service answered.
    """
    try:
        return [_result(result) for result in _listed(answer, "results")]
    except (KeyError, TypeError):
        raise _stranger(answer) from None


def _listed(answer: httpx.Response, name: str) -> list[dict[str, Any]]:
    found = accepted(answer).get(name)
    if not isinstance(found, list):
        raise _stranger(answer)
    return cast("list[dict[str, Any]]", found)


def _result(result: dict[str, Any]) -> Ranked | Refused:
    if result["outcome"] == "problem":
        problem = result["problem"]
        return Refused(result["id"], problem["status"], problem["code"], problem["detail"], problem["errors"])
    return Ranked(
        result["id"], [Label(**label) for label in result["top"]], [Label(**label) for label in result["bottom"]]
    )


def accepted(answer: httpx.Response) -> dict[str, Any]:
    """The JSON of an answer that is one.

    Raises:
        ServiceError: with the problem's code where the service gave one.
    """
    if answer.is_success:
        return _object(answer)
    problem = _object(answer) if _is_problem(answer) else {}
    message = (
        f"{answer.status_code} {problem.get('title', 'no answer of the service')}: {problem.get('detail', '')}".rstrip(
            ": "
        )
    )
    raise ServiceError(message, answer.status_code, problem.get("code"), problem.get("errors", ()))


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise _stranger(answer)
    return found


def _stranger(answer: httpx.Response) -> ServiceError:
    return ServiceError(f"{answer.status_code} and no answer of the service: is the address right?", answer.status_code)


def _options(base_url: str, token: str | None, timeout: float) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return {"base_url": base_url, "headers": headers, "timeout": timeout}


def _unreachable(error: httpx.RequestError) -> ServiceError:
    return ServiceError(f"the service cannot be reached ({type(error).__name__})")


def _is_own_fault(error: httpx.RequestError) -> bool:
    """Whether the request was never one, so that no repeat of it will be."""
    return not isinstance(error, httpx.TransportError) or isinstance(error, _NEVER_SENT)


def ask_patiently(ask: Callable[[], httpx.Response], retries: Retries, chance: random.Random) -> httpx.Response:
    """The answer to a request that may be repeated: the first that is one, or the last.

    Raises:
        ServiceError: nothing answered.
    """
    attempt, failure = 0, None
    while True:
        attempt, answer = attempt + 1, None
        try:
            answer = ask()
        except httpx.RequestError as error:
            if _is_own_fault(error):
                raise _unreachable(error) from None
            failure = error
        done = answer is not None and answer.is_success
        wait = None if done else retries.wait(attempt, answer, chance)
        if wait is None:
            return _final(answer, failure)
        time.sleep(wait)


class ScorerClient:
    """The service from synchronous code. `timeout` is for each phase of each attempt, in seconds."""

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        *,
        timeout: float = 35.0,
        retries: Retries = Retries(),
        transport: httpx.BaseTransport | None = None,
    ):
        self._http = httpx.Client(transport=transport, **_options(base_url, token, timeout))
        self._retries, self._chance = retries, random.Random()

    def rank(self, cases: Sequence[QueryCase], top_k: int = 10, bottom_q: int = 0) -> list[Ranked | Refused]:
        """One result for each case, in order.

        Raises:
            ServiceError: the request as a whole was refused, or nothing answered.
        """
        return rank_results(self._ask("POST", "/v1/rank", rank_body(cases, top_k, bottom_q)))

    def scorer(self) -> dict[str, Any]:
        """Name, digest, modalities and limits of what is being served."""
        return accepted(self._ask("GET", "/v1/scorer"))

    def labels(self) -> list[dict[str, Any]]:
        return _listed(self._ask("GET", "/v1/labels"), "labels")

    def _ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return ask_patiently(lambda: self._http.request(method, path, json=body), self._retries, self._chance)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> ScorerClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncScorerClient:
    """The service from asynchronous code; see `ScorerClient`."""

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        *,
        timeout: float = 35.0,
        retries: Retries = Retries(),
        transport: httpx.AsyncBaseTransport | None = None,
    ):
        self._http = httpx.AsyncClient(transport=transport, **_options(base_url, token, timeout))
        self._retries, self._chance = retries, random.Random()

    async def rank(self, cases: Sequence[QueryCase], top_k: int = 10, bottom_q: int = 0) -> list[Ranked | Refused]:
        """As `ScorerClient.rank`."""
        return rank_results(await self._ask("POST", "/v1/rank", rank_body(cases, top_k, bottom_q)))

    async def scorer(self) -> dict[str, Any]:
        """As `ScorerClient.scorer`."""
        return accepted(await self._ask("GET", "/v1/scorer"))

    async def labels(self) -> list[dict[str, Any]]:
        return _listed(await self._ask("GET", "/v1/labels"), "labels")

    async def _ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        attempt, failure = 0, None
        while True:
            attempt, answer = attempt + 1, None
            try:
                answer = await self._http.request(method, path, json=body)
            except httpx.RequestError as error:
                if _is_own_fault(error):
                    raise _unreachable(error) from None
                failure = error
            wait = (
                None if answer is not None and answer.is_success else self._retries.wait(attempt, answer, self._chance)
            )
            if wait is None:
                return _final(answer, failure)
            await asyncio.sleep(wait)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> AsyncScorerClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _final(answer: httpx.Response | None, failure: httpx.RequestError | None) -> httpx.Response:
    if answer is None:
        raise _unreachable(cast("httpx.RequestError", failure)) from None
    return answer
