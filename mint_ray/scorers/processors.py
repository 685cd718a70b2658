"""What tokenizers and image processors of a model's folder leave open, and whether they fit the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mint_ray.corpora.images import open_image
from mint_ray.errors import ModelError

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from transformers import BaseImageProcessor, PreTrainedTokenizerBase

_PIXELS = 2**22  # decoded at one time, one picture apart


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, tokens: int, folder: Path) -> None:
    """See that a folder has a tokenizer, and that it fits a model with embeddings of so many tokens.

    Raises:
        ModelError: it has none, or one of another model.
    """
    if len(tokenizer) <= len(tokenizer.all_special_tokens):  # what transformers makes where there are no files
        raise ModelError(
            f"{folder}: has no tokenizer (tokenizer.json, vocab.txt, or vocab.json and merges.txt), so that all texts would "
            "be one to it; copy the files of the tokenizer that belongs to the model into the folder"
        )
    if len(tokenizer) > tokens:
        raise ModelError(f"{folder}: its tokenizer has {len(tokenizer)} tokens, its model {tokens}")


def normalisation(processor: BaseImageProcessor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation that a processor takes from pixels of 0 to 255, each (1, 3, 1, 1)."""
    import torch

    scale = processor.rescale_factor if processor.do_rescale else 1
    values = (processor.image_mean, processor.image_std) if processor.do_normalize else ([0.0] * 3, [1.0] * 3)
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) / scale for value in values)
    return mean, std


def cut_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], limit: int) -> list[tuple[list[int], int]]:
    """The token ids of each text, at most so many, and how many more there would have been. Asked once for all: a call
    of a tokenizer costs more than a text."""
    if not texts:
        return []
    whole: list[list[int]] = tokenizer(list(texts), verbose=False)["input_ids"]
    long = [i for i, ids in enumerate(whole) if len(ids) > limit]
    cut = {i: len(whole[i]) - limit for i in long}
    if long:
        shortened = tokenizer([texts[i] for i in long], truncation=True, max_length=limit)["input_ids"]
        for i, ids in zip(long, shortened, strict=True):
            whole[i] = ids
    return [(ids, cut.get(i, 0)) for i, ids in enumerate(whole)]


def decoded(images: Iterable[bytes]) -> Iterator[list[Image.Image]]:
    """Pictures in order, as many together as take little memory: a call of an image processor costs more than a small one.

    Raises:
        RowError: one cannot be decoded.
    """
    some: list[Image.Image] = []
    for image in images:
        some.append(open_image(image))
        if sum(each.width * each.height for each in some) >= _PIXELS:
            yield some
            some = []
    if some:
        yield some
