"""What the clients share: how a service is asked, and what its refusals become."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import httpx

from mint_ray.errors import MintError
from mint_ray.transport import AsyncPatientTransport, Patience, PatientTransport, proxy_of

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


class Client:
    """A service from synchronous code.

    Args:
        timeout: for each phase of each try, in seconds.
        patience: for how long a request is sent again that may fare better.
        transport: a test's, in place of the network.
    """

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

    def _ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        try:
            return self._http.request(method, path, json=body)
        except httpx.RequestError as error:
            raise _unreachable(error) from None

    def close(self) -> None:
        self._http.close()

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient:
    """A service from asynchronous code; see `Client`."""

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

    async def _ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        try:
            return await self._http.request(method, path, json=body)
        except httpx.RequestError as error:
            raise _unreachable(error) from None

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _options(base_url: str, token: str | None, timeout: float) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return {"base_url": base_url, "headers": headers, "timeout": timeout}


def _unreachable(error: httpx.RequestError) -> ServiceError:
    return ServiceError(f"the service cannot be reached ({type(error).__name__})")


def accepted(answer: httpx.Response) -> dict[str, Any]:
    """The JSON of an answer that is one.

    Raises:
        ServiceError: with the problem's code where the service gave one.
    """
    if answer.is_success:
        return _object(answer)
    problem = _problem(answer)
    said = f"{answer.status_code} {problem.get('title', 'no answer of the service')}: {problem.get('detail', '')}"
    raise ServiceError(said.rstrip(": "), answer.status_code, problem.get("code"), problem.get("errors", ()))


def _problem(answer: httpx.Response) -> dict[str, Any]:
    """A refusal in the form of RFC 9457. Of OpenAI's form the code alone: an engine's words may quote what it was asked."""
    kind = answer.headers.get("content-type", "")
    if kind.startswith("application/problem+json"):
        return _object(answer)
    error = _object(answer).get("error") if "json" in kind else None
    code = cast("dict[str, Any]", error).get("code") if isinstance(error, dict) else None
    return {"title": code, "code": code} if isinstance(code, str) else {}


def listed(answer: httpx.Response, name: str) -> list[dict[str, Any]]:
    """The list of that name in an answer.

    Raises:
        ServiceError: there is none.
    """
    found = accepted(answer).get(name)
    if not isinstance(found, list):
        raise stranger(answer)
    return cast("list[dict[str, Any]]", found)


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise stranger(answer)
    return cast("dict[str, Any]", found)


def stranger(answer: httpx.Response) -> ServiceError:
    """What is said of an answer that no service of this kind gives."""
    return ServiceError(f"{answer.status_code} and no answer of the service: is the address right?", answer.status_code)
