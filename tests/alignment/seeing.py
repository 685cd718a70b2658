"""Tiny random vision-language models of four families, each in a folder as `save_pretrained` writes it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image

from mint_ray.records import Message
from mint_ray.tasks.base import View
from mint_ray.tasks.tissue import Tissue

TEXT = {
    **{"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
    **{"num_key_value_heads": 2, "initializer_range": 0.2, "pad_token_id": 2, "bos_token_id": 1, "eos_token_id": 2},
}
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for p in m['content'] %}"
    "{{ '@' if p['type'] == 'image' else p['text'] }}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SIDE = 64


def picture(colour: tuple[int, int, int], side: int = SIDE, seed: int = 0) -> bytes:
    noise = np.random.default_rng(seed).integers(-25, 25, (side, side, 3))
    buffer = io.BytesIO()
    Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def seen_pair(number: int, image: bytes, chosen=("Breast", "Colon"), rejected=("Skin", "Liver", "Lung")) -> dict:
    """A pair in the columns of `PreferencePair` whose prompt shows an image."""
    task = Tissue(kind="tissue", answer_size=2, candidates=())
    return {
        "prompt": [m.model_dump() for m in task.prompt(View(image=image))],
        "chosen": [Message(role="assistant", content=task.answer(list(chosen))).model_dump()],
        "rejected": [Message(role="assistant", content=task.answer(list(rejected))).model_dump()],
        "images": [{"bytes": image, "path": None}],
        "case_id": f"case-{number}",
    }


def _tokenizer(packaged: Path, *tokens: str):
    tokenizer = transformers.AutoTokenizer.from_pretrained(packaged)
    tokenizer.add_special_tokens({"additional_special_tokens": [*tokenizer.all_special_tokens, *tokens]})
    return tokenizer


def idefics3(folder: Path, packaged: Path):
    rows = [f"<row_{i}_col_{j}>" for i in range(1, 5) for j in range(1, 5)]
    tokenizer = _tokenizer(
        packaged, "<fake_token_around_image>", "<image>", "<global-img>", "<end_of_utterance>", *rows
    )
    image = tokenizer.convert_tokens_to_ids("<image>")
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.Idefics3Config(
        text_config=transformers.LlamaConfig(vocab_size=len(tokenizer), **TEXT),
        vision_config={**vision, "image_size": 32, "patch_size": 8},
        scale_factor=2,
        image_token_id=image,
        pad_token_id=2,
        tie_word_embeddings=True,
    )
    processor = transformers.Idefics3Processor(
        transformers.Idefics3ImageProcessorPil(
            size={"longest_edge": SIDE}, max_image_size={"longest_edge": 32}, do_image_splitting=True
        ),
        tokenizer,
        image_seq_len=4,
        chat_template=TEMPLATE.replace("@", "<image>"),
    )
    return _saved(folder, transformers.Idefics3ForConditionalGeneration(config), processor)


def llava(folder: Path, packaged: Path):
    tokenizer = _tokenizer(packaged, "<image>")
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = transformers.LlavaConfig(
        text_config=transformers.LlamaConfig(vocab_size=len(tokenizer), **TEXT),
        vision_config=transformers.CLIPVisionConfig(**vision, image_size=32, patch_size=8),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    processor = transformers.LlavaProcessor(
        transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE.replace("@", "<image>"),
    )
    return _saved(folder, transformers.LlavaForConditionalGeneration(config), processor)


class QwenProcessor:
    """What Qwen2.5-VL's processor does for images: it cannot be had here, as its video part needs torchvision."""

    image_token = "<|image_pad|>"

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.image_processor = transformers.Qwen2VLImageProcessorPil(
            patch_size=8, merge_size=2, temporal_patch_size=2, size={"shortest_edge": 32 * 32, "longest_edge": 64 * 64}
        )
        self.chat_template = TEMPLATE.replace("@", f"<|vision_start|>{self.image_token}<|vision_end|>")

    def apply_chat_template(self, messages, **options):
        return self.tokenizer.apply_chat_template(messages, chat_template=self.chat_template, **options)

    def __call__(self, text, images, **options):
        grid = self.image_processor(images, return_tensors="pt")["image_grid_thw"]
        full = [
            t.replace(self.image_token, self.image_token * int(g.prod() // 4)) for t, g in zip(text, grid, strict=True)
        ]
        return self.tokenizer(full, **options)


def qwen2_5_vl(folder: Path, packaged: Path):
    tokenizer = _tokenizer(packaged, "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    ids = tokenizer.convert_tokens_to_ids
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "patch_size": 8,
        "window_size": 32,
    }
    config = transformers.Qwen2_5_VLConfig(
        text_config={
            **TEXT,
            "vocab_size": len(tokenizer),
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
        },
        vision_config={**vision, "out_hidden_size": 32, "spatial_merge_size": 2, "fullatt_block_indexes": [1]},
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
    )
    model = transformers.Qwen2_5_VLForConditionalGeneration(config)
    return _model(model), QwenProcessor(tokenizer)


def mllama(folder: Path, packaged: Path):
    tokenizer = _tokenizer(packaged, "<|image|>")
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_global_layers": 1}
    config = transformers.MllamaConfig(
        text_config={**TEXT, "vocab_size": len(tokenizer), "cross_attention_layers": [1], "rope_parameters": ROPE},
        vision_config={
            **vision,
            **{"attention_heads": 2, "image_size": 32, "patch_size": 8, "max_num_tiles": 4, "vision_output_dim": 64},
            "intermediate_layers_indices": [1],
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<|image|>"),
    )
    processor = transformers.MllamaProcessor(
        transformers.MllamaImageProcessorPil(size={"height": 32, "width": 32}, max_image_tiles=4),
        tokenizer,
        chat_template=TEMPLATE.replace("@", "<|image|>"),
    )
    return _saved(folder, transformers.MllamaForConditionalGeneration(config), processor)


ROPE = {"rope_type": "default", "rope_theta": 10000.0}
FAMILIES = {"idefics3": idefics3, "llava": llava, "qwen2_5_vl": qwen2_5_vl, "mllama": mllama}


def _model(model):
    """Weights wide enough for images and answers to differ in likelihood; Mllama's gates start closed."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.15)
            elif "gate" in name:
                weight.fill_(0.7)
    return model.eval()


def _saved(folder: Path, model, processor):
    _model(model).save_pretrained(folder)
    processor.save_pretrained(folder)
    return model, processor
