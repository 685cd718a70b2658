"""Neck, ears, skull, cheeks, forehead and chin."""

from __future__ import annotations

import numpy as np

from mint_ray.synthetic.faces.pen import EYE_HEIGHT, WHITE, Pen, ellipse, mirrored, mix, spline

PATCH = (176, 36, 60)


def body(pen: Pen) -> None:
    pen.fill([(-0.24, 0.3), (0.24, 0.3), (0.27, 1.2), (-0.27, 1.2)], mix(pen.look.skin, pen.shade, 0.35))
    collar = [(-1.3, 1.3), (-0.75, 0.98), (-0.3, 0.88), (0, 0.95), (0.3, 0.88), (0.75, 0.98), (1.3, 1.3)]
    pen.fill(spline(collar), pen.look.shirt)


def skull(pen: Pen) -> None:
    edge = outline(pen)
    pen.fill(edge, pen.look.skin)
    pen.line(np.vstack([edge, edge[:1]]), pen.shade, 0.012, 0.7)


def outline(pen: Pen) -> np.ndarray:
    """The edge of the face, shape (n, 2)."""
    face = pen.face
    full, jaw_y = 0.02 * face["fullness"], pen.mouth_y + 0.02
    temple, cheek, jaw = face["temple"], face["cheek_width"], face["jaw_width"]
    right = [
        (0, -face["crown"]),
        (temple * 0.62, -face["crown"] * 0.92),
        (temple * 0.98, -0.50),
        ((temple + cheek) / 2 + 0.012, -0.2),
        (cheek, 0.06),
        ((cheek + jaw) / 2 + 0.02 + full, jaw_y * 0.62),
        (jaw + full, jaw_y),
        (face["chin_width"] + 0.06, pen.chin_y - 0.09),
        (face["chin_width"] * 0.6, pen.chin_y - 0.012),
        (0, pen.chin_y),
    ]
    return spline(mirrored(right), closed=True)


def ears(pen: Pen) -> None:
    face = pen.face
    if face["ear_height"] < 0.055:
        return
    rim, middle = _rim(pen)
    inner = rim[1:5] * 0.72 + np.array(middle) * 0.28
    for side in (-1, 1):
        pen.fill(spline(rim), mix(pen.look.skin, pen.shade, 0.12), side=side)
        pen.stroke(rim, pen.shade, 0.012, side=side)
        pen.stroke(inner, pen.shade, 0.012, 0.8, side)
        if face["ear_fold"] > 0.45:
            pen.stroke(rim[:4] - [0.012, -0.012], pen.deep, 0.02 + 0.03 * face["ear_fold"], 0.7, side)


def _rim(pen: Pen) -> tuple[np.ndarray, tuple[float, float]]:
    """The right ear's edge, from the upper root to the lobe, shape (6, 2), and the middle of its root."""
    face = pen.face
    height, out, lift = face["ear_height"], face["ear_width"], face["lobe_lift"]
    root, y = face["cheek_width"] - 0.02, EYE_HEIGHT + face["ear_drop"]
    rim = np.array(
        [
            (root, y - height * 0.8),
            (root + out * 0.7, y - height),
            (root + out * 1.25, y - height * 0.5),
            (root + out * 0.95, y + height * 0.25),
            (root + 0.012 + face["lobe"] * 0.9 + 0.05 * lift, y + height * (0.85 - 0.3 * lift)),
            (root - 0.01, y + height * 0.65 + face["lobe"]),
        ]
    )
    rim[:, 0] += face["ear_turn"] * (y - rim[:, 1]) * 0.9
    return rim, (root, y)


def cheeks(pen: Pen) -> None:
    face, look = pen.face, pen.look
    for side in (-1, 1):
        _midface(pen, side)
        _fullness(pen, side)
        fold = [(0.12, pen.nose_y - 0.02), (0.2, pen.nose_y + 0.06), (0.25, pen.mouth_y + 0.02)]
        pen.stroke(fold, pen.shade, 0.016, 0.75 * face["fold"], side)
        if face["ear_tag"] > 0.6:
            x, y = face["cheek_width"] - 0.07, EYE_HEIGHT + face["ear_drop"] + 0.06
            pen.soft(x, y + 0.012, 0.05, 0.05, pen.deep, 0.8, side)
            pen.fill(ellipse(x, y, 0.026, 0.032, 12), mix(pen.light, pen.lip, 0.4), side=side)
        if face["face_hair"] > 0.4:
            _down(pen, side)
    if look.stubble > 0.05:
        pen.soft(0, pen.mouth_y + 0.1, 0.34, 0.2, pen.hair, 0.4 * look.stubble)
    if face["red_patch"] > 0.6:
        patch = [(0.14, 0.02), (0.3, -0.04), (0.46, 0.06), (0.4, 0.22), (0.24, 0.26), (0.16, 0.14)]
        pen.fill(spline(patch, closed=True), PATCH, 0.55)


def _midface(pen: Pen, side: int) -> None:
    """Light on the cheekbones; where the midface is flat, the shadow below the lids."""
    depth, y = pen.face["midface"], EYE_HEIGHT + 0.21
    pen.soft(0.33, y + 0.06, 0.13, 0.1, pen.lip, 0.16 + 0.08 * pen.look.child, side)
    pen.soft(0.33, y, 0.12, 0.06, pen.light, 0.35 + 0.45 * depth, side)
    if depth > 0.3:
        pen.soft(0.35, y - 0.02, 0.11, 0.06, WHITE, 0.8 * depth, side)
        pen.stroke([(0.24, y + 0.06), (0.37, y + 0.08), (0.47, y + 0.01)], pen.shade, 0.014, 0.6 * depth, side)
    if depth < -0.3:
        pen.soft(0.28, y - 0.03, 0.15, 0.07, pen.shade, -0.75 * depth, side)
        pen.stroke([(0.165, y - 0.03), (0.3, y + 0.03), (0.43, y - 0.01)], pen.shade, 0.014, -0.8 * depth, side)


def _fullness(pen: Pen, side: int) -> None:
    full, y = pen.face["fullness"], pen.mouth_y
    if full > 0.3:
        pen.soft(0.37, y - 0.06, 0.13, 0.14, pen.light, 0.7 * full, side)
        pen.stroke([(0.29, y - 0.13), (0.27, y), (0.31, y + 0.11)], pen.shade, 0.014, 0.4, side)
    if full < -0.3:
        pen.soft(0.37, y - 0.1, 0.1, 0.16, pen.deep, -0.55 * full, side)


def _down(pen: Pen, side: int) -> None:
    """Hair on the sides of forehead and cheeks."""
    for i in range(9):
        x, y = 0.36 + 0.014 * (i % 3), -0.42 + 0.1 * i
        pen.line([(x, y), (x * 0.86, y + 0.06)], pen.hair, 0.012, 0.6 * pen.face["face_hair"], side)


def forehead(pen: Pen) -> None:
    face, y = pen.face, -0.38
    forward = face["forehead"]
    pen.soft(0, y, 0.3, 0.12, pen.light, 0.3 + 0.5 * max(forward, 0))
    if forward > 0.35:  # round: shadow all around its light
        for side in (-1, 1):
            pen.soft(0.44, y + 0.04, 0.09, 0.18, pen.shade, 0.6 * forward, side)
        pen.soft(0, y + 0.145, 0.3, 0.035, pen.shade, 0.5 * forward)
    if forward < -0.3:  # falling back: darker upwards
        pen.soft(0, y - 0.14, 0.5, 0.16, pen.shade, -0.9 * forward)
    for side in (-1, 1):
        pen.soft(0.25, y - 0.02, 0.15, 0.12, WHITE, 0.75 * face["bossing"], side)
        pen.soft(0.25, y + 0.12, 0.14, 0.03, pen.shade, 0.5 * face["bossing"], side)
    _ridges(pen)


def _ridges(pen: Pen) -> None:
    """Ridges over the eyes, the bump between them, the keel of the forehead."""
    face = pen.face
    ridge, keel = face["brow_ridge"], face["metopic"]
    for side in (-1, 1):
        pen.soft(0.2, EYE_HEIGHT - 0.13, 0.17, 0.045, pen.light if ridge > 0 else pen.shade, abs(ridge), side)
        pen.soft(0.2, EYE_HEIGHT - 0.075, 0.17, 0.03, pen.deep, 0.7 * ridge, side)
    pen.soft(0, -0.38, 0.035, 0.26, pen.light, 1.2 * keel)
    if keel > 0.4:
        pen.line([(0.04, -0.56), (0.035, -0.22)], pen.shade, 0.014, 0.8 * keel)
    if face["glabella"] > 0.4:
        pen.soft(0, EYE_HEIGHT - 0.15, 0.08, 0.08, pen.deep, 0.5 * face["glabella"])
        pen.soft(0, EYE_HEIGHT - 0.165, 0.06, 0.06, WHITE, face["glabella"])


def chin(pen: Pen) -> None:
    face = pen.face
    y = (pen.mouth_y + face["lower_lip"] + pen.chin_y) / 2
    pen.soft(0, y - 0.04, 0.12, 0.022, pen.shade, 0.45)
    pen.soft(0, pen.chin_y - 0.09, face["chin_width"] * 0.7, 0.05, pen.light, 0.35)
    if face["chin_shadow"] > 0.3:  # a chin that lies back, in the shadow of the lip
        pen.soft(0, y, 0.2, 0.075, pen.deep, 0.6 * face["chin_shadow"])
    if face["chin_crease"] > 0.4:
        pen.stroke([(-0.1, y + 0.01), (0, y - 0.015), (0.1, y + 0.01)], pen.deep, 0.018, face["chin_crease"])
    if face["chin_dimple"] > 0.4:
        pen.line([(0, pen.chin_y - 0.1), (0, pen.chin_y - 0.03)], pen.deep, 0.026, face["chin_dimple"])
