import math

import pytest

from mint_ray.evaluation.grounding import NameIndex
from mint_ray.evaluation.metrics import Preferred, car, catalogue, depths, grounded, published, rank_of
from mint_ray.tasks.rare_disease import RareDisease
from tests.tiny_run import LABELS

INDEX = NameIndex(LABELS)
# The scorer's order: 6, 5 | 4, 3 | 2, 1 with two first and two last
PREFERRED = Preferred.of(["OMIM:6", "OMIM:5", "OMIM:4", "OMIM:3", "OMIM:2", "OMIM:1"], k=2, q=2)


def test_published_figures_of_an_answer_by_hand():
    names = ["Angelman syndrome", "Noonan syndrome 1", "Hypotonia"]
    figures = published(names, "OMIM:3", PREFERRED, INDEX)
    assert figures["e1"] == 1  # two names are on the list
    assert figures["e2"] == 1  # the second name is the truth
    assert figures["e3"] == 0  # the first is not
    assert figures["valid_names"] == pytest.approx(2 / 3)
    assert figures["coverage"] == 1 / 2  # Angelman is one of the scorer's first two
    assert figures["avoidance"] == 1  # no name is among its last two, the Kabuki syndromes
    assert figures["car"] == pytest.approx(2 * 0.5 * 1 / (0.5 + 1))


def test_published_figures_take_a_neighbouring_number_for_the_truth():
    names = ["Kabuki syndrome 2"]
    assert published(names, "OMIM:1", None, INDEX)["e3"] == 1
    assert grounded(["OMIM:2"], "OMIM:1", None, size=3)["grounded_top_1"] == 0


def test_a_truth_at_the_end_is_not_the_first():
    figures = published(["Angelman syndrome", "Noonan syndrome 1"], "OMIM:3", None, INDEX)
    assert (figures["e2"], figures["e3"]) == (1, 0)


def test_a_name_said_twice_covers_once():
    figures = published(["Angelman syndrome", "ANGELMAN SYNDROME."], "OMIM:6", PREFERRED, INDEX)
    assert figures["coverage"] == 1 / 2


def test_an_answer_without_names_scores_nothing():
    figures = published([], "OMIM:1", PREFERRED, INDEX) | grounded([], "OMIM:1", PREFERRED, size=3)
    assert figures.pop("ungrounded_names") == 1
    assert set(figures.values()) == {0.0}


def test_grounded_figures_of_an_answer_by_hand():
    figures = grounded(["OMIM:5", None, "OMIM:2", "OMIM:3"], "OMIM:2", PREFERRED, size=10)
    assert (figures["grounded_top_1"], figures["grounded_top_3"], figures["grounded_top_10"]) == (0, 1, 1)
    assert figures["grounded_mrr"] == pytest.approx(1 / 3)
    assert figures["ungrounded_names"] == 1 / 4
    assert figures["grounded_coverage"] == 1 / 2  # 5 of {6, 5}
    assert figures["grounded_avoidance"] == 3 / 4  # 2 is of {2, 1}


def test_a_case_without_truth_or_ranking_has_no_such_figures():
    figures = published(["Angelman syndrome"], None, None, INDEX) | grounded(["OMIM:6"], None, None, size=3)
    missing = {name for name, value in figures.items() if math.isnan(value)}
    assert missing == {
        *("e2", "e3", "coverage", "avoidance", "car"),
        *("grounded_top_1", "grounded_top_3", "grounded_mrr"),
        *("grounded_coverage", "grounded_avoidance", "grounded_car"),
    }


def test_car_is_the_weighted_harmonic_mean():
    assert car(0.5, 0.5) == 0.5
    assert car(0.2, 0.8, weight=0.5) == pytest.approx(1.5 * 0.2 * 0.8 / (0.5 * 0.2 + 0.8))
    assert car(0.0, 0.0) == 0.0


def test_no_label_is_among_the_first_and_the_last():
    preferred = Preferred.of(["a", "b", "c", "d"], k=3, q=3)
    assert (preferred.top, preferred.bottom) == ({"a", "b", "c"}, {"d"})


def test_the_rank_of_the_truth_counts_from_one():
    assert rank_of([None, "b", "a"], "a") == 3
    assert rank_of([None, "b"], "a") is None
    assert rank_of([None, "b"], None) is None


def test_depths_follow_the_length_of_an_answer():
    assert depths(10) == [1, 3, 10]
    assert depths(5) == [1, 3, 5]
    assert depths(2) == [1, 2]


def test_every_figure_of_the_tables_is_computed():
    computed = published([], None, None, INDEX) | grounded([], None, None, size=10)
    assert set(computed) == {figure.key for figure in catalogue(10, 10, 50)}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (
            "POTENTIAL_DISEASES:\n1. 'Kabuki syndrome 1'\n2. 'Noonan syndrome 1'",
            ["Kabuki syndrome 1", "Noonan syndrome 1"],
        ),
        ('1) Angelman syndrome\n\n3: "Rett syndrome"', ["Angelman syndrome", "Rett syndrome"]),
        ("1. Before\nPOTENTIAL_DISEASES:\n1. 'After'", ["After"]),
        ("POTENTIAL_DISEASES:\n1. ''\n2.\n- no number\nI am sorry.", []),
        ("", []),
        (
            "POTENTIAL_DISEASES:\n" + "\n".join(f"{i}. 'Disease {i}'" for i in range(1, 9)),
            [f"Disease {i}" for i in (1, 2, 3)],
        ),
    ],
)
def test_malformed_answers_give_the_names_that_are_there(text, names):
    assert RareDisease(kind="rare_disease", answer_size=3).parse(text) == names
