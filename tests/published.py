"""What the two published recipes fetch or are given, in the published form, at toy size.

Model folders lie in a Hugging Face cache, with the classes, tokenizer settings, templates and file layouts of the
published ones; their weights are random and tiny. GMDB's and PanNuke's files have the published names, columns and
types; their content is invented.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from tests.corpora.test_gmdb import COLUMNS, write
from tests.corpora.test_pannuke import write_fold
from tests.scorers.tiny import picture

SYNDROMES = {str(number): f"Invented syndrome {chr(65 + number % 26)}{number}" for number in range(80)}
SHOWN = 4  # of the syndromes, those that photographs show
TISSUES = ["Breast", "Colon", "Kidney", "Bile-duct", "Adrenal_gland", "HeadNeck"]
TEXT = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
# As in the published templates: the day of asking, where the caller names none, and a system message of its own.
DATED = (
    "{{- bos_token }}"
    "{%- if date_string is not defined %}{%- if strftime_now is defined %}"
    '{%- set date_string = strftime_now("%d %b %Y") %}{%- else %}{%- set date_string = "26 Jul 2024" %}{%- endif %}'
    "{%- endif %}"
    "{{- '<|start_header_id|>system<|end_header_id|>\n\nToday is ' + date_string + '<|eot_id|>' }}"
    "{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{%- if message['content'] is string %}{{- message['content'] }}{%- else %}"
    "{%- for part in message['content'] %}"
    "{%- if part['type'] == 'image' %}{{- '<|image|>' }}{%- else %}{{- part['text'] }}{%- endif %}{%- endfor %}"
    "{%- endif %}{{- '<|eot_id|>' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"
)
SPECIAL = (
    *("<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>"),
    *("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
)


def snapshot(hub: Path, name: str) -> Path:
    """The folder of a model in a Hugging Face cache, as `snapshot_download` finds it without a network."""
    model = hub / f"models--{name.replace('/', '--')}"
    commit = "0" * 40
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(commit)
    folder = model / "snapshots" / commit
    folder.mkdir(parents=True)
    return folder


def write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=1))


def byte_pairs(texts: list[str], special: tuple[str, ...]) -> Tokenizer:
    """A byte-level tokenizer whose special tokens come last, as Llama 3's do."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return tokenizer


def llama_tokenizer(folder: Path, texts: list[str], special: tuple[str, ...], **settings: str) -> Tokenizer:
    """The tokenizer's files as Llama 3.2's folders have them: the template inside of `tokenizer_config.json`."""
    tokenizer = byte_pairs(texts, special)
    tokenizer.save(str(folder / "tokenizer.json"))
    ends = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
    written = {"clean_up_tokenization_spaces": True, "model_max_length": 131072}
    written |= {"model_input_names": ["input_ids", "attention_mask"], "tokenizer_class": "PreTrainedTokenizerFast"}
    write_json(folder / "tokenizer_config.json", ends | written | settings)
    write_json(folder / "special_tokens_map.json", ends)
    return tokenizer


def sampling(tokenizer: Tokenizer, **settings: int) -> dict:
    """`generation_config.json` of an instruct model: several ends, and sampling unless told otherwise."""
    ends = [tokenizer.token_to_id(token) for token in ("<|end_of_text|>", "<|eot_id|>")]
    begin = tokenizer.token_to_id("<|begin_of_text|>")
    return {"bos_token_id": begin, "do_sample": True, "eos_token_id": ends, "temperature": 0.6, "top_p": 0.9} | settings


def llama_3_2(hub: Path, texts: list[str]) -> Path:
    """meta-llama/Llama-3.2-3B-Instruct: no pad token, a dated template, tied embeddings, weights in two shards."""
    folder = snapshot(hub, "meta-llama/Llama-3.2-3B-Instruct")
    tokenizer = llama_tokenizer(folder, texts, SPECIAL, chat_template=DATED)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        **TEXT,
        num_key_value_heads=1,
        vocab_size=tokenizer.get_vocab_size(),
        tie_word_embeddings=True,
        max_position_embeddings=131072,
        bos_token_id=tokenizer.token_to_id("<|begin_of_text|>"),
        eos_token_id=[tokenizer.token_to_id(token) for token in ("<|end_of_text|>", "<|eot_id|>")],
        rope_parameters={
            **{"rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0},
            **{"high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
        },
    )
    transformers.LlamaForCausalLM(config).bfloat16().save_pretrained(folder, max_shard_size="200KB")
    write_json(folder / "generation_config.json", sampling(tokenizer))
    return folder


def llama_3_2_vision(hub: Path, texts: list[str]) -> Path:
    """meta-llama/Llama-3.2-11B-Vision-Instruct: the template in `chat_template.json`, one more row for `<|image|>`."""
    folder = snapshot(hub, "meta-llama/Llama-3.2-11B-Vision-Instruct")
    pad = {"pad_token": "<|finetune_right_pad_id|>", "processor_class": "MllamaProcessor"}
    tokenizer = llama_tokenizer(folder, texts, (*SPECIAL, "<|image|>"), **pad)
    torch.manual_seed(1)
    image = tokenizer.token_to_id("<|image|>")
    text = {
        **TEXT,
        "num_key_value_heads": 1,
        "vocab_size": tokenizer.get_vocab_size() - 1,  # the head never says <|image|>; the embeddings have 8 more rows
        "cross_attention_layers": [1],
        "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
        "pad_token_id": tokenizer.token_to_id("<|finetune_right_pad_id|>"),
        "bos_token_id": tokenizer.token_to_id("<|begin_of_text|>"),
        "eos_token_id": [tokenizer.token_to_id(token) for token in ("<|end_of_text|>", "<|eot_id|>")],
    }
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_global_layers": 1}
    vision |= {"attention_heads": 2, "image_size": 32, "patch_size": 8, "max_num_tiles": 4, "vision_output_dim": 64}
    config = transformers.MllamaConfig(
        text_config=text, vision_config={**vision, "intermediate_layers_indices": [1]}, image_token_index=image
    )
    transformers.MllamaForConditionalGeneration(config).bfloat16().save_pretrained(folder)
    write_json(folder / "generation_config.json", sampling(tokenizer, pad_token_id=text["pad_token_id"]))
    write_json(folder / "chat_template.json", {"chat_template": DATED})
    write_json(
        folder / "preprocessor_config.json",
        {
            **{"do_convert_rgb": True, "do_normalize": True, "do_pad": True, "do_rescale": True, "do_resize": True},
            **{"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28], "rescale_factor": 1 / 255},
            **{"image_processor_type": "MllamaImageProcessor", "max_image_tiles": 4, "resample": 2},
            "size": {"height": 32, "width": 32},
        },
    )
    return folder


def plip(hub: Path) -> Path:
    """vinid/plip: a CLIPModel whose weights are `pytorch_model.bin` alone, CLIP's tokenizer as two tables."""
    folder = snapshot(hub, "vinid/plip")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    write_json(folder / "vocab.json", {token: i for i, token in enumerate(tokens)})
    (folder / "merges.txt").write_text("#version: 0.2\n")
    ends = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
    ends |= {"pad_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    write_json(folder / "special_tokens_map.json", ends)
    write_json(
        folder / "tokenizer_config.json",
        ends | {"model_max_length": 77, "do_lower_case": True, "tokenizer_class": "CLIPTokenizer"},
    )
    torch.manual_seed(2)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    begin, end = len(tokens) - 2, len(tokens) - 1
    text = {**small, "vocab_size": len(tokens), "bos_token_id": begin, "eos_token_id": end, "pad_token_id": 1}
    config = transformers.CLIPConfig(
        text_config={**text, "projection_dim": 16},
        vision_config={**small, "image_size": 224, "patch_size": 32, "projection_dim": 16},
        projection_dim=16,
    )
    model = transformers.CLIPModel(config)
    with torch.no_grad():
        for weight in model.parameters():  # or all captions lie in one place
            weight.add_(0.1 * torch.randn_like(weight))
    config.architectures = ["CLIPModel"]
    config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    write_json(
        folder / "preprocessor_config.json",
        {
            **{"crop_size": {"height": 224, "width": 224}, "do_center_crop": True, "do_convert_rgb": True},
            **{"do_normalize": True, "do_rescale": True, "do_resize": True, "resample": 3},
            **{"feature_extractor_type": "CLIPFeatureExtractor", "image_processor_type": "CLIPImageProcessor"},
            **{"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28], "rescale_factor": 1 / 255},
            "size": {"shortest_edge": 224},
        },
    )
    return folder


def gestaltmml(hub: Path, data: Path) -> None:
    """GestaltMML_model.pt with its label list in `data`, and dandelin/vilt-b32-mlm, which it was made on."""
    folder = snapshot(hub, "dandelin/vilt-b32-mlm")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz0123456789*"]
    words += [f"##{word}" for word in words[5:]] + ["sex", "female", "male", "age", "years", "months", "ethnicity"]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    write_json(
        folder / "tokenizer_config.json",
        {"do_lower_case": True, "model_max_length": 40, "tokenizer_class": "BertTokenizer"},
    )
    write_json(
        folder / "preprocessor_config.json",
        {
            **{
                "do_normalize": True,
                "do_pad": True,
                "do_resize": True,
                "image_mean": [0.5] * 3,
                "image_std": [0.5] * 3,
            },
            **{"feature_extractor_type": "ViltFeatureExtractor", "resample": 3, "size": 384, "size_divisor": 32},
        },
    )
    torch.manual_seed(3)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.ViltConfig(
        **small, vocab_size=len(words), max_position_embeddings=40, image_size=384, patch_size=32
    )
    base = transformers.ViltForMaskedLM(config)
    config.architectures = ["ViltForMaskedLM"]
    config.save_pretrained(folder)
    torch.save(base.state_dict(), folder / "pytorch_model.bin")

    config.num_labels = len(SYNDROMES)
    published = transformers.ViltForQuestionAnswering(config)
    with torch.no_grad():
        for weight in published.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    data.mkdir(parents=True)
    torch.save(published.state_dict(), data / "GestaltMML_model.pt")
    # The published list is in no order of its ids; the head's places are.
    listed = sorted(SYNDROMES, key=lambda syndrome: (int(syndrome) % 7, int(syndrome)))
    write_json(data / "disease_dict.json", {syndrome: SYNDROMES[syndrome] for syndrome in listed})


def gmdb(folder: Path, patients: int = 24) -> None:
    """GMDB v1.0.9: the metadata, the four split tables, a crop for every image of the frequent set."""
    rows = [gmdb_row(number) for number in range(patients)]
    gallery, test = [r for i, r in enumerate(rows) if i % 4], [r for i, r in enumerate(rows) if not i % 4]
    (folder / "gmdb_crops").mkdir(parents=True)
    write(folder / "image_metadata_v1.0.9.tsv", COLUMNS, rows, "\t")
    for name, kept in {"frequent": (gallery, test), "rare": ([], [])}.items():
        for part, images in zip(("gallery", "test"), kept, strict=True):
            with (folder / f"gmdb_{name}_{part}_images_v1.0.9.csv").open("w", newline="") as file:
                table = csv.writer(file)
                table.writerow(["image_id", "split"] if name == "rare" else ["image_id"])
                table.writerows([row["image_id"]] for row in images)
    for i, row in enumerate(rows):
        shade = Image.open(io.BytesIO(picture((60 + 40 * (i % SHOWN), 120, 90), i, (112, 112))))
        shade.save(folder / "gmdb_crops" / f"{row['image_id']}_aligned.jpg")


def gmdb_row(number: int) -> dict[str, str]:
    syndrome = str(number % SHOWN)
    features = ["HP:0000293;HP:0001249", "HP:0001250", "", "HP:0001252;HP:0000316;HP:0004322"][number % 4]
    return {
        **{"image_id": str(400 + number), "patient_id": str(900 + number), "internal_syndrome_id": syndrome},
        **{"internal_syndrome_name": SYNDROMES[syndrome], "disorder_names": f"{SYNDROMES[syndrome]}; ISX{syndrome}"},
        **{"gene_names": "GENE1", "present_features": features, "absent_features": ""},
        **{"age_year": str(number % 9), "age_month": str(number % 12), "gender": ("male", "female")[number % 2]},
        **{"ethnicity_category": "European", "ethnicity_sub_category": ""},
    }


def pannuke(folder: Path, patches: int = 12) -> None:
    """PanNuke's three folds: `images.npy` (n, 256, 256, 3) as float64 of 0 to 255, `types.npy`, `masks.npy`."""
    for fold in (1, 2, 3):
        types = [TISSUES[i % len(TISSUES)] for i in range(patches)]
        part, images = write_fold(folder, fold, types)
        for i, image in enumerate(images):  # each tissue has its colour
            image[..., i % 3] = np.clip(image[..., i % 3] / 4 + 30 * (i % len(TISSUES)), 0, 255).round()
        np.save(part / "images.npy", images)
        masks = folder / f"Fold {fold}" / "masks" / f"fold{fold}"
        masks.mkdir(parents=True)
        np.save(masks / "masks.npy", np.zeros((patches, 4, 4, 6)))
        shutil.copy(part / "types.npy", masks / "types.npy")
