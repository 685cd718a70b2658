"""Around a chat with a run's own model: a case to the request that asks about it, and an answer to names with ids.

The page of the aligned model is made of these, and whoever writes a client in another language may use them, too:

    POST /v1/ask/terms     {"words": "short st"}          findings to complete what is being typed
    POST /v1/ask/request   {"case": {...}, "model": ...}  the body of the chat completion, and what it withholds
    POST /v1/ask/names     {"text": "..."}                the names of an answer, or of its beginning, with their ids
    POST /v1/ask/ranking   {"case": {...}, "top_k": 10}   the scorer's ranking, where one is being served beside
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field

from mint_ray.client import AsyncScorerClient, QueryCase, Refused, ServiceError
from mint_ray.config import Configuration
from mint_ray.corpora.images import check_image
from mint_ray.corpora.store import run_labels
from mint_ray.errors import CorpusError, RowError, RunError
from mint_ray.evaluation.grounding import NameIndex
from mint_ray.evaluation.inputs import rules_of
from mint_ray.evaluation.measure import name_index
from mint_ray.inference.answering import bounded
from mint_ray.inference.asking import chat_request
from mint_ray.models import load_tokenizer, resolve_model
from mint_ray.records import Case
from mint_ray.runs import open_run
from mint_ray.service import intake
from mint_ray.service.api import Strict, Text
from mint_ray.service.intake import StrictRoute
from mint_ray.service.problems import CODES, FieldError, Problem
from mint_ray.service.settings import HttpLimits, ModelSection
from mint_ray.tasks.base import Label, View
from mint_ray.transport import Patience

logger = logging.getLogger(__name__)

PATIENCE = Patience(seconds=3)  # with the scorer beside: a person waits, and has the model's answer meanwhile
# Where an id is looked up by a person.
_PLACES = {
    "OMIM": "https://omim.org/entry/{}",
    "ORPHA": "https://www.orpha.net/en/disease/detail/{}",
    "MONDO": "https://monarchinitiative.org/MONDO:{}",
    "HGNC": "https://www.genenames.org/data/gene-symbol-report/#!/hgnc_id/HGNC:{}",
    "HP": "https://hpo.jax.org/browse/term/HP:{}",
}


def link(curie: str) -> str | None:
    """The public page of an id, None where there is none that we know."""
    prefix, _, number = curie.partition(":")
    return _PLACES[prefix].format(number) if prefix in _PLACES and number.isdigit() else None


class Questions:
    """What is asked of a run's models about a case, and what their answers mean.

    Args:
        labels: the run's, which names are looked for among.
        scorer: the scorer's service, where one is beside.
    """

    def __init__(self, config: Configuration, labels: Sequence[Label], scorer: AsyncScorerClient | None = None):
        self.config, self.task, self.labels, self.scorer = config, config.task, labels, scorer

    @property
    def shows(self) -> tuple[str, ...]:
        """The fields of a case that the page offers: what the model reads, and the scorer's image where it is beside."""
        read = [field for field in ("phenotypes", "text", "sex", "age_years") if self.task.reads(field)]
        return (*read, "image") if self.task.reads("image") and (self.sees_images or self.scorer) else tuple(read)

    @cached_property
    def sees_images(self) -> bool:
        """Whether the model is shown a case's image."""
        return self.task.downstream_view(self.task.example).image is not None

    @property
    def looks_up(self) -> bool:
        """Whether the run's own prompts hold knowledge beside the case, which is not looked up here."""
        return bool(self.config.inference.retrieval or self.config.candidates)

    @cached_property
    def _index(self) -> NameIndex:
        return name_index(rules_of(self.config), self.labels)

    @cached_property
    def _max_tokens(self) -> int | None:
        """As in batch inference: what is set, else what the longest answer takes."""
        section = self.config.inference
        if section.max_tokens is not None:
            return section.max_tokens
        tokenizer = load_tokenizer(resolve_model(self.config.alignment.model))
        return bounded(section, self.task, self.labels, tokenizer).max_tokens

    def prepare(self) -> None:
        """Read what the first question needs, so that nobody waits for it: vocabulary, lexicon, names."""
        self.terms("a")
        self.read({"text": "Seizures."} if self.task.reads("text") else {}, HttpLimits())
        self.names(self.task.answer([self.labels[0].name]))
        _ = self._max_tokens

    def terms(self, words: str) -> list[dict[str, str]]:
        """Findings that are being typed."""
        return [{"id": p.id, "name": p.name, "wording": wording} for p, wording in self.task.suggestions(words)]

    def read(self, raw: Any, limits: HttpLimits) -> Case:
        """A case from outside, its findings looked up and its note read, as `mint-ray ask` reads it.

        Raises:
            Problem: what is wrong with it.
        """
        sent = intake.read_case(raw, limits)
        image = intake.decode_image(sent.image, limits)
        if image is not None:
            intake.check_header(image, limits)
        case = sent.case(image)
        try:
            if image is not None:
                case = case.model_copy(update={"image": check_image(image)})
            if self.task.terms:
                known = [self.task.phenotype(p.id or p.name, p.excluded) for p in case.phenotypes]
                return _with_note(case.model_copy(update={"phenotypes": known}))
            return case
        except RowError as error:  # one of the others, too
            raise intake.from_row_error(error) from None
        except CorpusError:
            rule = f"an id is not in {self.task.terms}"
            raise Problem("invalid-case", rule, [FieldError(field="phenotypes", rule=rule)]) from None

    def request(self, raw: Any, model: str, limits: HttpLimits) -> dict[str, Any]:
        """The chat completion that asks about a case, what stood in its note, and what the model is not shown.

        Raises:
            Problem: what is wrong with the case; `empty-case` where the model would see nothing of it.
        """
        case = self.read(raw, limits)
        view = self.task.downstream_view(case)
        nobody = self.task.downstream_view(Case(case_id=case.case_id, group_id=case.group_id))
        if view.model_copy(update={"withheld": ()}) == nobody:
            shown = [name for name in self.shows if name != "image" or self.sees_images]
            raise Problem("empty-case", f"the model would see nothing of it: give something of {', '.join(shown)}")
        return {
            "request": chat_request(self.task, view, model, temperature=0, max_tokens=self._max_tokens),
            "prompt": "\n\n".join(message.content for message in self.task.prompt(view)),
            "read": [mention.model_dump() for mention in case.mentions],
            "withheld": _named(case, view),
        }

    def names(self, text: str) -> list[dict[str, Any]]:
        """The names in an answer, or in its beginning, and the labels that they mean."""
        grounded = [(name, self._index.ground(name)) for name in self.task.parse(text)]
        return [
            {"rank": rank, "name": name, "id": label_id, "link": label_id and link(label_id)}
            for rank, (name, label_id) in enumerate(grounded, 1)
        ]

    async def ranking(self, raw: Any, top_k: int, limits: HttpLimits) -> list[dict[str, Any]]:
        """The scorer's first labels for the whole case.

        Raises:
            Problem: the case has a fault, no scorer is beside, or it does not answer.
        """
        if self.scorer is None:
            raise Problem("not-found", "no scorer is being served beside")
        case = await asyncio.to_thread(self.read, raw, limits)
        told = {name: getattr(case, name) for name in ("text", "sex", "age_years", "ethnicity", "image")}
        findings = [{"id": p.id, "name": p.name, "excluded": p.excluded} for p in case.phenotypes]
        try:
            (result,) = await self.scorer.rank([QueryCase(phenotypes=findings, **told)], top_k)
        except ServiceError as error:
            raise Problem("not-ready", f"the scorer beside: {error.code or 'no answer'}") from None
        if isinstance(result, Refused):
            raise Problem(result.code if result.code in CODES else "invalid-case", result.detail)
        return [{**vars(label), "link": link(label.id)} for label in result.top]


def questions_of(settings: ModelSection) -> Questions | None:
    """Of the run that is served; None without one, or where its labels are gone."""
    if settings.run is None:
        return None
    run, scorer = open_run(settings.run), None
    try:
        labels = run_labels(run)
    except RunError as error:
        logger.warning("there is no page to ask by, for want of the run's labels: %s", error)
        return None
    if settings.scorer:
        scorer = AsyncScorerClient(settings.scorer, settings.access.token(), timeout=10, patience=PATIENCE)
    return Questions(run.config, labels, scorer)


def _with_note(case: Case) -> Case:
    if not case.text:
        return case
    from mint_ray.notes.cases import with_note_read

    return with_note_read(case)


def _named(case: Case, view: View) -> list[dict[str, str | None]]:
    """What is withheld, by name where it is a finding."""
    names = {p.id: p.name for p in case.phenotypes} | {m.id: m.name for m in case.mentions}
    return [
        {"id": each if each in names else "", "name": names.get(each, each), "link": link(each)}
        for each in view.withheld
    ]


class Words(Strict):
    words: Text = Field(max_length=200)


class Written(Strict):
    text: Text = Field(max_length=20_000)


class AskedCase(Strict):
    case: Any
    model: Text = Field(default="aligned", max_length=200)


class RankedCase(Strict):
    case: Any
    top_k: Annotated[int, Field(ge=1, le=100)] = 10


def router(questions: Questions) -> APIRouter:
    """The routes below `/v1/ask`. Whatever a patient has goes in a body: addresses are logged on the way."""
    found = APIRouter(prefix="/v1/ask", route_class=StrictRoute)

    @found.post("/terms")
    async def terms(body: Words) -> dict[str, Any]:
        return {"terms": await asyncio.to_thread(questions.terms, body.words)}

    @found.post("/request")
    async def request(body: AskedCase, sent: Request) -> dict[str, Any]:
        return await asyncio.to_thread(questions.request, body.case, body.model, _limits(sent))

    @found.post("/names")
    async def names(body: Written) -> dict[str, Any]:
        return {"names": await asyncio.to_thread(questions.names, body.text)}

    @found.post("/ranking")
    async def ranking(body: RankedCase, sent: Request) -> dict[str, Any]:
        return {"top": await questions.ranking(body.case, body.top_k, _limits(sent))}

    return found


def _limits(request: Request) -> HttpLimits:
    return request.scope["state"]["limits"]
