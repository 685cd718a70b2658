"""Problems in the form of OpenAI's API, `{"error": {...}}`, which its clients read."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse, Response

from mint_ray.service.problems import Problem


def error_response(problem: Problem) -> Response:
    """A problem as OpenAI's clients read it."""
    found = problem.details
    rules = "; ".join(f"{error.field}: {error.rule}" for error in found.errors)
    message = ": ".join(filter(None, [found.title, found.detail, rules]))
    return openai_error(problem.status_code, message, found.code, problem.headers)


def openai_error(status: int, message: str, code: str, headers: Mapping[str, str] | None = None) -> Response:
    """`{"error": {...}}` as OpenAI's API gives it."""
    error = {"message": message, "type": code, "param": None, "code": code}
    return JSONResponse({"error": error}, status, dict(headers or {}))
