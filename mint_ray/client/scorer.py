"""The scorer's service: cases in, rankings out. What is sent and what an answer means are pure functions."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from mint_ray.client.http import AsyncClient, Client, accepted, listed, stranger


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
        return [_result(result) for result in listed(answer, "results")]
    except (KeyError, TypeError):
        raise stranger(answer) from None


def _result(result: dict[str, Any]) -> Ranked | Refused:
    if result["outcome"] == "problem":
        problem = result["problem"]
        return Refused(result["id"], problem["status"], problem["code"], problem["detail"], problem["errors"])
    return Ranked(
        result["id"], [Label(**label) for label in result["top"]], [Label(**label) for label in result["bottom"]]
    )


class ScorerClient(Client):
    """The scorer's service from synchronous code.

    Args:
        timeout: for each phase of each try, in seconds.
        patience: for how long a request is sent again that may fare better.
    """

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
        return listed(self._ask("GET", "/v1/labels"), "labels")


class AsyncScorerClient(AsyncClient):
    """The scorer's service from asynchronous code; see `ScorerClient`."""

    async def rank(self, cases: Sequence[QueryCase], top_k: int = 10, bottom_q: int = 0) -> list[Ranked | Refused]:
        """As `ScorerClient.rank`."""
        return rank_results(await self._ask("POST", "/v1/rank", rank_body(cases, top_k, bottom_q)))

    async def scorer(self) -> dict[str, Any]:
        """As `ScorerClient.scorer`."""
        return accepted(await self._ask("GET", "/v1/scorer"))

    async def labels(self) -> list[dict[str, Any]]:
        return listed(await self._ask("GET", "/v1/labels"), "labels")
