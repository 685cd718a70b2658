"""Stains over the anatomy: stroma, cytoplasm, lumina, fat, nuclei, pigment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from mint_ray.synthetic.nuclei.anatomy import Anatomy, maturity, scatter
from mint_ray.synthetic.nuclei.noise import FIELD, noise, slope, soft
from mint_ray.synthetic.nuclei.outlines import discs, paint_nuclei
from mint_ray.synthetic.nuclei.slide import Canvas, Slide
from mint_ray.synthetic.nuclei.table import FIBROBLAST, LYMPHOCYTE, Appearance


def paint(anatomy: Anatomy, appearance: Appearance, slide: Slide, rng: np.random.Generator) -> Canvas:
    """The concentrations of a patch, from the back to the front."""
    canvas = Canvas(*(np.zeros((FIELD, FIELD), np.float32) for _ in range(3)))
    _paint_stroma(canvas, anatomy, appearance, rng)
    centres = scatter(anatomy.zone * anatomy.cells, appearance.spacing * slide.crowding, rng)
    _paint_cytoplasm(canvas, anatomy, appearance, centres, rng)
    _paint_lumen(canvas, anatomy, appearance, rng)
    _paint_fat(canvas, anatomy, appearance, rng)
    _paint_blood(canvas, anatomy, appearance, rng)
    _paint_stroma_cells(canvas, anatomy, appearance, slide, rng)
    _paint_epithelial_nuclei(canvas, anatomy, appearance, slide, centres, rng)
    _paint_pigment(canvas, anatomy, appearance, rng)
    return canvas


def _paint_stroma(canvas: Canvas, anatomy: Anatomy, a: Appearance, rng: np.random.Generator) -> None:
    """Bundles of eosin fibres along the contours of `flow`, with clefts between them."""
    profile = ndimage.gaussian_filter1d(rng.standard_normal(2048), 1.2 + 3.2 * a.weave, mode="wrap")
    profile = (profile / profile.std()).astype(np.float32)
    fibre = profile[(anatomy.flow * 3).astype(int) % 2048] + 0.45 * noise(rng, 2.5) + 0.5 * noise(rng, 12)
    stroma = 1 - anatomy.cells
    cleft = soft(7 * (fibre - 1.9 + 1.7 * a.clefts))
    canvas.eosin += stroma * np.clip(a.fibres * (0.62 - 0.3 * fibre), 0.03, None) * (1 - 0.9 * cleft)
    canvas.hematoxylin += stroma * (1 - cleft) * np.clip(0.07 + 0.04 * fibre, 0, None)


def _paint_cytoplasm(
    canvas: Canvas, anatomy: Anatomy, a: Appearance, centres: np.ndarray, rng: np.random.Generator
) -> None:
    """Each cell its own shade; granules, fat droplets, mucin drops and borders as the table says."""
    cell, border = _voronoi(centres)
    shade = rng.normal(1, 0.1, len(centres) + 1).astype(np.float32)
    shade[rng.random(len(centres) + 1) < a.clear] *= 0.3
    eosin = (
        a.pink * shade[cell] * (1 + a.grain * (0.5 * noise(rng, 1.2) + 0.4 * noise(rng, 2.5)) + 0.14 * noise(rng, 12))
    )
    blue = np.full_like(eosin, a.blue)
    if a.layout == "rings" and a.blue > 0.3:  # acini: blue bases, pink centres
        apical = np.clip(1.25 - anatomy.depth / a.scale, 0, 1)
        eosin, blue = eosin * (0.35 + apical), blue * (1.15 - apical)
    if a.vacuoles:
        droplets = soft(4 * (noise(rng, 1.6) + 0.8 * noise(rng, 12) - 1.6 + 1.9 * a.vacuoles))
        eosin = eosin * (1 - 0.75 * droplets)
    if a.layered:
        eosin = eosin * (0.75 + 0.7 * maturity(anatomy.depth)) + 0.05 * maturity(anatomy.depth) * np.sin(
            anatomy.depth * 0.9
        )
    if a.keratin:
        whorl = np.clip(noise(rng, 20) + a.keratin - 1.6, 0, 1) * 2
        eosin = eosin * (1 + 1.3 * whorl) + 0.15 * whorl * np.sin(anatomy.flow * 0.8)
    if a.borders > 0:
        eosin = eosin + a.borders * border * 0.55
    else:
        eosin = eosin * (1 + a.borders * np.clip(1.6 * border, 0, 1.1))
    canvas.eosin += anatomy.cells * np.clip(eosin, 0.02, None)
    canvas.hematoxylin += anatomy.cells * np.clip(blue, 0, None)
    if a.goblets:
        _paint_goblets(canvas, anatomy, a, centres, rng)


def _voronoi(centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The index of the nearest centre at each pixel, and a map of the borders between them."""
    half = FIELD // 2
    seeds = np.full((half, half), -1, np.int32)
    x, y = np.clip(centres / 2, 0, half - 1).astype(int).T if len(centres) else (np.empty(0, int), np.empty(0, int))
    seeds[y, x] = np.arange(len(centres))
    if not len(centres):
        return np.zeros((FIELD, FIELD), int), np.zeros((FIELD, FIELD), np.float32)
    iy, ix = ndimage.distance_transform_edt(seeds < 0, return_distances=False, return_indices=True)
    cell = seeds[iy, ix]
    edge = np.zeros((half, half), np.float32)
    edge[:-1] += cell[:-1] != cell[1:]
    edge[:, :-1] += cell[:, :-1] != cell[:, 1:]
    border = ndimage.zoom(ndimage.gaussian_filter(np.minimum(edge, 1), 0.7), 2, order=1)
    return cell.repeat(2, 0).repeat(2, 1), border


def _paint_goblets(
    canvas: Canvas, anatomy: Anatomy, a: Appearance, centres: np.ndarray, rng: np.random.Generator
) -> None:
    """Pale drops of mucin on the side of the cell that faces the lumen."""
    chosen = centres[rng.random(len(centres)) < a.goblets]
    if not len(chosen):
        return
    inward = slope(anatomy.depth, chosen) + np.pi
    lift = a.radius * a.elongation * rng.uniform(1.1, 1.9, len(chosen))
    drops = chosen + lift[:, None] * np.stack([np.cos(inward), np.sin(inward)], 1)
    radius = a.radius * rng.uniform(0.65, 0.95, len(drops))
    for patch, alpha in discs(drops, radius * 1.3, radius * 0.85, inward, 0.08, rng):
        inside = alpha * anatomy.cells[patch]
        canvas.eosin[patch] *= 1 - 0.85 * inside
        canvas.hematoxylin[patch] += 0.07 * inside


def _paint_lumen(canvas: Canvas, anatomy: Anatomy, a: Appearance, rng: np.random.Generator) -> None:
    lumen = anatomy.lumen
    canvas.eosin *= 1 - lumen
    canvas.hematoxylin *= 1 - lumen
    if a.lumen == "colloid":
        shrunk = np.clip(a.scale * (1 - a.wall) - anatomy.depth - rng.uniform(-2, 4), 0, 2) / 2
        canvas.eosin += lumen * shrunk * rng.uniform(0.6, 0.95) * (1 + 0.04 * noise(rng, 6))
    elif a.lumen == "mucin":
        canvas.hematoxylin += lumen * np.clip(0.08 + 0.06 * noise(rng, 6) + 0.04 * noise(rng, 2.5), 0, None)
        canvas.eosin += lumen * 0.04
    elif a.lumen == "secretion":
        canvas.eosin += lumen * np.clip(0.12 * (noise(rng, 6) + 0.6 * noise(rng, 1.6)), 0, None)


def _paint_fat(canvas: Canvas, anatomy: Anatomy, a: Appearance, rng: np.random.Generator) -> None:
    """Fat cells in groups: empty, with a thin pink membrane."""
    if not a.fat or rng.random() > a.fat:
        return
    group = (noise(rng, 30) > 0.3) * (1 - anatomy.cells)
    centres = scatter(group, 46, rng)
    if not len(centres):
        return
    radius = rng.uniform(19, 25, len(centres))
    for patch, alpha in discs(centres, radius * 1.08, radius, rng.uniform(0, np.pi, len(centres)), 0.05, rng):
        rim = 4 * alpha * (1 - alpha)
        for layer, tint in ((canvas.eosin, 0.5), (canvas.hematoxylin, 0.06)):
            layer[patch] = layer[patch] * (1 - alpha) + tint * rim * 0.8
        anatomy.lumen[patch] = np.maximum(anatomy.lumen[patch], alpha)


def _paint_blood(canvas: Canvas, anatomy: Anatomy, a: Appearance, rng: np.random.Generator) -> None:
    red = scatter(_open_stroma(anatomy) * (noise(rng, 12) > 1.5 - a.blood), 9, rng) if a.blood else ()
    if not len(red):
        return
    for patch, alpha in discs(red, np.full(len(red), 5.5), np.full(len(red), 4.8), np.zeros(len(red)), 0.1, rng):
        canvas.eosin[patch] = canvas.eosin[patch] * (1 - alpha) + alpha * 1.15


def _open_stroma(anatomy: Anatomy) -> np.ndarray:
    return (1 - anatomy.cells) * (1 - anatomy.lumen)


def _paint_stroma_cells(
    canvas: Canvas, anatomy: Anatomy, a: Appearance, slide: Slide, rng: np.random.Generator
) -> None:
    """Fibroblasts along the fibres, lymphocytes anywhere."""
    if a.spindles:
        spacing = a.spacing if a.layout == "bundles" else 19 / np.sqrt(max(a.spindles, 0.6))
        centres = scatter(_open_stroma(anatomy), spacing, rng, min(1, 0.75 * a.spindles))
        paint_nuclei(canvas, centres, slope(anatomy.flow, centres) + np.pi / 2, FIBROBLAST, slide.size, rng)
    if a.lymphocytes:
        crowd = _open_stroma(anatomy) * np.clip(0.6 + noise(rng, 20), 0, 1)
        centres = scatter(crowd, 12, rng, min(1, 0.7 * a.lymphocytes))
        paint_nuclei(canvas, centres, rng.uniform(0, np.pi, len(centres)), LYMPHOCYTE, slide.size, rng)


def _paint_epithelial_nuclei(
    canvas: Canvas, anatomy: Anatomy, a: Appearance, slide: Slide, centres: np.ndarray, rng: np.random.Generator
) -> None:
    angle = rng.uniform(0, np.pi, len(centres))
    if a.orient != "any":
        turn = np.pi / 2 if a.orient == "tangential" else 0
        angle = slope(anatomy.depth, centres) + turn + rng.normal(0, 0.25, len(centres))
    if not a.layered:
        paint_nuclei(canvas, centres, angle, a, slide.size, rng)
        return
    x, y = np.clip(centres, 0, FIELD - 1).astype(int).T
    ripe = maturity(anatomy.depth[y, x])
    for low, high, flat in ((-1, 0.45, 1.0), (0.45, 0.8, 1.7), (0.8, 2, 2.6)):
        layer = (ripe >= low) & (ripe < high)
        paint_nuclei(canvas, centres[layer], angle[layer], replace(a, elongation=a.elongation * flat), slide.size, rng)


def _paint_pigment(canvas: Canvas, anatomy: Anatomy, a: Appearance, rng: np.random.Generator) -> None:
    if a.pigment:
        dust = np.clip(1.1 * noise(rng, 1.6) + 1.3 * noise(rng, 12) - 3.1 + 0.9 * a.pigment, 0, 1.4)
        canvas.pigment += dust * (1 - anatomy.lumen)
