"""Philtrum, lips, what shows between them, and clefts."""

from __future__ import annotations

import numpy as np

from mint_ray.synthetic.faces.pen import WHITE, Pen, ellipse, mix

INSIDE, TONGUE, FURROW, CLEFT = (74, 22, 26), (214, 104, 112), (170, 70, 80), (96, 30, 34)
OPEN = 0.012  # a mouth that is open less far counts as closed


def philtrum(pen: Pen) -> None:
    face = pen.face
    depth, half = np.clip(face["philtrum_depth"], 0, 1.2), face["philtrum_width"]
    top, low = pen.nose_y + 0.025, pen.mouth_y - face["upper_lip"] - 0.005
    if low - top < 0.01:
        return
    for side in (-1, 1):
        pen.line([(half * 0.7, top), (half * 1.15, low)], pen.deep, 0.018, 1.1 * depth, side)
    pen.soft(0, (top + low) / 2, half, (low - top) / 2, pen.deep, 1.1 * (depth - 0.35))


def mouth(pen: Pen) -> None:
    face, gap = pen.face, pen.face["mouth_open"]
    x, top, upper, lower, bottom = edges(pen)
    if gap > OPEN:
        _inside(pen, x, upper, lower)
    pen.band(x, top, upper, mix(pen.lip, pen.deep, 0.18))
    pen.band(x, lower, bottom, pen.lip)
    thick = bottom[10] - lower[10]
    pen.soft(0, lower[10] + thick / 2, face["mouth_width"] * 0.4, thick * 0.35, pen.light, 0.6)
    pen.line(np.column_stack([x, upper if gap > OPEN else (upper + lower) / 2]), pen.deep, 0.012)
    if face["lip_eversion"] > 0.4:
        pen.line(np.column_stack([x, bottom + 0.012])[4:17], pen.deep, 0.022, 0.8 * face["lip_eversion"])
        pen.line(np.column_stack([x, bottom - 0.018])[6:15], pen.light, 0.016, face["lip_eversion"])
    _clefts(pen, top[10], upper[10])


def edges(pen: Pen) -> tuple[np.ndarray, ...]:
    """x, then y of four edges from above: upper lip, its lower edge, lower lip, its lower edge; each of shape (21,)."""
    face, gap = pen.face, max(pen.face["mouth_open"], 0)
    t = np.linspace(-1, 1, 21)
    corner = pen.mouth_y + face["corners"] * t**2 * 1.6 + face["mouth_skew"] * t
    bow = 0.018 * np.exp(-((t / 0.12) ** 2)) - 0.02 * np.exp(-(((np.abs(t) - 0.28) / 0.16) ** 2))
    tent = np.clip(0.06 * face["tent"] * (1 - np.abs(t)) ** 1.2, -0.01, 1)
    upper = corner - gap * 0.3 * (1 - t**2) - tent * (0.9 if gap > OPEN else 0.5)
    lower = corner + gap * 1.1 * (1 - t**2)
    thick = max(face["upper_lip"], 0.006) * (1 - np.abs(t) ** 2.2)
    top = upper - thick + face["cupid_bow"] * bow * (thick > 0.004) - 0.4 * tent
    bottom = lower + max(face["lower_lip"], 0.008) * (1 - t**2) ** 0.8
    return t * face["mouth_width"], top, upper, lower, bottom


def _inside(pen: Pen, x: np.ndarray, top: np.ndarray, low: np.ndarray) -> None:
    """The open mouth: dark, teeth with their gaps, tongue."""
    face = pen.face
    pen.band(x, top, low, INSIDE)
    if face["teeth"] > 0.4:
        pen.band(x[4:17], top[4:17], top[4:17] + 0.022, WHITE, face["teeth"])
        for i in range(5, 17, 2):
            pen.line([(x[i], top[i]), (x[i], top[i] + 0.03)], INSIDE, 0.018, face["teeth_gap"])
    if face["tongue"] > 0.4:
        out = 0.03 + 0.05 * face["tongue"]
        pen.fill(ellipse(0, low[10] + 0.2 * out, face["mouth_width"] * 0.55, out, 24), TONGUE)
        pen.line([(0, low[10] - 0.4 * out), (0, low[10] + 0.9 * out)], FURROW, 0.012)


def _clefts(pen: Pen, top: float, low: float) -> None:
    face, half = pen.face, 0.04
    places = [(face["cleft"], 0.055), (face["cleft_middle"], 0.0)]
    places += [(face["cleft_both"], 0.055), (face["cleft_both"], -0.055)]
    for strength, x in places:
        if strength > 0.5:
            right = [(half, low + 0.006), (half * 0.6, top)]
            gap = [
                *((x - dx, y) for dx, y in right),
                (x * 0.9, pen.nose_y + 0.01),
                *((x + dx, y) for dx, y in reversed(right)),
            ]
            pen.fill(gap, CLEFT, strength)
            pen.line(gap, pen.lip, 0.012)
