"""A zoo of images: what photographs, scanners, attackers and accidents send."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

SIDE = 48


def picture(side: int = SIDE) -> Image.Image:
    ramp = np.linspace(0, 255, side).astype(np.uint8)
    return Image.fromarray(
        np.stack([np.tile(ramp, (side, 1)), np.tile(ramp[:, None], (1, side)), np.full((side, side), 90, np.uint8)], -1)
    )


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def sixteen_bit(kind: str = "PNG") -> bytes:
    """Sixteen bits of grey, whose high bytes are `picture`'s red."""
    return encoded(Image.fromarray(np.asarray(picture())[..., 0].astype(np.uint16) * 256 + 77), kind)


def see_through() -> Image.Image:
    """Nothing but transparent pixels, with colours behind."""
    image = picture().convert("RGBA")
    image.putalpha(0)
    return image


def turned() -> bytes:
    """A photograph taken with the camera on its side: EXIF orientation 6, and a comment that nobody should see."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "Name of a patient"
    return encoded(picture(), "JPEG", exif=exif, quality=95)


def bomb(width: int = 40_000, height: int = 40_000) -> bytes:
    """A PNG of a few kilobytes that would decode to 1.6 thousand million pixels of one bit."""
    rows = zlib.compressobj(9)
    line = bytes(1 + width // 8)
    data = b"".join(rows.compress(line) for _ in range(64)) + rows.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, body) for kind, body in [(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")]
    )


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def animated(kind: str) -> bytes:
    return encoded(picture(), kind, save_all=True, append_images=[picture().rotate(90)], duration=100)


GOOD = {
    "png": encoded(picture()),
    "jpeg": encoded(picture(), "JPEG"),
    "palette": encoded(picture().convert("P")),
    "transparent palette": encoded(picture().convert("P"), transparency=3),
    "grey with alpha": encoded(picture().convert("LA")),
    "one bit": encoded(picture().convert("1")),
    "cmyk jpeg": encoded(picture().convert("CMYK"), "JPEG"),
    "16 bit": sixteen_bit(),
    "16 bit tiff": sixteen_bit("TIFF"),
    "tiff": encoded(picture(), "TIFF"),
    "webp": encoded(picture(), "WEBP", lossless=True),
    "bmp": encoded(picture(), "BMP"),
    "alpha": encoded(see_through()),
    "progressive jpeg": encoded(picture(), "JPEG", progressive=True),
    "turned": turned(),
}
BAD = {
    "zero bytes": (b"", "not-an-image"),
    "text": (b"not an image at all", "not-an-image"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'><image href='http://127.0.0.1/'/></svg>", "not-an-image"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not-an-image"),
    "gif": (encoded(picture(), "GIF"), "not-an-image"),
    "several pages": (encoded(picture(), "TIFF", save_all=True, append_images=[picture()]), "animated-image"),
    "animated webp": (animated("WEBP"), "animated-image"),
    "32 bit": (encoded(Image.fromarray(np.ones((SIDE, SIDE), np.float32)), "TIFF"), "broken-image"),
    "truncated png": (encoded(noise())[:3000], "broken-image"),
    "truncated jpeg": (encoded(noise(), "JPEG")[:1500], "broken-image"),
    "header only": (encoded(picture())[:33], "not-an-image"),
    "animated png": (animated("PNG"), "animated-image"),
    "bomb": (bomb(), "image-too-large"),
    "sliver": (encoded(picture().resize((4, 400))), "broken-image"),
}
