"""The OpenAPI description: what FastAPI derives, with our problems in place of its own errors."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from mint_ray.service.api import CaseIn, rank_example
from mint_ray.service.engine import Engine
from mint_ray.service.problems import CODES, MEDIA_TYPE, ProblemDetails
from mint_ray.service.settings import LimitsSection

_REFERENCE = "#/components/schemas/{model}"


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these problems."""
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in ("internal", *codes):
        by_status[CODES[code][0]].append(code)
    return {status: _response(status, found) for status, found in sorted(by_status.items())}


def _response(status: int, codes: list[str]) -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(model="ProblemDetails")}
    found: dict[str, Any] = {
        "description": "; ".join(f"`{code}`: {CODES[code][1]}" for code in codes),
        "content": {MEDIA_TYPE: {"schema": schema}},
    }
    if status in (503, 504):
        found["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
    if status == 401:
        found["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    return found


def describe(app: FastAPI, engine: Engine, prefix: str = "") -> dict[str, Any]:
    """The whole description, with the bounds that are in force; `prefix` is what the application is met below."""
    if app.openapi_schema is None:
        app.openapi_schema = _described(app, engine.limits, rank_example(engine.task))
    return app.openapi_schema | ({"servers": [{"url": prefix}]} if prefix else {})


def _described(app: FastAPI, limits: LimitsSection, example: dict[str, Any]) -> dict[str, Any]:
    description = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = description.setdefault("components", {}).setdefault("schemas", {})
    for model in (ProblemDetails, CaseIn):
        own = model.model_json_schema(ref_template=_REFERENCE)
        schemas.update(own.pop("$defs", {}))
        schemas[model.__name__] = own
    description["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    description["security"] = [{}, {"token": []}]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["RankRequest"]["examples"] = [example]
    schemas["RankRequest"]["properties"]["cases"]["maxItems"] = limits.cases
    fields = schemas["CaseIn"]["properties"]
    fields["phenotypes"]["maxItems"] = limits.phenotypes
    fields["text"]["maxLength"] = limits.text_chars
    return description
