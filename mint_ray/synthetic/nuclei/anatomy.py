"""Where things lie in a patch: cells, lumina and stroma by the tissue's layout, and points scattered in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, spatial

from mint_ray.synthetic.nuclei.noise import FIELD, noise, soft
from mint_ray.synthetic.nuclei.table import Appearance

_Y, _X = np.mgrid[0:FIELD, 0:FIELD].astype(np.float32)


@dataclass
class Anatomy:
    """Maps over the field: where cells are, where nothing is, where nuclei may lie (0 to 1), and two
    fields whose slopes give directions: `depth` within a structure, `flow` across the fibres.
    """

    cells: np.ndarray
    lumen: np.ndarray
    zone: np.ndarray
    depth: np.ndarray
    flow: np.ndarray


def lay_out(appearance: Appearance, rng: np.random.Generator) -> Anatomy:
    """The maps of a patch, by the tissue's layout."""
    return _LAYOUTS[appearance.layout](appearance, rng)


def _flow(rng: np.random.Generator, depth: np.ndarray | None = None) -> np.ndarray:
    """A field that rises across the fibres, in pixels: straight and wavy, or around the structures."""
    angle = rng.uniform(0, np.pi)
    straight = _X * np.cos(angle) + _Y * np.sin(angle)
    waves = 7 * noise(rng, 20) + 1.2 * noise(rng, 6)
    return (0.35 * straight + depth if depth is not None else straight) + waves


def _rings(a: Appearance, rng: np.random.Generator) -> Anatomy:
    """Glands, follicles, tubules, acini, alveoli: rings around lumina, or solid."""
    warp = 0.13 * a.scale
    x, y = _X + warp * noise(rng, 12), _Y + warp * noise(rng, 12)
    nearest = np.full((FIELD, FIELD), 9, np.float32)
    second = nearest.copy()
    for cx, cy in _grid(2 * a.scale * a.gap, rng):
        radius, turn = a.scale * rng.uniform(0.82, 1.18), rng.uniform(0, np.pi)
        long, short = radius * rng.uniform(1, 1.25), radius * rng.uniform(0.8, 1)
        reach = int(1.9 * long)
        window = np.s_[
            max(0, int(cy) - reach) : max(0, int(cy) + reach), max(0, int(cx) - reach) : max(0, int(cx) + reach)
        ]
        dx, dy = x[window] - cx, y[window] - cy
        u, v = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
        rho = np.sqrt((u / long) ** 2 + (v / short) ** 2)
        second[window] = np.minimum(second[window], np.maximum(rho, nearest[window]))
        nearest[window] = np.minimum(nearest[window], rho)
    within = np.minimum(1 - nearest, 0.55 * (second - nearest) - 0.02) * a.scale
    cells = soft(within)
    lumen = soft((1 - a.wall - nearest) * a.scale + 1.2 * noise(rng, 3)) * cells if a.wall < 1 else np.zeros_like(cells)
    zone = np.exp(-(((nearest - a.basal) / a.stratified) ** 2)) * (within > 0.35 * a.radius)
    depth = np.minimum(nearest, 2.5) * a.scale
    return Anatomy(cells * (1 - lumen), lumen, zone, depth, _flow(rng, depth))


def _plates(a: Appearance, rng: np.random.Generator) -> Anatomy:
    """Plates or nests of cells parted by thin sinusoids or septa."""
    field = noise(rng, a.scale / 3.2)
    slope = np.hypot(*np.gradient(field)) + 0.004
    distance = np.abs(field) / slope  # pixels to the nearest contour, which becomes a sinusoid
    cells = soft(distance - rng.uniform(2.5, 4) - 5 * (a.lymphocytes > 1))
    return Anatomy(cells, np.zeros_like(cells), (distance > 0.9 * a.radius) * cells, distance, _flow(rng, distance))


def _nests(a: Appearance, rng: np.random.Generator) -> Anatomy:
    """Islands of cells in stroma."""
    field = noise(rng, a.scale / 2.6) + rng.uniform(-0.05, 0.35)
    slope = np.hypot(*np.gradient(ndimage.gaussian_filter(field, 4))) + 0.02
    distance = field / slope + 2 * noise(rng, 3)
    cells = soft(distance)
    depth = np.clip(-distance, -60, 60)
    return Anatomy(cells, np.zeros_like(cells), (distance > 0.7 * a.radius) * cells, depth, _flow(rng, 0.6 * depth))


def _sheet(a: Appearance, rng: np.random.Generator) -> Anatomy:
    """Cells everywhere, torn here and there; `depth` rises towards the surface of a layered one."""
    angle = rng.uniform(0, 2 * np.pi)
    along = (_X - FIELD / 2) * np.cos(angle) + (_Y - FIELD / 2) * np.sin(angle)
    tears = noise(rng, 7) + 0.4 * noise(rng, 2.5)
    cells = soft(12 * (2.3 - 1.9 * a.clefts - tears)) if a.clefts else np.ones_like(along)
    depth = along + 9 * noise(rng, 20)
    crowd = np.exp(-3.2 * maturity(depth)) if a.layered else 1.0
    return Anatomy(cells, 1 - cells, cells * crowd, depth, depth)


def maturity(depth: np.ndarray) -> np.ndarray:
    """How far a layered epithelium has ripened: 0 in its basal layer, 1 at its surface."""
    return np.clip(0.42 + depth / FIELD, 0, 1)


def _bundles(a: Appearance, rng: np.random.Generator) -> Anatomy:
    """Stroma alone."""
    empty = np.zeros((FIELD, FIELD), np.float32)
    return Anatomy(empty, empty, empty, empty, _flow(rng) + 14 * noise(rng, 30))


_LAYOUTS = {"rings": _rings, "plates": _plates, "nests": _nests, "sheet": _sheet, "bundles": _bundles}


def _grid(spacing: float, rng: np.random.Generator) -> np.ndarray:
    """A jittered hexagonal grid over the field and its margin, turned at random: (n, 2) of x, y."""
    n = int(FIELD / spacing) + 3
    i, j = np.mgrid[-n : n + 1, -n : n + 1]
    points = np.stack([(i + 0.5 * (j % 2)).ravel(), (0.87 * j).ravel()], axis=1) + rng.uniform(
        -0.12, 0.12, ((2 * n + 1) ** 2, 2)
    )
    turn = rng.uniform(0, np.pi)
    turned = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) * spacing
    turned += FIELD / 2 + rng.uniform(-spacing, spacing, 2)
    return turned[np.all((turned > -spacing) & (turned < FIELD + spacing), axis=1)]


def scatter(weight: np.ndarray, spacing: float, rng: np.random.Generator, share: float = 1.0) -> np.ndarray:
    """Points of the field with no two closer than `spacing`, drawn where `weight` is high: (n, 2) of x, y.

    `share` thins what would fill the field.
    """
    tries = int(8 * (FIELD / spacing) ** 2) + 1
    points = rng.uniform(-6, FIELD + 6, (tries, 2))
    x, y = np.clip(points, 0, FIELD - 1).astype(int).T
    points = points[rng.random(tries) < weight[y, x]]
    if len(points) < 2:
        return points
    taken = np.ones(len(points), bool)
    tree = spatial.cKDTree(points)  # pyright: ignore[reportAttributeAccessIssue] compiled, and unknown to scipy's types
    pairs = tree.query_pairs(spacing, output_type="ndarray")
    for first, later in pairs[pairs[:, 0].argsort()].tolist():  # of two that are too close the earlier one stays
        if taken[first]:
            taken[later] = False
    points = points[taken]
    return points[: int(np.ceil(share * len(points)))] if share < 1 else points
