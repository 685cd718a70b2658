import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mint_ray.corpora.images import FILE_FORMATS, MAX_BYTES, check_image, in_rgb, open_image, seen_and_held
from mint_ray.errors import RowError
from tests.corpora.pictures import jpeg, png_header


def refused(data: bytes) -> str:
    with pytest.raises(RowError) as error:
        check_image(data, "photo.jpg")
    assert error.value.field == "photo.jpg"
    return error.value.reason


def encoded(form: str, size=(40, 40)) -> bytes:
    return saved(Image.new("RGB", size), form)


def saved(image: Image.Image, form: str = "PNG", **options) -> bytes:
    data = io.BytesIO()
    image.save(data, form, **options)
    return data.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_the_bytes_of_a_good_image_stay_as_they_came(form):
    data = encoded(form)
    assert check_image(data) is data


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\xff\xd8\xff", encoded("GIF"), encoded("ICO")])
def test_what_is_of_no_accepted_format_is_no_image(data):
    assert refused(data) in {"not-an-image", "broken-image"}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [5000, 12_000, 40_000])
def test_an_image_that_says_it_is_huge_is_refused_by_its_header(side):
    assert refused(png_header(side, side)) == "image-too-large"


def test_more_bytes_than_allowed_are_not_even_looked_at():
    assert refused(b"\0" * (MAX_BYTES + 1)) == "image-too-large"


@pytest.mark.parametrize("size", [(8, 8), (1, 400), (400, 40)])
def test_a_sliver_is_refused(size):
    assert refused(encoded("PNG", size)) == "image-too-narrow"


def test_a_jpeg_cut_in_the_middle_is_truncated():
    data = jpeg(200, 200, quality=95)
    assert refused(data[: len(data) // 2]) == "truncated-image"


def test_a_png_without_its_pixels_is_refused():
    assert refused(png_header(64, 64)) in {"truncated-image", "broken-image"}


@pytest.mark.parametrize("form", ["JPEG", "TIFF", "PNG", "WEBP"])
def test_a_photograph_taken_sideways_is_turned_upright(form):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees
    image = Image.new("RGB", (60, 40))
    image.paste((255, 255, 255), (0, 0, 60, 20))
    seen, held = seen_and_held(saved(image, form, exif=exif))
    for upright in (seen, open_image(held)):  # and not turned twice
        assert upright.size == (40, 60)
        assert (upright.getpixel((35, 30))[0] > 200) and (upright.getpixel((5, 30))[0] < 50)


RED, GREY16 = (200, 30, 10), 0x8123
# An image of each mode of Pillow of one value, and the one colour that it has in RGB; None: refused.
MODES = {
    "1": (1, (255, 255, 255)),
    "L": (77, (77, 77, 77)),
    "LA": ((100, 128), (177, 177, 177)),
    "La": ((50, 128), (177, 177, 177)),  # premultiplied
    "P": (0, RED),
    "PA": ((0, 255), RED),
    "RGB": (RED, RED),
    "RGBX": ((*RED, 0), RED),
    "RGBA": ((*RED, 0), (255, 255, 255)),
    "RGBa": ((100, 15, 5, 128), (227, 142, 132)),
    "CMYK": ((0, 255, 255, 0), (255, 0, 0)),
    "YCbCr": ((100, 128, 128), (100, 100, 100)),
    "HSV": ((0, 255, 255), (255, 0, 0)),
    "I;16": (GREY16, (0x81,) * 3),
    "I;16L": (GREY16, (0x81,) * 3),
    "I;16B": (GREY16, (0x81,) * 3),
    "I;16N": (GREY16, (0x81,) * 3),
    "LAB": ((100, 0, 0), "unknown-colours"),
    "I": (GREY16, "unknown-range"),
    "F": (0.5, "unknown-range"),
}


def of_mode(mode: str, value) -> Image.Image:
    if mode.startswith("I;16"):
        image = Image.new(mode, (20, 20))
        order = {"I;16B": ">", "I;16N": "="}.get(mode, "<")
        image.frombytes(np.full((20, 20), value, f"{order}u2").tobytes())
        return image
    if mode == "PA":
        image = of_mode("P", 0).convert("PA")
        return image
    image = Image.new(mode, (20, 20), value)
    if mode == "P":
        image.putpalette([*RED, 1, 2, 3])
    return image


def test_every_mode_of_pillow_has_its_expected_pixels():
    assert set(MODES) >= set(Image.MODES)


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_becomes_rgb_by_its_content_or_is_refused(mode):
    value, expected = MODES[mode]
    image = of_mode(mode, value)
    if isinstance(expected, str):
        with pytest.raises(RowError, match=expected):
            in_rgb(image)
    else:
        found = in_rgb(image)
        assert (found.mode, found.size) == ("RGB", (20, 20))
        assert np.abs(np.asarray(found).astype(int) - expected).max() <= 1


def tiff16(endian: str, photometric: int = 1, bits: int = 16) -> bytes:
    """A little-endian or big-endian TIFF of a ramp of 16-bit grey, as microscopes write it."""
    values = ramp().astype(f"{endian}u2").tobytes()
    tags = [(256, 4, 40), (257, 4, 40), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 8)]
    tags += [(277, 3, 1), (278, 4, 40), (279, 4, len(values))]
    head = (b"II" if endian == "<" else b"MM") + struct.pack(f"{endian}HI", 42, 8 + len(values))
    entries = b"".join(
        struct.pack(f"{endian}HHI", tag, kind, 1) + struct.pack(f"{endian}{'I' if kind == 4 else 'Hxx'}", value)
        for tag, kind, value in tags
    )
    return head + values + struct.pack(f"{endian}H", len(tags)) + entries + bytes(4)


def ramp() -> np.ndarray:
    return np.linspace(0, 65535, 1600).astype(np.uint16).reshape(40, 40)


@pytest.mark.parametrize("data", [saved(Image.fromarray(ramp())), tiff16("<"), tiff16(">")], ids=["PNG", "II", "MM"])
def test_16_bits_of_grey_are_their_high_bytes_and_so_is_what_a_case_holds(data):
    seen, held = seen_and_held(data)
    expected = np.repeat((ramp() >> 8)[..., None], 3, -1)
    assert (np.asarray(seen) == expected).all()
    assert (np.asarray(Image.open(io.BytesIO(held))) == expected).all()  # whoever decodes it, and however


def test_16_bits_a_channel_are_their_high_bytes():
    channels = np.stack([ramp(), ramp()[::-1], np.full((40, 40), 0x4567, np.uint16)], -1)
    scanlines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in channels)
    assert (np.asarray(open_image(png(2, 16, scanlines))) == channels >> 8).all()


def png(kind: int, bits: int, scanlines: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 40, 40, bits, kind, 0, 0, 0))
    more = b"".join(chunk(*each) for each in chunks)
    return b"\x89PNG\r\n\x1a\n" + head + more + chunk(b"IDAT", zlib.compress(scanlines)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "data",
    [
        saved(Image.fromarray((ramp() >> 4).astype(np.uint16))),  # 12 bits of a detector
        saved(Image.fromarray((ramp() >> 8).astype(np.uint16))),  # 8 bits
        tiff16("<", photometric=0),
        saved(Image.fromarray(ramp().astype(np.int32)), "TIFF"),
        saved(Image.fromarray(ramp().astype(np.float32) / 65535), "TIFF"),
    ],
    ids=["12 bits in 16", "8 bits in 16", "0 is white", "32 bits", "floats"],
)
def test_values_without_a_known_range_are_refused_and_never_made_black_or_white(data):
    assert refused(data) == "unknown-range"


def half_clear(mode: str) -> Image.Image:
    """Red on the left, clear (over black) on the right."""
    image = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    image.paste((*RED, 255), (0, 0, 20, 40))
    return image if mode == "RGBA" else image.convert(mode)


def keyed(bits: int, kind: int, red, key, transparent: bytes) -> bytes:
    form = ">u2" if bits == 16 else "u1"
    row = np.array([red] * 20 + [key] * 20).astype(form).tobytes()
    return png(kind, bits, (b"\0" + row) * 40, (b"tRNS", transparent))


CLEAR = {
    "RGBA": saved(half_clear("RGBA")),
    "LA": saved(half_clear("LA")),
    "palette": saved(half_clear("RGBA").quantize(8)),
    "one grey": keyed(8, 0, 68, 0, struct.pack(">H", 0)),
    "one colour": keyed(8, 2, RED, (0, 0, 0), struct.pack(">HHH", 0, 0, 0)),
    "one grey of 16 bits": keyed(16, 0, 68 * 257, 7, struct.pack(">H", 7)),
    "WebP": saved(half_clear("RGBA"), "WEBP", lossless=True),
    "TIFF": saved(half_clear("RGBA"), "TIFF"),
}


@pytest.mark.parametrize("name", CLEAR)
def test_what_is_transparent_lies_over_white_wherever_it_is_seen(name):
    seen, held = seen_and_held(CLEAR[name])
    for image in (seen, open_image(held), Image.open(io.BytesIO(held)).convert("RGB")):
        assert image.getpixel((30, 20)) == (255, 255, 255)
        assert image.getpixel((5, 20))[0] in (RED[0], 68, 79)


def test_one_transparent_colour_of_16_bits_is_refused():
    """Pillow holds colours of 8 bits against one of 16, and finds none."""
    data = keyed(16, 2, [257 * c for c in RED], (7, 7, 7), struct.pack(">HHH", 7, 7, 7))
    assert refused(data) == "unknown-colours"


@pytest.mark.parametrize("form", FILE_FORMATS)
def test_the_formats_of_files_are_held_as_png_or_jpeg(form):
    image = Image.new("RGB", (40, 30), RED)
    held = check_image(saved(image, form, **({"lossless": True} if form == "WEBP" else {})))
    found = Image.open(io.BytesIO(held), formats=("PNG", "JPEG")).convert("RGB")
    assert np.abs(np.asarray(found).astype(int) - RED).max() <= 3


@pytest.mark.parametrize("form", ["TIFF", "PNG", "WEBP"])
def test_several_pages_or_frames_are_refused(form):
    other = Image.new("RGB", (40, 40), "white")
    data = saved(Image.new("RGB", (40, 40)), form, save_all=True, append_images=[other])
    assert refused(data) == "several-images"


def test_a_cmyk_jpeg_is_seen_in_its_colours():
    data = saved(Image.new("CMYK", (40, 40), (0, 255, 255, 0)), "JPEG", quality=95)
    seen, held = seen_and_held(data)
    assert np.abs(np.subtract(seen.getpixel((9, 9)), (255, 0, 0))).max() < 8
    assert Image.open(io.BytesIO(held)).mode == "RGB"


def scanlines(values: np.ndarray, bits: int) -> bytes:
    """Rows of samples as a PNG packs them."""
    shifted = ((values[..., None] >> np.arange(bits)[::-1]) & 1).astype(np.uint8)
    return b"".join(b"\0" + np.packbits(row.ravel()).tobytes() for row in shifted)


def tiff_of_colours(most: int) -> bytes:
    values = np.full((20, 20, 3), most, "<u2").tobytes()
    tags = [(256, 4, 1, 20), (257, 4, 1, 20), (258, 3, 3, 8), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 14)]
    tags += [(277, 3, 1, 3), (278, 4, 1, 20), (279, 4, 1, len(values))]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II" + struct.pack("<HI", 42, 14 + len(values)) + struct.pack("<HHH", 16, 16, 16)
    return head + values + struct.pack("<H", len(tags)) + entries + bytes(4)


def deep(most: int) -> dict[str, bytes]:
    """16 bits a channel, the highest value `most`: grey with alpha, colours, colours with alpha."""
    opaque = np.full((40, 40), 65535)
    colours = np.dstack([np.full((40, 40), value) for value in (most, most // 2, 0)])
    return {
        "grey and alpha": png(4, 16, scanlines(np.dstack([np.full((40, 40), most), opaque]), 16)),
        "colours": png(2, 16, scanlines(colours, 16)),
        "colours and alpha": png(6, 16, scanlines(np.dstack([colours, opaque]), 16)),
        "TIFF": tiff_of_colours(most),
    }


@pytest.mark.parametrize("form", deep(1))
def test_12_bits_in_16_a_channel_are_refused_and_16_are_held_as_everyone_sees_them(form):
    for most in (255, 4095):
        assert refused(deep(most)[form]) == "unknown-range"
    for most in (4096, 65535):
        seen, held = seen_and_held(deep(most)[form])
        assert seen.getpixel((9, 9))[0] == most >> 8
        assert held != deep(most)[form]
        assert Image.open(io.BytesIO(held)).mode == "RGB"
        assert np.array_equal(np.asarray(open_image(held)), np.asarray(seen))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_transparent_grey_of_few_bits_is_that_grey_and_no_other(bits):
    values = np.arange(1600).reshape(40, 40) % 2**bits
    for clear in {0, 1, 2**bits - 1}:
        expected = values * 255 // (2**bits - 1)
        expected[values == clear] = 255
        seen, held = seen_and_held(png(0, bits, scanlines(values, bits), (b"tRNS", struct.pack(">H", clear))))
        for image in (seen, open_image(held)):
            assert np.array_equal(np.asarray(image)[..., 0], expected)
