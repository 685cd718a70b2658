"""A model's folder as this package uses it: whatever in its files would change a prompt or an answer unasked, mended.

| what its files say                                   | what they say here                                           |
|------------------------------------------------------|--------------------------------------------------------------|
| a chat template that writes today's date             | it writes `TEMPLATE_DATE`, whatever the day                  |
| a tokenizer without a pad token, or with one that    | a token that is kept for it, else the end token              |
| the model has no row for                             |                                                              |
| sampling, penalties and lengths for generation       | nothing: greedy means greedy, and such folders can be saved  |

Training, batch inference and both services read the same mended folder, so no prompt depends on who asks or when, and
its digest is that of what was used. A folder in which nothing is to be mended is used where it lies.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mint_ray.errors import ModelError
from mint_ray.storage import cache_folder, written_folder

logger = logging.getLogger(__name__)

TEMPLATE_DATE = datetime.date(2024, 7, 26)
"""The date that templates write: the one that Llama 3.1 and 3.2 themselves write where they have no clock."""
TEMPLATE_KWARGS = {"date_string": f"{TEMPLATE_DATE:%d %b %Y}"}
"""The same for a model that others serve, whose template is as it was published: Llama's asks for it by this name."""

# Directives of strftime with the flags of glibc, less `%s`, which hangs on the place; `%%` is set aside meanwhile.
_DIRECTIVES = [f"%{flag}{letter}" for flag in ("", *"-_0^#") for letter in "aAbBcCdDeFGhHIjklmMpPrRSTuUVwWxXyYzZ"]
_SAID = [("%%", "\ue000"), *((each, f"{TEMPLATE_DATE:{each}}") for each in (*_DIRECTIVES, "%f")), ("\ue000", "%")]
_CLOCK = (
    "{% macro strftime_now(format) %}{% set now = namespace(text=format) %}{% for directive, said in "
    f"{json.dumps(_SAID)} %}}{{% set now.text = now.text | replace(directive, said) %}}"
    "{% endfor %}{{ now.text }}{% endmacro %}\n"  # a newline after a block is never written
)
# Where a tokenizer keeps its templates, beside `*.jinja`.
_TEMPLATE_FILES = ("tokenizer_config.json", "chat_template.json", "processor_config.json")
_PADS = ("<|finetune_right_pad_id|>", "<pad>", "[PAD]", "<|pad|>", "<|endoftext|>")
_TOKENIZER, _GENERATION, _CONFIG = "tokenizer_config.json", "generation_config.json", "config.json"
_SPECIAL = "special_tokens_map.json"
# Of generation_config.json: when an answer ends, and what does not change it.
_KEPT = (
    *("bos_token_id", "eos_token_id", "pad_token_id", "transformers_version", "_from_model_config", "use_cache"),
    *("output_attentions", "output_hidden_states", "output_scores", "return_dict_in_generate", "cache_implementation"),
)
# Older folders keep such values in the model's own configuration.
_SAMPLING = (
    *("do_sample", "temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"),
    *("repetition_penalty", "encoder_repetition_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size"),
    *("length_penalty", "max_length", "min_length", "max_new_tokens", "min_new_tokens", "exponential_decay_length_penalty"),
    *("num_beams", "num_beam_groups", "num_return_sequences", "diversity_penalty", "early_stopping", "penalty_alpha"),
    *("bad_words_ids", "suppress_tokens", "begin_suppress_tokens", "forced_bos_token_id", "forced_eos_token_id"),
    "remove_invalid_values",
)  # fmt: skip


def mended(folder: Path) -> Path:
    """The folder itself, or a copy in this node's cache in which what was to be mended is, and all else is a link.

    Raises:
        ModelError: a file that has to be looked at is no JSON.
    """
    changed = dict(_changes(folder))
    if not changed:
        return folder
    copy = cache_folder() / "models" / f"{folder.resolve().name}-mended-{_digest(folder, changed)}"
    if not copy.exists():
        logger.info("%s: used from %s, where %s is mended", folder, copy, ", ".join(changed))
        with written_folder(copy) as temporary:
            _copy(folder, temporary, changed)
    return copy


def template_date(folder: Path) -> str | None:
    """The date that a mended folder's chat template writes, None where it writes none."""
    dated = any(_CLOCK in text for _, text in _templates(folder))
    return TEMPLATE_DATE.isoformat() if dated else None


def pinned(template: str) -> str:
    """A chat template whose clock stands still."""
    return template if "strftime_now" not in template or template.startswith(_CLOCK) else _CLOCK + template


def _templates(folder: Path) -> Iterator[tuple[str, str]]:
    """Every file of a folder that may hold a chat template, and its text."""
    for path in [*folder.glob("*.jinja"), *folder.glob("additional_chat_templates/*.jinja")]:
        yield path.relative_to(folder).as_posix(), path.read_text()
    for name in _TEMPLATE_FILES:
        for template in _strings(_read(folder / name).get("chat_template")):
            yield name, template


def _strings(template: Any) -> Iterator[str]:
    """The texts of a template: one, several by name, or a list of `{"name": ..., "template": ...}`."""
    if isinstance(template, str):
        yield template
    elif isinstance(template, dict):
        yield from (value for value in template.values() if isinstance(value, str))
    elif isinstance(template, list):
        yield from (each["template"] for each in template if isinstance(each, dict) and "template" in each)


def _changes(folder: Path) -> Iterator[tuple[str, str]]:
    """The files that are to be other than they are, by name, each with the text that it should have."""
    for path in [*folder.glob("*.jinja"), *folder.glob("additional_chat_templates/*.jinja")]:
        text = path.read_text()
        if pinned(text) != text:
            yield path.relative_to(folder).as_posix(), pinned(text)
    for name in dict.fromkeys((*_TEMPLATE_FILES, _SPECIAL, _GENERATION, _CONFIG)):
        settings = _read(folder / name)
        mend = _MENDERS.get(name, _pin_settings)
        if settings and (better := mend(settings, folder)) != settings:
            yield name, json.dumps(better, indent=2, ensure_ascii=False)


def _pin_settings(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    template = settings.get("chat_template")
    if isinstance(template, str):
        return settings | {"chat_template": pinned(template)}
    if isinstance(template, dict):
        return settings | {"chat_template": {name: pinned(text) for name, text in template.items()}}
    if isinstance(template, list):
        return settings | {"chat_template": [each | {"template": pinned(each["template"])} for each in template]}
    return settings


def _mend_tokenizer(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    settings = _pin_settings(settings, folder)
    named = settings.get("pad_token") or _read(folder / _SPECIAL).get("pad_token")
    token = None if named and _has_token(folder, named) else _pad_token(folder)
    return settings | {"pad_token": token} if token else settings


def _has_token(folder: Path, token: str | dict[str, Any]) -> bool:
    """Whether a model has a row for a token that its tokenizer names; true where the files do not tell."""
    content = token.get("content") if isinstance(token, dict) else token
    config, tokenizer = _read(folder / _CONFIG), _read(folder / "tokenizer.json")
    rows = (config.get("text_config") or config).get("vocab_size")
    vocabulary = (tokenizer.get("model") or {}).get("vocab")
    if isinstance(vocabulary, list):  # of Unigram: tokens with their likelihoods
        vocabulary = {token: number for number, (token, _) in enumerate(vocabulary)}
    if not isinstance(rows, int) or not isinstance(vocabulary, dict):
        return True
    added = {each["content"]: each["id"] for each in tokenizer.get("added_tokens") or []}
    return (vocabulary | added).get(content, rows) < rows


def _pad_token(folder: Path) -> str | None:
    """A pad token for a tokenizer whose files name none that the model has; None where its class has one, or it has no
    end token either.

    Which it is changes nothing: padding is masked by the length of a row, never by what stands in it.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception:  # whoever needs the tokenizer says what is wrong with it
        return None
    if tokenizer.pad_token_id is not None and _has_token(folder, tokenizer.pad_token):
        return None
    vocabulary = tokenizer.get_vocab()
    return next((t for t in _PADS if t in vocabulary and _has_token(folder, t)), tokenizer.eos_token)


def _mend_special_tokens(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Without a pad token that the model has no row for: this file goes before the tokenizer's own."""
    pad = settings.get("pad_token")
    if not pad or _has_token(folder, pad):
        return settings
    return {name: token for name, token in settings.items() if name != "pad_token"}


def _mend_generation(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    kept = {key: value for key, value in settings.items() if key in _KEPT}
    return kept if any(value for key, value in settings.items() if key not in _KEPT) else settings


def _mend_config(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    if not set(_SAMPLING) & set(settings):
        return settings
    from transformers import AutoConfig

    try:  # a kind of model may have a setting of its own by such a name
        own = type(AutoConfig.from_pretrained(folder, local_files_only=True))().to_dict()
    except Exception:  # whoever needs the model says what is wrong with it
        return settings
    return {key: value for key, value in settings.items() if key not in _SAMPLING or key in own}


_MENDERS: dict[str, Callable[[dict[str, Any], Path], dict[str, Any]]] = {
    _TOKENIZER: _mend_tokenizer,
    _SPECIAL: _mend_special_tokens,
    _GENERATION: _mend_generation,
    _CONFIG: _mend_config,
}


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no such file."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as JSON ({type(error).__name__}); fetch the model again") from None
    if not isinstance(found, dict):
        raise ModelError(f"{path}: holds no JSON object; fetch the model again")
    return found


def _digest(folder: Path, changed: dict[str, str]) -> str:
    """Changes when a file of the folder does, or what is made of it."""
    stats = {path.name: path.stat() for path in folder.iterdir()}
    files = sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items())
    known = json.dumps([str(folder.resolve()), files, sorted(changed.items())])
    return hashlib.sha256(known.encode()).hexdigest()[:16]


def _copy(folder: Path, out: Path, changed: dict[str, str]) -> None:
    deep = {name.partition("/")[0] for name in changed if "/" in name}
    for path in folder.iterdir():
        if path.name in deep:
            shutil.copytree(path, out / path.name)
        elif path.name not in changed:
            os.symlink(path.resolve(), out / path.name)
    for name, text in changed.items():
        (out / name).write_text(text)
