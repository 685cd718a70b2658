"""What tokenizers and image processors of a model's folder leave open, and whether they fit the model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mint_ray.errors import ModelError

if TYPE_CHECKING:
    import torch
    from transformers import BaseImageProcessor, PreTrainedTokenizerBase


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


def cut_ids(tokenizer: PreTrainedTokenizerBase, text: str, limit: int) -> tuple[list[int], int]:
    """The token ids of a text, at most so many, and how many more there would have been."""
    ids = tokenizer(text, verbose=False)["input_ids"]
    if len(ids) <= limit:
        return ids, 0
    return tokenizer(text, truncation=True, max_length=limit)["input_ids"], len(ids) - limit
