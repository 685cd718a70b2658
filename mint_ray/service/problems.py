"""Every error that the service may give, as RFC 9457 problem details with a stable code.

A problem says which rule was broken, where, and what to do. It never repeats what was sent: neither text,
nor names, nor image. The exception `Problem` carries one through Starlette.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

# code: (status, title)
CODES: dict[str, tuple[int, str]] = {
    "malformed-body": (400, "The body cannot be read"),
    "unauthorised": (401, "A bearer token is needed"),
    "foreign-host": (403, "Without a token only this machine may ask"),
    "not-found": (404, "There is nothing at this address"),
    "method-not-allowed": (405, "This address does not answer this method"),
    "slow-body": (408, "The body did not arrive in time"),
    "body-too-large": (413, "The request is too large"),
    "too-many-cases": (413, "Too many cases in one request"),
    "text-too-long": (413, "The text is too long"),
    "image-too-large": (413, "The image is too large"),
    "unsupported-media-type": (415, "The body is of the wrong kind"),
    "not-an-image": (415, "The data is no image of a supported kind"),
    "animated-image": (415, "The image has several frames"),
    "invalid-request": (422, "The request does not fit the description"),
    "invalid-case": (422, "The case does not fit the description"),
    "empty-case": (422, "The case has neither text nor image"),
    "broken-image": (422, "The image cannot be decoded"),
    "internal": (500, "The service failed"),
    "scoring-failed": (500, "The scorer failed on this case"),
    "overloaded": (503, "The service is busy"),
    "not-ready": (503, "The service is not ready"),
    "timeout": (504, "The answer took too long"),
}
_BY_STATUS = {404: "not-found", 405: "method-not-allowed", 415: "unsupported-media-type", 422: "invalid-request"}
MEDIA_TYPE = "application/problem+json"


class FieldError(BaseModel):
    """One field that breaks a rule."""

    field: str
    rule: str


class ProblemDetails(BaseModel):
    """RFC 9457, with a stable `code`, and the fields at fault where there are any."""

    type: str = Field(examples=["urn:mint-ray:problem:image-too-large"])
    title: str
    status: int = Field(ge=400, le=599)
    code: str = Field(json_schema_extra={"enum": [*sorted(CODES)]})
    detail: str = ""
    errors: list[FieldError] = []


class Problem(HTTPException):
    """A problem on its way out."""

    def __init__(
        self, code: str, detail: str = "", errors: list[FieldError] | None = None, headers: dict[str, str] | None = None
    ):
        status, title = CODES[code]
        super().__init__(status, title, headers)
        self.code = code
        self.details = ProblemDetails(
            type=f"urn:mint-ray:problem:{code}",
            title=title,
            status=status,
            code=code,
            detail=detail,
            errors=errors or [],
        )


def overloaded(detail: str, retry_after: int) -> Problem:
    return Problem("overloaded", detail, headers={"Retry-After": str(retry_after)})


def response(problem: Problem) -> Response:
    return Response(
        problem.details.model_dump_json(),
        status_code=problem.status_code,
        headers=problem.headers,
        media_type=MEDIA_TYPE,
    )


def from_http_exception(error: HTTPException) -> Problem:
    """Starlette's and FastAPI's own errors in our form."""
    if isinstance(error, Problem):
        return error
    code = _BY_STATUS.get(error.status_code, "malformed-body" if error.status_code < 500 else "internal")
    allowed = {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
    return Problem(code, HTTPStatus(error.status_code).phrase, headers=allowed)


def from_validation(code: str, errors: list[dict[str, Any]], prefix: str = "") -> Problem:
    """Pydantic's errors as fields and rules: no input, and no key that the sender made up."""
    found = [
        FieldError(field=_field(error, prefix), rule=error["msg"].removeprefix("Value error, "))
        for error in errors[:20]
    ]
    return Problem(code, f"{len(errors)} field(s) to mend", found)


def validation_errors(error: ValidationError) -> list[dict[str, Any]]:
    return [{**each} for each in error.errors(include_input=False, include_url=False, include_context=False)]


def _field(error: dict[str, Any], prefix: str) -> str:
    parts = [str(part) for part in error["loc"] if part != "body"]
    if error["type"] == "extra_forbidden":
        parts[-1] = "(a field that is not known here)"
    return ".".join([prefix, *parts] if prefix else parts) or "body"
