"""Pairs to tokens, and tokens to batches.

A pair is rendered once by the tokenizer's chat template. Both answers must follow the same prompt,
token for token, and end with the token that ends generation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from mint_ray.alignment.rows import Row, mask_of
from mint_ray.errors import ModelError, RowError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from mint_ray.alignment.vision import VisionInputs
    from mint_ray.records import Refusal


class EncodedPair(NamedTuple):
    """Token ids of a pair; `length` is that of the longer of prompt + chosen and prompt + rejected.

    `image` is encoded; the prompt holds as many image tokens as the model makes features of it. `openings` are answers up
    to their first name, one of each name of the chosen answer in its order, with the scorer's `scores` of them.
    """

    case_id: str
    prompt: list[int]
    chosen: list[int]
    rejected: list[int]
    image: bytes | None = None
    openings: tuple[list[int], ...] = ()
    scores: tuple[float, ...] = ()

    @property
    def length(self) -> int:
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))


def encode_pair(
    pair: dict[str, Any],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    vision: VisionInputs | None = None,
    openings: Callable[[str], list[str]] | None = None,
) -> EncodedPair:
    """Render and tokenize one pair, a row in the columns of `PreferencePair`.

    Args:
        vision: of a model that sees images.
        openings: from a chosen answer to the openings of answers that begin with each of its names; None: not needed.

    Raises:
        RowError: the pair is longer than `max_length`, its prompt changes when an answer follows, or it has an image
            and the model sees none, or none and the model is to see one.
    """
    image = _image(pair, vision)
    render = vision.render if vision else partial(tokenizer.apply_chat_template, tokenize=False)
    prompt = _tokens(tokenizer, render(pair["prompt"], add_generation_prompt=True))
    conversations = {side: render(pair["prompt"] + pair[side]) for side in ("chosen", "rejected")}
    answers = [_answer(tokenizer, text, prompt, side) for side, text in conversations.items()]
    if vision:
        prompt = vision.expanded(pair["prompt"], image)
    listed: list[list[int]] = []
    for opening in openings(pair["chosen"][0]["content"]) if openings else ():
        said = render([*pair["prompt"], {"role": "assistant", "content": opening}])
        listed.append(_answer(tokenizer, said, prompt, "chosen")[:-1])  # it goes on, so it has no end
    scores = tuple(pair["chosen_scores"]) if openings else ()
    encoded = EncodedPair(pair["case_id"], prompt, *answers, image, tuple(listed), scores)
    if encoded.length > max_length:
        raise RowError(
            "too-long", "prompt and answer", f"{encoded.length} tokens", f"at most alignment.max_length, {max_length}"
        )
    return encoded


def _image(pair: dict[str, Any], vision: VisionInputs | None) -> bytes | None:
    images = pair.get("images") or []
    if len(images) != (1 if vision else 0):
        expected = (
            "one image, as alignment.model sees images" if vision else "none, as alignment.model reads text alone"
        )
        raise RowError("wrong-images", "images", f"{len(images)} images", expected)
    return images[0]["bytes"] if images else None


def _tokens(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def _answer(tokenizer: PreTrainedTokenizerBase, conversation: str, prompt: list[int], side: str) -> list[int]:
    tokens = _tokens(tokenizer, conversation)
    if tokens[: len(prompt)] != prompt:
        raise RowError(
            "prompt-changes", side, "other prompt tokens before the answer", "the prompt's tokens, then the answer's"
        )
    answer = tokens[len(prompt) :]
    # What a template writes after the end of the turn is never generated, so it is not learned either.
    end = answer.index(tokenizer.eos_token_id) if tokenizer.eos_token_id in answer else len(answer)
    return [*answer[:end], tokenizer.eos_token_id]


def encode_pairs(
    pairs: Iterable[dict[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    vision: VisionInputs | None = None,
    openings: Callable[[str], list[str]] | None = None,
    first: int = 0,
) -> tuple[list[EncodedPair], list[Refusal]]:
    """All pairs, in their order, and the refused ones by reason.

    Args:
        first: the number of the first row, for what is told of a refused one.

    Raises:
        ModelError: the tokenizer cannot render conversations.
    """
    from mint_ray.records import Refusal  # not above: batches are made of torch alone

    if (tokenizer.chat_template is None and vision is None) or tokenizer.eos_token_id is None:
        raise ModelError(
            f"{tokenizer.name_or_path}: its tokenizer has no chat template or no end token; take an instruct model"
        )
    encoded, refused = [], []
    for row, pair in enumerate(pairs, first):
        try:
            encoded.append(encode_pair(pair, tokenizer, max_length, vision, openings))
        except RowError as error:
            refused.append(
                Refusal(
                    source="preferences/pairs",
                    row=row,
                    case_id=pair["case_id"],
                    reason=error.reason,
                    field=error.field,
                    seen=error.seen,
                    expected=error.expected,
                )
            )
    return encoded, refused


class Collator:
    """Encoded pairs to one batch: a row holds a prompt once, then its answers, the chosen one first.

    All answers start at the position after the prompt, and the mask hides them from each other, so each
    token sees exactly what it would see in a sequence of its own. What sequences of a row begin with alike is computed
    once: the prompt of a pair; with pairs `together`, the instruction that all prompts begin with, too.

    A batch has
        input_ids, position_ids  (rows, time)
        attention_mask           (rows, 1, time, time) bool, true where a row may look at a column
        spans      the same as the `Span`s of each row; its rest is padding
        positions  (n,)  where each scored token is predicted, in the flattened (rows * time)
        targets    (n,)  the scored tokens
        segments   (n,)  i: chosen answer of pair i; pairs + i: its rejected; after the answers' come the prompts'. With
                   `openings` they stand where the rejected answers would: k * pairs + i is the k-th of pair i
        scores     (pairs, k)  the scorer's of the openings
        case_ids   for messages about a batch; `tokens`, how many are no padding
        likely     how many scored tokens belong to chosen answers or prompts
        images     what the forward takes beside these, once a pair; nothing for a text model
    """

    def __init__(
        self,
        pad_token_id: int,
        score_prompt: bool = False,
        vision: VisionInputs | None = None,
        answers: Sequence[Literal["chosen", "rejected"]] = ("chosen", "rejected"),
        together: bool = False,
        openings: bool = False,
    ):
        """
        Args:
            score_prompt: score the prompt's own tokens, too, for the `sequence` scope of the NLL; image tokens never.
            vision: of a model that sees images.
            answers: those that a row holds.
            together: all pairs in one row, of a text model; else a row for each.
            openings: whether a row holds these, too, after the answers; all pairs of a batch have as many.
        """
        self.pad_token_id, self.score_prompt, self.vision, self.answers = pad_token_id, score_prompt, vision, answers
        self.together, self.openings = together, openings

    def __call__(self, pairs: list[EncodedPair]) -> dict[str, Any]:
        rows = [Row()] if self.together else [Row() for _ in pairs]
        laid = [self._lay(rows[i % len(rows)], pair) for i, pair in enumerate(pairs)]
        spans = [row.spans() for row in rows]
        input_ids, position_ids = (
            pad_sequence([torch.tensor(x) for x in columns], batch_first=True, padding_value=padding)
            for columns, padding in [
                ([row.tokens for row in rows], self.pad_token_id),
                ([row.positions for row in rows], 0),
            ]
        )
        time, images = input_ids.shape[1], {}
        if self.vision:
            images = self.vision.tensors([pair.image for pair in pairs], input_ids)
            position_ids = self.vision.positions(input_ids, position_ids, [len(pair.prompt) for pair in pairs], images)
        scored = [
            (i % len(rows) * time + place, target, number * len(pairs) + i)
            for i, parts in enumerate(laid)
            for number, part in enumerate(parts)
            for place, target in part
        ]
        positions, targets, segments = torch.tensor(scored).T.contiguous()
        answers = len(self._answers(pairs[0])) * len(pairs)
        rejected = (segments >= len(pairs)) & (segments < answers)
        return {
            "input_ids": input_ids,
            "position_ids": position_ids,
            "attention_mask": torch.stack([mask_of(row, time) for row in spans])[:, None],
            "spans": spans,
            "positions": positions,
            "targets": targets,
            "segments": segments,
            "case_ids": [pair.case_id for pair in pairs],
            "tokens": sum(len(row.tokens) for row in rows),
            "likely": int((~rejected).sum()),
            "images": images,
            **({"scores": torch.tensor([pair.scores for pair in pairs])} if self.openings else {}),
        }

    def length(self, pair: EncodedPair) -> int:
        """Tokens of a pair in a row, none of them shared with another pair."""
        return len(pair.prompt) + sum(map(len, self._answers(pair)))

    def _answers(self, pair: EncodedPair) -> list[list[int]]:
        return [*(getattr(pair, side) for side in self.answers), *(pair.openings if self.openings else ())]

    def _lay(self, row: Row, pair: EncodedPair) -> list[list[tuple[int, int]]]:
        """Lay a pair into a row; for each answer, and for the prompt where it is scored, where each token is predicted."""
        prompt = row.add(pair.prompt)
        parts = []
        for answer in self._answers(pair):
            places = row.add(answer, after=prompt[-1])
            parts.append(list(zip([prompt[-1], *places], answer, strict=False)))
        if self.score_prompt:
            image_token = self.vision.image_token_id if self.vision else None
            scored = zip(prompt, pair.prompt[1:], strict=False)
            parts.append([(place, token) for place, token in scored if token != image_token])
        return parts


class InParts:
    """Batches as lists of parts that go through the model one after the other, each a batch of its own.

    A part knows the pairs of its whole batch as `batch_pairs`, and their `likely` tokens as `batch_likely`.
    """

    def __init__(self, collate: Collator, size: int, tokens: int | None = None):
        """
        Args:
            size: pairs that go through the model at once, at most.
            tokens: their tokens at most, one pair apart; None: as many as they have.
        """
        self.collate, self.size, self.tokens = collate, size, tokens

    def __call__(self, pairs: list[EncodedPair]) -> list[dict[str, Any]]:
        parts = [self.collate(part) for part in self._cut(pairs)]
        whole = {"batch_pairs": len(pairs), "batch_likely": sum(part["likely"] for part in parts)}
        return [part | whole for part in parts]

    def _cut(self, pairs: list[EncodedPair]) -> list[list[EncodedPair]]:
        parts: list[list[EncodedPair]] = [[]]
        for pair in pairs:
            together = sum(self.collate.length(p) for p in [*parts[-1], pair])
            if len(parts[-1]) == self.size or (parts[-1] and self.tokens and together > self.tokens):
                parts.append([])
            parts[-1].append(pair)
        return parts


class PairOrder(torch.utils.data.Sampler[int]):
    """The order of pairs in an epoch, fixed by the seed alone: the same for any number of workers.

    Pairs of like length share a global batch, and a batch's place in the epoch is random. The last batch
    is filled up from the start of the epoch, so that every batch weighs the same and no pair is left out.

    Args:
        lengths: tokens of each pair.
        batch: pairs in a global batch, over all workers and accumulation steps.
        seed: of the run.
        epoch: asked at the start of each pass.
    """

    _POOL = 16  # batches that are sorted by length together

    def __init__(self, lengths: Sequence[int] | np.ndarray, batch: int, seed: int, epoch=lambda: 0):
        self.lengths, self.batch, self.seed, self.epoch = np.asarray(lengths), batch, seed, epoch

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch) * self.batch

    def __iter__(self) -> Iterator[int]:
        random = np.random.default_rng([self.seed, self.epoch()])
        shuffled = np.resize(random.permutation(len(self.lengths)), len(self))
        pools: Iterable[np.ndarray] = np.split(
            shuffled, range(self.batch * self._POOL, len(self), self.batch * self._POOL)
        )
        ordered = np.concatenate([pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools])
        for batch in random.permutation(ordered.reshape(-1, self.batch)):
            yield from batch.tolist()
