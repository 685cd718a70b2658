"""The HTTP application over an engine. Any ASGI server can run it; Ray Serve does."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, FastAPI, File, Form, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from mint_ray.corpora.images import FILE_FORMATS
from mint_ray.records import Sex
from mint_ray.service import api, pages
from mint_ray.service.engine import Engine, Submission
from mint_ray.service.guards import guarded
from mint_ray.service.intake import StrictRoute
from mint_ray.service.openapi import describe, problems
from mint_ray.service.problems import Problem, from_http_exception, from_validation, response
from mint_ray.tasks.base import Task

Form_ = TypeVar("Form_", bound=Callable[..., Any])
DESCRIPTION = (
    "Ranks the labels of a multimodal scorer for a case: text and structured findings, an image, or both. "
    "Every error is an RFC 9457 problem with a stable `code`. Nothing that is sent is kept or logged."
)


def create_app(engine: Engine, token: str | None) -> ASGIApp:
    """The application, behind its guards. `token` is the bearer token that it asks for, if any."""
    app = FastAPI(
        title="mint_ray scorer",
        version=version("mint_ray"),
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.include_router(_version_1(engine))
    app.include_router(_operations(engine))
    app.include_router(_pages(app, engine, secured=token is not None))
    app.add_exception_handler(HTTPException, partial(_as_problem, engine))
    app.add_exception_handler(RequestValidationError, partial(_as_problem, engine))
    app.add_exception_handler(Exception, _as_internal)
    return _guarded(app, engine, token)


def _guarded(app: FastAPI, engine: Engine, token: str | None) -> ASGIApp:
    engine.metrics.watch_queue(lambda: engine.queued)
    return guarded(app, engine.limits, token, engine.metrics, pages.routes(app))


async def _as_problem(engine: Engine, request: Request, error: Exception) -> Response:
    if isinstance(error, RequestValidationError):
        problem = from_validation("invalid-request", error.errors())
    else:
        problem = from_http_exception(error)
    engine.metrics.refusal(problem.code)
    return response(problem)


async def _as_internal(request: Request, error: Exception) -> Response:
    """Starlette raises the error again after this answer; `Watch` counts it and says where it happened."""
    return response(Problem("internal"))


def _with_what_is_read(task: Task) -> Callable[[Form_], Form_]:
    """A form leaves out the fields of a case that the task has no use for."""

    def left(form: Form_) -> Form_:
        whole = inspect.signature(form)
        kept = [p for p in whole.parameters.values() if p.name not in api.CaseIn.model_fields or task.reads(p.name)]
        form.__signature__ = whole.replace(parameters=kept)
        return form

    return left


def _version_1(engine: Engine) -> APIRouter:
    router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["version 1"])
    scorer = api.ScorerName(name=engine.scorer.name, digest=engine.scorer.digest)

    @router.post("/rank", responses=problems(*_BODY, "too-many-cases", *_BUSY), summary="Rank the labels for cases")
    async def rank(body: api.RankRequest) -> api.RankResponse:
        """Each case has its result in its place: a ranking, or the problem that it has. One bad case costs no other."""
        if len(body.cases) > engine.limits.cases:
            raise Problem("too-many-cases", f"{len(body.cases)} cases; at most {engine.limits.cases} in one request")
        return api.RankResponse(
            scorer=scorer,
            results=await engine.rank([Submission(case) for case in body.cases], body.top_k, body.bottom_q),
        )

    @router.post(
        "/rank/upload",
        responses=problems(*_BODY, *_CASE, *_BUSY, "scoring-failed"),
        summary="Rank the labels for one case",
    )
    @_with_what_is_read(engine.task)
    async def upload(  # a form has no null: what is absent is None, and no schema says so
        image: Annotated[UploadFile, File(description=api.IMAGE)] = None,
        text: Annotated[api.Text, Form()] = None,
        sex: Annotated[Sex, Form()] = None,
        age_years: Annotated[float, Form(ge=0, le=150, allow_inf_nan=False)] = None,  # noqa: RUF013
        ethnicity: Annotated[api.Text, Form(max_length=100)] = None,
        top_k: Annotated[int, Form(ge=1, le=api.MAX_ANSWER)] = 10,
        bottom_q: Annotated[int, Form(ge=0, le=api.MAX_ANSWER)] = 0,
    ) -> api.UploadResponse:
        """One case as a form, e.g. `curl -F image=@image.png -F text="What is seen"` to this address."""
        fields = {"text": text, "sex": sex, "age_years": age_years, "ethnicity": ethnicity}
        data = await image.read(engine.limits.image_bytes + 1) if image else None
        result = await engine.rank_one(Submission(fields, data), top_k, bottom_q)
        return api.UploadResponse(scorer=scorer, result=result)

    @router.get("/scorer", responses=problems(*_ACCESS), summary="What is being served")
    async def card() -> api.ScorerCard:
        """The scorer, its digest, what it sees, and the bounds on what may be sent."""
        return api.ScorerCard(
            **scorer.model_dump(),
            task=engine.task.kind,
            modalities=list(engine.scorer.modalities),
            labels=len(engine.scorer.labels),
            limits=engine.limits.model_dump(),
            image_formats=list(FILE_FORMATS),
        )

    @router.get("/labels", responses=problems(*_ACCESS), summary="All labels, in the order of their index")
    async def labels() -> api.LabelsResponse:
        return api.LabelsResponse(
            labels=[api.LabelOut(id=x.id, name=x.name, synonyms=list(x.synonyms)) for x in engine.scorer.labels]
        )

    return router


_ACCESS = ("unauthorised", "foreign-host", "overloaded")
_BODY = (*_ACCESS, "malformed-body", "slow-body", "body-too-large", "unsupported-media-type", "invalid-request")
_CASE = (
    "invalid-case",
    "empty-case",
    "text-too-long",
    "image-too-large",
    "not-an-image",
    "animated-image",
    "broken-image",
)
_BUSY = ("timeout",)


def _operations(engine: Engine) -> APIRouter:
    router = APIRouter(tags=["operations"])

    @router.get("/livez", summary="Is the process alive?", responses=problems("foreign-host", "not-ready"))
    async def live() -> api.Health:
        if not engine.alive:
            raise Problem("not-ready", "the queue is not being served")
        return api.Health()

    @router.get(
        "/readyz",
        summary="Are the weights loaded, and has a forward run?",
        responses=problems("foreign-host", "not-ready"),
    )
    async def ready() -> api.Health:
        if not engine.alive:
            raise Problem("not-ready", "the queue is not being served")
        return api.Health()

    @router.get(
        "/metrics",
        summary="Prometheus metrics of the replica that answers",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problems(*_ACCESS)},
    )
    async def metrics() -> Response:
        return Response(engine.metrics.exposition(), media_type=engine.metrics.media_type)

    return router


def _pages(app: FastAPI, engine: Engine, secured: bool) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def page() -> HTMLResponse:
        return pages.html(pages.ranking_page(engine, secured))

    @router.get("/docs")
    async def docs(request: Request) -> HTMLResponse:
        description = describe(app, engine, request.scope.get("root_path", ""))
        return pages.html(pages.api_page(description, engine.task, str(request.base_url), secured))

    @router.get("/openapi.json")
    async def description(request: Request) -> dict[str, Any]:
        return describe(app, engine, request.scope.get("root_path", ""))

    return router
