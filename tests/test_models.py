"""Where a model's name leads, and an adapter that is merged."""

import json
import shutil
import threading

import pytest
import torch

from mint_ray import models
from mint_ray.errors import ModelError
from mint_ray.models import checked_model, merge_adapter, model_digest, name_elsewhere, resolve_model
from mint_ray.storage import written_folder

PACKAGED = "packaged:smollm2-135m-instruct"


@pytest.fixture(scope="module")
def packaged():
    return resolve_model(PACKAGED)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, packaged):
    """A random Llama of width 32 with the packaged tokenizer, and an adapter for it that changes its answers."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    sizes = dict(vocab_size=49152, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2)
    LlamaForCausalLM(LlamaConfig(**sizes, num_key_value_heads=1)).save_pretrained(folder / "model")
    AutoTokenizer.from_pretrained(packaged).save_pretrained(folder / "model")
    model = LlamaForCausalLM.from_pretrained(folder / "model")
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    adapted.save_pretrained(folder / "adapter")
    return folder / "model", folder / "adapter", adapted.eval()


def test_the_packaged_model_is_an_ordinary_folder_in_bf16_with_its_template_and_its_stop(packaged):
    from safetensors import safe_open
    from transformers import AutoTokenizer, GenerationConfig

    config = json.loads((packaged / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"] and "quantization_config" not in config
    with safe_open(packaged / "model.safetensors", "pt") as weights:
        assert weights.get_slice("model.embed_tokens.weight").get_dtype() == "BF16"
        assert weights.get_slice("model.embed_tokens.weight").get_shape() == [49152, 576]
    tokenizer = AutoTokenizer.from_pretrained(packaged)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert text.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.eos_token == "<|im_end|>"
    assert GenerationConfig.from_pretrained(packaged).eos_token_id == tokenizer.eos_token_id


def test_a_name_goes_to_other_nodes_as_it_is_and_a_folder_by_its_whole_path(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    assert name_elsewhere("model") == str(tmp_path / "model")
    for name in (PACKAGED, "org/model", "s3://bucket/model"):
        assert name_elsewhere(name) == name


def test_the_packaged_model_answers_in_words_and_stops(packaged):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(packaged)
    model = models.load_model(packaged, torch.bfloat16)
    asked = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
    inputs = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**inputs, max_new_tokens=32, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(answer)
    assert answer[-1] == tokenizer.eos_token_id


def test_a_folder_leads_to_itself(tiny):
    assert resolve_model(str(tiny[0])) == tiny[0]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("/no/such/folder", "no such folder"),
        ("packaged:another", "expected one of .*smollm2-135m-instruct"),
        ("packaged:smollm-135m", "did you mean smollm2-135m-instruct"),
        ("organisation/model", "cannot be reached"),
        ("no model at all", "neither a folder nor a hub id"),
    ],
)
def test_a_name_that_leads_nowhere_is_told_with_a_way_out(name, told):
    with pytest.raises(ModelError, match=told):
        resolve_model(name)


def test_a_folder_without_config_or_weights_is_no_model(tmp_path):
    with pytest.raises(ModelError, match=r"config\.json"):
        checked_model(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="no weights"):
        checked_model(tmp_path)


def test_weights_that_are_cut_off_are_told_by_folder(tiny, tmp_path):
    shutil.copytree(tiny[0], tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match=str(tmp_path / "cut")):
        models.load_model(tmp_path / "cut", torch.float32)


def test_the_digest_follows_the_weights_and_not_the_place(tiny, tmp_path):
    moved = shutil.copytree(tiny[1], tmp_path / "moved")
    config = json.loads((moved / "adapter_config.json").read_text())
    (moved / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "elsewhere"}))
    assert model_digest(moved) == model_digest(tiny[1])
    (moved / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": 99}))
    assert model_digest(moved) != model_digest(tiny[1])
    assert model_digest(tiny[0]) != model_digest(tiny[1])


def test_the_merged_model_answers_as_model_and_adapter_do(tiny, tmp_path):
    from transformers import AutoTokenizer

    model, adapter, adapted = tiny
    merged = models.load_model(merge_adapter(model, adapter, tmp_path / "merged"), torch.float32)
    tokens = torch.tensor([[5, 900, 41000, 7]])
    with torch.no_grad():
        assert torch.allclose(merged(tokens).logits, adapted(tokens).logits, atol=1e-4)
    assert AutoTokenizer.from_pretrained(tmp_path / "merged").chat_template


def test_an_adapter_of_another_model_is_refused(tiny, packaged, tmp_path):
    with pytest.raises(ModelError, match="does not fit"):
        merge_adapter(packaged, tiny[1], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_of_two_writers_of_one_folder_the_first_wins_and_neither_fails(tmp_path):
    inside, written = threading.Barrier(2), []

    def write(name: str):
        with written_folder(tmp_path / "model") as temporary:
            (temporary / "config.json").write_text(name)
            inside.wait(timeout=10)
        written.append(name)

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(written) == ["a", "b"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_writer_that_fails_leaves_nothing_behind(tmp_path):
    with pytest.raises(RuntimeError), written_folder(tmp_path / "model") as temporary:
        (temporary / "half").write_text("")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_conversion_is_made_once_and_anew_in_another_cache(packaged, tmp_path, monkeypatch):
    monkeypatch.setenv("MINT_RAY_CACHE", str(tmp_path))
    converted = resolve_model(PACKAGED)
    assert converted.is_relative_to(tmp_path)
    assert model_digest(converted) == model_digest(packaged)
    made = (converted / "config.json").stat().st_mtime_ns
    assert resolve_model(PACKAGED) == converted and (converted / "config.json").stat().st_mtime_ns == made


def as_bin(folder, parts: int = 1):
    """The same model with its weights as PyTorch's pickles, whole or in parts."""
    from safetensors.torch import load_file

    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    if parts == 1:
        torch.save(weights, folder / "pytorch_model.bin")
        return folder
    names = [f"pytorch_model-{i + 1:05}-of-{parts:05}.bin" for i in range(parts)]
    weight_map = {name: names[i % parts] for i, name in enumerate(weights)}
    for part in names:
        torch.save({name: weights[name] for name in weights if weight_map[name] == part}, folder / part)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub of one model: a function from its folder to what was asked of it, pattern by pattern."""
    from fnmatch import fnmatch

    def of(folder):
        asked, snapshot = [], tmp_path / "snapshot"

        def snapshot_download(name, allow_patterns):
            asked.append(allow_patterns)
            snapshot.mkdir(exist_ok=True)
            for path in folder.iterdir():
                if any(fnmatch(path.name, pattern) for pattern in allow_patterns):
                    shutil.copy(path, snapshot)
            return str(snapshot)

        monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
        return asked

    return of


@pytest.mark.parametrize("parts", [1, 2])
def test_a_hub_model_with_pickled_weights_alone_is_fetched_with_them_and_answers_the_same(parts, tiny, hub, tmp_path):
    hub(as_bin(shutil.copytree(tiny[0], tmp_path / "remote"), parts))
    tokens = torch.tensor([[5, 900, 41000, 7]])
    with torch.no_grad():
        answers = [models.load_model(f, torch.float32)(tokens).logits for f in (resolve_model("org/model"), tiny[0])]
    assert torch.equal(*answers)


@pytest.mark.parametrize("beside", ["adapter_model.safetensors", "model.fp16.safetensors"])
def test_safetensors_that_are_not_the_models_weights_do_not_keep_these_away(beside, tiny, hub, tmp_path):
    remote = as_bin(shutil.copytree(tiny[0], tmp_path / "remote"))
    (remote / beside).write_bytes(b"")
    hub(remote)
    assert (resolve_model("org/model") / "pytorch_model.bin").exists()


def test_of_a_hub_model_with_both_kinds_of_weights_the_pickles_stay_there(tiny, hub, tmp_path):
    remote = shutil.copytree(tiny[0], tmp_path / "remote")
    (remote / "pytorch_model.bin").write_bytes(b"never read")
    asked = hub(remote)
    assert not (resolve_model("org/model") / "pytorch_model.bin").exists()
    assert len(asked) == 1


def test_a_pickle_that_would_run_code_is_not_loaded(tiny, tmp_path):
    folder = as_bin(shutil.copytree(tiny[0], tmp_path / "model"))

    class Command:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"model.norm.weight": Command()}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"not loaded, as that could run code; take .* safetensors"):
        models.load_model(resolve_model(str(folder)), torch.float32)
    assert not (tmp_path / "ran").exists()


def test_a_part_of_the_weights_that_is_missing_is_told_by_name(tiny, tmp_path):
    folder = as_bin(shutil.copytree(tiny[0], tmp_path / "model"), parts=3)
    (folder / "pytorch_model-00002-of-00003.bin").unlink()
    with pytest.raises(ModelError, match=r"names 1 files.*first pytorch_model-00002-of-00003\.bin"):
        checked_model(folder)
    (folder / "pytorch_model.bin.index.json").write_text("[]")
    with pytest.raises(ModelError, match="is no index of weights"):
        checked_model(folder)


@pytest.mark.parametrize("name", ["training_args.bin", "adapter_model.safetensors", "model.gguf", "tf_model.h5"])
def test_files_that_are_no_weights_of_the_model_are_not_taken_for_them(name, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ModelError, match=f"no weights.*there is {name}"):
        checked_model(tmp_path)


def test_an_adapter_in_place_of_a_model_is_called_one(tiny):
    with pytest.raises(ModelError, match="is an adapter, no model"):
        checked_model(tiny[1])


def test_a_base_model_with_sampling_values_is_merged_and_saved_without_them(tiny, tmp_path):
    from transformers import GenerationConfig

    folder = shutil.copytree(tiny[0], tmp_path / "model")
    # Not consistent with greedy decoding, and what transformers refuses to save.
    values = {"temperature": 0.9, "top_p": 0.6, "repetition_penalty": 1.3, "eos_token_id": 2}
    (folder / "generation_config.json").write_text(json.dumps(values))
    merged = merge_adapter(folder, tiny[1], tmp_path / "merged")
    used = GenerationConfig.from_pretrained(merged)
    assert (used.temperature, used.top_p, used.repetition_penalty, used.eos_token_id) == (None, None, None, 2)
