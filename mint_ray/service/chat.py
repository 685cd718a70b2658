"""Language models behind the OpenAI-compatible API: Ray Serve LLM's engines and router, our guards before them.

Each folder of weights is one deployment of Ray Serve LLM; adapters that the engine runs as such share it. The
ingress is Ray's router with one door: no CORS, JSON alone, bounds and access as in the scorer's service, errors in
OpenAI's form. No address in a request is ever fetched: an image is a data URI.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from pydantic import ValidationError
from ray import serve
from ray.exceptions import RayActorError
from ray.llm._internal.serve.core.configs.openai_api_models import (
    ChatCompletionRequest,
    CompletionRequest,
    ModelCard,
    ModelList,
    OpenAIHTTPException,
)
from ray.llm._internal.serve.core.ingress.utils import _sanitize_chat_completion_request
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle
from ray.serve.llm import LLMConfig, build_llm_deployment
from ray.serve.llm.ingress import OpenAiIngress
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp
from vllm.entrypoints.openai.models.protocol import LoRAModulePath
from vllm.exceptions import VLLMClientError
from vllm.v1.engine.exceptions import EngineDeadError

from mint_ray.config import EngineSection
from mint_ray.inference.answering import Weights
from mint_ray.inference.engine import engine_arguments
from mint_ray.models import sees_images
from mint_ray.service import pages, questions
from mint_ray.service.connections import bound_connections
from mint_ray.service.deployment import listening_host
from mint_ray.service.guards import guarded
from mint_ray.service.intake import StrictRequest, StrictRoute
from mint_ray.service.metrics import HttpMetrics
from mint_ray.service.models import served_models
from mint_ray.service.openai_errors import error_response, openai_error
from mint_ray.service.parts import ChatRequest
from mint_ray.service.problems import FieldError, Problem, from_validation, overloaded
from mint_ray.service.questions import Questions, questions_of
from mint_ray.service.readiness import Readiness
from mint_ray.service.settings import BASE, HttpLimits, ModelSection

DEPLOYMENT = "models"
# vLLM fetches images from any host unless it has a list; this one is no host's name (RFC 2606).
NO_HOST = ["no-address-is-fetched.invalid"]
SPARE = 16  # places in an engine beyond the requests that are let in: it says that it is alive when it is full, too
ANSWERS = 64  # to one request, by `n` or by several prompts: vLLM takes 16,384, which holds an engine for hours
MAX_LORAS = 8  # adapters in one batch of an engine


def application(settings: ModelSection) -> serve.Application:
    """The settings' models as an application."""
    return endpoint(settings, *served_models(settings))


def endpoint(settings: ModelSection, engine: EngineSection, served: dict[str, Weights]) -> serve.Application:
    """The given weights, by name, as an application: an engine for each folder."""
    engines = {
        folder: build_llm_deployment(llm_config(settings, engine, folder, served))
        for folder in dict.fromkeys(weights.folder for weights in served.values())
    }
    return ModelEndpoint.options(
        **settings.scale(),
        max_ongoing_requests=2 * settings.limits.requests,  # the replica sheds by itself, and says why
        ray_actor_options={"num_cpus": 0},
        graceful_shutdown_timeout_s=settings.limits.request_seconds,
    ).bind(
        {name: engines[weights.folder] for name, weights in served.items()},
        {name: card(name, weights, engine) for name, weights in served.items()},
        settings,
    )


def llm_config(settings: ModelSection, engine: EngineSection, folder: Path, served: dict[str, Weights]) -> LLMConfig:
    """Ray Serve LLM's own settings for the engine of a folder, with the adapters over it."""
    here = {name: weights for name, weights in served.items() if weights.folder == folder}
    adapters = {name: weights for name, weights in here.items() if weights.adapter}
    name = next((name for name in here if name not in adapters), BASE)
    bundle = {"GPU": 1} if engine.use_gpu else {"CPU": engine.cpus_per_engine}
    return LLMConfig(
        model_loading_config={"model_id": name, "model_source": str(folder)},
        accelerator_config={"kind": "gpu" if engine.use_gpu else "cpu"},
        placement_group_config={"bundles": [bundle] * (engine.tensor_parallel if engine.use_gpu else 1)},
        engine_kwargs=engine_settings(engine, folder, adapters),
        runtime_env={"env_vars": engine_environment(engine)},
        deployment_config={
            **settings.scale(),
            "max_ongoing_requests": settings.limits.requests + SPARE,
            "ray_actor_options": {"num_cpus": 0},
            "logging_config": {"enable_access_log": False},
        },
    )


def engine_settings(engine: EngineSection, folder: Path, adapters: dict[str, Weights]) -> dict[str, Any]:
    """vLLM's settings: those of batch inference, and what a server needs.

    Without `generation_config` a model's own file would change what a request asks for; a request that says nothing
    is answered greedily, as evaluation measures.
    """
    highest = max(adapters.values(), key=lambda weights: weights.adapter_rank, default=Weights(folder, ""))
    arguments = engine_arguments(engine, highest)
    for decided_by_ray in ("model", "disable_log_stats", "distributed_executor_backend"):
        arguments.pop(decided_by_ray, None)
    if engine.use_gpu and engine.precision == "auto":
        arguments["dtype"] = "auto"  # vLLM decides where the GPU is; the node that builds the application may have none
    if adapters:
        arguments["lora_modules"] = [LoRAModulePath(name, str(w.adapter)) for name, w in adapters.items()]
        arguments["max_loras"] = min(len(adapters), MAX_LORAS)
    if sees_images(folder):
        arguments |= {"limit_mm_per_prompt": {"image": 1}, "allowed_media_domains": NO_HOST}
    return arguments | {"generation_config": "vllm", "override_generation_config": {"temperature": 0.0}}


def engine_environment(engine: EngineSection) -> dict[str, str]:
    """What vLLM and OpenMP read from the environment of an engine."""
    quiet = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1", "VLLM_MAX_N_SEQUENCES": str(ANSWERS)}
    if engine.use_gpu:
        return quiet
    # Bound to cores, every engine would take the same ones.
    return quiet | {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(engine.cpus_per_engine)}


def card(name: str, weights: Weights, engine: EngineSection) -> ModelCard:
    """What `/v1/models` says of a name: enough to know whether it is the model that a run means."""
    known = {
        "model_digest": weights.digest,
        "adapter_digest": weights.adapter_digest,
        "max_model_len": engine.max_model_len,
        "precision": engine.precision,
        "sees_images": sees_images(weights.folder),
    }
    return ModelCard(id=name, object="model", owned_by="mint_ray", permission=[], metadata=known)


@serve.deployment(name=DEPLOYMENT, max_constructor_retry_count=1, logging_config={"enable_access_log": False})
@serve.ingress()
class ModelEndpoint(OpenAiIngress):
    """Ray's router of OpenAI requests to engines, behind our guards."""

    def __init__(self, engines: dict[str, DeploymentHandle], cards: dict[str, ModelCard], settings: ModelSection):
        settings.access.check(listening_host())
        bound_connections(settings.limits.request_seconds)
        self._token, self._limits = settings.access.token(), settings.limits
        self._readiness = Readiness({} if settings.may_sleep else {n: partial(_ask, e) for n, e in engines.items()})
        self._questions = questions_of(settings)
        if self._questions:
            self._questions.prepare()
        super().__init__(engines, cards)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        metrics = HttpMetrics(serve.get_replica_context().replica_id.unique_id)
        app = create_app(self, self._readiness, metrics)
        if self._questions:
            add_page(app, self._questions, list(self._model_cards), self._limits, secured=self._token is not None)
        return guarded(app, self._limits, self._token, metrics, pages.routes(app), error_response)

    async def _get_model_id(self, model: str | None) -> str:
        """Ray takes `name:suffix` for an adapter in a bucket; here a name is one that is listed."""
        if model not in self._model_cards:
            raise HTTPException(404, f"there is no such model; there is {', '.join(self._model_cards)}")
        return model

    def _get_configured_serve_handle(self, model_id: str) -> CancellingHandle:
        return CancellingHandle(super()._get_configured_serve_handle(model_id))


class CancellingHandle:
    """A streaming handle whose engine stops its work when nobody waits for it any more.

    Serve tells the engine so where the client has gone, but not where our own bound on a request's time ends it: the engine
    went on to the last token, and whoever asked next waited behind that, up to their own bound.
    """

    def __init__(self, handle: DeploymentHandle):
        self._handle = handle

    def options(self, **options: Any) -> CancellingHandle:
        return CancellingHandle(self._handle.options(**options))

    def __getattr__(self, method: str) -> Any:
        return SimpleNamespace(remote=partial(_cancelled_with_its_reader, getattr(self._handle, method)))


async def _cancelled_with_its_reader(method: Any, *arguments: Any) -> AsyncIterator[Any]:
    answers = method.remote(*arguments)
    try:
        async for each in answers:
            yield each
    except asyncio.CancelledError:
        answers.cancel()
        raise


class ReadChat(ChatRequest):
    """A chat that vLLM and Ray can read."""

    async def json(self) -> Any:
        body = await super().json()
        check_readable(lambda: _sanitize_chat_completion_request(ChatCompletionRequest.model_validate(body)))
        return body


class ReadText(StrictRequest):
    """A completion of a text that vLLM can read."""

    async def json(self) -> Any:
        body = await super().json()
        check_readable(lambda: check_answers(CompletionRequest.model_validate(body)))
        return body


def check_answers(request: CompletionRequest) -> None:
    """Refuse more than `ANSWERS` to one request: `n` to each of its prompts.

    Raises:
        Problem: `invalid-request`.
    """
    prompts = request.prompt
    count = len(prompts) if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int) else 1
    if count * request.n > ANSWERS:
        many = FieldError(field="prompt", rule=f"at most {ANSWERS} answers in one request, `n` to each prompt")
        raise Problem("invalid-request", f"{count} prompts, {request.n} answers to each", [many])


class ChatRoute(StrictRoute):
    reads = ReadChat


class TextRoute(StrictRoute):
    reads = ReadText


def check_readable(read: Callable[[], Any]) -> None:
    """Refuse what ends in an exception of any kind before an engine is asked: it is the request's fault.

    vLLM's own rules raise errors that pydantic does not take for errors of validation, and fall over values of kinds
    that they do not expect.

    Raises:
        Problem: `invalid-request`, with the name of the parameter where vLLM gives one; never with its words.
    """
    try:
        read()
    except Problem:
        raise
    except ValidationError:
        pass  # FastAPI is about to say which fields, and why
    except Exception as error:
        raise _not_taken(error) from None


def _not_taken(error: Exception) -> Problem:
    field = getattr(error, "parameter", None) or "body"
    return Problem("invalid-request", "vLLM does not take it", [FieldError(field=field, rule=type(error).__name__)])


async def _ask(engine: DeploymentHandle) -> None:
    """Whether an engine is alive; raises where it, or its replica, is not."""
    await engine.check_health.remote()


def create_app(endpoint: ModelEndpoint, readiness: Readiness, metrics: HttpMetrics) -> FastAPI:
    """The routes: models, completions of chats and of texts, health, metrics."""
    app = FastAPI(title="mint_ray models", docs_url=None, redoc_url=None, openapi_url=None)
    app.router.route_class = StrictRoute
    app.get("/v1/models", response_model=ModelList)(endpoint.models)
    app.get("/v1/models/{model}", response_model=ModelCard)(endpoint.model_data)
    post = partial(app.router.add_api_route, methods=["POST"])
    post("/v1/chat/completions", endpoint.chat, route_class_override=ChatRoute)
    post("/v1/completions", endpoint.completions, route_class_override=TextRoute)

    @app.get("/livez")
    async def live() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    async def ready() -> dict[str, str]:
        await readiness.check()
        return {"status": "ok"}

    @app.get("/metrics")
    async def exposition() -> Response:
        return Response(metrics.exposition(), media_type=metrics.media_type)

    for kind in (
        HTTPException,
        RequestValidationError,
        OpenAIHTTPException,
        BackPressureError,
        RayActorError,
        EngineDeadError,
        VLLMClientError,
    ):
        app.add_exception_handler(kind, partial(_as_error, metrics))
    app.add_exception_handler(Exception, _as_internal)
    return app


def add_page(app: FastAPI, about: Questions, models: Sequence[str], limits: HttpLimits, secured: bool) -> None:
    """The page to ask by hand, and what it is made of."""
    app.include_router(questions.router(about))

    @app.get("/")
    async def page() -> HTMLResponse:
        return pages.html(pages.asking_page(about, models, limits.image_bytes, secured))


async def _as_internal(request: Request, error: Exception) -> Response:
    """Starlette raises the error again after this answer; `Watch` counts it and says where it happened."""
    return error_response(Problem("internal"))


async def _as_error(metrics: HttpMetrics, request: Request, error: Exception) -> Response:
    if isinstance(error, OpenAIHTTPException):  # the engine's own words: a context too long, an image that is none
        metrics.refusal("engine")
        return openai_error(error.status_code, error.message, error.type)
    if isinstance(error, HTTPException) and not isinstance(error, Problem):
        metrics.refusal("not-found" if error.status_code == 404 else "invalid-request")
        return openai_error(error.status_code, str(error.detail), "invalid_request_error")
    problem = _problem(error)
    metrics.refusal(problem.code)
    return error_response(problem)


def _problem(error: Exception) -> Problem:
    if isinstance(error, RequestValidationError):
        return from_validation("invalid-request", error.errors())
    if isinstance(error, BackPressureError):
        return overloaded("every engine is full", 1)
    if isinstance(error, RayActorError | EngineDeadError):
        return Problem("not-ready", "an engine died and is being replaced: ask again", headers={"Retry-After": "5"})
    if isinstance(error, VLLMClientError):
        return _not_taken(error)
    return error
