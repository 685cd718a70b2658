"""Bridge, tip, wings and columella."""

from __future__ import annotations

import numpy as np

from mint_ray.synthetic.faces.pen import EYE_HEIGHT, WHITE, Pen, ellipse, mix, spline


def nose(pen: Pen) -> None:
    face = pen.face
    _bridge(pen)
    _ridge(pen)
    pen.soft(0, pen.nose_y - 0.04, face["tip_width"], face["tip_width"] * 0.75, pen.light, min(face["tip_light"], 1))
    for side in (-1, 1):
        _wing(pen, side)
    _tip(pen)
    pen.soft(0, pen.nose_y - 0.05, 0.045, 0.045, WHITE, 1.5 * (face["tip_light"] - 0.55))
    _columella(pen)


def _bridge(pen: Pen) -> None:
    """Two edges and a light between them, the stronger the higher the bridge; a low one is a broad shadow."""
    face, tip = pen.face, pen.nose_y
    height, width, bulb = np.clip(face["bridge_height"], 0, 1.2), face["bridge_width"], face["tip_width"]
    edge = [
        (width + 0.035, EYE_HEIGHT - 0.06),
        (width, EYE_HEIGHT + 0.03),
        (width * 0.6 + bulb * 0.4, tip - 0.12),
        (bulb, tip - 0.05),
    ]
    for side in (-1, 1):
        pen.stroke(edge, pen.deep if height > 0.75 else pen.shade, 0.013 + 0.008 * height, 0.15 + 0.75 * height, side)
        pen.soft(width + 0.02, EYE_HEIGHT + 0.01, 0.035, 0.07, pen.shade, 0.7 * height, side)
    pen.soft(0, EYE_HEIGHT + 0.09, width * 0.8, 0.13, pen.light, np.clip(face["nose_light"] * 0.4 + height * 0.9, 0, 1))
    if height > 0.75:
        pen.soft(0, EYE_HEIGHT + 0.06, width * 0.7, 0.15, WHITE, 0.8 * height)
    if height < 0.3:
        pen.soft(0, EYE_HEIGHT + 0.01, 0.09, 0.07, pen.shade, 1.6 * (0.4 - height))


def _ridge(pen: Pen) -> None:
    """A hump (convex) or a dip (concave) halfway down."""
    face, width, ridge = pen.face, pen.face["bridge_width"], pen.face["ridge"]
    if ridge > 0.3:
        pen.soft(0, EYE_HEIGHT + 0.1, width + 0.02, 0.07, WHITE, 0.65 * ridge)
        hump = [
            (width * 0.8, EYE_HEIGHT + 0.02),
            (width + 0.028, EYE_HEIGHT + 0.1),
            (face["tip_width"] * 0.7, pen.nose_y - 0.05),
        ]
        for side in (-1, 1):
            pen.stroke(hump, pen.deep, 0.014, ridge, side)
    if ridge < -0.3:
        pen.soft(0, EYE_HEIGHT + 0.13, width + 0.02, 0.05, pen.deep, -0.7 * ridge)


def _wing(pen: Pen, side: int) -> None:
    face, tip, wing = pen.face, pen.nose_y, pen.face["alae"]
    rim = [
        (face["tip_width"] * 0.95, tip - 0.08),
        (wing, tip - 0.035),
        (wing * 0.92, tip + 0.012),
        (wing * 0.55, tip + 0.016),
    ]
    pen.fill(spline([*rim, (0, tip - 0.03)], closed=True), mix(pen.look.skin, pen.shade, 0.12), side=side)
    pen.stroke(rim, pen.shade, 0.012 + 0.014 * face["alar_weight"], 0.95, side)
    wide = np.clip(face["nostril"], 0.05, 1.3)
    hole = ellipse(wing * 0.5, tip + 0.004 - 0.022 * wide, 0.018 + 0.016 * wide, 0.006 + 0.021 * wide, 14)
    pen.fill(hole, pen.deep, 0.9, side)


def _drop(pen: Pen) -> float:
    """How far the tip hangs: of itself, and with a convex ridge."""
    return max(pen.face["tip_drop"], 0) + 0.025 * max(pen.face["ridge"], 0)


def _tip(pen: Pen) -> None:
    face, tip, bulb, drop = pen.face, pen.nose_y, pen.face["tip_width"], _drop(pen)
    ball = ellipse(0, tip - 0.05 + drop * 0.6, bulb, bulb * 0.8 + drop, 20)
    pen.fill(ball, mix(pen.look.skin, pen.light, 0.35), 0.8)
    if bulb > 0.072:
        pen.line(ball, pen.shade, 0.012, 0.7)
    if face["tip_groove"] > 0.4:
        pen.line([(0, tip - 0.1), (0, tip + 0.01)], pen.deep, 0.02, face["tip_groove"])


def _columella(pen: Pen) -> None:
    tip, wing, hang = pen.nose_y, pen.face["alae"], max(pen.face["columella"], 0)
    if hang > 0.012:
        low = tip + 0.024 + hang
        pen.fill(
            [(-0.025, tip - 0.02), (0.025, tip - 0.02), (0.012, low), (-0.012, low)], mix(pen.look.skin, pen.light, 0.3)
        )
    right = [(wing * 0.45, tip + 0.012), (0.025, tip + 0.014)]
    middle = (0, tip + 0.022 + _drop(pen) + hang)
    pen.stroke([*((-x, y) for x, y in right), middle, *reversed(right)], pen.shade, 0.014)
