"""Answers from models that are being served: the OpenAI-compatible API of `deployments/aligned_model.py`.

The same prompts, settings and seeds as an engine of its own, so the same answers. At most `inference.batch_size`
requests of an asker are in the air at one time.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from pydantic import SecretStr

from mint_ray import progress
from mint_ray.config import InferenceSection
from mint_ray.errors import EndpointError
from mint_ray.inference.answering import AnswerEngine, Prompt, Said, Weights
from mint_ray.inference.asking import chat_request
from mint_ray.mending import TEMPLATE_KWARGS, template_date
from mint_ray.records import Case
from mint_ray.transport import TOKEN, Patience, PatientTransport, proxy_of

logger = logging.getLogger(__name__)

PATIENCE = Patience(seconds=120, base=0.5)  # a replica that died is back within a minute
TIMEOUT = httpx.Timeout(660, connect=10)  # the service itself gives up earlier, and says so


class Endpoint:
    """The models at an address. `transport` is passed in by tests."""

    def __init__(
        self,
        url: str,
        token: SecretStr | None,
        patience: Patience = PATIENCE,
        transport: httpx.BaseTransport | None = None,
    ):
        self._url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
        plain = transport or httpx.HTTPTransport(limits=httpx.Limits(max_connections=None), proxy=proxy_of(url))
        self._http = httpx.Client(headers=headers, timeout=TIMEOUT, transport=PatientTransport(plain, patience))

    def models(self) -> dict[str, dict[str, Any]]:
        """What is served: by name, what the service says of it (nothing, where it is another's)."""
        return {card["id"]: card.get("metadata") or {} for card in self._ask("GET", "/models")["data"]}

    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a chat request."""
        return self._ask("POST", "/chat/completions", request)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            answer = self._http.request(method, self._url + path, json=body)
        except httpx.RequestError as error:
            why = f"the service cannot be reached ({type(error).__name__})"
            raise EndpointError(f"inference.endpoint {self._url}: {why}; see that it runs") from None
        if not answer.is_success:
            raise EndpointError(f"inference.endpoint {self._url}: {_refusal(answer, body)}")
        return answer.json()


def _refusal(answer: httpx.Response, body: dict[str, Any] | None) -> str:
    """Why it was refused, without the service's own words where they might quote a patient."""
    if answer.status_code in (401, 403):
        return f"{answer.status_code}, a token is needed: set {TOKEN} to the one that the service was started with"
    if answer.status_code == 404:
        return (
            f"404, it serves no model {body['model']!r}"
            if body
            else "404, there is no such address; does it end in /v1?"
        )
    return f"it answers with {answer.status_code}"


def endpoint_token() -> SecretStr | None:
    """The bearer token of the environment; pickled to the askers, shown nowhere."""
    token = os.environ.get(TOKEN, "").strip()
    return SecretStr(token) if token else None


def check_endpoint(section: InferenceSection, name: str, weights: Weights, served: dict[str, dict[str, Any]]) -> None:
    """Refuse an endpoint whose model of this name is another one, or runs otherwise.

    Raises:
        EndpointError: naming what differs.
    """
    if name not in served:
        raise EndpointError(f"inference.endpoint serves no model {name!r}; it serves {', '.join(served) or 'none'}")
    wanted = {
        "model_digest": weights.digest,
        "adapter_digest": weights.adapter_digest,
        "precision": section.precision,
    }
    says = served[name]
    different = [
        f"{key} is {says[key]} there and {value} here" for key, value in wanted.items() if says.get(key, value) != value
    ]
    if says.get("max_model_len", section.max_model_len) < section.max_model_len:
        different.append(f"max_model_len is {says['max_model_len']} there and {section.max_model_len} here")
    if different:
        raise EndpointError(
            f"inference.endpoint serves another {name!r}: {'; '.join(different)}. Serve this run, or mend"
        )
    if not says and (date := template_date(weights.here().folder)):
        logger.warning(
            "inference.endpoint says nothing of its %r, whose chat template writes a date: %s is sent as date_string; where "
            "the template does not take it, serve the model by deployments/aligned_model.yaml, or prompts differ",
            *(name, date),
        )


class EndpointEngine(AnswerEngine):
    """One asker: renders the prompts as every engine does, to refuse what is too long, and lets the service answer."""

    def __init__(self, *arguments: Any, token: SecretStr | None):
        self._token = token
        super().__init__(*arguments)

    def load(self) -> None:
        from mint_ray.alignment.vision import vision_inputs
        from mint_ray.models import load_tokenizer

        self.vision = vision_inputs(self.weights.folder)
        self.tokenizer = self.vision.tokenizer if self.vision else load_tokenizer(self.weights.folder)
        self.endpoint = Endpoint(self.section.endpoint, self._token)

    def ask(self, cases: Sequence[Case], prompts: Sequence[Prompt]) -> list[Said]:
        with ThreadPoolExecutor(len(cases)) as threads:
            return [
                _counted(answer) for answer in threads.map(self.endpoint.complete, map(self.request, cases, prompts))
            ]

    def request(self, case: Case, prompt: Prompt) -> dict[str, Any]:
        """The prompt's request, with every setting that a server may have a default of its own for."""
        settings = {"temperature": self.section.temperature, "max_tokens": self.section.max_tokens}
        neutral = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
        dated = {"chat_template_kwargs": TEMPLATE_KWARGS} if template_date(self.weights.folder) else {}
        return chat_request(
            self.task, prompt.view, self.name, **settings, **neutral, **dated, seed=self.case_seed(case)
        )


def _counted(answer: dict[str, Any]) -> Said:
    progress.advance()
    return said(answer)


def said(answer: dict[str, Any]) -> Said:
    """What a chat completion holds."""
    choice, usage = answer["choices"][0], answer["usage"]
    stopped = choice["finish_reason"] != "length"
    return Said(choice["message"]["content"] or "", stopped, usage["prompt_tokens"], usage["completion_tokens"])
