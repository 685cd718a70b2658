"""Encoded images from outside, checked before anything is decoded, decoded before anything is believed.

Used by every reader that takes photographs and by the HTTP service. What is refused raises `RowError`:

| reason              | when                                                              |
|---------------------|-------------------------------------------------------------------|
| `not-an-image`      | no PNG or JPEG header                                             |
| `image-too-large`   | above `MAX_BYTES` encoded, or above `MAX_PIXELS` by its header    |
| `image-too-narrow`  | a side under `MIN_SIDE`, or one over `MAX_ASPECT` times the other |
| `truncated-image`   | the data ends before the picture does                             |
| `broken-image`      | anything else that the decoder refuses                            |
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from mint_ray.errors import RowError

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG")
MAX_BYTES = 20 * 2**20
MAX_PIXELS = 4096 * 4096
MIN_SIDE = 16
MAX_ASPECT = 8  # encoders resize the shorter side; a sliver would explode or vanish


def open_image(data: bytes, field: str = "image") -> Image.Image:
    """The picture in RGB, upright by its EXIF orientation.

    Raises:
        RowError: by one of the reasons above; `field` is named as the one at fault.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if len(data) > MAX_BYTES:
        raise RowError("image-too-large", field, f"{len(data)} bytes", f"at most {MAX_BYTES}")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise RowError("image-too-large", field, "a decompression bomb", f"at most {MAX_PIXELS} pixels") from None
    except UnidentifiedImageError:
        raise RowError("not-an-image", field, f"{len(data)} bytes", " or ".join(FORMATS)) from None
    except Exception as error:
        raise RowError("broken-image", field, type(error).__name__, "a header that can be read") from None
    _check_size(*image.size, field)
    try:
        return ImageOps.exif_transpose(image).convert("RGB")
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error ...
        reason = "truncated-image" if "truncated" in str(error) else "broken-image"
        raise RowError(reason, field, type(error).__name__, "an image that decodes to its end") from None


def check_image(data: bytes, field: str = "image") -> bytes:
    """The bytes as they came, once they have been decoded to the end; raises as `open_image`."""
    open_image(data, field)
    return data


def _check_size(width: int, height: int, field: str) -> None:
    seen = f"{width} x {height}"
    if width * height > MAX_PIXELS:
        raise RowError("image-too-large", field, seen, f"at most {MAX_PIXELS} pixels")
    if min(width, height) < MIN_SIDE or max(width, height) > MAX_ASPECT * min(width, height):
        raise RowError("image-too-narrow", field, seen, f"sides of {MIN_SIDE} pixels or more, at most {MAX_ASPECT} : 1")
