"""Slides: what a laboratory's stains, light and focus make of two concentrations a pixel.

Colours follow the Beer-Lambert law, `I = I0 * exp(-sum(concentration * stain))`, with the stain vectors
of Ruifrok and Johnston (2001).
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image
from scipy import ndimage

from mint_ray.synthetic.nuclei.noise import FIELD, noise

_HEMATOXYLIN = np.array([0.65, 0.70, 0.29], np.float32)
_EOSIN = np.array([0.10, 0.88, 0.42], np.float32)
_MELANIN = np.array([0.45, 0.62, 0.80], np.float32)


@dataclass
class Canvas:
    """Concentrations a pixel."""

    hematoxylin: np.ndarray
    eosin: np.ndarray
    pigment: np.ndarray


@dataclass(frozen=True)
class Slide:
    """What all patches of one slide share: its stains, its light, its focus, its patient's biology."""

    hematoxylin: np.ndarray
    eosin: np.ndarray
    light: np.ndarray
    strength: tuple[float, float]
    blur: float
    size: float
    crowding: float

    @classmethod
    def draw(cls, rng: np.random.Generator, variation: float) -> Slide:
        """A slide of a laboratory: `variation` 0 makes all slides alike, 1 is the ordinary spread."""

        def around(centre, spread):
            return centre * np.exp(variation * spread * rng.standard_normal(np.shape(centre)).astype(np.float32))

        return cls(
            hematoxylin=_direction(around(_HEMATOXYLIN, 0.09)),
            eosin=_direction(around(_EOSIN, 0.14)),
            light=np.clip(1 - variation * 0.03 * np.abs(rng.standard_normal(3)), 0.88, 1).astype(np.float32),
            strength=(float(around(1.0, 0.17)), float(around(1.0, 0.2))),
            blur=0.5 + variation * rng.uniform(0, 0.75),
            size=float(around(1.0, 0.06)),
            crowding=float(around(1.0, 0.05)),
        )

    def develop(self, canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
        """Concentrations to 8-bit RGB, (FIELD, FIELD, 3)."""
        blue = ndimage.gaussian_filter(canvas.hematoxylin, self.blur) * self.strength[0] * 1.75
        pink = ndimage.gaussian_filter(canvas.eosin, self.blur) * self.strength[1] * 0.85
        density = blue[..., None] * self.hematoxylin + pink[..., None] * self.eosin
        if canvas.pigment.any():
            density += ndimage.gaussian_filter(canvas.pigment, 0.7)[..., None] * _MELANIN * 2
        rgb = 250 * self.light * np.exp(-density) + 2.0 * noise(rng, 0.6)[..., None]
        return np.clip(rgb, 0, 255).astype(np.uint8)


def encode(rgb: np.ndarray, size: int) -> bytes:
    """JPEG bytes, as slide scanners keep their tiles, resampled to `size` x `size`."""
    image, buffer = Image.fromarray(rgb), BytesIO()
    if size != FIELD:
        image = image.resize((size, size), Image.Resampling.BOX if FIELD % size == 0 else Image.Resampling.LANCZOS)
    image.save(buffer, "JPEG", quality=92, subsampling=0)
    return buffer.getvalue()


def _direction(vector: np.ndarray) -> np.ndarray:
    return (vector / np.linalg.norm(vector)).astype(np.float32)
