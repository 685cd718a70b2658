"""Draws one H&E-like patch: a map of the tissue's compartments, nuclei laid into it, stains mixed over both.

`table` says what each tissue looks like, `anatomy` lays out its compartments, `painting` fills them with
two stains' concentrations, `slide` turns these into colours. All randomness comes from the generator
that the caller passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mint_ray.synthetic.nuclei.anatomy import lay_out
from mint_ray.synthetic.nuclei.painting import paint
from mint_ray.synthetic.nuclei.slide import Slide, encode

if TYPE_CHECKING:
    import numpy as np

    from mint_ray.synthetic.nuclei.table import Appearance


def draw_patch(appearance: Appearance, slide: Slide, rng: np.random.Generator, size: int = 256) -> bytes:
    """One patch as JPEG bytes, RGB, `size` x `size` pixels, always the same field of 64 µm."""
    canvas = paint(lay_out(appearance, rng), appearance, slide, rng)
    return encode(slide.develop(canvas, rng), size)
