"""Pairs to tokens, and tokens to batches.

A pair is rendered once by the tokenizer's chat template. Both answers must follow the same prompt,
token for token, and end with the token that ends generation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mint_ray.errors import ModelError, RowError
from mint_ray.records import Refusal

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

    from mint_ray.alignment.vision import VisionInputs


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
    """Encoded pairs to one batch: a row holds a prompt once, then the chosen, then the rejected answer.

    Both answers start at the position after the prompt, and the mask hides the chosen answer from the
    rejected one, so each token sees exactly what it would see in a sequence of its own. The prompt is
    computed once a pair instead of twice.

    A batch has
        input_ids, position_ids  (pairs, time)
        attention_mask           (pairs, 1, time, time) bool, true where a row may look at a column
        positions  (n,)  where each scored token is predicted, in the flattened (pairs * time)
        targets    (n,)  the scored tokens
        segments   (n,)  i: chosen answer of pair i; pairs + i: its rejected; 2 * pairs + i: its prompt
        case_ids   for messages about a batch; `tokens`, how many are no padding
        images     what the forward takes beside these, once a pair; nothing for a text model
    """

    def __init__(self, pad_token_id: int, score_prompt: bool = False, vision: VisionInputs | None = None):
        """
        Args:
            score_prompt: score the prompt's own tokens, too, for the `sequence` scope of the NLL; image tokens never.
            vision: of a model that sees images.
        """
        self.pad_token_id, self.score_prompt, self.vision = pad_token_id, score_prompt, vision

    def __call__(self, pairs: list[EncodedPair]) -> dict[str, Any]:
        rows = [torch.tensor(p.prompt + p.chosen + p.rejected) for p in pairs]
        input_ids = pad_sequence(rows, batch_first=True, padding_value=self.pad_token_id)
        time = input_ids.shape[1]
        layouts = [_layout(pair, time) for pair in pairs]
        scored = [self._scored(pair, i, len(pairs), i * time) for i, pair in enumerate(pairs)]
        positions, targets, segments = (torch.cat(parts) for parts in zip(*scored, strict=True))
        position_ids = torch.stack([position_ids for position_ids, _ in layouts])
        images: dict[str, Tensor] = {}
        if self.vision:
            images = self.vision.tensors([pair.image for pair in pairs], input_ids)
            position_ids = self.vision.positions(input_ids, position_ids, [len(pair.prompt) for pair in pairs], images)
        return {
            "input_ids": input_ids,
            "position_ids": position_ids,
            "attention_mask": torch.stack([mask for _, mask in layouts])[:, None],
            "positions": positions,
            "targets": targets,
            "segments": segments,
            "case_ids": [pair.case_id for pair in pairs],
            "tokens": sum(len(row) for row in rows),
            "images": images,
        }

    def _scored(self, pair: EncodedPair, index: int, count: int, offset: int) -> tuple[Tensor, Tensor, Tensor]:
        prompt, chosen, rejected = len(pair.prompt), len(pair.chosen), len(pair.rejected)
        start = prompt + chosen
        parts = [
            (range(prompt - 1, start - 1), pair.chosen, index),
            ([prompt - 1, *range(start, start + rejected - 1)], pair.rejected, count + index),
        ]
        if self.score_prompt:
            image_token = self.vision.image_token_id if self.vision else None
            where = [p for p in range(prompt - 1) if pair.prompt[p + 1] != image_token]
            parts.append((where, [pair.prompt[p + 1] for p in where], 2 * count + index))
        positions = torch.tensor([p + offset for where, _, _ in parts for p in where])
        targets = torch.tensor([t for _, tokens, _ in parts for t in tokens])
        segments = torch.tensor([segment for _, tokens, segment in parts for _ in tokens])
        return positions, targets, segments


def _layout(pair: EncodedPair, time: int) -> tuple[Tensor, Tensor]:
    """Positions (time,) and what may be seen (time, time) in a row of prompt, chosen, rejected, padding."""
    start = len(pair.prompt) + len(pair.chosen)
    position_ids = torch.arange(time)
    position_ids[start:] -= len(pair.chosen)
    mask = torch.ones(time, time, dtype=torch.bool).tril()
    mask[start:, len(pair.prompt) : start] = False
    return position_ids, mask


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
