"""Client of the scorer's service, sync and async.

    with ScorerClient("http://127.0.0.1:8000") as client:
        result = client.rank([QueryCase(id="a", text="short stature", image=Path("face.png").read_bytes())])[0]
        if isinstance(result, Ranked):
            print(result.top[0].name)

Both clients are thin: what is sent and what an answer means are the pure functions below; when to ask again is
`mint_ray.transport`. The transport is passed in (`transport=httpx.ASGITransport(app)` in tests).
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import httpx

from mint_ray.errors import MintError
from mint_ray.transport import AsyncPatientTransport, Patience, PatientTransport, proxy_of

TOKEN = "MINT_RAY_TOKEN"  # the environment variable that services and those who ask them read
PATIENCE = Patience(seconds=10)


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


class ScorerClient:
    """The service from synchronous code. `timeout` is for each phase of each attempt, in seconds."""

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        *,
        timeout: float = 35.0,
        patience: Patience = PATIENCE,
        transport: httpx.BaseTransport | None = None,
    ):
        patient = PatientTransport(transport or httpx.HTTPTransport(proxy=proxy_of(base_url)), patience)
        self._http = httpx.Client(transport=patient, **_options(base_url, token, timeout))

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
        try:
            return self._http.request(method, path, json=body)
        except httpx.RequestError as error:
            raise _unreachable(error) from None

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
        patience: Patience = PATIENCE,
        transport: httpx.AsyncBaseTransport | None = None,
    ):
        patient = AsyncPatientTransport(transport or httpx.AsyncHTTPTransport(proxy=proxy_of(base_url)), patience)
        self._http = httpx.AsyncClient(transport=patient, **_options(base_url, token, timeout))

    async def rank(self, cases: Sequence[QueryCase], top_k: int = 10, bottom_q: int = 0) -> list[Ranked | Refused]:
        """As `ScorerClient.rank`."""
        return rank_results(await self._ask("POST", "/v1/rank", rank_body(cases, top_k, bottom_q)))

    async def scorer(self) -> dict[str, Any]:
        """As `ScorerClient.scorer`."""
        return accepted(await self._ask("GET", "/v1/scorer"))

    async def labels(self) -> list[dict[str, Any]]:
        return _listed(await self._ask("GET", "/v1/labels"), "labels")

    async def _ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        try:
            return await self._http.request(method, path, json=body)
        except httpx.RequestError as error:
            raise _unreachable(error) from None

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> AsyncScorerClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
