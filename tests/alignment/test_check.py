"""What is refused before the first stage: the model's files, its tokens, and where the adapter would sit."""

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from mint_ray.alignment.check import check_alignment
from mint_ray.config import AlignmentSection, LoraSection
from mint_ray.errors import ConfigError, ModelError


def section(model: Path, **settings) -> AlignmentSection:
    lora = LoraSection(rank=4, alpha=8, **settings.pop("lora", {}))
    return AlignmentSection(model=str(model), lora=lora, **settings)


@pytest.fixture
def folder(tiny_model, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def put(path: Path, **settings) -> None:
    before = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in (before | settings).items() if v is not ...}))


@pytest.mark.parametrize("method", ["orpo", "sft", "dpo"])
def test_a_model_that_can_be_aligned_passes(method, tiny_model):
    check_alignment(section(tiny_model, method=method))


def test_weights_are_not_read(folder):
    (folder / "model.safetensors").write_bytes(b"")
    check_alignment(section(folder))


@pytest.mark.parametrize(
    "lora",
    [
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": r".*\.(q_proj|embed_tokens)"},
    ],
)
def test_an_adapter_on_a_layer_that_is_two_in_one_is_refused(lora, tiny_model):
    with pytest.raises(ModelError, match=r"alignment\.lora: adapts the embeddings or the output layer"):
        check_alignment(section(tiny_model, lora=lora))


def test_embeddings_of_their_own_can_be_adapted_and_an_output_layer_cannot(tiny_model, tokenizer, tmp_path):
    config = LlamaConfig.from_pretrained(tiny_model)
    config.tie_word_embeddings = False
    LlamaForCausalLM(config).save_pretrained(tmp_path / "untied")
    tokenizer.save_pretrained(tmp_path / "untied")
    check_alignment(section(tmp_path / "untied", lora={"target_modules": ["q_proj", "embed_tokens"]}))
    with pytest.raises(ModelError, match="the output layer must stay frozen"):
        check_alignment(section(tmp_path / "untied", lora={"target_modules": ["lm_head"]}))


def test_an_adapter_that_finds_no_layer_is_a_wrong_setting(tiny_model):
    with pytest.raises(ModelError, match=r"alignment\.lora does not go with .*query_proj"):
        check_alignment(section(tiny_model, lora={"target_modules": ["query_proj"]}))


def test_a_tokenizer_without_a_pad_token_passes(folder):
    put(folder / "tokenizer_config.json", pad_token=...)
    check_alignment(section(folder))


def test_a_model_without_a_pad_token_is_trained_as_with_one(folder, make):
    from mint_ray.models import resolve_model

    put(folder / "tokenizer_config.json", pad_token=...)
    trainers = make(batch_size=12), make(batch_size=12, scratch="other", model=resolve_model(str(folder)))
    for trainer in trainers:
        trainer.train()
    losses = [[row["loss"] for row in each.state.log_history if "loss" in row] for each in trainers]
    assert trainers[1].processing_class.pad_token == "<|endoftext|>" and len(losses[0]) == 4
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


def test_a_tokenizer_with_neither_pad_nor_end_token_is_refused(folder):
    put(folder / "tokenizer_config.json", pad_token=..., eos_token=...)
    with pytest.raises(ModelError, match=r"no eos token; name one in tokenizer_config\.json"):
        check_alignment(section(folder))


@pytest.mark.parametrize(
    ("template", "told"),
    [
        (None, "no chat template; take an instruct model"),
        ("{{ raise_exception('none of that') }}", "its chat template fails"),
        ("{{ messages | length }} {% for m in messages %}{{ m.content }}{% endfor %}", "another prompt once an answer"),
    ],
)
def test_a_template_that_cannot_be_learned_from_is_refused(template, told, folder):
    (folder / "chat_template.jinja").unlink()
    if template:
        (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(ModelError, match=told):
        check_alignment(section(folder))


def test_a_model_that_does_not_attend_by_the_rows_mask_is_refused(folder):
    put(folder / "config.json", attn_implementation="eager")
    with pytest.raises(ModelError, match="attends by 'eager', which training's mask does not reach"):
        check_alignment(section(folder))


def test_a_model_whose_layers_look_back_less_far_than_the_rows_are_long_is_refused(folder):
    put(folder / "config.json", sliding_window=512)
    check_alignment(section(folder, max_length=512))
    with pytest.raises(ModelError, match=r"max_length is 600, .* look back 512 tokens at most"):
        check_alignment(section(folder, max_length=600))


def test_a_model_that_reads_on_from_one_answer_into_the_next_is_refused(folder):
    put(folder / "config.json", layer_types=["full_attention", "linear_attention"])
    with pytest.raises(ModelError, match="read on from one answer into the next"):
        check_alignment(section(folder))


def test_a_tokenizer_with_tokens_that_the_model_does_not_have_is_refused(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"eos_token": "<another end>"})
    tokenizer.chat_template = tokenizer.chat_template.replace("<|im_end|>", "<another end>")
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match=r"writes the token 49152, '<another end>'.*embeddings for 49152"):
        check_alignment(section(folder))


def test_a_tokenizer_that_is_missing_is_told_by_folder(folder):
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).unlink()
    with pytest.raises(ModelError, match=f"{folder}: its tokenizer"):
        check_alignment(section(folder))


def test_a_model_of_another_kind_is_refused(folder):
    put(folder / "config.json", model_type="bart", architectures=["BartModel"], vocab_size=100)
    with pytest.raises(ModelError):
        check_alignment(section(folder))
    put(folder / "config.json", model_type="clip", architectures=["CLIPModel"])
    with pytest.raises(ModelError, match="is no causal language model"):
        check_alignment(section(folder))


def test_a_start_that_is_no_adapter_is_refused(tiny_model, tmp_path):
    with pytest.raises(ModelError, match="is no adapter"):
        check_alignment(section(tiny_model, start=tmp_path / "nothing"))


def test_a_model_that_is_not_there_and_a_reporter_that_is_not_installed_are_told(tiny_model, tmp_path):
    with pytest.raises(ModelError, match="there is no such folder"):
        check_alignment(section(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match=r"alignment\.log_to is 'wandb'"):
        check_alignment(section(tiny_model, log_to="wandb"))
