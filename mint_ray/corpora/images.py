"""Encoded images from outside, checked before anything is decoded, decoded before anything is believed.

The one place where pictures are decoded: for every reader, every model's processor, the report and the HTTP service. What
is transparent lies over white. Of 16 bits the high byte is taken, so that 0 to 65,535 becomes 0 to 255; a picture that
keeps to the lowest sixteenth of that range (12 bits of a detector in 16 of a file, say) would be black, and is refused.
What is refused raises `RowError`:

| reason              | when                                                                       |
|---------------------|----------------------------------------------------------------------------|
| `not-an-image`      | no header of an accepted format                                            |
| `image-too-large`   | above `MAX_BYTES` encoded, or above `MAX_PIXELS` by its header             |
| `image-too-narrow`  | a side under `MIN_SIDE`, or one over `MAX_ASPECT` times the other          |
| `several-images`    | an animation, or a file of several pages (a camera's thumbnail is none)    |
| `unknown-range`     | 32-bit or floating-point values, 12 bits in 16, or 16 grey where 0 is white |
| `unknown-colours`   | LAB, or one transparent colour among colours of 16 bits a channel          |
| `truncated-image`   | the data ends before the picture does                                      |
| `broken-image`      | anything else that the decoder refuses                                     |
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from mint_ray.errors import RowError

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG")  # what a case holds, and what the service takes
FILE_FORMATS = (*FORMATS, "TIFF", "WEBP", "BMP")  # what the readers of files take
ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
MAX_BYTES = 20 * 2**20
MAX_PIXELS = 4096 * 4096
MIN_SIDE = 16
MAX_ASPECT = 8  # encoders resize the shorter side; a sliver would explode or vanish
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_IN_COLOUR = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBX", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV")
_ORIENTATION = 274  # EXIF's tag, which most decoders leave alone
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0  # TIFF's tag, which Pillow heeds up to 8 bits


def open_image(data: bytes, field: str = "image", formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """The picture in RGB, upright by its EXIF orientation.

    Raises:
        RowError: by one of the reasons above; `field` is named as the one at fault.
    """
    return _decoded(_header(data, field, formats), field)


def check_image(data: bytes, field: str = "image") -> bytes:
    """A picture of `FILE_FORMATS`, decoded to its end, as a case holds it: PNG or JPEG that every decoder sees alike.

    That is the bytes as they came where they are so already, else what `open_image` sees, as PNG. Raises as `open_image`.
    """
    return seen_and_held(data, field)[1]


def seen_and_held(data: bytes, field: str = "image") -> tuple[Image.Image, bytes]:
    """What `open_image` sees of a picture of `FILE_FORMATS`, and the bytes of `check_image`. Raises as these do."""
    header = _header(data, field, FILE_FORMATS)
    plain = header.mode in ("L", "RGB") and not header.has_transparency_data and header.format in (*FORMATS, "MPO")
    plain = plain and not _sixteen_bit_colours(header)
    image = _decoded(header, field)
    if plain and header.getexif().get(_ORIENTATION, 1) == 1:  # read behind the pixels, too
        return image, data
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return image, buffer.getvalue()


def _header(data: bytes, field: str, formats: tuple[str, ...]) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    if len(data) > MAX_BYTES:
        raise RowError("image-too-large", field, f"{len(data)} bytes", f"at most {MAX_BYTES}")
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
        frames = getattr(image, "n_frames", 1)
    except Image.DecompressionBombError:
        raise RowError("image-too-large", field, "a decompression bomb", f"at most {MAX_PIXELS} pixels") from None
    except UnidentifiedImageError:
        raise RowError("not-an-image", field, f"{len(data)} bytes", " or ".join(formats)) from None
    except Exception as error:
        raise RowError("broken-image", field, type(error).__name__, "a header that can be read") from None
    _check_size(*image.size, field)
    if frames > 1 and image.format != "MPO":
        raise RowError("several-images", field, f"{frames} of them", "one image a file")
    return image


def _decoded(image: Image.Image, field: str) -> Image.Image:
    from PIL import ImageOps

    try:
        _check_sixteen_bits(image, field)
        deep, few_bits = _sixteen_bit_colours(image), _few_bits(image)
        upright = ImageOps.exif_transpose(image)
        if deep:
            _check_range(upright, field)
        if few_bits and isinstance(grey := upright.info.get("transparency"), int):
            upright.info["transparency"] = grey * (255 // (2**few_bits - 1))  # as the decoder spreads the greys
        return in_rgb(upright, field)
    except RowError:
        raise
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error ...
        reason = "truncated-image" if "truncated" in str(error) else "broken-image"
        raise RowError(reason, field, type(error).__name__, "an image that decodes to its end") from None


def _raw_mode(image: Image.Image) -> str:
    """How a decoder finds the values in the file, as Pillow calls it before it decodes: `RGB;16B`, `L;4` ..."""
    arguments = image.tile[0][3] if getattr(image, "tile", None) else ""
    return arguments if isinstance(arguments, str) else next((a for a in arguments or () if isinstance(a, str)), "")


def _sixteen_bit_colours(image: Image.Image) -> bool:
    """Whether Pillow decodes 16 bits a channel to the high byte by itself, as it does with all but plain grey."""
    return image.mode not in _SIXTEEN_BITS and ";16" in _raw_mode(image)


def _few_bits(image: Image.Image) -> int:
    """2 or 4, where a grey value has so many bits in the file; else 0."""
    return {"L;2": 2, "L;4": 4}.get(_raw_mode(image), 0)


def _check_range(image: Image.Image, field: str) -> None:
    """The same rule as for grey: what stays below 12 bits in 16 has no high byte to speak of."""
    colours = [band for name, band in zip(image.getbands(), image.split(), strict=True) if name not in "Aa"]
    if max(band.getextrema()[1] for band in colours) < 2**12 >> 8:
        raise RowError("unknown-range", field, "12 bits or fewer in 16", "the range of 16 bits, or 8 bits")


def _check_sixteen_bits(image: Image.Image, field: str) -> None:
    """Refuse what Pillow decodes to something else."""
    if image.mode.startswith("I;16") and getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        raise RowError("unknown-range", field, "16 bits where 0 is white", "0 as black, or 8 bits")
    if image.mode == "RGB" and "transparency" in image.info and image.tile and image.tile[0][3] == "RGB;16B":
        raise RowError(
            "unknown-colours", field, "one transparent colour of 16 bits a channel", "a channel of its own for it"
        )


def in_rgb(image: Image.Image, field: str = "image") -> Image.Image:
    """An image of any mode of Pillow in RGB, what is transparent over white.

    Raises:
        RowError: `unknown-range`, `unknown-colours`.
    """
    from PIL import Image

    if image.mode in _SIXTEEN_BITS:
        image = _high_bytes(image, field)
    if image.mode in ("I", "F"):
        raise RowError("unknown-range", field, f"values of type {image.mode}", "8 or 16 bits a channel")
    if image.mode not in _IN_COLOUR:
        raise RowError("unknown-colours", field, f"the mode {image.mode}", f"one of {', '.join(_IN_COLOUR)}")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert({"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode)).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _high_bytes(image: Image.Image, field: str) -> Image.Image:
    """16 bits of grey as 8, with the one value that is transparent, if any."""
    import numpy as np
    from PIL import Image

    values, transparent = np.asarray(image), image.info.get("transparency")
    if values.max() < 2**12:
        raise RowError("unknown-range", field, f"0 to {values.max()} in 16 bits", "the range of 16 bits, or 8 bits")
    grey = Image.fromarray((values >> 8).astype(np.uint8))
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey


def _check_size(width: int, height: int, field: str) -> None:
    seen = f"{width} x {height}"
    if width * height > MAX_PIXELS:
        raise RowError("image-too-large", field, seen, f"at most {MAX_PIXELS} pixels")
    if min(width, height) < MIN_SIDE or max(width, height) > MAX_ASPECT * min(width, height):
        raise RowError("image-too-narrow", field, seen, f"sides of {MIN_SIDE} pixels or more, at most {MAX_ASPECT} : 1")
