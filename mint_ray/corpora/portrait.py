"""Draw a face from its parameters (`mint_ray.corpora.faces`) with Pillow: schematic, frontal, synthetic.

Points are (x, y) with x to the right and y downwards, the head's middle at (0, 0), half the picture's side as the
unit. Everything is drawn `SUPERSAMPLING` times as large and averaged down, back to front.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

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


@dataclass(frozen=True)
class Look:
    """What of a picture no finding decides: colours, hair style, and how the head stands before the camera."""

    skin: tuple[int, int, int] = SKINS[2]
    hair: tuple[int, int, int] = HAIRS[1]
    iris: tuple[int, int, int] = IRISES[1]
    background: tuple[int, int, int] = BACKGROUNDS[0]
    shirt: tuple[int, int, int] = SHIRTS[0]
    long_hair: float = 0.0
    parting: float = 0.0
    stubble: float = 0.0
    child: float = 0.0
    scale: float = 1.0
    tilt: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)


def look(family: np.random.Generator, person: np.random.Generator, sex: str, age_years: float) -> Look:
    """A person's look: skin, hair and eyes as in the family, the rest the person's own."""
    tone = family.uniform(0, len(SKINS) - 1)
    darkest = 4 if tone < 3 else 1
    hair = _between(HAIRS, family.uniform(0, darkest))
    iris = _between(IRISES, family.uniform(0, 4 if tone < 3 else 0.8))
    grown = np.clip((age_years - 14) / 6, 0, 1)
    return Look(
        skin=_between(SKINS, tone + person.normal(0, 0.1)),
        hair=hair,
        iris=iris,
        background=BACKGROUNDS[person.integers(len(BACKGROUNDS))],
        shirt=SHIRTS[person.integers(len(SHIRTS))],
        long_hair=float(person.uniform(0.3, 1) if sex == "female" else person.uniform(0, 0.15)),
        parting=float(person.uniform(-0.6, 0.6)),
        stubble=float(grown * person.uniform(0, 0.5)) if sex == "male" else 0.0,
        child=float(np.clip(1 - age_years / 16, 0, 1)),
        scale=float(person.uniform(0.96, 1.04)),
        tilt=float(person.normal(0, 0.02)),
        shift=(float(person.normal(0, 0.015)), float(person.normal(0, 0.015))),
    )


def portrait(face: dict[str, float], look: Look, size: int) -> Image.Image:
    """The picture, RGB, `size` x `size` pixels.

    Args:
        face: a value for every name of `faces.PARAMETERS`.
    """
    return _Portrait(face, look, size).draw()


def encode_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def _between(colours, position: float) -> tuple[int, int, int]:
    """The colour at a position between those of a list."""
    position = float(np.clip(position, 0, len(colours) - 1))
    low = min(int(position), len(colours) - 2)
    return _mix(colours[low], colours[low + 1], position - low)


def _mix(a, b, share: float) -> tuple[int, int, int]:
    share = min(max(share, 0.0), 1.0)
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))


def _spline(points, closed: bool = False, steps: int = 8) -> np.ndarray:
    """A Catmull-Rom curve through points (n, 2)."""
    p = np.asarray(points, float)
    p = np.vstack([p[-1:], p, p[:2]]) if closed else np.vstack([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    curve = curve.transpose(1, 0, 2).reshape(-1, 2)
    return curve if closed else np.vstack([curve, p[-2:-1]])


def _mirrored(right) -> list[tuple[float, float]]:
    """A closed symmetric outline from its right half, given from top to bottom."""
    return [*right, *((-x, y) for x, y in reversed(right) if x > 0)]


class _Portrait:
    """One picture in the making. `face[name]` is a parameter."""

    def __init__(self, face: dict[str, float], look: Look, size: int):
        self.face, self.look, self.size = face, look, size
        side = size * SUPERSAMPLING
        self.image = Image.new("RGB", (side, side), look.background)
        self.pen = ImageDraw.Draw(self.image, "RGBA")
        self.unit = side / 2
        self.shade = _mix(look.skin, (86, 40, 30), 0.45)
        self.deep = _mix(look.skin, (60, 26, 22), 0.75)
        self.light = _mix(look.skin, (255, 250, 244), 0.55)
        self.lip = _mix(look.skin, (176, 60, 66), 0.55)
        grey = _mix(_mix(look.hair, RED, face["red_hair"]), GREY, face["grey"])
        self.hair = grey
        self.nose_y = EYE_HEIGHT + face["nose_length"]
        self.mouth_y = self.nose_y + face["philtrum_length"]
        self.chin_y = max(self.mouth_y + face["chin_height"] - 0.03 * look.child, self.mouth_y + 0.13)

    def draw(self) -> Image.Image:
        self.body()
        self.ears()
        self.head()
        self.cheeks()
        self.forehead()
        self.front_hair()
        self.nose()
        self.mouth()
        self.chin()
        for side in (-1, 1):
            self.eye(side)
            self.brow(side)
        self.between_brows()
        return self.image.reduce(SUPERSAMPLING)

    # --- the pen

    def place(self, points) -> list[tuple[float, float]]:
        """Points of the face as pixels: asymmetry, then the head's stand before the camera."""
        face, look = self.face, self.look
        x, y = np.asarray(points, float).T
        x, y = x * (1 + 2 * face["asymmetry"] * np.sign(x)), y * face["face_stretch"] + face["asymmetry"] * x * 1.6
        x = (x + face["skull_skew"] * np.clip(-y, 0, 1) * 2) / np.sqrt(face["face_stretch"])
        x, y = x * look.scale * FRAME, y * look.scale * FRAME + 0.08
        cos, sin = np.cos(look.tilt), np.sin(look.tilt)
        x, y = x * cos - y * sin + look.shift[0], x * sin + y * cos + look.shift[1]
        return list(zip(((x + 1) * self.unit).tolist(), ((y + 1) * self.unit).tolist(), strict=True))

    def fill(self, points, colour, alpha: float = 1.0) -> None:
        self.pen.polygon(self.place(points), (*colour, _byte(alpha)))

    def line(self, points, colour, width: float, alpha: float = 1.0) -> None:
        self.pen.line(self.place(points), (*colour, _byte(alpha)), max(1, round(width * self.unit)), joint="curve")

    def soft(self, x: float, y: float, rx: float, ry: float, colour, alpha: float) -> None:
        """A spot that fades out: ellipses over one another."""
        if alpha < 0.02:
            return
        for share in (1.0, 0.82, 0.64, 0.46, 0.28):
            self.fill(_ellipse(x, y, rx * share, ry * share, 24), colour, alpha / 4)

    # --- head

    def body(self) -> None:
        """Hair behind the head, neck and shirt."""
        face, look = self.face, self.look
        density = np.clip(face["hair_density"], 0, 1)
        if look.long_hair > 0.2 and density > 0.1:
            low = 0.1 + 0.75 * look.long_hair
            outline = [(0, -face["crown"] - 0.05), (0.56, -0.5), (0.66, 0.0), (0.64, low), (0.3, low + 0.06)]
            self.fill(
                _spline(self.curled(_spline(_mirrored(outline), closed=True)), closed=True, steps=1), self.hair, density
            )
        self.fill([(-0.24, 0.3), (0.24, 0.3), (0.27, 1.2), (-0.27, 1.2)], _mix(look.skin, self.shade, 0.35))
        self.fill(
            _spline([(-1.3, 1.3), (-0.75, 0.98), (-0.3, 0.88), (0, 0.95), (0.3, 0.88), (0.75, 0.98), (1.3, 1.3)]),
            look.shirt,
        )

    def head(self) -> None:
        outline = self.outline()
        self.fill(outline, self.look.skin)
        self.line(np.vstack([outline, outline[:1]]), self.shade, 0.012, 0.7)

    def outline(self) -> np.ndarray:
        face = self.face
        full, jaw_y = 0.02 * face["fullness"], self.mouth_y + 0.02
        right = [
            (0, -face["crown"]),
            (face["temple"] * 0.62, -face["crown"] * 0.92),
            (face["temple"] * 0.98, -0.50),
            ((face["temple"] + face["cheek_width"]) / 2 + 0.012, -0.2),
            (face["cheek_width"], 0.06),
            ((face["cheek_width"] + face["jaw_width"]) / 2 + 0.02 + full, jaw_y * 0.62),
            (face["jaw_width"] + full, jaw_y),
            (face["chin_width"] + 0.06, self.chin_y - 0.09),
            (face["chin_width"] * 0.6, self.chin_y - 0.012),
            (0, self.chin_y),
        ]
        return _spline(_mirrored(right), closed=True)

    def ears(self) -> None:
        face = self.face
        height, out = face["ear_height"], face["ear_width"]
        if height < 0.055:
            return
        middle = EYE_HEIGHT + face["ear_drop"]
        for side in (-1, 1):
            root = face["cheek_width"] - 0.02
            rim = np.array(
                [
                    (root, middle - height * 0.8),
                    (root + out * 0.7, middle - height),
                    (root + out * 1.25, middle - height * 0.5),
                    (root + out * 0.95, middle + height * 0.25),
                    (
                        root + 0.012 + face["lobe"] * 0.9 + 0.05 * face["lobe_lift"],
                        middle + height * (0.85 - 0.3 * face["lobe_lift"]),
                    ),
                    (root - 0.01, middle + height * 0.65 + face["lobe"]),
                ]
            )
            rim[:, 0] += face["ear_turn"] * (middle - rim[:, 1]) * 0.9
            rim[:, 0] *= side
            self.fill(_spline(rim), _mix(self.look.skin, self.shade, 0.12))
            self.line(_spline(rim), self.shade, 0.012)
            inner = rim[1:5] * [1, 1] * 0.72 + np.array([side * root, middle]) * 0.28
            self.line(_spline(inner), self.shade, 0.012, 0.8)
            if face["ear_fold"] > 0.45:
                self.line(_spline(rim[:4] - [side * 0.012, -0.012]), self.deep, 0.02 + 0.03 * face["ear_fold"], 0.7)

    def cheeks(self) -> None:
        face = self.face
        y = EYE_HEIGHT + 0.21
        for side in (-1, 1):
            x = side * 0.33
            self.soft(x, y + 0.06, 0.13, 0.1, self.lip, 0.16 + 0.08 * self.look.child)
            self.soft(x, y, 0.12, 0.06, self.light, 0.35 + 0.45 * face["midface"])
            if face["midface"] < -0.3:  # a flat midface lies in the shadow below the lids
                self.soft(x * 0.85, y - 0.03, 0.15, 0.07, self.shade, -0.75 * face["midface"])
                self.line(
                    _spline([(x * 0.5, y - 0.03), (x * 0.9, y + 0.03), (x * 1.3, y - 0.01)]),
                    self.shade,
                    0.014,
                    -0.8 * face["midface"],
                )
            if face["fullness"] > 0.3:
                self.soft(side * 0.37, self.mouth_y - 0.06, 0.13, 0.14, self.light, 0.7 * face["fullness"])
                self.line(
                    _spline(
                        [
                            (side * 0.29, self.mouth_y - 0.13),
                            (side * 0.27, self.mouth_y),
                            (side * 0.31, self.mouth_y + 0.11),
                        ]
                    ),
                    self.shade,
                    0.014,
                    0.4,
                )
            if face["fullness"] < -0.3:
                self.soft(side * 0.37, self.mouth_y - 0.1, 0.1, 0.16, self.deep, -0.55 * face["fullness"])
            fold = [
                (side * 0.12, self.nose_y - 0.02),
                (side * 0.2, self.nose_y + 0.06),
                (side * 0.25, self.mouth_y + 0.02),
            ]
            self.line(_spline(fold), self.shade, 0.016, 0.75 * face["fold"])
            if face["ear_tag"] > 0.6:
                tag = (side * (face["cheek_width"] - 0.07), EYE_HEIGHT + face["ear_drop"] + 0.06)
                self.soft(tag[0], tag[1] + 0.012, 0.05, 0.05, self.deep, 0.8)
                self.fill(_ellipse(*tag, 0.026, 0.032, 12), _mix(self.light, self.lip, 0.4))
        if self.look.stubble > 0.05:
            self.soft(0, self.mouth_y + 0.1, 0.34, 0.2, self.hair, 0.4 * self.look.stubble)
        if face["red_patch"] > 0.6:
            self.fill(
                _spline(
                    [(0.14, 0.02), (0.3, -0.04), (0.46, 0.06), (0.4, 0.22), (0.24, 0.26), (0.16, 0.14)], closed=True
                ),
                (176, 36, 60),
                0.55,
            )
        if face["face_hair"] > 0.4:
            self.down(face["face_hair"])

    def down(self, strength: float) -> None:
        """Hair on forehead and cheeks."""
        for side in (-1, 1):
            for i in range(9):
                x, y = side * (0.36 + 0.014 * (i % 3)), -0.42 + 0.1 * i
                self.line([(x, y), (x * 0.86, y + 0.06)], self.hair, 0.012, 0.6 * strength)

    def forehead(self) -> None:
        face = self.face
        y = -0.38
        self.soft(0, y, 0.3, 0.12, self.light, 0.3 + 0.5 * max(face["forehead"], 0))
        if face["forehead"] > 0.35:  # a round, forward forehead: shadow all around its light
            for side in (-1, 1):
                self.soft(side * 0.44, -0.34, 0.09, 0.18, self.shade, 0.6 * face["forehead"])
            self.soft(0, -0.235, 0.3, 0.035, self.shade, 0.5 * face["forehead"])
        if face["forehead"] < -0.3:  # a forehead that falls back darkens upwards
            self.soft(0, -0.52, 0.5, 0.16, self.shade, -0.9 * face["forehead"])
        for side in (-1, 1):
            self.soft(side * 0.25, y - 0.02, 0.15, 0.12, WHITE, 0.75 * face["bossing"])
            self.soft(side * 0.25, y + 0.12, 0.14, 0.03, self.shade, 0.5 * face["bossing"])
            self.soft(
                side * 0.2,
                EYE_HEIGHT - 0.13,
                0.17,
                0.045,
                self.light if face["brow_ridge"] > 0 else self.shade,
                abs(face["brow_ridge"]),
            )
            self.soft(side * 0.2, EYE_HEIGHT - 0.075, 0.17, 0.03, self.deep, 0.7 * max(face["brow_ridge"], 0))
        self.soft(0, -0.38, 0.035, 0.26, self.light, 1.2 * face["metopic"])
        if face["metopic"] > 0.4:
            self.line([(0.04, -0.56), (0.035, -0.22)], self.shade, 0.014, 0.8 * face["metopic"])
        if face["glabella"] > 0.4:
            self.soft(0, EYE_HEIGHT - 0.15, 0.08, 0.08, self.deep, 0.5 * face["glabella"])
            self.soft(0, EYE_HEIGHT - 0.165, 0.06, 0.06, WHITE, face["glabella"])

    def front_hair(self) -> None:
        face, look = self.face, self.look
        density = float(np.clip(face["hair_density"], 0, 1)) ** 1.3
        if density < 0.03:
            return
        crown, temple, thick = face["crown"], face["temple"], 0.07 * density
        line = min(face["hairline"], crown - 0.06)
        outer = [
            (-temple - 0.4 * thick, -0.17),
            (-temple - thick * 0.9, -0.45),
            (-temple * 0.7, -crown * 0.93 - thick),
            (0, -crown - 1.4 * thick),
        ]
        outer += [(-x, y) for x, y in reversed(outer[:-1])]
        peak = 0.13 * face["widows_peak"]
        upsweep = 0.07 * face["upsweep"]
        inner = [
            (temple - 0.03, -0.19),
            (temple - 0.06, -line + 0.16),
            (temple * 0.6, -line + 0.02 - 0.3 * peak),
            (0.12 + look.parting * 0.1, -line - 0.015 - upsweep * 0.5 - 0.3 * peak),
            (0, -line + peak - upsweep),
            (-0.12 + look.parting * 0.1, -line - 0.015 + 0.6 * upsweep - 0.3 * peak),
            (-temple * 0.6, -line + 0.02 - 0.3 * peak),
            (-temple + 0.06, -line + 0.16),
            (-temple + 0.03, -0.19),
        ]
        edge = self.curled(_spline(outer))
        self.fill(np.vstack([edge, _spline(inner)]), self.hair, density)
        self.strands(line, density)
        if face["curl"] > 0.35:
            self.curls(line, density)
        if face["upsweep"] > 0.4:
            for x in (-0.06, 0.0, 0.06):
                self.line(
                    _spline([(x, -line + 0.02), (x + 0.03, -line - 0.09), (x * 2.5, -line - 0.17)]),
                    _mix(self.hair, WHITE, 0.25),
                    0.018,
                )
        if face["forelock"] > 0.5:
            self.fill(
                _spline([(-0.09, -line), (-0.07, -crown - 0.06), (0.07, -crown - 0.06), (0.07, -line)], closed=True),
                WHITE,
                face["forelock"],
            )

    def strands(self, line: float, density: float) -> None:
        face, look = self.face, self.look
        strength = max(face["strands"], 0)
        tone = _mix(self.hair, WHITE if sum(self.hair) < 240 else DARK, 0.2 + 0.2 * min(strength, 1))
        for i in range(-4, 5):
            x = i * face["temple"] * 0.22
            root = (look.parting * 0.25, -face["crown"] - 0.06)
            tip = (x * 1.05, -line - 0.03 + 0.12 * abs(i) ** 2 / 16)
            bend = ((root[0] + tip[0]) / 2 + 0.3 * x, (root[1] + tip[1]) / 2 - 0.03)
            self.line(
                _spline([root, bend, tip], steps=4), tone, 0.007 + 0.012 * strength, (0.3 + 0.4 * strength) * density
            )
            if strength > 0.75:  # wiry: ends that stand off
                angle = np.pi * (0.5 + i / 10)
                base = np.array([face["temple"] * np.cos(angle), -0.3 - (face["crown"] - 0.28) * np.sin(angle)])
                self.line([base, base * [1.16, 1.0] - [0, 0.07]], self.hair, 0.02, density)

    def curled(self, edge: np.ndarray) -> np.ndarray:
        """An outer edge of hair with waves as high as the curl is strong."""
        curl = np.clip(self.face["curl"] - 0.2, 0, 1.2)
        wave = 1 + 0.05 * curl * np.sin(np.arange(len(edge)) * 1.6)
        return edge * wave[:, None]

    def curls(self, line: float, density: float) -> None:
        face = self.face
        tone = _mix(self.hair, WHITE if sum(self.hair) < 240 else DARK, 0.3)
        for i in range(11):
            angle = np.pi * (0.04 + 0.092 * i)
            for ring in (0.0, 0.5):
                radius = np.array(
                    [face["temple"] * (1.04 - 0.2 * ring), face["crown"] + 0.05 - ring * (face["crown"] - line)]
                )
                x, y = radius * [np.cos(angle + ring * 0.2), -np.sin(angle + ring * 0.2)]
                if y < -0.12:
                    self.fill(_ellipse(x, y, 0.065, 0.065, 14), self.hair, density)
                    self.line(_ellipse(x, y, 0.04, 0.04, 12)[:9], tone, 0.012, min(face["curl"], 1) * density)

    # --- eyes and brows

    def eye(self, side: int) -> None:
        face = self.face
        upper, lower = self.lids(side)
        x, y = side * face["eye_gap"], EYE_HEIGHT
        bulge, grow = face["bulge"], 1 + 0.1 * self.look.child
        if bulge < -0.3:
            self.soft(x, y - 0.05, 0.16, 0.1, self.deep, -0.75 * bulge)
        if bulge > 0.3:
            self.soft(x, y, 0.165, 0.13, self.light, 0.9 * bulge)
            self.line(
                _spline([(x - 0.13, y + 0.05), (x, y + 0.125), (x + 0.13, y + 0.05)]), self.shade, 0.012, 0.7 * bulge
            )
        if face["puffiness"] > 0.3:
            self.soft(x, y + 0.11, 0.13, 0.06, self.light, face["puffiness"])
            self.line(
                _spline([(x - 0.12, y + 0.1), (x, y + 0.165), (x + 0.12, y + 0.1)]),
                self.shade,
                0.018,
                0.8 * face["puffiness"],
            )
            self.soft(x, y - 0.085, 0.12, 0.035, self.light, face["puffiness"])
        if face["eye_crease"] > 0.4:
            self.line(
                _spline([(x - side * 0.09, y + 0.075), (x, y + 0.11), (x + side * 0.1, y + 0.09)]),
                self.deep,
                0.012,
                face["eye_crease"],
            )
        self.everted_lid(side, lower)
        self.fill(np.vstack([upper, lower[::-1]]), _mix(WHITE, (130, 160, 214), 0.8 * face["blue_sclera"]))
        self.iris(x, y + 0.002, 0.047 * grow, upper, lower)
        self.notch(lower)
        self.line(upper, DARK, 0.017)
        self.line(lower, self.deep, 0.009, 0.7)
        crease = upper + [0, -0.022 - 0.02 * max(bulge, 0)]
        self.line(crease[2:-1], self.shade, 0.010, 0.8)
        if face["ptosis"] > 0.25:
            self.soft(x, y - 0.045, 0.1, 0.03, self.shade, 0.4 * face["ptosis"])
        self.lashes(side, upper)
        self.epicanthus(side, upper)

    def lids(self, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Upper and lower edge of the fissure, both from the inner corner to the outer, shape (13, 2)."""
        face = self.face
        t = np.linspace(0, 1, 13)
        start = face["eye_gap"] - face["eye_length"] + face["canthus"]
        end = face["eye_gap"] + face["eye_length"] + 0.25 * face["canthus"]
        x = start + (end - start) * t
        tilt = face["slant"] * (1 - 2 * t)
        opening = max(face["eye_open"] + 0.004 * self.look.child, 0.016)
        arch = np.sin(np.pi * t) ** (0.8 + 0.8 * np.clip(face["eye_point"], 0, 1))
        fallen = np.clip(face["ptosis"], 0, 0.9) * 1.15
        upper = EYE_HEIGHT + tilt - opening * arch * (1 - fallen)
        drop = 0.035 * face["lid_eversion"] + 0.06 * face["lateral_eversion"] * np.clip(t - 0.4, 0, 1)
        lower = EYE_HEIGHT + tilt + (opening * 0.85 + np.clip(drop, 0, 1)) * np.sin(np.pi * t) ** 0.9
        return np.column_stack([side * x, upper]), np.column_stack([side * x, lower])

    def iris(self, x: float, y: float, radius: float, upper: np.ndarray, lower: np.ndarray) -> None:
        """Iris and pupil, cut off where the lids cover them."""
        order = slice(None) if upper[0, 0] < upper[-1, 0] else slice(None, None, -1)
        for share, colour in ((1.0, self.look.iris), (0.45, (12, 10, 10))):
            disc = _ellipse(x, y, radius * share, radius * share, 24)
            top = np.interp(disc[:, 0], upper[order, 0], upper[order, 1])
            bottom = np.interp(disc[:, 0], lower[order, 0], lower[order, 1])
            disc[:, 1] = np.clip(disc[:, 1], top, np.maximum(top, bottom))
            self.fill(disc, colour)
        if self.face["ptosis"] < 0.5:
            self.fill(_ellipse(x + 0.014, y - 0.014, 0.009, 0.009, 8), WHITE, 0.9)

    def everted_lid(self, side: int, lower: np.ndarray) -> None:
        face = self.face
        for strength, part in ((face["lid_eversion"], slice(2, 12)), (face["lateral_eversion"], slice(7, 13))):
            if strength > 0.4:
                self.line(lower[part] + [0, 0.012], (196, 84, 84), 0.034, strength)

    def notch(self, lower: np.ndarray) -> None:
        strength = self.face["lid_notch"]
        if strength > 0.4:
            x, y = lower[8]
            self.fill([(x - 0.034, y - 0.008), (x + 0.034, y - 0.008), (x, y + 0.075)], WHITE, strength)
            self.line([(x - 0.034, y), (x, y + 0.075), (x + 0.034, y)], (186, 76, 80), 0.014, strength)

    def lashes(self, side: int, upper: np.ndarray) -> None:
        face = self.face
        length, density = face["lash_length"], np.clip(face["lash_density"], 0, 1)
        if density < 0.1 or length < 0.004:
            return
        for i in range(2, 13, 1 if density > 0.6 else 2):
            x, y = upper[i]
            lean = side * length * (i - 4) / 9
            self.line([(x, y), (x + lean, y - length)], DARK, 0.008, density)

    def epicanthus(self, side: int, upper: np.ndarray) -> None:
        strength = self.face["epicanthus"]
        if strength < 0.3:
            return
        x, y = upper[0]
        fold = _spline(
            [
                (x + side * 0.05, y - 0.075),
                (x + side * 0.012, y - 0.03),
                (x + side * 0.032, y + 0.018),
                (x + side * 0.002, y + 0.05),
            ]
        )
        cover = np.vstack([fold, [(x - side * 0.03, y + 0.04), (x - side * 0.03, y - 0.06)]])
        self.fill(cover, self.look.skin, min(1.0, strength * 1.3))
        self.line(fold, self.deep, 0.014, min(1.0, strength))

    def brow(self, side: int) -> None:
        face = self.face
        density = np.clip(face["brow_density"], 0, 1)
        t = np.linspace(0, 1, 11)
        start = face["eye_gap"] - 0.145 - 0.01 * np.clip(face["synophrys"], 0, 1)
        x = side * (start + t * (0.145 + face["brow_length"]))
        middle = EYE_HEIGHT - 0.14 - 0.4 * max(face["brow_arch"] - 0.035, 0) + 0.02 * self.look.child
        y = middle + face["brow_arch"] * (0.15 - 1.3 * np.sin(np.pi * np.clip(t * 0.85, 0, 1)) ** 1.3 + 0.7 * t**3)
        height = max(face["brow_height"], 0.008) * (
            0.62 + 0.75 * np.sin(np.pi * np.clip(t * 0.8 + 0.12, 0, 1)) - 0.7 * t**2
        )
        height = np.maximum(height, 0.006)
        height += 0.045 * np.clip(face["brow_flare"], 0, 1.2) * np.clip(0.4 - t, 0, 1) * 2.5
        colour = _mix(_mix(self.hair, DARK, 0.3), WHITE, face["brow_white"])
        edge = np.column_stack([x, y])
        for i in range(10):
            part = t[i] + 0.05
            alpha = density * (
                np.clip(face["medial_brow"], 0, 1) if part < 0.5 else np.clip(face["lateral_brow"], 0, 1)
            )
            down = [(0, h) for h in height[i : i + 2]]
            self.fill(np.vstack([edge[i : i + 2] - down, (edge[i : i + 2] + down)[::-1]]), colour, alpha)
        if density > 0.5:
            for i in range(0, 10, 2):
                self.line([edge[i] + [0, height[i]], edge[i] + [side * 0.03, -height[i] * 1.3]], colour, 0.008, density)

    def between_brows(self) -> None:
        strength = self.face["synophrys"]
        if strength < 0.2:
            return
        face = self.face
        reach = face["eye_gap"] - 0.12
        y = EYE_HEIGHT - 0.135 + 0.5 * face["brow_arch"]
        for x in np.linspace(-reach, reach, 11):
            self.line([(x, y + 0.03), (x * 1.15, y - 0.035)], _mix(self.hair, DARK, 0.3), 0.022, 0.85 * strength)

    # --- nose

    def nose(self) -> None:
        face = self.face
        top, tip = EYE_HEIGHT - 0.06, self.nose_y
        height = np.clip(face["bridge_height"], 0, 1.2)
        width, ridge = face["bridge_width"], face["ridge"]
        wing, bulb = face["alae"], face["tip_width"]
        light = np.clip(face["nose_light"] * 0.4 + height * 0.9, 0, 1)
        for side in (-1, 1):
            edge = [
                (side * (width + 0.035), top),
                (side * width, EYE_HEIGHT + 0.03),
                (side * (width * 0.6 + bulb * 0.4), tip - 0.12),
                (side * bulb, tip - 0.05),
            ]
            self.line(_spline(edge), self.shade, 0.013 + 0.008 * height, 0.15 + 0.75 * height)
            self.soft(side * (width + 0.02), EYE_HEIGHT + 0.01, 0.035, 0.07, self.shade, 0.7 * height)
        self.soft(0, EYE_HEIGHT + 0.09, width * 0.8, 0.13, self.light, light)
        if height < 0.3:  # a low bridge: broad shadow between the eyes, no ridge
            self.soft(0, EYE_HEIGHT + 0.01, 0.09, 0.07, self.shade, 1.6 * (0.4 - height))
        if ridge > 0.3:
            self.soft(0, EYE_HEIGHT + 0.1, width + 0.02, 0.07, WHITE, ridge)
            for side in (-1, 1):
                self.line(
                    _spline(
                        [
                            (side * width * 0.8, EYE_HEIGHT + 0.02),
                            (side * (width + 0.028), EYE_HEIGHT + 0.1),
                            (side * bulb * 0.7, tip - 0.05),
                        ]
                    ),
                    self.deep,
                    0.014,
                    ridge,
                )
        if ridge < -0.3:
            self.soft(0, EYE_HEIGHT + 0.13, width + 0.02, 0.05, self.deep, -0.7 * ridge)
        self.soft(0, tip - 0.04, bulb, bulb * 0.75, self.light, np.clip(face["tip_light"], 0, 1))
        self.tip(tip, bulb, wing)

    def tip(self, tip: float, bulb: float, wing: float) -> None:
        """Ball, wings, nostrils and columella."""
        face = self.face
        drop = max(face["tip_drop"], 0) + max(face["ridge"], 0) * 0.025
        open_ = np.clip(face["nostril"], 0.05, 1.3)
        column = max(face["columella"], 0)
        for side in (-1, 1):
            wing_line = [
                (side * bulb * 0.95, tip - 0.08),
                (side * wing, tip - 0.035),
                (side * wing * 0.92, tip + 0.012),
                (side * wing * 0.55, tip + 0.016),
            ]
            self.fill(_spline([*wing_line, (0, tip - 0.03)], closed=True), _mix(self.look.skin, self.shade, 0.12))
            self.line(_spline(wing_line), self.shade, 0.012 + 0.014 * face["alar_weight"], 0.95)
            nostril = _ellipse(
                side * wing * 0.5, tip + 0.004 - 0.022 * open_, 0.018 + 0.016 * open_, 0.006 + 0.021 * open_, 14
            )
            self.fill(nostril, self.deep, 0.9)
        self.fill(
            _ellipse(0, tip - 0.05 + drop * 0.6, bulb, bulb * 0.8 + drop, 20),
            _mix(self.look.skin, self.light, 0.35),
            0.8,
        )
        if bulb > 0.072:
            self.line(_ellipse(0, tip - 0.05 + drop * 0.6, bulb, bulb * 0.8 + drop, 20), self.shade, 0.012, 0.7)
        under = [
            (-wing * 0.45, tip + 0.012),
            (-0.025, tip + 0.014),
            (0, tip + 0.022 + drop + column),
            (0.025, tip + 0.014),
            (wing * 0.45, tip + 0.012),
        ]
        if column > 0.012:
            self.fill(
                [
                    (-0.025, tip - 0.02),
                    (0.025, tip - 0.02),
                    (0.012, tip + 0.024 + column),
                    (-0.012, tip + 0.024 + column),
                ],
                _mix(self.look.skin, self.light, 0.3),
            )
        self.line(_spline(under), self.shade, 0.014)
        if face["tip_groove"] > 0.4:
            self.line([(0, tip - 0.1), (0, tip + 0.01)], self.deep, 0.02, face["tip_groove"])

    # --- mouth and chin

    def mouth(self) -> None:
        face = self.face
        self.philtrum()
        width, y = face["mouth_width"], self.mouth_y
        gap = max(face["mouth_open"], 0)
        t = np.linspace(-1, 1, 21)
        x = t * width
        corner = face["corners"] * t**2 * 1.6 + face["mouth_skew"] * t
        bow = 0.018 * face["cupid_bow"] * np.exp(-((t / 0.12) ** 2)) - 0.02 * face["cupid_bow"] * np.exp(
            -(((np.abs(t) - 0.28) / 0.16) ** 2)
        )
        tent = 0.06 * face["tent"] * (1 - np.abs(t)) ** 1.2
        open_top = y + corner - gap * 0.3 * (1 - t**2) - np.clip(tent, -0.01, 1) * (0.9 if gap > 0.01 else 0.5)
        open_low = y + corner + gap * 1.1 * (1 - t**2)
        upper = max(face["upper_lip"], 0.006) * (1 - np.abs(t) ** 2.2)
        lower = max(face["lower_lip"], 0.008) * (1 - t**2) ** 0.8
        top = open_top - upper + bow * (upper > 0.004) - 0.4 * np.clip(tent, -0.01, 1)
        bottom = open_low + lower
        if gap > 0.012:
            self.inside(x, open_top, open_low)
        self.fill(
            np.vstack([np.column_stack([x, top]), np.column_stack([x, open_top])[::-1]]),
            _mix(self.lip, self.deep, 0.18),
        )
        self.fill(np.vstack([np.column_stack([x, open_low]), np.column_stack([x, bottom])[::-1]]), self.lip)
        self.soft(0, open_low[10] + lower[10] * 0.5, width * 0.4, lower[10] * 0.35, self.light, 0.6)
        self.line(np.column_stack([x, open_top if gap > 0.012 else (open_top + open_low) / 2]), self.deep, 0.012)
        if face["lip_eversion"] > 0.4:
            self.line(np.column_stack([x, bottom])[4:17] + [0, 0.012], self.deep, 0.022, 0.8 * face["lip_eversion"])
            self.line(np.column_stack([x, bottom])[6:15] - [0, 0.018], self.light, 0.016, face["lip_eversion"])
        self.clefts(top, open_top)

    def inside(self, x: np.ndarray, top: np.ndarray, low: np.ndarray) -> None:
        """The open mouth: dark, teeth with their gaps, tongue."""
        face = self.face
        self.fill(np.vstack([np.column_stack([x, top]), np.column_stack([x, low])[::-1]]), (74, 22, 26))
        if face["teeth"] > 0.4:
            edge = top[4:17] + 0.022
            self.fill(
                np.vstack([np.column_stack([x[4:17], top[4:17]]), np.column_stack([x[4:17], edge])[::-1]]),
                WHITE,
                face["teeth"],
            )
            for i in range(5, 17, 2):
                self.line([(x[i], top[i]), (x[i], top[i] + 0.03)], (74, 22, 26), 0.018, face["teeth_gap"])
        if face["tongue"] > 0.4:
            out = 0.03 + 0.05 * face["tongue"]
            self.fill(_ellipse(0, low[10] + 0.2 * out, face["mouth_width"] * 0.55, out, 24), (214, 104, 112))
            self.line([(0, low[10] - 0.4 * out), (0, low[10] + 0.9 * out)], (170, 70, 80), 0.012)

    def philtrum(self) -> None:
        face = self.face
        depth = np.clip(face["philtrum_depth"], 0, 1.2)
        top, low, half = self.nose_y + 0.025, self.mouth_y - face["upper_lip"] - 0.005, face["philtrum_width"]
        if low - top < 0.01:
            return
        for side in (-1, 1):
            self.line([(side * half * 0.7, top), (side * half * 1.15, low)], self.shade, 0.012, 1.3 * depth)
        self.soft(0, (top + low) / 2, half, (low - top) / 2, self.deep, 0.55 * (depth - 0.2))

    def clefts(self, top: np.ndarray, low: np.ndarray) -> None:
        face = self.face
        places = [
            (face["cleft"], 0.055),
            (face["cleft_both"], 0.055),
            (face["cleft_both"], -0.055),
            (face["cleft_middle"], 0.0),
        ]
        for strength, x in places:
            if strength > 0.5:
                half = 0.032
                gap = [
                    (x - half, low[10] + 0.006),
                    (x - half * 0.5, top[10]),
                    (x * 0.9, self.nose_y + 0.01),
                    (x + half * 0.5, top[10]),
                    (x + half, low[10] + 0.006),
                ]
                self.fill(gap, (96, 30, 34), strength)
                self.line(gap, self.lip, 0.012)

    def chin(self) -> None:
        face = self.face
        y = (self.mouth_y + face["lower_lip"] + self.chin_y) / 2
        self.soft(0, y - 0.04, 0.12, 0.022, self.shade, 0.45)
        self.soft(0, self.chin_y - 0.09, face["chin_width"] * 0.7, 0.05, self.light, 0.35)
        if face["chin_shadow"] > 0.3:  # a chin that lies back, in the shadow of the lip
            self.soft(0, y, 0.2, 0.075, self.deep, 0.6 * face["chin_shadow"])
        if face["chin_crease"] > 0.4:
            self.line(
                _spline([(-0.1, y + 0.01), (0, y - 0.015), (0.1, y + 0.01)]), self.deep, 0.018, face["chin_crease"]
            )
        if face["chin_dimple"] > 0.4:
            self.line([(0, self.chin_y - 0.1), (0, self.chin_y - 0.03)], self.deep, 0.026, face["chin_dimple"])


def _ellipse(x: float, y: float, rx: float, ry: float, n: int) -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.column_stack([x + rx * np.cos(t), y + ry * np.sin(t)])


def _byte(alpha: float) -> int:
    return int(255 * min(max(alpha, 0.0), 1.0))
