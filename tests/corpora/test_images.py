import io

import pytest
from PIL import Image

from mint_ray.corpora.images import MAX_BYTES, check_image, open_image
from mint_ray.errors import RowError
from tests.corpora.pictures import jpeg, png_header


def refused(data: bytes) -> str:
    with pytest.raises(RowError) as error:
        check_image(data, "photo.jpg")
    assert error.value.field == "photo.jpg"
    return error.value.reason


def encoded(form: str, size=(40, 40)) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size).save(data, form)
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


def test_a_photograph_taken_sideways_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees
    assert open_image(jpeg(60, 40, exif=exif)).size == (40, 60)


def test_every_mode_becomes_rgb():
    data = io.BytesIO()
    Image.new("LA", (20, 20), (7, 255)).save(data, "PNG")
    image = open_image(data.getvalue())
    assert (image.mode, image.getpixel((3, 3))) == ("RGB", (7, 7, 7))
