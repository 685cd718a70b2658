"""What can be seen of an alignment before its first stage: files, tokens, and what the adapter would change.

No weights are loaded: the model is built from its configuration alone, on torch's device `meta`.
"""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from mint_ray.adapters import adapter_settings, check_tied
from mint_ray.config import AlignmentSection
from mint_ray.errors import ConfigError, ModelError
from mint_ray.models import MODEL_CONFIG, checked_model, load_tokenizer, resolve_model, sees_images
from mint_ray.storage import local_copy

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_SAYS = ({"role": "user", "content": "A question"}, {"role": "assistant", "content": "An answer"})


def check_alignment(section: AlignmentSection) -> None:
    """Refuse what could not be trained, merged or asked, before anything is made that would wait for it.

    Raises:
        ConfigError: a package that the section needs is not installed.
        ModelError: naming the folder, what is wrong, and the way out.
        StorageError: a folder in an object store is not there.
    """
    check_reporter(section)
    folder = resolve_model(section.model)
    model = bare_model(folder)
    check_tokens(folder, model.get_input_embeddings().num_embeddings)
    if section.start is not None:
        check_start(section.start)
    check_adapted(section, folder, model)


def check_start(start: Path) -> None:
    """Refuse a start that is neither an adapter nor a model.

    Raises:
        ModelError: naming the folder.
    """
    if (start / MODEL_CONFIG).exists():
        checked_model(local_copy(start))
    else:
        adapter_settings(local_copy(start))


def check_reporter(section: AlignmentSection) -> None:
    """Refuse a reporter that is not there.

    Raises:
        ConfigError: with the way out.
    """
    if importlib.util.find_spec(section.log_to) is None:
        raise ConfigError(
            [
                f"alignment.log_to is {section.log_to!r}, but that package is not installed: install it, or take 'tensorboard'"
            ]
        )


def check_tokens(folder: Path, known: int) -> None:
    """Refuse a model whose tokenizer cannot write a conversation that the model can read.

    Args:
        known: how many tokens the model has embeddings for.

    Raises:
        ModelError: no chat template, end or pad token; a prompt that changes with its answer; tokens that it does not have.
    """
    from mint_ray.alignment.vision import vision_inputs

    vision, tokenizer = vision_inputs(folder), load_tokenizer(folder)
    if vision is None and tokenizer.chat_template is None:
        raise ModelError(f"{folder}: its tokenizer has no chat template; take an instruct model")
    for kind in ("eos", "pad"):
        if getattr(tokenizer, f"{kind}_token_id") is None:
            raise ModelError(f"{folder}: its tokenizer has no {kind} token; name one in tokenizer_config.json")
    render = vision.render if vision else _rendering(tokenizer)
    try:
        asked, answered = render([*_SAYS[:1]], add_generation_prompt=True), render([*_SAYS])
    except Exception as error:
        raise ModelError(f"{folder}: its chat template fails ({type(error).__name__}: {error})") from error
    if not answered.startswith(asked):
        raise ModelError(
            f"{folder}: its chat template writes another prompt once an answer follows, so that nothing could be learned "
            "for the prompt that is asked; take another chat template"
        )
    ids = [*tokenizer(answered, add_special_tokens=False)["input_ids"], tokenizer.pad_token_id, tokenizer.eos_token_id]
    if max(ids) >= known:
        raise ModelError(
            f"{folder}: its tokenizer writes the token {max(ids)}, {tokenizer.convert_ids_to_tokens(max(ids))!r}, and the "
            f"model has embeddings for {known}; take the tokenizer that belongs to the model"
        )


def _rendering(tokenizer):
    return lambda messages, **options: tokenizer.apply_chat_template(messages, tokenize=False, **options)


def check_adapted(section: AlignmentSection, folder: Path, model: PreTrainedModel) -> None:
    """Refuse an adapter that finds no layer, or that sits where what is trained could not be merged or scored.

    Raises:
        ModelError: with the setting.
    """
    from peft import get_peft_model

    from mint_ray.alignment.attention import check_attention
    from mint_ray.alignment.methods import lora_config
    from mint_ray.alignment.trainer import check_output_layer

    if sees_images(folder) and section.method != "orpo":
        raise ModelError(
            f"alignment.method {section.method} trains text models alone, and {folder} sees images: take orpo"
        )
    check_attention(model)
    window = getattr(model.config.get_text_config(), "sliding_window", None)
    if window and section.max_length > window:
        raise ModelError(
            f"alignment.max_length is {section.max_length}, and layers of {folder} look back {window} tokens at most, which "
            f"training's rows do not hold to: set alignment.max_length to {window} or less"
        )
    if section.lora is None:
        check_output_layer(model)
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it warns of is refused below
            adapted = get_peft_model(model, lora_config(model, section.lora))
    except ValueError as error:
        raise ModelError(f"alignment.lora does not go with {folder}: {error}") from error
    check_tied(adapted, "alignment.lora")
    check_output_layer(adapted)


def bare_model(folder: Path) -> PreTrainedModel:
    """A folder's model without its weights.

    Raises:
        ModelError: its configuration is of no model that can be trained here.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    kind = AutoModelForImageTextToText if sees_images(checked_model(folder)) else AutoModelForCausalLM
    try:
        with torch.device("meta"):
            return kind.from_config(AutoConfig.from_pretrained(folder))
    except Exception as error:
        raise ModelError(f"{folder}: is no causal language model ({type(error).__name__}: {error})") from error
