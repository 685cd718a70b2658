"""What every engine does: cases in, answers on disk. How a model is asked differs; see `engine` and `generation`."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from mint_ray import progress
from mint_ray.batches import Batches
from mint_ray.candidates import CandidateSource
from mint_ray.config import InferenceSection
from mint_ray.errors import ConfigError, ModelError, RowError
from mint_ray.inference.retrieval import Passage, open_retriever
from mint_ray.mending import mended
from mint_ray.models import resolve_model
from mint_ray.parquet import write_part
from mint_ray.records import Answer, Case, Refusal, from_table, to_table
from mint_ray.runs import digest_of
from mint_ray.storage import local_copy
from mint_ray.tasks.base import Label, Task, View

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENS = ("prompt_tokens", "completion_tokens")


@dataclass(frozen=True)
class Weights:
    """What an engine loads: a model, and an adapter where it is not merged into the model already.

    `folder` is a folder that every node reaches, or a model's name, which each node follows by itself: see `here`.
    """

    folder: Path | str
    digest: str
    adapter: Path | None = None
    adapter_rank: int = 0
    adapter_digest: str | None = None

    def here(self) -> Weights:
        """The same, in folders of this node.

        Raises:
            ModelError, StorageError: they cannot be had here.
        """
        folder = resolve_model(self.folder) if isinstance(self.folder, str) else mended(local_copy(self.folder))
        return replace(self, folder=folder, adapter=self.adapter and local_copy(self.adapter))


@dataclass(frozen=True)
class Prompt:
    """What the model sees of a case, and the same as text and tokens, with one token where an image stands.

    `length` counts what the model reads, an image with as many tokens as it makes features of it. `retrieved` holds the
    labels of the passages or candidates in it, None where nothing was looked up.
    """

    view: View
    text: str
    tokens: list[int]
    length: int
    retrieved: list[str] | None = None

    @property
    def image(self) -> bytes | None:
        return self.view.image


class Said(NamedTuple):
    """What a model said; `stopped` is false where it was cut off.

    `log_probabilities`: of each label in the prompt, to be named first; None where not asked for.
    """

    text: str
    stopped: bool
    prompt_tokens: int
    completion_tokens: int
    log_probabilities: list[float] | None = None


class AnswerEngine(ABC):
    """A Ray Data actor that answers cases and writes each batch as one part, so that no answer is asked for twice.

    A case that the model fails at alone is refused; a model that fails at every case writes nothing and raises.

    The part's name comes from its cases: an actor that dies after writing and is started again writes the same file.
    """

    def __init__(
        self,
        name: str,
        task: Task,
        section: InferenceSection,
        weights: Weights,
        seed: int,
        answers: Path,
        refused: Path,
        passages: Sequence[Passage] | None = None,
        candidates: CandidateSource | None = None,
        labels: Sequence[Label] = (),
    ):
        self.name, self.task, self.section, self.weights, self.seed = name, task, section, weights.here(), seed
        self.answers, self.refused = answers, refused
        self.retriever = open_retriever(section.retrieval, passages) if section.retrieval else None
        self.candidates = candidates.open() if candidates else None
        self.names = {label.id: label.name for label in labels}
        self.batches = Batches(
            self._say, f"the model {name!r}", reason="not-answerable", field="prompt", expected="one that it can answer"
        )
        self.load()

    @abstractmethod
    def load(self) -> None:
        """Load the weights, and set `tokenizer`, and `vision` to what the model needs to see images, or None."""

    @abstractmethod
    def ask(self, cases: Sequence[Case], prompts: Sequence[Prompt]) -> list[Said]:
        """What the model says to each prompt, each counted by `progress` as it is there.

        `case_seed` of each case decides what chance decides.
        """

    def likelihoods(self, prompt: Prompt, answers: Sequence[Sequence[int]]) -> list[float]:
        """The log-probability of each of several beginnings of an answer, in tokens, after a prompt."""
        raise ModelError(f"inference.likelihoods is set, and {type(self).__name__} tells none")

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Answer a batch of cases; returns one row that counts them and their tokens: `answered`, `refused`, `prompt_tokens` ..."""
        cases = list(from_table(batch, Case))
        asked, refusals = self._prompts(cases)
        answers = []
        for (case, prompt), said in zip(asked, self.batches(asked) if asked else [], strict=True):
            if isinstance(said, RowError):
                refusals.append(_refusal(case, said))
            else:
                answers.append(self._answer(case, prompt, said))
        part = f"part-{digest_of(sorted(case.case_id for case in cases))}.parquet"
        if refusals:
            write_part(to_table(refusals, Refusal), self.refused / part)
        if answers:
            write_part(to_table(answers, Answer), self.answers / part)
        progress.advance(len(refusals))
        progress.flush()
        tokens = {kind: sum(getattr(answer, kind) for answer in answers) for kind in TOKENS}
        return pa.Table.from_pylist([{"answered": len(answers), "refused": len(refusals), **tokens}])

    def _prompts(self, cases: Sequence[Case]) -> tuple[list[tuple[Case, Prompt]], list[Refusal]]:
        asked, refusals = [], []
        for case in cases:
            try:
                prompt = self.prompt(case)
                check_length(prompt, self.section)
                asked.append((case, prompt))
            except RowError as error:
                refusals.append(_refusal(case, error))
        return asked, refusals

    def prompt(self, case: Case) -> Prompt:
        """The case as the model is asked about it.

        Raises:
            RowError: its image is missing or cannot be decoded, or it has no words to look knowledge up by.
            ModelError: the task shows images and the model sees none, or the other way round.
        """
        view = self.task.downstream_view(case)
        if self.candidates:
            informed, named = self.candidates.add(view, case.case_id)
            return replace(self._rendered(informed), retrieved=named)
        return self._informed(case, view) if self.retriever else self._rendered(view)

    def _informed(self, case: Case, view: View) -> Prompt:
        """The prompt with as many of the retrieved passages as leave room for a full answer, the best first."""
        query = self.task.query(case)
        if query is None:
            raise RowError("nothing-to-look-up", "text", "no words", "a case in words, as inference.retrieval is set")
        retrieval, room = self.section.retrieval, room_for_prompts(self.section)
        passages = self.retriever.search(query, retrieval.passages)
        texts = [self._cut(passage.text, retrieval.passage_tokens) for passage in passages]
        for count in range(len(texts), -1, -1):
            prompt = self._rendered(view.model_copy(update={"context": tuple(texts[:count])}))
            if prompt.length <= room:
                break
        return replace(prompt, retrieved=[passage.label_id for passage in passages[:count]])

    def _cut(self, text: str, tokens: int) -> str:
        """The text's first tokens."""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return text if len(ids) <= tokens else self.tokenizer.decode(ids[:tokens], skip_special_tokens=True)

    def _rendered(self, view: View) -> Prompt:
        messages = [message.model_dump() for message in self.task.prompt(view)]
        if self.vision is None:
            if view.image is not None:
                raise ModelError(f"task.kind {self.task.kind} shows the model an image, and alignment.model sees none")
            text = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
            tokens = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            return Prompt(view, text, tokens, len(tokens))
        if view.image is None:
            raise RowError("no-image", "image", "nothing", "an image, as alignment.model sees images")
        text = self.vision.render(messages, add_generation_prompt=True)
        tokens = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return Prompt(view, text, tokens, len(self.vision.expanded(messages, view.image)))

    def case_seed(self, case: Case) -> int:
        """A case's own seed: what it is answered does not hang on which cases share its batch."""
        return zlib.crc32(f"{self.seed}:{case.case_id}".encode())

    def _say(self, asked: Sequence[tuple[Case, Prompt]]) -> list[Said]:
        said = self.ask(*zip(*asked, strict=True))
        if not self.section.likelihoods:
            return said
        return [each._replace(log_probabilities=self._named_first(p)) for each, (_, p) in zip(said, asked, strict=True)]

    def _named_first(self, prompt: Prompt) -> list[float]:
        names = [self.names[label_id] for label_id in prompt.retrieved or ()]
        return self.likelihoods(prompt, [first_name(self.task, self.tokenizer, name) for name in names])

    def _answer(self, case: Case, prompt: Prompt, said: Said) -> Answer:
        return Answer(
            case_id=case.case_id,
            group_id=case.group_id,
            label_id=case.label_id,
            model=self.name,
            model_digest=self.weights.digest,
            adapter_digest=self.weights.adapter_digest,
            text=said.text,
            finish_reason=finish(said),
            prompt_tokens=said.prompt_tokens,
            completion_tokens=said.completion_tokens,
            retrieved=prompt.retrieved,
            log_probabilities=said.log_probabilities,
        )


def _refusal(case: Case, why: RowError) -> Refusal:
    fault = {"reason": why.reason, "field": why.field, "seen": why.seen, "expected": why.expected}
    return Refusal(source=case.source, case_id=case.case_id, **fault)


def bounded(
    section: InferenceSection, task: Task, labels: Sequence[Label], tokenizer: PreTrainedTokenizerBase
) -> InferenceSection:
    """The section with a bound to its answers: its own, else the longest answer that labels allow and a quarter more.

    Raises:
        ConfigError: no token is left for a prompt.
    """
    if section.max_tokens is not None:
        return section
    lengths = {label.name: len(tokenizer(label.name, add_special_tokens=False)["input_ids"]) for label in labels}
    longest = sorted(lengths, key=lambda name: -lengths[name])[: task.answer_size]
    tokens = len(tokenizer(task.answer(longest), add_special_tokens=False)["input_ids"]) + 1  # the end's own
    bound = tokens + -(-tokens // 4)
    if bound >= section.max_model_len:
        raise ConfigError(
            [
                f"inference.max_model_len is {section.max_model_len}, and an answer of {task.answer_size} names may take "
                f"{bound} tokens; no token is left for the prompt: raise inference.max_model_len"
            ]
        )
    return section.model_copy(update={"max_tokens": bound})


def first_name(task: Task, tokenizer: PreTrainedTokenizerBase, name: str) -> list[int]:
    """The tokens of an answer up to the end of its first name, its quote too: as they are where further names follow.

    No such beginning is the beginning of another, so that what they are likely to be are shares of one whole.
    """
    end = len(task.opening(name)) + 1
    told = tokenizer(
        task.answer([name] * min(2, task.answer_size)), add_special_tokens=False, return_offsets_mapping=True
    )
    return [token for token, (start, _) in zip(told["input_ids"], told["offset_mapping"], strict=True) if start < end]


def room_for_prompts(section: InferenceSection) -> int:
    """The tokens of a prompt after which a full answer still fits; `bounded` has given the section its bound."""
    assert section.max_tokens is not None
    return section.max_model_len - section.max_tokens


def check_length(prompt: Prompt, section: InferenceSection) -> None:
    """Refuse a prompt after which a full answer would not fit.

    Raises:
        RowError: `prompt-too-long`.
    """
    room = room_for_prompts(section)
    if prompt.length > room:
        expected = f"at most {room} (inference.max_model_len - inference.max_tokens)"
        raise RowError("prompt-too-long", "prompt", f"{prompt.length} tokens", expected)


def finish(said: Said) -> str:
    """`empty` where nothing was said, `length` where the answer was cut off, else `stop`."""
    if not said.text.strip():
        return "empty"
    return "stop" if said.stopped else "length"
