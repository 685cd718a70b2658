"""Pairs to tokens, and tokens to batches.

A pair is rendered once by the tokenizer's chat template. Both answers must follow the same prompt,
token for token, and end with the token that ends generation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mint_ray.errors import ModelError, RowError

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

    from mint_ray.alignment.vision import VisionInputs
    from mint_ray.records import Refusal


class EncodedPair(NamedTuple):
    """Token ids of a pair; `length` is that of the longer of prompt + chosen and prompt + rejected.

    `image` is encoded; the prompt holds as many image tokens as the model makes features of it.
    """

    case_id: str
    prompt: list[int]
    chosen: list[int]
    rejected: list[int]
    image: bytes | None = None

    @property
    def length(self) -> int:
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))


def encode_pair(
    pair: dict[str, Any], tokenizer: PreTrainedTokenizerBase, max_length: int, vision: VisionInputs | None = None
) -> EncodedPair:
    """Render and tokenize one pair, a row in the columns of `PreferencePair`.

    Args:
        vision: of a model that sees images.

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
    encoded = EncodedPair(pair["case_id"], prompt, *answers, image)
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
    pairs: datasets.Dataset,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    vision: VisionInputs | None = None,
) -> tuple[list[EncodedPair], list[Refusal]]:
    """All pairs, in their order, and the refused ones by reason.

    Raises:
        ModelError: the tokenizer cannot render conversations.
    """
    from mint_ray.records import Refusal  # not above: batches are made of torch alone

    if (tokenizer.chat_template is None and vision is None) or tokenizer.eos_token_id is None:
        raise ModelError(
            f"{tokenizer.name_or_path}: its tokenizer has no chat template or no end token; take an instruct model"
        )
    encoded, refused = [], []
    for row, pair in enumerate(pairs):
        try:
            encoded.append(encode_pair(pair, tokenizer, max_length, vision))
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
    token sees exactly what it would see in a sequence of its own. The prompt is computed once a pair
    instead of twice.

    A batch has
        input_ids, position_ids  (pairs, time)
        attention_mask           (pairs, 1, time, time) bool, true where a row may look at a column
        spans      the same in lengths: prompt, chosen, rejected of each row; its rest is padding
        positions  (n,)  where each scored token is predicted, in the flattened (pairs * time)
        targets    (n,)  the scored tokens
        segments   (n,)  i: chosen answer of pair i; pairs + i: its rejected; after the answers' come the prompts'
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
    ):
        """
        Args:
            score_prompt: score the prompt's own tokens, too, for the `sequence` scope of the NLL; image tokens never.
            vision: of a model that sees images.
            answers: those that a row holds.
        """
        self.pad_token_id, self.score_prompt, self.vision, self.answers = pad_token_id, score_prompt, vision, answers

    def __call__(self, pairs: list[EncodedPair]) -> dict[str, Any]:
        parts = [(pair.prompt, *(getattr(pair, side) for side in self.answers)) for pair in pairs]
        spans = [tuple(map(len, row)) for row in parts]
        rows = [torch.tensor([token for tokens in row for token in tokens]) for row in parts]
        input_ids = pad_sequence(rows, batch_first=True, padding_value=self.pad_token_id)
        time = input_ids.shape[1]
        layouts = [_layout(lengths, time) for lengths in spans]
        scored = [self._scored(row, i, len(pairs), i * time) for i, row in enumerate(parts)]
        positions, targets, segments = (torch.cat(columns) for columns in zip(*scored, strict=True))
        position_ids = torch.stack([position_ids for position_ids, _ in layouts])
        images: dict[str, Tensor] = {}
        if self.vision:
            images = self.vision.tensors([pair.image for pair in pairs], input_ids)
            position_ids = self.vision.positions(input_ids, position_ids, [len(pair.prompt) for pair in pairs], images)
        return {
            "input_ids": input_ids,
            "position_ids": position_ids,
            "attention_mask": torch.stack([mask for _, mask in layouts])[:, None],
            "spans": spans,
            "positions": positions,
            "targets": targets,
            "segments": segments,
            "case_ids": [pair.case_id for pair in pairs],
            "tokens": sum(len(row) for row in rows),
            "likely": len(targets) - sum(sum(lengths[2:]) for lengths in spans),
            "images": images,
        }

    def _scored(self, row: Sequence[list[int]], index: int, count: int, offset: int) -> tuple[Tensor, Tensor, Tensor]:
        prompt, *answers = row
        parts, start = [], len(prompt)
        for number, answer in enumerate(answers):
            where = [len(prompt) - 1, *range(start, start + len(answer) - 1)]
            parts.append((where, answer, number * count + index))
            start += len(answer)
        if self.score_prompt:
            image_token = self.vision.image_token_id if self.vision else None
            where = [p for p in range(len(prompt) - 1) if prompt[p + 1] != image_token]
            parts.append((where, [prompt[p + 1] for p in where], len(answers) * count + index))
        positions = torch.tensor([p + offset for where, _, _ in parts for p in where])
        targets = torch.tensor([t for _, tokens, _ in parts for t in tokens])
        segments = torch.tensor([segment for _, tokens, segment in parts for _ in tokens])
        return positions, targets, segments


def _layout(spans: Sequence[int], time: int) -> tuple[Tensor, Tensor]:
    """Positions (time,) and what may be seen (time, time) in a row of a prompt, its answers, padding."""
    prompt, *answers = spans
    position_ids = torch.arange(time)
    mask = torch.ones(time, time, dtype=torch.bool).tril()
    start = prompt
    for answer in answers:
        mask[start:, prompt:start] = False
        position_ids[start:] = torch.arange(prompt, prompt + time - start)
        start += answer
    return position_ids, mask


class InParts:
    """Batches as lists of parts that go through the model one after the other, each a batch of its own.

    A part knows the pairs of its whole batch as `batch_pairs`, and their `likely` tokens as `batch_likely`.
    """

    def __init__(self, collate: Collator, size: int):
        """
        Args:
            size: pairs that go through the model at once.
        """
        self.collate, self.size = collate, size

    def __call__(self, pairs: list[EncodedPair]) -> list[dict[str, Any]]:
        parts = [self.collate(pairs[start : start + self.size]) for start in range(0, len(pairs), self.size)]
        whole = {"batch_pairs": len(pairs), "batch_likely": sum(part["likely"] for part in parts)}
        return [part | whole for part in parts]


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

    def __init__(self, lengths: list[int], batch: int, seed: int, epoch=lambda: 0):
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
        yield from random.permutation(ordered.reshape(-1, self.batch)).flatten().tolist()
