"""Hair behind the head and in front of it: hairline, strands, curls, lock and upsweep."""

from __future__ import annotations

import numpy as np

from mint_ray.synthetic.faces.pen import DARK, WHITE, Colour, Pen, ellipse, mirrored, mix, spline


def behind(pen: Pen) -> None:
    length, density = pen.look.long_hair, pen.face["hair_density"]
    if length < 0.2 or density < 0.1:
        return
    low = 0.1 + 0.75 * length
    right = [(0, -pen.face["crown"] - 0.05), (0.56, -0.5), (0.66, 0.0), (0.64, low), (0.3, low + 0.06)]
    pen.fill(_waved(pen, spline(mirrored(right), closed=True)), pen.hair, density)


def front(pen: Pen) -> None:
    face, density = pen.face, float(np.clip(pen.face["hair_density"], 0, 1)) ** 1.3
    if density < 0.03:
        return
    crown, line = face["crown"], min(face["hairline"], face["crown"] - 0.06)
    pen.fill(np.vstack([_waved(pen, _outer_edge(pen, density)), _hairline(pen, line)]), pen.hair, density)
    _strands(pen, line, density)
    if face["curl"] > 0.35:
        _curls(pen, line, density)
    if face["upsweep"] > 0.4:
        for x in (-0.06, 0.0, 0.06):
            sweep = [(x, -line + 0.02), (x + 0.03, -line - 0.09), (x * 2.5, -line - 0.17)]
            pen.stroke(sweep, mix(pen.hair, WHITE, 0.25), 0.018)
    if face["forelock"] > 0.5:
        lock = [(-0.09, -line), (-0.07, -crown - 0.06), (0.07, -crown - 0.06), (0.07, -line)]
        pen.fill(spline(lock, closed=True), WHITE, face["forelock"])


def _outer_edge(pen: Pen, density: float) -> np.ndarray:
    """From the left temple over the crown to the right one."""
    crown, temple, thick = pen.face["crown"], pen.face["temple"], 0.07 * density
    right = [
        (temple * 0.7, -crown * 0.93 - thick),
        (temple + thick * 0.9, -0.45),
        (temple + 0.4 * thick, -0.17),
    ]
    return spline([*((-x, y) for x, y in reversed(right)), (0, -crown - 1.4 * thick), *right])


def _hairline(pen: Pen, line: float) -> np.ndarray:
    """From the right temple to the left one."""
    face, temple, parted = pen.face, pen.face["temple"], 0.1 * pen.look.parting
    peak, sweep = 0.13 * face["widows_peak"], 0.07 * face["upsweep"]
    right = [(temple - 0.03, -0.19), (temple - 0.06, -line + 0.16), (temple * 0.6, -line + 0.02 - 0.3 * peak)]
    middle = [
        (0.12 + parted, -line - 0.015 - 0.5 * sweep - 0.3 * peak),
        (0, -line + peak - sweep),
        (-0.12 + parted, -line - 0.015 + 0.6 * sweep - 0.3 * peak),
    ]
    return spline([*right, *middle, *((-x, y) for x, y in reversed(right))])


def _sheen(pen: Pen, share: float) -> Colour:
    return mix(pen.hair, WHITE if sum(pen.hair) < 240 else DARK, share)


def _strands(pen: Pen, line: float, density: float) -> None:
    face, strength = pen.face, max(pen.face["strands"], 0)
    tone = _sheen(pen, 0.2 + 0.2 * min(strength, 1))
    root = (0.25 * pen.look.parting, -face["crown"] - 0.06)
    for i in range(-4, 5):
        tip = (0.23 * i * face["temple"], -line - 0.03 + 0.0075 * i**2)
        bend = ((root[0] + tip[0]) / 2 + 0.07 * i * face["temple"], (root[1] + tip[1]) / 2 - 0.03)
        pen.stroke([root, bend, tip], tone, 0.007 + 0.012 * strength, (0.3 + 0.4 * strength) * density)
        if strength > 0.75:  # wiry: ends that stand off
            angle = np.pi * (0.5 + i / 10)
            x, y = face["temple"] * np.cos(angle), -0.3 - (face["crown"] - 0.28) * np.sin(angle)
            pen.line([(x, y), (x * 1.16, y - 0.07)], pen.hair, 0.02, density)


def _waved(pen: Pen, edge: np.ndarray) -> np.ndarray:
    """An outer edge of hair with waves as high as the curl is strong."""
    curl = np.clip(pen.face["curl"] - 0.2, 0, 1.2)
    return edge * (1 + 0.05 * curl * np.sin(np.arange(len(edge)) * 1.6))[:, None]


def _curls(pen: Pen, line: float, density: float) -> None:
    face, tone = pen.face, _sheen(pen, 0.3)
    for angle in np.pi * (0.04 + 0.092 * np.arange(11)):
        for ring in (0.0, 0.5):
            x = face["temple"] * (1.04 - 0.2 * ring) * np.cos(angle + 0.2 * ring)
            y = -(face["crown"] + 0.05 - ring * (face["crown"] - line)) * np.sin(angle + 0.2 * ring)
            if y < -0.12:
                pen.fill(ellipse(x, y, 0.065, 0.065, 14), pen.hair, density)
                pen.line(ellipse(x, y, 0.04, 0.04, 12)[:9], tone, 0.012, min(face["curl"], 1) * density)
