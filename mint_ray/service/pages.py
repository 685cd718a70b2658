"""Self-contained pages: ranking a case by hand, asking a model about one, the API's description. Nothing comes from elsewhere."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FunctionLoader, Template, select_autoescape
from starlette.routing import Route

from mint_ray.service.api import rank_example
from mint_ray.service.engine import Engine
from mint_ray.tasks.base import Task

if TYPE_CHECKING:
    from mint_ray.service.questions import Questions

_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def html(page: tuple[str, str]) -> HTMLResponse:
    """A page with its Content-Security-Policy: only its own script and style, only this server."""
    content, nonce = page
    return HTMLResponse(content, headers={"Content-Security-Policy": _POLICY.format(nonce=nonce)})


def ranking_page(engine: Engine, secured: bool) -> tuple[str, str]:
    """The page at `/`: type what the task reads, drop an image, see the ranking as bars."""
    scorer, task = engine.scorer, engine.task
    shown = {"scorer": scorer, "labels": len(scorer.labels), "task": task, "image_bytes": engine.limits.image_bytes}
    return _render("ranking.html", secured=secured, **shown)


def asking_page(questions: Questions, models: Sequence[str], image_bytes: int, secured: bool) -> tuple[str, str]:
    """The page at `/` of the models: what the task's model reads, typed in; its answer as it is written."""
    told = {name: getattr(questions, name) for name in ("task", "shows", "sees_images", "looks_up")}
    told |= {"labels": len(questions.labels), "ranks": questions.scorer is not None, "image_bytes": image_bytes}
    return _render("asking.html", secured=secured, models=models, **told)


def api_page(description: dict[str, Any], task: Task, address: str, secured: bool) -> tuple[str, str]:
    """The page at `/docs`, drawn from the OpenAPI description; `address` is where the application was met."""
    shown = {"example": json.dumps(rank_example(task), indent=1), "task": task, "secured": secured}
    return _render("docs.html", api=description, address=address.rstrip("/"), **shown)


def routes(app: FastAPI) -> list[Route]:
    """The application's routes, which are few."""
    return [route for route in app.routes if isinstance(route, Route)]


def _render(name: str, **values: Any) -> tuple[str, str]:
    nonce = secrets.token_urlsafe(16)
    return _template(name).render(nonce=nonce, **values), nonce


@cache
def _template(name: str) -> Template:
    loader = FunctionLoader(lambda file: (files("mint_ray.service") / file).read_text())
    environment = Environment(loader=loader, autoescape=select_autoescape(), trim_blocks=True, lstrip_blocks=True)
    environment.filters["json"] = lambda value: json.dumps(value, indent=1, ensure_ascii=False)
    return environment.get_template(name)
