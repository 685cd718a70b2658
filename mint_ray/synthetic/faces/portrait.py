"""A face from its parameters to a picture, back to front."""

from __future__ import annotations

import io

from PIL import Image

from mint_ray.synthetic.faces import eyes, hair, head, mouth, nose
from mint_ray.synthetic.faces.pen import Pen
from mint_ray.synthetic.faces.person import Look


def portrait(face: dict[str, float], look: Look, size: int) -> Image.Image:
    """The picture, RGB, `size` x `size` pixels.

    Args:
        face: a value for every name of `findings.PARAMETERS`.
    """
    pen = Pen(face, look, size)
    for part in (hair.behind, head.body, head.ears, head.skull, head.cheeks, head.forehead, hair.front):
        part(pen)
    for part in (nose.nose, mouth.philtrum, mouth.mouth, head.chin):
        part(pen)
    for side in (-1, 1):
        eyes.eye(pen, side)
        eyes.brow(pen, side)
    eyes.between_brows(pen)
    return pen.picture()


def encode_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()
