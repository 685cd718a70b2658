"""Synthetic patches of 19 tissues: H&E-like drawings with captions, slides as groups, one seed.

Every patch is drawn from its tissue's row of `mint_ray.synthetic.nuclei.table`; every slide has stains,
light, focus and biology of its own, so what is learned from some slides is asked on others. A patch
depends on the seed and its own id alone: neither on its neighbours nor on how many are drawn.
"""

from __future__ import annotations

import zlib
from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from mint_ray.corpora.base import Corpus, drawn
from mint_ray.errors import RowError
from mint_ray.records import Case
from mint_ray.tasks.base import Label
from mint_ray.tasks.tissue import TISSUES, tissue

if TYPE_CHECKING:
    import numpy as np
    import ray.data

    from mint_ray.synthetic.nuclei import Slide

SOURCE = "simulated nuclei"
_OPENINGS = ("H&E image of {tissue}", "a patch of {tissue} tissue", "{tissue} histology", "nuclei of {tissue}")


class SimulatedNuclei(Corpus):
    """A stand-in for PanNuke with nothing to download. Every case is marked synthetic."""

    tissues: tuple[str, ...] = Field(
        default=tuple(t.id for t in TISSUES), min_length=2, description="ids as PanNuke spells them"
    )
    slides: int = Field(default=10, ge=1, description="slides of each tissue")
    patches: int = Field(default=6, ge=1, description="patches of each slide")
    size: int = Field(default=256, ge=32, le=1024, description="pixels of a side; the field stays 64 µm")
    variation: float = Field(
        default=1.0, ge=0, le=3, description="of stain, light, focus and biology between slides; 0: none"
    )

    @field_validator("tissues")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            try:
                tissue(name)
            except RowError as error:
                raise ValueError(f"{name!r} is no tissue; {error.expected}") from None
        if len(set(names)) < len(names):
            raise ValueError("a tissue stands there twice; name each once")
        return names

    def label_count(self) -> int | None:
        return len(self.tissues)

    def labels(self) -> list[Label] | None:
        return [tissue(name) for name in self.tissues]

    def outcomes(self, seed: int) -> ray.data.Dataset:
        return drawn(self.slides * self.patches * len(self.tissues), partial(self.patch, seed=seed))

    def patch(self, number: int, seed: int) -> Case:
        """The case of that number; tissues take turns, so that any stretch of numbers has all of them."""
        from mint_ray.synthetic.nuclei import Slide, draw_patch
        from mint_ray.synthetic.nuclei.table import APPEARANCES

        rest, which = divmod(number, len(self.tissues))
        label = tissue(self.tissues[which])
        slide_id = f"synthetic-{label.id}-{rest // self.patches:04d}"
        case_id = f"{slide_id}-{rest % self.patches:03d}"
        slide, rng = Slide.draw(_generator(seed, slide_id), self.variation), _generator(seed, case_id)
        return Case(
            case_id=case_id,
            group_id=slide_id,
            label_id=label.id,
            label_name=label.name,
            text=caption(label, APPEARANCES[label.id].words, slide, rng),
            image=draw_patch(APPEARANCES[label.id], slide, rng, self.size),
            synthetic=True,
            source=SOURCE,
        )


def _generator(seed: int, name: str) -> np.random.Generator:
    import numpy as np

    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def caption(label: Label, words: str, slide: Slide, rng: np.random.Generator) -> str:
    """A sentence as a pathologist might caption the patch: it names the tissue, what is seen, how it is stained."""
    opening = rng.choice(_OPENINGS).format(tissue=label.name.lower())
    stain = "dark" if slide.strength[0] > 1.1 else "pale" if slide.strength[0] < 0.9 else "well"
    focus = ", slightly out of focus" if slide.blur > 1 else ""
    return f"{opening}: {words}, {stain} stained{focus}."
