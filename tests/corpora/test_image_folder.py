import io

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from mint_ray.corpora.image_folder import ImageFolder, plain_image, read_image
from mint_ray.errors import CorpusError, RowError

PINK = (220, 120, 180)


def encoded(mode="RGB", size=(40, 40), form="PNG", colour=PINK, **save) -> bytes:
    image = Image.new("RGB", size, colour)
    image.paste((80, 40, 140), (10, 10, 20, 20))
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, form, **save)
    return buffer.getvalue()


def decoded(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_bytes_of_a_coloured_image_stay_as_they_are(form):
    data = encoded(form=form, size=(40, 70))
    assert plain_image(data) is data


def test_a_palette_becomes_its_colours():
    data = plain_image(encoded("P"))
    assert decoded(data).mode == "RGB"
    assert np.abs(np.subtract(decoded(data).getpixel((0, 0)), PINK)).max() < 30


def test_transparency_is_laid_over_white():
    image = decoded(encoded("RGBA"))
    image.putalpha(Image.new("L", image.size, 0))
    buffer = io.BytesIO()
    image.paste((*PINK, 255), (0, 0, 5, 5))
    image.save(buffer, "PNG")
    result = decoded(plain_image(buffer.getvalue()))
    assert result.mode == "RGB"
    assert result.getpixel((30, 30)) == (255, 255, 255)
    assert result.getpixel((2, 2)) == PINK


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_a_greyscale_image_is_refused(mode):
    with pytest.raises(RowError, match="greyscale-image"):
        plain_image(encoded(mode))


def test_grey_pixels_in_three_channels_are_greyscale_too():
    buffer = io.BytesIO()
    decoded(encoded("L")).convert("RGB").save(buffer, "PNG")
    with pytest.raises(RowError, match="greyscale-image"):
        plain_image(buffer.getvalue())


def test_another_size_is_refused_where_one_is_asked_for():
    with pytest.raises(RowError, match="saw 40 x 70; expected 40 x 40"):
        plain_image(encoded(size=(40, 70)), side=40)
    assert plain_image(encoded(size=(40, 40)), side=40)


def corpus(folder, **settings):
    return ImageFolder(kind="image_folder", path=folder, **settings)


def put(folder, name, data=None):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(encoded() if data is None else data)


def row(**changes):
    return {"source": "labels.csv", "row": 2, "path": "a/1.png", "label": "Breast", "group": "p1"} | changes


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"path": "a/none.png"}, "no-image-file"),
        ({"path": "../outside.png"}, "no-image-file"),
        ({"path": ""}, "missing-field"),
        ({"group": ""}, "missing-field"),
        ({"path": "a/cut.png"}, "truncated-image"),
        ({"path": "a/text.png"}, "not-an-image"),
        ({"label": "Brain"}, "unknown-tissue"),
    ],
)
def test_a_bad_row_is_refused_by_reason(tmp_path, changes, reason):
    folder = tmp_path / "images"
    put(folder, "a/1.png")
    put(folder, "../outside.png")
    put(folder, "a/cut.png", encoded(size=(300, 300), form="JPEG")[:-400])
    put(folder, "a/text.png", b"no image")
    refused = read_image(row(**changes), corpus(folder, names="pannuke"))
    assert (refused.reason, refused.source, refused.row) == (reason, "labels.csv", 2)


def test_a_row_becomes_a_case_of_its_patient(tmp_path):
    put(tmp_path, "a/1.png")
    case = read_image(row(label="HeadNeck"), corpus(tmp_path, names="pannuke"))
    assert (case.case_id, case.group_id, case.label_id) == ("a/1.png", "p1", "HeadNeck")
    assert (case.label_name, case.source) == ("Head and neck", "labels.csv:2")


def test_a_row_without_a_label_is_a_case_without_one(tmp_path):
    put(tmp_path, "a/1.png")
    assert read_image(row(label=""), corpus(tmp_path)).label_id is None


def test_the_group_can_stand_in_the_files_name(tmp_path):
    put(tmp_path, "a/tile_P07_3.png")
    settings = corpus(tmp_path, group_pattern="_(P[0-9]+)_")
    assert read_image(row(path="a/tile_P07_3.png"), settings).group_id == "P07"
    assert read_image(row(path="a/1.png"), settings).reason == "no-group"


@pytest.mark.parametrize(("pattern", "message"), [("(", "no regular expression"), ("P[0-9]+", "no group")])
def test_a_pattern_that_cannot_name_a_group_is_refused_at_once(pattern, message):
    with pytest.raises(ValidationError, match=message):
        corpus("x", group_pattern=pattern)


def test_a_table_without_the_column_says_which_columns_it_has(tmp_path):
    (tmp_path / "labels.csv").write_text("path,tissue\n")
    with pytest.raises(CorpusError, match="no column label, patient; it has path, tissue"):
        corpus(tmp_path, table="labels.csv").outcomes(0)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="names no image"):
        corpus(tmp_path).outcomes(0)


def test_a_folder_for_each_label_is_read(tmp_path, local_ray):
    for name in ("Breast/1.png", "Breast/deep/2.png", "Colon/3.png"):
        put(tmp_path, name)
    put(tmp_path, "Colon/4.png", b"broken")
    put(tmp_path, "Colon/readme.txt", b"no image")
    rows = corpus(tmp_path).outcomes(0).take_all()
    labels = {row["case"]["case_id"]: row["case"]["label_id"] for row in rows if row["case"]}
    assert labels == {"Breast/1.png": "Breast", "Breast/deep/2.png": "Breast", "Colon/3.png": "Colon"}
    assert [row["refusal"]["reason"] for row in rows if row["refusal"]] == ["not-an-image"]


def test_real_patches_are_read_by_patient_and_brain_is_no_pannuke_tissue(real_data, local_ray):
    settings = {"table": "labels.csv", "label_column": "tissue", "names": "pannuke", "side": 256}
    rows = corpus(real_data("histology"), **settings).outcomes(0).take_all()
    cases = [row["case"] for row in rows if row["case"]]
    assert len(rows) == 213
    assert len(cases) == 204
    assert {row["refusal"]["reason"] for row in rows if row["refusal"]} == {"unknown-tissue"}
    assert len({case["group_id"] for case in cases}) == 24
