"""The table against the ontology, and the drawing: every finding shows, and shows where it should."""

import io
import itertools
from functools import cache

import numpy as np
import pytest
from PIL import Image

from mint_ray import hpo
from mint_ray.synthetic import faces
from mint_ray.synthetic.faces.findings import FINDINGS, NOT_SEEN, PARAMETERS

HEAD, EYE, OUTER_EAR, HAIR = "HP:0000234", "HP:0000478", "HP:0000356", "HP:0001595"
HYPERTELORISM, HYPOTELORISM, PTOSIS, MICROGNATHIA = "HP:0000316", "HP:0000601", "HP:0000508", "HP:0000347"
LOW_HAIRLINE, SYNOPHRYS, FULL_CHEEKS = "HP:0000294", "HP:0000664", "HP:0000293"


@cache
def picture(*term_ids: str) -> np.ndarray:
    """The neutral face with findings, shape (64, 64, 3)."""
    return np.asarray(faces.portrait(faces.neutral_face(term_ids), faces.Look(), 64), np.float32)


def changed_rows(*term_ids: str) -> np.ndarray:
    """The rows of the picture, 0 to 1 from above, that findings change visibly."""
    difference = np.abs(picture(*term_ids) - picture()).max(axis=(1, 2))
    return np.flatnonzero(difference > 20) / 64


@pytest.mark.parametrize("table", [{i: name for i, (name, _) in FINDINGS.items()}, NOT_SEEN], ids=["drawn", "not seen"])
def test_every_id_of_the_table_is_a_living_term_of_that_name(table):
    terms = hpo.ontology().terms
    assert {i: terms[i].name for i in table} == table
    assert not [i for i in table if terms[i].obsolete]


def test_every_finding_is_of_the_head_the_eyes_the_ears_or_the_hair():
    ontology = hpo.ontology()
    assert not [i for i in FINDINGS if not {HEAD, EYE, OUTER_EAR, HAIR} & ontology.ancestors(i)]
    assert sum(hpo.FACE in ontology.ancestors(i) for i in FINDINGS) >= 60


def test_every_finding_moves_known_parameters_and_every_parameter_is_moved():
    assert {name for _, moved in FINDINGS.values() for name in moved} == PARAMETERS.keys()


def test_every_finding_changes_the_picture():
    unchanged = [name for i, (name, _) in FINDINGS.items() if len(changed_rows(i)) == 0]
    assert unchanged == []


def test_findings_change_their_own_part_of_the_face():
    assert changed_rows(LOW_HAIRLINE).max() < 0.4
    assert changed_rows(SYNOPHRYS).min() > 0.3 and changed_rows(SYNOPHRYS).max() < 0.55
    assert changed_rows(MICROGNATHIA).min() > 0.6


def test_a_specific_term_moves_what_its_nearest_ancestor_moves():
    bilateral_ptosis, microretrognathia = "HP:0001488", "HP:0000308"
    assert faces.effect(bilateral_ptosis) == faces.effect(PTOSIS)
    assert set(faces.effect(microretrognathia)) == {"chin_height", "chin_width", "jaw_width", "chin_shadow"}


def test_what_a_portrait_cannot_show_is_not_drawable():
    sparse_pubic_hair, cleft_palate, seizure, face = "HP:0002225", "HP:0000175", "HP:0001250", "HP:0000271"
    assert not any(map(faces.drawable, [sparse_pubic_hair, cleft_palate, seizure, face]))


def test_findings_that_push_the_same_way_do_not_add_up_and_opposed_ones_do():
    neutral, sd = PARAMETERS["eye_gap"]
    assert faces.neutral_face([HYPERTELORISM])["eye_gap"] == pytest.approx(neutral + 3.2 * sd)
    assert faces.neutral_face([HYPERTELORISM, HYPOTELORISM])["eye_gap"] == pytest.approx(neutral)
    round_face_and_full_cheeks = faces.neutral_face(["HP:0000311", FULL_CHEEKS])
    assert round_face_and_full_cheeks["fullness"] == faces.neutral_face([FULL_CHEEKS])["fullness"]


def test_the_same_generator_gives_the_same_person_with_and_without_a_finding():
    without, with_it = (faces.face(terms, np.random.default_rng(4)) for terms in ([], [HYPERTELORISM]))
    moved = {name for name in without if without[name] != with_it[name]}
    assert moved == {"eye_gap"}
    sd = PARAMETERS["eye_gap"][1]
    assert 0.75 * 3.2 * sd <= with_it["eye_gap"] - without["eye_gap"] <= 1.25 * 3.2 * sd


def test_ordinary_people_vary_by_the_tables_deviation_and_not_at_all_without_variation():
    people = [faces.face([], np.random.default_rng(seed))["nose_length"] for seed in range(400)]
    neutral, sd = PARAMETERS["nose_length"]
    assert np.mean(people) == pytest.approx(neutral, abs=0.2 * sd)
    assert np.std(people) == pytest.approx(sd, rel=0.2)
    assert faces.face([], np.random.default_rng(1), variation=0) == faces.neutral_face()


def test_relatives_share_skin_and_eyes_and_hold_their_heads_differently():
    one, other = (
        faces.look(np.random.default_rng(1), np.random.default_rng(p), "female", 9, variation=1) for p in (2, 3)
    )
    assert (one.hair, one.iris) == (other.hair, other.iris)
    assert one.tilt != other.tilt and max(np.abs(np.subtract(one.skin, other.skin))) < 25


def test_any_two_findings_together_can_be_drawn_at_their_extremes():
    strong = sorted(FINDINGS, key=lambda i: -max(map(abs, FINDINGS[i][1].values())))[:12]
    for pair in itertools.combinations(strong, 2):
        face = faces.face(pair, np.random.default_rng(0), variation=3)
        assert faces.portrait(face, faces.Look(), 32).size == (32, 32)


def test_a_picture_is_a_png_of_the_size_asked_for():
    encoded = faces.encode_png(faces.portrait(faces.neutral_face(), faces.Look(), 96))
    with Image.open(io.BytesIO(encoded)) as image:
        assert (image.format, image.size, image.mode) == ("PNG", (96, 96), "RGB")
