"""The models' service: a case in, the aligned model's answer out, by names, ids and log-probabilities.

The prompt is the task's own, as in alignment, without what a run may look up beside it. The service is ours or any that
speaks OpenAI's chat API.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from mint_ray.client.http import PATIENCE, AsyncClient, Client, accepted, stranger
from mint_ray.evaluation.grounding import NameIndex
from mint_ray.inference.asking import chat_messages
from mint_ray.records import Case
from mint_ray.tasks.base import Label, Task
from mint_ray.transport import Patience

Messages = Sequence[dict[str, Any]]
TIMEOUT = 600.0  # of the service: an answer takes as long as its tokens


@dataclass(frozen=True)
class Named:
    """A name in its place in an answer.

    `id` is that of the label it means, None where it means none or several. `log_probability` is that of its tokens after
    all before them, None where the service says nothing of it.
    """

    rank: int
    name: str
    id: str | None
    log_probability: float | None


@dataclass(frozen=True)
class Answer:
    """What a model says of a case. `complete` is false where the bound on tokens has cut it off.

    `withheld` names what the case has and a model of this task is not shown.
    """

    names: list[Named]
    text: str = field(repr=False)
    complete: bool
    withheld: tuple[str, ...] = ()


class Asking:
    """What is sent for a case, and what an answer means.

    Args:
        task: of the run that the model is of; its prompt, and the form of its answers.
        labels: what names may mean, as `cases/labels.json` of the run lists them; none: no name has an id.
        model: the name that it is served by.
        max_tokens: of an answer.
    """

    def __init__(self, task: Task, labels: Sequence[Label], model: str, max_tokens: int):
        self._task = task
        self._index = NameIndex(labels, 1.0, 1.0) if task.exact_names else NameIndex(labels)
        self._settings = {"model": model, "max_tokens": max_tokens, "temperature": 0, "logprobs": True}

    def request(self, asked: Case | Messages) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The body of a chat completion, and what a model of this task is not shown."""
        if not isinstance(asked, Case):
            return {**self._settings, "messages": list(asked)}, ()
        view = self._task.downstream_view(asked)
        return {**self._settings, "messages": chat_messages(self._task.prompt(view), view.image)}, view.withheld

    def answer(self, answer: httpx.Response, withheld: tuple[str, ...]) -> Answer:
        """What was answered.

        Raises:
            ServiceError: the request was refused, or another service answered.
        """
        completion = accepted(answer)
        try:
            choice = completion["choices"][0]
            text, tokens = choice["message"]["content"] or "", (choice.get("logprobs") or {}).get("content") or []
            names = self._named(text, [(_bytes(token), token["logprob"]) for token in tokens])
            return Answer(names, text, choice["finish_reason"] != "length", withheld)
        except (KeyError, TypeError, IndexError, AttributeError, ValueError):
            raise stranger(answer) from None

    def _named(self, text: str, tokens: list[tuple[bytes, float]]) -> list[Named]:
        spans = self._task.spans(text)
        probable = log_probabilities(text, spans, tokens)
        return [
            Named(rank, text[start:end], self._index.ground(text[start:end]), value)
            for rank, ((start, end), value) in enumerate(zip(spans, probable, strict=True), 1)
        ]


def _bytes(token: dict[str, Any]) -> bytes:
    said = token.get("bytes")
    return bytes(said) if said is not None else token["token"].encode()


def log_probabilities(
    text: str, spans: Sequence[tuple[int, int]], tokens: list[tuple[bytes, float]]
) -> list[float | None]:
    """For each span of a text the sum over the tokens that hold a part of it; None where the tokens are not the text's."""
    whole, spoken = text.encode(), b"".join(part for part, _ in tokens)
    if not tokens or not spoken.startswith(whole):
        return [None for _ in spans]
    ends = list(itertools.accumulate(len(part) for part, _ in tokens))
    found = []
    for start, end in ((len(text[:first].encode()), len(text[:after].encode())) for first, after in spans):
        held = (value for at, (part, value) in zip(ends, tokens, strict=True) if at > start and at - len(part) < end)
        found.append(sum(held))
    return found


class ModelClient(Client):
    """The models' service from synchronous code.

    Args:
        base_url: with its /v1, as OpenAI's clients and `inference.endpoint` have it.
        task, labels, model, max_tokens: see `Asking`.
        timeout, patience: see `ScorerClient`.
    """

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        *,
        task: Task,
        labels: Sequence[Label] = (),
        model: str = "aligned",
        max_tokens: int = 384,
        timeout: float = TIMEOUT,
        patience: Patience = PATIENCE,
        transport: httpx.BaseTransport | None = None,
    ):
        super().__init__(base_url, token, timeout=timeout, patience=patience, transport=transport)
        self._asking = Asking(task, labels, model, max_tokens)

    def ask(self, asked: Case | Messages) -> Answer:
        """The model's answer to a case, or to messages in the form of OpenAI's chat.

        Raises:
            ServiceError: the request was refused, or nothing answered.
        """
        body, withheld = self._asking.request(asked)
        return self._asking.answer(self._ask("POST", "/chat/completions", body), withheld)


class AsyncModelClient(AsyncClient):
    """The models' service from asynchronous code; see `ModelClient`."""

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        *,
        task: Task,
        labels: Sequence[Label] = (),
        model: str = "aligned",
        max_tokens: int = 384,
        timeout: float = TIMEOUT,
        patience: Patience = PATIENCE,
        transport: httpx.AsyncBaseTransport | None = None,
    ):
        super().__init__(base_url, token, timeout=timeout, patience=patience, transport=transport)
        self._asking = Asking(task, labels, model, max_tokens)

    async def ask(self, asked: Case | Messages) -> Answer:
        """As `ModelClient.ask`."""
        body, withheld = self._asking.request(asked)
        return self._asking.answer(await self._ask("POST", "/chat/completions", body), withheld)
