"""Rounded things one by one: nuclei with membrane, chromatin and nucleoli, and plain discs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mint_ray.synthetic.nuclei.noise import FIELD, normal, texture
from mint_ray.synthetic.nuclei.slide import Canvas
from mint_ray.synthetic.nuclei.table import Appearance

Window = tuple[slice, slice]


def paint_nuclei(
    canvas: Canvas, centres: np.ndarray, angle: np.ndarray, style: Appearance, scale: float, rng: np.random.Generator
) -> None:
    """Nuclei over what is there: an outline, a membrane, clumped chromatin, nucleoli.

    Args:
        centres: (n, 2) of x, y; `angle` (n,) turns their long axes.
        style: its nuclear columns; `scale` times its radius is theirs.
    """
    n, radius = len(centres), style.radius * scale
    if not n:
        return
    size = radius * np.exp(style.variety * np.clip(normal(rng, n), -2, 2))
    stretch = np.sqrt(style.elongation * np.exp(0.12 * normal(rng, n)))
    u, v, rho, windows = _local(centres, size * stretch, size / stretch, angle, style.irregular, rng)
    alpha = np.clip((1.02 - rho) * (size / stretch)[:, None, None] / 1.4, 0, 1)
    clumps = _crops(1.2, rho.shape, rng) + 0.7 * _crops(2.5, rho.shape, rng)
    dark = (style.dark * np.exp(0.13 * normal(rng, n)))[:, None, None]
    spot = _nucleoli(u, v, size, style, rng)
    blue = dark * np.clip(1 + 0.45 * style.clumps * clumps, 0.25, None) + 0.7 * spot
    blue += style.rim * np.exp(-(((rho - 0.9) / 0.13) ** 2))
    pink = 0.22 + 0.3 * spot
    for i, (window, inner) in enumerate(windows):
        cover = alpha[i][inner]
        canvas.hematoxylin[window] += cover * (blue[i][inner] - canvas.hematoxylin[window])
        canvas.eosin[window] += cover * (pink[i][inner] - canvas.eosin[window])


def _nucleoli(
    u: np.ndarray, v: np.ndarray, size: np.ndarray, style: Appearance, rng: np.random.Generator
) -> np.ndarray:
    """A round spot off the centre of as many nuclei as the style says, (n, side, side)."""
    n = len(size)
    shown = ((rng.random(n) < style.nucleoli) * rng.uniform(0.6, 1.2, n)).astype(np.float32)
    du, dv = (rng.uniform(-0.35, 0.35, (2, n)).astype(np.float32) * size)[:, :, None, None]
    return shown[:, None, None] * np.exp(-((u - du) ** 2 + (v - dv) ** 2) / (0.22 * size[:, None, None]) ** 2)


def discs(centres, long, short, angle, irregular, rng) -> Iterator[tuple[Window, np.ndarray]]:
    """Soft filled outlines one by one: (slice of the field, its mask)."""
    _, _, rho, windows = _local(centres, long, short, angle, irregular, rng)
    alpha = np.clip((1.03 - rho) * short[:, None, None] / 1.6, 0, 1)
    for i, (window, inner) in enumerate(windows):
        yield window, alpha[i][inner]


def _local(centres, long, short, angle, irregular, rng):
    """Windows around ellipses: coordinates along both axes in pixels, radius relative to the outline
    (all of shape (n, side, side)), and for each the slices of the field and of the window that overlap.
    """
    reach = int(np.ceil(1.15 * max(long.max(), short.max()))) + 1
    centres, long, short, angle = (np.asarray(value, np.float32) for value in (centres, long, short, angle))
    corner = np.floor(centres).astype(np.int32) - reach
    steps = np.arange(2 * reach + 1, dtype=np.float32)
    dx = (corner[:, 0] - centres[:, 0])[:, None, None].astype(np.float32) + steps[None, None, :]
    dy = (corner[:, 1] - centres[:, 1])[:, None, None].astype(np.float32) + steps[None, :, None]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    u, v = dx * cos + dy * sin, dy * cos - dx * sin
    rho = np.sqrt((u / long[:, None, None]) ** 2 + (v / short[:, None, None]) ** 2)
    rho = rho * (1 + irregular * _crops(6, rho.shape, rng))
    windows = [_overlap(x, y, len(steps)) for x, y in corner.tolist()]
    return u, v, rho, windows


def _overlap(x: int, y: int, side: int) -> tuple[Window, Window]:
    """The part of a window at (x, y) that lies on the field, as slices of the field and of the window."""
    (x0, x1), (y0, y1) = ([min(max(end, 0), FIELD) for end in (start, start + side)] for start in (x, y))
    return (slice(y0, y1), slice(x0, x1)), (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))


def _crops(scale: float, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A random crop of the texture for each of n windows."""
    windows = np.lib.stride_tricks.sliding_window_view(texture(scale), shape[1:])
    y, x = rng.integers(0, len(texture(scale)) - max(shape[1:]), (2, shape[0]))
    return windows[y, x]
