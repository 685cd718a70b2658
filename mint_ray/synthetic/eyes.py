"""A small vision-language model without a hub: an Idefics3 of the packaged language model and a tower of its own.

The tower and the projector are random at first and then learn from synthetic patches of slides that no run sees,
without the name of any tissue: the mean of an image's tokens, as the projector hands them to the language model,
is pulled towards the mean word embedding of what its caption says is seen ("crypts of tall cells ...") and away
from those of other captions. So images arrive where the language model keeps the words for them.
The language model is not touched. The result is a model folder like any other.
"""

from __future__ import annotations

import io
import logging
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from mint_ray import progress
from mint_ray.models import smollm2
from mint_ray.scorers.clip.learner import contrastive_loss
from mint_ray.storage import cache_folder, written_folder
from mint_ray.synthetic.nuclei.table import APPEARANCES
from mint_ray.synthetic.patches import SimulatedNuclei

logger = logging.getLogger(__name__)

_ASSEMBLY = 1  # raised when the assembly changes, so that older folders in a cache are left alone

TILE, PATCH, SCALE = 64, 16, 2  # an image of 128 x 128 becomes four tiles and a whole: 5 x 4 image tokens
TOWER = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4}
IMAGE, AROUND, WHOLE = "<image>", "<fake_token_around_image>", "<global-img>"
TILES = tuple(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7))
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for p in m['content'] %}"
    "{{ '<image>' if p['type'] == 'image' else p['text'] }}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Lessons:
    """How the eyes are trained: `slides` of each tissue with `patches` each, all of a seed that no run should take."""

    slides: int = 12
    patches: int = 5
    epochs: int = 14
    batch: int = 64
    learning_rate: float = 1e-3
    seed: int = 772_001


def idefics3_nuclei() -> Path:
    """`packaged:idefics3-nuclei-140m`: SmolLM2 with eyes for nuclei, assembled once a node, in two minutes."""
    language = smollm2()
    folder = cache_folder() / "models" / f"idefics3-nuclei-140m-{_ASSEMBLY}-of-{language.name}"
    if not folder.exists():
        logger.info("assembling a model with eyes once into %s: two minutes", folder)
        progress.begin("drawing patches to teach a model its eyes, once a machine")
        with written_folder(folder) as temporary:
            assemble(language, temporary)
    return folder


def assemble(language: Path, out: Path, lessons: Lessons | None = Lessons()) -> None:
    """Write the model into `out`.

    Args:
        language: the folder of a Llama with its tokenizer.
        lessons: None leaves the eyes random.
    """
    torch.manual_seed(lessons.seed if lessons else 0)
    processor = make_processor(language)
    model = make_model(language, processor)
    if lessons:
        teach(model, processor, lessons)
    model.to(torch.bfloat16).save_pretrained(out)
    processor.save_pretrained(out)


def make_processor(language: Path) -> transformers.Idefics3Processor:
    """The language model's tokenizer with tokens for images, and a processor that splits them into tiles."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(language)
    tokens = [*tokenizer.all_special_tokens, AROUND, IMAGE, WHOLE, "<end_of_utterance>", *TILES]
    tokenizer.add_special_tokens({"additional_special_tokens": tokens})
    images = transformers.Idefics3ImageProcessorPil(
        size={"longest_edge": 2 * TILE}, max_image_size={"longest_edge": TILE}, do_image_splitting=True
    )
    tokens_a_tile = (TILE // PATCH // SCALE) ** 2
    return transformers.Idefics3Processor(images, tokenizer, image_seq_len=tokens_a_tile, chat_template=TEMPLATE)


def make_model(language: Path, processor: transformers.Idefics3Processor) -> transformers.PreTrainedModel:
    """Random eyes on the language model's own weights; new tokens start as the mean of all others."""
    speaker = transformers.AutoModelForCausalLM.from_pretrained(language, dtype=torch.float32)
    before = speaker.get_input_embeddings().num_embeddings
    speaker.resize_token_embeddings(len(processor.tokenizer), mean_resizing=False)
    with torch.no_grad():
        table = speaker.get_input_embeddings().weight
        table[before:] = table[:before].mean(0)
    config = transformers.Idefics3Config(
        text_config=speaker.config.to_dict(),
        vision_config={**TOWER, "image_size": TILE, "patch_size": PATCH},
        scale_factor=SCALE,
        image_token_id=processor.tokenizer.convert_tokens_to_ids(IMAGE),
        pad_token_id=processor.tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    model = transformers.Idefics3ForConditionalGeneration(config)
    model.model.text_model.load_state_dict(speaker.model.state_dict())
    model.tie_weights()
    model.generation_config = speaker.generation_config
    return model


def teach(model: transformers.PreTrainedModel, processor: transformers.Idefics3Processor, lessons: Lessons) -> None:
    """Train tower and projector on captioned synthetic patches; see the module's text."""
    images, captions = draw(lessons)
    pixels = torch.cat([_tiles(processor, images[i : i + 256]) for i in range(0, len(images), 256)])
    said = sorted(set(captions))
    labels = torch.tensor([said.index(caption) for caption in captions])
    words = caption_embeddings(model, processor.tokenizer, said)
    eyes = nn.ModuleList([model.model.vision_model, model.model.connector])
    logger.info(
        "eyes: %d patches, %d captions, %d weights", len(labels), len(said), sum(p.numel() for p in eyes.parameters())
    )
    _train(model, eyes, pixels, labels, words, lessons)
    _fit_norm(model, pixels[:64])


def draw(lessons: Lessons) -> tuple[list[Image.Image], list[str]]:
    """Patches of 2 * TILE pixels and what their captions say is seen."""
    corpus = SimulatedNuclei(kind="simulated_nuclei", slides=lessons.slides, patches=lessons.patches, size=2 * TILE)
    count = lessons.slides * lessons.patches * len(corpus.tissues)
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        cases = list(pool.map(partial(corpus.patch, seed=lessons.seed), range(count), chunksize=64))
    images = [Image.open(io.BytesIO(case.image)).convert("RGB") for case in cases]
    return images, [APPEARANCES[case.label_id].words for case in cases]


def _tiles(processor: transformers.Idefics3Processor, images: list[Image.Image]) -> Tensor:
    """(images, 5, 3, TILE, TILE), as the processor splits them."""
    return processor.image_processor([[image] for image in images], return_tensors="pt")["pixel_values"]


def caption_embeddings(
    model: nn.Module, tokenizer: transformers.PreTrainedTokenizerBase, captions: list[str]
) -> Tensor:
    """Unit vectors (captions, width): mean word embeddings, less what all captions share."""
    table = model.get_input_embeddings().weight.detach()
    means = torch.stack([table[tokenizer(caption)["input_ids"]].mean(0) for caption in captions])
    return functional.normalize(means - means.mean(0), dim=-1)


def image_tokens(model: nn.Module, pixels: Tensor) -> Tensor:
    """What the language model gets of tiles (n, 3, TILE, TILE): (n, tokens, width)."""
    return model.model.connector(model.model.vision_model(pixel_values=pixels).last_hidden_state)


def _train(model: nn.Module, eyes: nn.Module, pixels: Tensor, labels: Tensor, words: Tensor, lessons: Lessons) -> None:
    steps = lessons.epochs * (len(labels) // lessons.batch)
    optimiser = torch.optim.AdamW(eyes.parameters(), lr=lessons.learning_rate, weight_decay=0.05)
    schedule = transformers.get_cosine_schedule_with_warmup(optimiser, steps // 10, steps)
    chance = np.random.default_rng(lessons.seed)
    model.train()
    progress.begin("teaching a model its eyes, once a machine", lessons.epochs, "epochs")
    for _ in range(lessons.epochs):
        losses = []
        order = chance.permutation(len(labels))[: len(labels) // lessons.batch * lessons.batch]
        for batch in order.reshape(-1, lessons.batch):
            seen = functional.normalize(_pooled(model, _altered(pixels[batch], chance)), dim=-1)
            loss = contrastive_loss(20 * seen @ words[labels[batch]].T, labels[batch])
            loss.backward()
            nn.utils.clip_grad_norm_(eyes.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            losses.append(loss.item())
        progress.advance(note=f"loss {np.mean(losses):.3f}")
    model.eval()


def _pooled(model: nn.Module, tiles: Tensor) -> Tensor:
    """The mean token of each image, (images, width)."""
    return image_tokens(model, tiles.flatten(0, 1)).mean(1).view(*tiles.shape[:2], -1).mean(1)


def _altered(tiles: Tensor, chance: np.random.Generator) -> Tensor:
    """Images turned and mirrored, each in its own way, their channels scaled."""
    laid = [
        torch.rot90(image, int(k), (2, 3)) for image, k in zip(tiles, chance.integers(4, size=len(tiles)), strict=True)
    ]
    mirrored = [
        image.flip(3) if flip else image for image, flip in zip(laid, chance.random(len(laid)) < 0.5, strict=True)
    ]
    stain = 1 + 0.1 * chance.uniform(-1, 1, (len(tiles), 1, 3, 1, 1))
    return torch.stack(mirrored) * torch.from_numpy(stain).float()


@torch.no_grad()
def _fit_norm(model: nn.Module, pixels: Tensor) -> None:
    """Scale the projector, which is linear, until image tokens are as long as words."""
    tokens = image_tokens(model, pixels.flatten(0, 1))
    wanted = model.get_input_embeddings().weight.norm(dim=-1).mean()
    model.model.connector.modality_projection.proj.weight.mul_(wanted / tokens.norm(dim=-1).mean())
