import io
from collections import Counter
from dataclasses import fields

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from mint_ray.synthetic.nuclei import Slide, draw_patch
from mint_ray.synthetic.nuclei.anatomy import scatter
from mint_ray.synthetic.nuclei.table import APPEARANCES
from mint_ray.synthetic.patches import SimulatedNuclei
from mint_ray.tasks.tissue import TISSUES

CORPUS = SimulatedNuclei(kind="simulated_nuclei", slides=2, patches=2)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)), np.float32)


def darkness(data: bytes) -> float:
    return float((pixels(data).mean(axis=2) < 110).mean())


def draw(tissue: str, seed: int = 0, **changes) -> bytes:
    appearance = APPEARANCES[tissue]
    values = {field.name: getattr(appearance, field.name) for field in fields(appearance)} | changes
    slide = Slide.draw(np.random.default_rng(1), 0)
    return draw_patch(type(appearance)(**values), slide, np.random.default_rng(seed))


def test_the_table_has_a_row_for_every_tissue():
    assert list(APPEARANCES) == [tissue.id for tissue in TISSUES]


@pytest.mark.parametrize("tissue", APPEARANCES)
def test_every_tissue_is_drawn_in_the_colours_of_its_stains(tissue):
    red, green, blue = pixels(draw(tissue)).reshape(-1, 3).mean(axis=0)
    assert green < blue < 255  # hematoxylin and eosin both take green light away most
    assert green < red


def test_a_patch_depends_on_the_seed_and_its_own_number_alone():
    more = SimulatedNuclei(kind="simulated_nuclei", slides=9, patches=2)
    assert CORPUS.patch(23, 7) == more.patch(23, 7)
    assert CORPUS.patch(23, 7).image != CORPUS.patch(23, 8).image
    assert CORPUS.patch(23, 7).image != CORPUS.patch(23 + 19, 7).image


def test_patches_of_a_slide_share_their_group_and_their_stain():
    first, second, other = (CORPUS.patch(i * 19, 7) for i in range(3))
    assert first.group_id == second.group_id == "synthetic-Adrenal_gland-0000"
    assert other.group_id == "synthetic-Adrenal_gland-0001"
    colour = [pixels(case.image).mean(axis=(0, 1)) for case in (first, second, other)]
    assert np.abs(colour[0] - colour[1]).max() < np.abs(colour[0] - colour[2]).max()


def test_denser_nuclei_and_darker_chromatin_darken_a_patch():
    assert darkness(draw("Liver", spacing=24)) > 1.3 * darkness(draw("Liver"))
    assert darkness(draw("Prostate", dark=1.2)) > 1.3 * darkness(draw("Prostate"))


def test_pigment_is_brown_and_fat_is_empty():
    brown = pixels(draw("Skin")) - pixels(draw("Skin", pigment=0.0))
    assert brown.min() < -100
    white = [(pixels(draw("Breast", seed=3, fat=share)).min(axis=2) > 235).mean() for share in (0.0, 1.0)]
    assert white[1] > white[0] + 0.03


def test_scattered_points_keep_their_distance():
    points = scatter(np.ones((256, 256)), 20, np.random.default_rng(0))
    gaps = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1)) + 1000 * np.eye(len(points))
    assert gaps.min() >= 20
    assert len(points) > 0.5 * (256 / 20) ** 2


def test_nothing_is_scattered_where_there_is_no_room():
    assert len(scatter(np.zeros((256, 256)), 20, np.random.default_rng(0))) == 0


def test_size_changes_pixels_and_not_the_field():
    small = SimulatedNuclei(kind="simulated_nuclei", slides=2, patches=2, size=64).patch(5, 7)
    large = CORPUS.patch(5, 7)
    assert pixels(small.image).shape == (64, 64, 3)
    shrunk = pixels(large.image).reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
    assert np.abs(shrunk - pixels(small.image)).mean() < 8  # JPEG; another patch is 30 away


def test_the_caption_names_the_tissue_and_what_is_seen():
    caption = CORPUS.patch(5, 7).text
    assert "colon" in caption
    assert "goblet" in caption


def test_every_case_is_called_synthetic():
    case = CORPUS.patch(0, 7)
    assert case.synthetic
    assert case.case_id.startswith("synthetic-")


@pytest.mark.parametrize(
    ("tissues", "message"),
    [(["Colonn", "Breast"], "did you mean Colon"), (["Colon", "Colon"], "twice"), (["Colon"], "at least 2")],
)
def test_wrong_tissues_are_refused_at_once(tissues, message):
    with pytest.raises(ValidationError, match=message):
        SimulatedNuclei(kind="simulated_nuclei", tissues=tissues)


def test_all_patches_come_through_ray_data(local_ray):
    corpus = SimulatedNuclei(kind="simulated_nuclei", slides=2, patches=3, size=32)
    rows = corpus.outcomes(seed=7).take_all()
    cases = [row["case"] for row in rows]
    assert [row["refusal"] for row in rows] == [None] * 114
    assert len({case["case_id"] for case in cases}) == 114
    assert Counter(case["label_id"] for case in cases) == {tissue.id: 6 for tissue in TISSUES}
    assert len({case["group_id"] for case in cases}) == 38
