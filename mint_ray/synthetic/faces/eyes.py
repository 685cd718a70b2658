"""Eyes, lids, lashes and brows. Each part draws one `side`; coordinates are those of the right half."""

from __future__ import annotations

import numpy as np

from mint_ray.synthetic.faces.pen import DARK, EYE_HEIGHT, WHITE, Pen, ellipse, mix, spline

BLUE, SORE, PUPIL = (130, 160, 214), (196, 84, 84), (12, 10, 10)


def eye(pen: Pen, side: int) -> None:
    face = pen.face
    _orbit(pen, side)
    x, upper, lower = lids(pen)
    top, bottom = np.column_stack([x, upper]), np.column_stack([x, lower])
    _everted_lid(pen, side, bottom)
    pen.fill(np.vstack([top, bottom[::-1]]), mix(WHITE, BLUE, 0.8 * face["blue_sclera"]), side=side)
    _iris(pen, side, x, upper, lower)
    _notch(pen, side, bottom[8])
    pen.line(top, DARK, 0.017, side=side)
    pen.line(bottom, pen.deep, 0.009, 0.7, side)
    crease = np.column_stack([x, upper - 0.022 - 0.02 * max(face["bulge"], 0)])
    pen.line(crease[2:-1], pen.shade, 0.010, 0.8, side)
    if face["ptosis"] > 0.25:
        pen.soft(face["eye_gap"], EYE_HEIGHT - 0.045, 0.1, 0.03, pen.shade, 0.4 * face["ptosis"], side)
    _lashes(pen, side, top)
    _epicanthus(pen, side, *top[0])


def lids(pen: Pen) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The fissure from the inner corner to the outer: x, y of the upper edge, y of the lower, each of shape (13,)."""
    face = pen.face
    t = np.linspace(0, 1, 13)
    start = face["eye_gap"] - face["eye_length"] + face["canthus"]
    end = face["eye_gap"] + face["eye_length"] + 0.25 * face["canthus"]
    axis = EYE_HEIGHT + face["slant"] * (1 - 2 * t)
    opening = max(face["eye_open"] + 0.004 * pen.look.child, 0.016)
    arch = np.sin(np.pi * t) ** (0.8 + 0.8 * np.clip(face["eye_point"], 0, 1))
    fallen = 1.15 * np.clip(face["ptosis"], 0, 0.9)
    dropped = 0.035 * face["lid_eversion"] + 0.06 * face["lateral_eversion"] * np.clip(t - 0.4, 0, 1)
    lower = axis + (opening * 0.85 + np.clip(dropped, 0, 1)) * np.sin(np.pi * t) ** 0.9
    return start + (end - start) * t, axis - opening * arch * (1 - fallen), lower


def _orbit(pen: Pen, side: int) -> None:
    """What surrounds the eye: a deep or a bulging socket, puffy lids, a crease."""
    face, x, y = pen.face, pen.face["eye_gap"], EYE_HEIGHT
    bulge, puffy = face["bulge"], face["puffiness"]
    if bulge < -0.3:
        pen.soft(x, y - 0.05, 0.16, 0.1, pen.deep, -0.75 * bulge, side)
    if bulge > 0.3:
        pen.soft(x, y, 0.165, 0.13, pen.light, 0.9 * bulge, side)
        pen.stroke([(x - 0.13, y + 0.05), (x, y + 0.125), (x + 0.13, y + 0.05)], pen.shade, 0.012, 0.7 * bulge, side)
    if puffy > 0.3:
        pen.soft(x, y + 0.11, 0.13, 0.06, pen.light, puffy, side)
        pen.stroke([(x - 0.12, y + 0.1), (x, y + 0.165), (x + 0.12, y + 0.1)], pen.shade, 0.018, 0.8 * puffy, side)
        pen.soft(x, y - 0.085, 0.12, 0.035, pen.light, puffy, side)
    if face["eye_crease"] > 0.4:
        crease = [(x - 0.09, y + 0.075), (x, y + 0.11), (x + 0.1, y + 0.09)]
        pen.stroke(crease, pen.deep, 0.012, face["eye_crease"], side)


def _iris(pen: Pen, side: int, x: np.ndarray, upper: np.ndarray, lower: np.ndarray) -> None:
    """Iris and pupil, cut off where the lids cover them."""
    middle, radius = pen.face["eye_gap"], 0.047 * (1 + 0.1 * pen.look.child)
    for share, colour in ((1.0, pen.look.iris), (0.45, PUPIL)):
        disc = ellipse(middle, EYE_HEIGHT + 0.002, radius * share, radius * share, 24)
        top, bottom = np.interp(disc[:, 0], x, upper), np.interp(disc[:, 0], x, lower)
        disc[:, 1] = np.clip(disc[:, 1], top, np.maximum(top, bottom))
        pen.fill(disc, colour, side=side)
    if pen.face["ptosis"] < 0.5:
        pen.fill(ellipse(middle * side + 0.014, EYE_HEIGHT - 0.012, 0.009, 0.009, 8), WHITE, 0.9)


def _everted_lid(pen: Pen, side: int, lower: np.ndarray) -> None:
    face = pen.face
    for strength, part in ((face["lid_eversion"], slice(2, 12)), (face["lateral_eversion"], slice(7, 13))):
        if strength > 0.4:
            pen.line(lower[part] + np.array([0, 0.012]), SORE, 0.034, strength, side)


def _notch(pen: Pen, side: int, at: np.ndarray) -> None:
    strength, (x, y) = pen.face["lid_notch"], at
    if strength > 0.4:
        pen.fill([(x - 0.034, y - 0.008), (x + 0.034, y - 0.008), (x, y + 0.075)], WHITE, strength, side)
        pen.line([(x - 0.034, y), (x, y + 0.075), (x + 0.034, y)], SORE, 0.014, strength, side)


def _lashes(pen: Pen, side: int, upper: np.ndarray) -> None:
    length, density = pen.face["lash_length"], np.clip(pen.face["lash_density"], 0, 1)
    if density < 0.1 or length < 0.004:
        return
    for i in range(2, 13, 1 if density > 0.6 else 2):
        x, y = upper[i]
        pen.line([(x, y), (x + length * (i - 4) / 9, y - length)], DARK, 0.008, density, side)


def _epicanthus(pen: Pen, side: int, x: float, y: float) -> None:
    """A fold of skin over the inner corner."""
    strength = pen.face["epicanthus"]
    if strength < 0.3:
        return
    fold = spline([(x + 0.05, y - 0.075), (x + 0.012, y - 0.03), (x + 0.032, y + 0.018), (x + 0.002, y + 0.05)])
    cover = np.vstack([fold, [(x - 0.03, y + 0.04), (x - 0.03, y - 0.06)]])
    pen.fill(cover, pen.look.skin, 1.3 * strength, side)
    pen.line(fold, pen.deep, 0.014, strength, side)


def brow(pen: Pen, side: int) -> None:
    face = pen.face
    t, edge, height = _brow_shape(pen)
    colour = mix(mix(pen.hair, DARK, 0.3), WHITE, face["brow_white"])
    density = np.clip(face["brow_density"], 0, 1)
    share = density * np.clip(np.where(t < 0.45, face["medial_brow"], face["lateral_brow"]), 0, 1)
    for i in range(10):
        reach = np.column_stack([np.zeros(2), height[i : i + 2]])
        pen.fill(np.vstack([edge[i : i + 2] - reach, (edge[i : i + 2] + reach)[::-1]]), colour, share[i], side)
    if density > 0.5:
        for (x, y), h in zip(edge[:10:2], height[:10:2], strict=True):
            pen.line([(x, y + h), (x + 0.03, y - 1.3 * h)], colour, 0.008, density, side)


def _brow_shape(pen: Pen) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Along the brow from inside to outside: position 0 to 1, middle line of shape (11, 2), half-height."""
    face = pen.face
    t = np.linspace(0, 1, 11)
    x = face["eye_gap"] - 0.145 - 0.01 * np.clip(face["synophrys"], 0, 1) + t * (0.145 + face["brow_length"])
    bend = 0.15 - 1.3 * np.sin(np.pi * 0.85 * t) ** 1.3 + 0.7 * t**3
    y = EYE_HEIGHT - 0.14 - 0.4 * max(face["brow_arch"] - 0.035, 0) + 0.02 * pen.look.child + face["brow_arch"] * bend
    height = max(face["brow_height"], 0.008) * (0.62 + 0.75 * np.sin(np.pi * (0.8 * t + 0.12)) - 0.7 * t**2)
    flare = 0.11 * np.clip(face["brow_flare"], 0, 1.2) * np.clip(0.4 - t, 0, 1)
    return t, np.column_stack([x, y]), np.maximum(height, 0.006) + flare


def between_brows(pen: Pen) -> None:
    """The hair of brows that meet."""
    face, strength = pen.face, pen.face["synophrys"]
    if strength < 0.2:
        return
    reach, y = face["eye_gap"] - 0.12, EYE_HEIGHT - 0.135 + 0.4 * face["brow_arch"]
    for x in np.linspace(-reach, reach, 11):
        pen.line([(x, y + 0.03), (x * 1.15, y - 0.035)], mix(pen.hair, DARK, 0.3), 0.022, 0.85 * strength)
