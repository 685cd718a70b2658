"""The pen that all parts of a face are drawn with, the palette, and curves.

Points are (x, y) with x to the right and y downwards, the head's middle at (0, 0), half the picture's side as the
unit. Everything is drawn `SUPERSAMPLING` times as large and averaged down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from mint_ray.synthetic.faces.person import Look

Colour = tuple[int, int, int]

SUPERSAMPLING = 3
EYE_HEIGHT = -0.06
FRAME = 1.12  # how much of the picture the head fills
SKINS = (
    (255, 224, 203),
    (247, 207, 178),
    (235, 188, 152),
    (214, 160, 122),
    (180, 124, 88),
    (140, 92, 64),
    (104, 67, 48),
)
HAIRS = ((30, 24, 22), (56, 38, 28), (88, 58, 36), (128, 88, 52), (186, 146, 92))
IRISES = ((70, 46, 30), (98, 66, 38), (92, 104, 66), (84, 124, 158), (104, 118, 128))
BACKGROUNDS = ((214, 224, 232), (226, 226, 218), (204, 214, 206), (228, 216, 216), (200, 206, 220))
SHIRTS = ((92, 118, 150), (130, 144, 110), (160, 104, 96), (96, 96, 112), (190, 178, 150))
RED, GREY, WHITE, DARK = (164, 74, 34), (196, 196, 196), (250, 248, 244), (40, 26, 24)


def between(colours: Sequence[Colour], position: float) -> Colour:
    """The colour at a position between those of a list."""
    position = float(np.clip(position, 0, len(colours) - 1))
    low = min(int(position), len(colours) - 2)
    return mix(colours[low], colours[low + 1], position - low)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    share = min(max(share, 0.0), 1.0)
    return cast("Colour", tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True)))


def spline(points, closed: bool = False, steps: int = 8) -> np.ndarray:
    """A Catmull-Rom curve through points (n, 2)."""
    p = np.asarray(points, float)
    p = np.vstack([p[-1:], p, p[:2]]) if closed else np.vstack([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    curve = curve.transpose(1, 0, 2).reshape(-1, 2)
    return curve if closed else np.vstack([curve, p[-2:-1]])


def mirrored(right) -> list[tuple[float, float]]:
    """A closed symmetric outline from its right half, given from top to bottom."""
    return [*right, *((-x, y) for x, y in reversed(right) if x > 0)]


def ellipse(x: float, y: float, rx: float, ry: float, n: int) -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.column_stack([x + rx * np.cos(t), y + ry * np.sin(t)])


def _byte(alpha: float) -> int:
    return int(255 * min(max(alpha, 0.0), 1.0))


class Pen:
    """One picture in the making. Of any part `side` 1 is the right half of the picture, -1 its mirror image."""

    def __init__(self, face: dict[str, float], look: Look, size: int):
        self.face, self.look, self.size = face, look, size
        side = size * SUPERSAMPLING
        self.image = Image.new("RGB", (side, side), look.background)
        self.canvas = ImageDraw.Draw(self.image, "RGBA")
        self.unit = side / 2
        self.shade = mix(look.skin, (86, 40, 30), 0.45)
        self.deep = mix(look.skin, (60, 26, 22), 0.75)
        self.light = mix(look.skin, (255, 250, 244), 0.55)
        self.lip = mix(look.skin, (176, 60, 66), 0.55)
        self.hair = mix(mix(look.hair, RED, face["red_hair"]), GREY, face["grey"])
        self.nose_y = EYE_HEIGHT + face["nose_length"]
        self.mouth_y = self.nose_y + face["philtrum_length"]
        self.chin_y = max(self.mouth_y + face["chin_height"] - 0.03 * look.child, self.mouth_y + 0.13)

    def place(self, points, side: int = 1) -> list[tuple[float, float]]:
        """Points of the face as pixels: asymmetry, then the head's stand before the camera."""
        face, look = self.face, self.look
        x, y = np.asarray(points, float).T
        x = x * side
        x, y = x * (1 + 2 * face["asymmetry"] * np.sign(x)), y * face["face_stretch"] + face["asymmetry"] * x * 1.6
        x = (x + face["skull_skew"] * np.clip(-y, 0, 1) * 2) / np.sqrt(face["face_stretch"])
        x, y = x * look.scale * FRAME, y * look.scale * FRAME + 0.08
        cos, sin = np.cos(look.tilt), np.sin(look.tilt)
        x, y = x * cos - y * sin + look.shift[0], x * sin + y * cos + look.shift[1]
        return list(zip(((x + 1) * self.unit).tolist(), ((y + 1) * self.unit).tolist(), strict=True))

    def fill(self, points, colour: Colour, alpha: float = 1.0, side: int = 1) -> None:
        self.canvas.polygon(self.place(points, side), (*colour, _byte(alpha)))

    def line(self, points, colour: Colour, width: float, alpha: float = 1.0, side: int = 1) -> None:
        pixels = max(1, round(width * self.unit))
        self.canvas.line(self.place(points, side), (*colour, _byte(alpha)), pixels, joint="curve")

    def stroke(self, points, colour: Colour, width: float, alpha: float = 1.0, side: int = 1) -> None:
        """A line that bends smoothly through a few points."""
        self.line(spline(points), colour, width, alpha, side)

    def band(self, x: np.ndarray, top: np.ndarray, bottom: np.ndarray, colour: Colour, alpha: float = 1.0) -> None:
        """What lies between two edges over the same x."""
        self.fill(np.column_stack([np.r_[x, x[::-1]], np.r_[top, bottom[::-1]]]), colour, alpha)

    def soft(self, x: float, y: float, rx: float, ry: float, colour: Colour, alpha: float, side: int = 1) -> None:
        """A spot that fades out: ellipses over one another."""
        if alpha < 0.02:
            return
        for share in (1.0, 0.82, 0.64, 0.46, 0.28):
            self.fill(ellipse(x, y, rx * share, ry * share, 24), colour, alpha / 4, side)

    def picture(self) -> Image.Image:
        return self.image.reduce(SUPERSAMPLING)
