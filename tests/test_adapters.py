"""Adapters as others save them: each is run as such, merged to the same answers, or refused with a reason."""

import json
import shutil
import warnings

import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from mint_ray.adapters import adapter_settings, beyond_vllm, with_adapter
from mint_ray.errors import ModelError
from mint_ray.models import load_model, merge_adapter, resolve_model

TOKENS = torch.tensor([[5, 900, 800, 7]])
KINDS = {
    "plain": {},
    "all-linear": {"target_modules": "all-linear"},
    "rslora": {"use_rslora": True},
    "some layers": {"layers_to_transform": [1]},
    "dora": {"use_dora": True},
    "a rank of its own": {"rank_pattern": {"v_proj": 16}},
    "a scale of its own": {"alpha_pattern": {"v_proj": 1}},
    "biases": {"bias": "lora_only"},
    "tokens": {"trainable_token_indices": [5, 900]},
    "parameters": {"target_parameters": ["mlp.up_proj.weight"]},
    "pissa": {"init_lora_weights": "pissa"},
    "head": {"target_modules": ["q_proj", "lm_head"]},
    "embeddings": {"target_modules": ["q_proj", "embed_tokens"]},
    "trained whole": {"modules_to_save": ["lm_head"]},
    "a rank that is too high": {"r": 513},
}
RUN_BY_VLLM = {"plain", "all-linear", "rslora", "some layers"}
TIED = [
    {"target_modules": ["q_proj", "embed_tokens"]},
    {"target_modules": ["q_proj", "lm_head"]},
    {"target_modules": r".*(q_proj|embed_tokens)"},
    {"target_modules": ["q_proj", "embed_tokens"], "ensure_weight_tying": True},
    {"modules_to_save": ["embed_tokens"]},
    {"modules_to_save": ["lm_head", "embed_tokens"]},
]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two random Llamas, by whether embeddings and output layer are one; with the packaged tokenizer."""
    folders, packaged = {}, resolve_model("packaged:smollm2-135m-instruct")
    for tied in (True, False):
        torch.manual_seed(0)
        sizes = dict(vocab_size=1024, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
        config = LlamaConfig(**sizes, num_key_value_heads=1, tie_word_embeddings=tied, initializer_range=0.2)
        folders[tied] = tmp_path_factory.mktemp("models") / f"tied-{tied}"
        LlamaForCausalLM(config).save_pretrained(folders[tied])
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(packaged / name, folders[tied])
    return folders


def saved(model, folder, **settings):
    """An adapter that changes every answer, and the logits that it was saved with."""
    torch.manual_seed(1)
    config = LoraConfig(**{"r": 4, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM", **settings})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = get_peft_model(load_model(model, torch.float32), config).eval()
        for name, weight in adapted.named_parameters():
            if weight.requires_grad and "lora_A" not in name:
                torch.nn.init.normal_(weight, std=0.2)
        adapted.save_pretrained(folder)
    with torch.no_grad():
        return adapted(TOKENS).logits


@pytest.mark.parametrize("kind", KINDS)
def test_what_vllm_refuses_or_computes_otherwise_is_merged_to_the_same_answers(kind, models, tmp_path):
    logits = saved(models[False], tmp_path / "adapter", **KINDS[kind])
    assert (beyond_vllm(tmp_path / "adapter") is None) == (kind in RUN_BY_VLLM)
    merged = load_model(merge_adapter(models[False], tmp_path / "adapter", tmp_path / "merged"), torch.float32)
    with torch.no_grad():
        assert torch.allclose(merged(TOKENS).logits, logits, atol=1e-3)


def test_vllms_own_check_agrees(models, tmp_path):
    helper = pytest.importorskip("vllm.lora.peft_helper").PEFTHelper

    class Limits:
        max_lora_rank = 64

    for kind in RUN_BY_VLLM | {"dora", "biases", "trained whole"}:
        saved(models[False], tmp_path / kind, **KINDS[kind])
        theirs = helper.from_dict(adapter_settings(tmp_path / kind) | {"vllm_max_position_embeddings": None})
        try:
            theirs.validate_legal(Limits)
        except ValueError:
            assert kind not in RUN_BY_VLLM
        else:
            assert kind in RUN_BY_VLLM


@pytest.mark.parametrize("settings", TIED)
def test_an_adapter_on_a_layer_that_is_two_in_one_is_refused(settings, models, tmp_path):
    saved(models[True], tmp_path / "adapter", **settings)
    with pytest.raises(ModelError, match=r"tie_word_embeddings.*leave both out of target_modules"):
        merge_adapter(models[True], tmp_path / "adapter", tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_tokens_trained_on_a_tied_model_are_merged_to_the_same_answers(models, tmp_path):
    logits = saved(models[True], tmp_path / "adapter", trainable_token_indices=[5, 900])
    merged = load_model(merge_adapter(models[True], tmp_path / "adapter", tmp_path / "merged"), torch.float32)
    with torch.no_grad():
        assert torch.allclose(merged(TOKENS).logits, logits, atol=1e-3)


def test_an_adapter_whose_weights_are_named_otherwise_is_not_left_out_without_a_word(models, tmp_path):
    from safetensors.torch import load_file, save_file

    saved(models[False], tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    save_file({name.replace("layers.1", "layers.7"): weight for name, weight in load_file(path).items()}, path)
    with pytest.raises(ModelError, match="does not fit"):
        with_adapter(load_model(models[False], torch.float32), tmp_path / "adapter")


def test_layers_that_are_repeated_and_prompts_that_are_learned_are_refused(models, tmp_path):
    saved(models[False], tmp_path / "repeated", layer_replication=[[0, 2], [1, 2]])
    with pytest.raises(ModelError, match="layer_replication"):
        merge_adapter(models[False], tmp_path / "repeated", tmp_path / "merged")
    prefix = PrefixTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM")
    get_peft_model(load_model(models[False], torch.float32), prefix).save_pretrained(tmp_path / "prefix")
    assert beyond_vllm(tmp_path / "prefix") == "peft_type PREFIX_TUNING"
    with pytest.raises(ModelError, match="cannot be merged"):
        merge_adapter(models[False], tmp_path / "prefix", tmp_path / "merged")


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_a_folder_without_settings_is_no_adapter(text, tmp_path):
    if text is not None:
        (tmp_path / "adapter_config.json").write_text(text)
    with pytest.raises(ModelError, match="is no adapter"):
        adapter_settings(tmp_path)


def test_weights_in_an_older_format_are_merged(models, tmp_path):
    logits = saved(models[False], tmp_path / "adapter")
    from safetensors.torch import load_file

    path = tmp_path / "adapter" / "adapter_model.safetensors"
    torch.save(load_file(path), path.with_suffix(".bin"))
    path.unlink()
    assert beyond_vllm(tmp_path / "adapter") == "no adapter_model.safetensors"
    merged = load_model(merge_adapter(models[False], tmp_path / "adapter", tmp_path / "merged"), torch.float32)
    with torch.no_grad():
        assert torch.allclose(merged(TOKENS).logits, logits, atol=1e-3)
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]
