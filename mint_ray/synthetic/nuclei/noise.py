"""Smooth random fields, cut from a few textures that are made once a process."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage

FIELD = 256  # pixels of the drawn field; other sizes are resampled from it


@lru_cache(maxsize=16)
def texture(scale: float) -> np.ndarray:
    """Smooth noise of unit variance, 512 x 512; patches take windows of it."""
    white = np.random.default_rng(int(scale * 10)).standard_normal((512, 512)).astype(np.float32)
    smooth = ndimage.gaussian_filter(white, scale, mode="wrap")
    return (smooth - smooth.mean()) / smooth.std()


def noise(rng: np.random.Generator, scale: float) -> np.ndarray:
    """A random window of the texture, randomly turned: (FIELD, FIELD)."""
    y, x = rng.integers(0, 512 - FIELD, 2)
    window = texture(scale)[y : y + FIELD, x : x + FIELD]
    window = window.T if rng.random() < 0.5 else window
    return window[:: rng.choice([1, -1]), :: rng.choice([1, -1])]


def normal(rng: np.random.Generator, n: int) -> np.ndarray:
    """n standard normal numbers, float32 as everything here: half the time of float64."""
    return rng.standard_normal(n, np.float32)


def soft(signed: np.ndarray) -> np.ndarray:
    """A mask from a signed distance in pixels, with an edge of two pixels."""
    return np.clip(0.5 + signed * 0.5, 0, 1)


def slope(field: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The direction in which a field rises at each centre, in radians."""
    x, y = np.clip(centres.round().astype(int), 3, FIELD - 4).T
    return np.arctan2(field[y + 3, x] - field[y - 3, x], field[y, x + 3] - field[y, x - 3])
